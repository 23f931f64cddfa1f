//! Times as people type and read them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};

use crate::clock::Micros;

/// `2016-12-31`, `2016-12-31T08:00:00`, the same with a zone; without one it is UTC.
pub(super) fn parse(text: &str) -> Result<Micros, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_micros());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(time.and_utc().timestamp_micros());
        }
    }
    match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(date) => Ok(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()),
        Err(_) => Err(format!("{text:?} is not a time; write it like 2016-12-31T08:00:00Z")),
    }
}

/// RFC 3339, UTC, to the second where that is exact.
pub(super) fn show(time: Micros) -> String {
    match DateTime::from_timestamp_micros(time) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{time} µs"),
    }
}
