//! Sizes as people write them: `512MiB`, `4GiB`.

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A whole number and a unit, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size; write a whole number and KiB, MiB, GiB or TiB, such as 4GiB");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
    number.checked_mul(*bytes).ok_or_else(|| format!("{text:?} is larger than any machine"))
}

/// The size in the largest unit that it is a whole number of; the inverse of [`parse_size`].
pub fn size_text(bytes: u64) -> String {
    match UNITS.iter().rev().find(|(_, unit)| bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, bytes) in [("1GiB", 1 << 30), ("512MiB", 512 << 20), ("3 KiB", 3 << 10), ("0KiB", 0)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "1", "1GB", "-1MiB", "1.5GiB", "99999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!((size_text(4 << 30).as_str(), size_text(1536 << 20).as_str()), ("4GiB", "1536MiB"));
    }
}
