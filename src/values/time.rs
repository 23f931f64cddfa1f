//! Times as text: RFC 3339 out; RFC 3339, a time without a zone (UTC), a day, or an epoch number in.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};

use super::Times;
use crate::clock::Micros;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Reads a time. Digits beyond the microsecond are dropped.
pub fn instant(text: &str, times: Times) -> Option<Micros> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return from_number(number, times);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    let midnight = day(text)?.and_hms_opt(0, 0, 0)?;
    Some(midnight.and_utc().timestamp_micros())
}

pub fn from_number(number: i64, times: Times) -> Option<Micros> {
    match times {
        Times::Seconds => number.checked_mul(MICROS_PER_SECOND),
        Times::Micros => Some(number),
    }
}

/// A time that is written as a number with a fraction; only seconds have one.
pub fn from_fraction(number: f64, times: Times) -> Option<Micros> {
    let micros = match times {
        Times::Seconds => (number * 1e6).round(),
        Times::Micros if number.fract() == 0.0 => number,
        Times::Micros => return None,
    };
    // Beyond 2^63 the cast would saturate at a time that nobody meant.
    (micros.abs() < 9.2e18).then_some(micros as i64)
}

/// Whole seconds since the epoch, rounded down.
pub fn seconds(micros: Micros) -> i64 {
    micros.div_euclid(MICROS_PER_SECOND)
}

/// Reads a day, `2026-11-20`, as days since the epoch.
pub fn days(text: &str) -> Option<i32> {
    i32::try_from(day(text.trim())?.signed_duration_since(epoch_day()).num_days()).ok()
}

/// Writes `2026-11-20T02:00:00Z`, with 3 or 6 digits of the second where they are needed.
pub fn push_rfc3339(out: &mut Vec<u8>, micros: Micros) {
    let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(if micros < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    });
    push_day(out, time.date_naive());
    out.push(b'T');
    push_digits(out, time.hour(), 2);
    out.push(b':');
    push_digits(out, time.minute(), 2);
    out.push(b':');
    push_digits(out, time.second(), 2);
    match micros.rem_euclid(MICROS_PER_SECOND) as u32 {
        0 => {}
        fraction if fraction % 1_000 == 0 => {
            out.push(b'.');
            push_digits(out, fraction / 1_000, 3);
        }
        fraction => {
            out.push(b'.');
            push_digits(out, fraction, 6);
        }
    }
    out.push(b'Z');
}

/// Writes `2026-11-20`.
pub fn push_days(out: &mut Vec<u8>, days: i32) {
    let day = epoch_day().checked_add_signed(chrono::Duration::days(i64::from(days)));
    push_day(out, day.unwrap_or(if days < 0 { NaiveDate::MIN } else { NaiveDate::MAX }));
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn epoch_day() -> NaiveDate {
    DateTime::<Utc>::UNIX_EPOCH.date_naive()
}

fn push_day(out: &mut Vec<u8>, day: NaiveDate) {
    if day.year() < 0 {
        out.push(b'-');
    } else if day.year() > 9_999 {
        out.push(b'+');
    }
    push_digits(out, day.year().unsigned_abs(), 4);
    out.push(b'-');
    push_digits(out, day.month(), 2);
    out.push(b'-');
    push_digits(out, day.day(), 2);
}

/// At least `width` digits, zeros in front.
fn push_digits(out: &mut Vec<u8>, number: u32, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits);
}
