//! Spans of time as people write them: `30d`, `1h`, `500ms`.

use std::time::Duration;

const UNITS_MS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// The longest span that is read: about 290 years, so that it fits 64 bits of microseconds with room to add.
const MILLISECONDS_MAX: u64 = 290 * 365 * 86_400_000;

/// A whole number and a unit. Zero is refused: a span of nothing is never meant.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (_, unit_ms) = UNITS_MS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
    match number.checked_mul(*unit_ms) {
        Some(0) => Err(format!("{text:?} is no time at all; leave the key out to have no bound")),
        Some(milliseconds) if milliseconds <= MILLISECONDS_MAX => Ok(Duration::from_millis(milliseconds)),
        _ => Err(format!("{text:?} is longer than 290 years; leave the key out to have no bound")),
    }
}

/// The span in the largest unit that it is a whole number of; the inverse of [`parse_duration`].
pub fn duration_text(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // Weeks are read, but 28d says more than 4w.
    let whole = UNITS_MS[..5].iter().rev().find(|(_, unit_ms)| milliseconds.is_multiple_of(*unit_ms));
    match whole {
        Some((unit, unit_ms)) => format!("{}{unit}", milliseconds / unit_ms),
        None => format!("{milliseconds}ms"),
    }
}
