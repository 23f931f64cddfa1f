//! What is going away: since when, until when it is promised to stay, and what to use in its place.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate};
use serde::{Serialize, Serializer};

use super::FeatureRef;
use crate::clock::Micros;

/// A day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(NaiveDate);

/// What can be deprecated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defined {
    View(String),
    Feature(FeatureRef),
    Service(String),
}

/// What its authors say of something that is going away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deprecation {
    /// The first day on which it is deprecated.
    pub since: Day,
    /// The last day on which it is promised to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_after: Option<Day>,
    /// What to use in its place: the name of something of its own kind.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

impl Day {
    /// The day in which a moment lies. A moment that no calendar has counts as the first or last day of all.
    pub fn of(time: Micros) -> Self {
        let beyond = if time < 0 { NaiveDate::MIN } else { NaiveDate::MAX };
        Self(DateTime::from_timestamp_micros(time).map_or(beyond, |time| time.date_naive()))
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map(Self);
        let as_we_write_it = day.ok().filter(|day| day.to_string() == text);
        as_we_write_it.ok_or_else(|| format!("{text:?} is not a day; write it as 2026-11-30"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Defined {
    /// What kind of thing it is, as messages say it.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::View(_) => "view",
            Self::Feature(_) => "feature",
            Self::Service(_) => "feature service",
        }
    }

    /// As definitions and questions name it.
    pub fn name(&self) -> String {
        match self {
            Self::View(name) | Self::Service(name) => name.clone(),
            Self::Feature(feature) => feature.to_string(),
        }
    }
}

impl fmt::Display for Defined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.noun(), self.name())
    }
}

impl Deprecation {
    /// Whether it is promised to be there still.
    pub fn is_promised_on(&self, today: Day) -> bool {
        self.remove_after.is_some_and(|last| today <= last)
    }
}

impl fmt::Display for Deprecation {
    /// As the end of a sentence that begins with the thing: `is deprecated since …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is deprecated since {}", self.since)?;
        if let Some(last) = self.remove_after {
            write!(f, " and may be removed after {last}")?;
        }
        match &self.instead {
            Some(instead) => write!(f, "; use {instead}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_in_one_way() {
        let day: Day = "2027-02-01".parse().unwrap();
        assert_eq!(day.to_string(), "2027-02-01");
        for wrong in ["2027-2-1", "2027-02-30", "1.2.2027", "2027-02-01T00:00:00Z", "", "+2027-02-01"] {
            assert_eq!(wrong.parse::<Day>().unwrap_err(), format!("{wrong:?} is not a day; write it as 2026-11-30"));
        }
    }

    #[test]
    fn a_promise_holds_through_its_last_day() {
        let last: Day = "2027-02-01".parse().unwrap();
        let deprecation = Deprecation { since: last, remove_after: Some(last), instead: None };
        let midnight = 1_801_526_400_000_000; // 2027-02-02T00:00:00Z
        assert!(deprecation.is_promised_on(Day::of(midnight - 1)));
        assert!(!deprecation.is_promised_on(Day::of(midnight)));
        assert!(!Deprecation { remove_after: None, ..deprecation }.is_promised_on(Day::of(0)));
        assert!(Day::of(Micros::MIN) < Day::of(Micros::MAX));
    }
}
