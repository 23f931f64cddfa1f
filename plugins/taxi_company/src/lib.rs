//! The name of a taxi company, cleaned, and the bucket that a model embeds it by.
//!
//! The city's records write one company in many ways: `2733 - 74600 Benny Jona`, `Benny Jona, Inc.`, `BENNY  JONA`.

use lockstep_plugin::{Failure, Outputs, Parameters, Refusal, Rows, Signature, Transform, Type, Value};

struct TaxiCompany {
    buckets: u64,
}

impl Transform for TaxiCompany {
    fn describe() -> Signature {
        Signature::new("taxi_company", "1.0.0")
            .doc("The company's name without licence number, punctuation and legal form; and its hash bucket.")
            .feature("company_name", Type::String)
            .output("company_clean", Type::String)
            .output("company_bucket", Type::Int32)
            .parameter("buckets", Value::Int(64), "Number of buckets, 1 to 2147483647.")
    }

    fn bind(parameters: &Parameters) -> Result<Self, Refusal> {
        match parameters.int("buckets")? {
            buckets @ 1..=0x7fff_ffff => Ok(Self { buckets: buckets as u64 }),
            other => Err(Refusal::bad_parameter("buckets", format!("{other} is not between 1 and 2147483647"))),
        }
    }

    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
        let names = rows.strings("company_name")?;
        let clean: Vec<Option<String>> = (0..rows.len()).map(|row| names.get(row).map(clean)).collect();
        outputs.strings("company_clean", |row| clean[row].as_deref())?;
        outputs.int32s("company_bucket", |row| Some((fnv_1a(clean[row].as_ref()?.as_bytes()) % self.buckets) as i32))
    }
}

/// `"2733 - 74600 Benny Jona, Inc."` becomes `"benny jona"`.
fn clean(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut clean = String::with_capacity(lower.len());
    let mut word_begins = false;
    for letter in without_licence(lower.trim()).chars() {
        if letter.is_whitespace() {
            word_begins = !clean.is_empty();
        } else if letter.is_alphanumeric() {
            if word_begins {
                clean.push(' ');
            }
            clean.push(letter);
            word_begins = false;
        }
    }
    while let ("inc" | "corp" | "co", rest) = last_word(&clean) {
        clean.truncate(rest);
    }
    clean
}

/// The last word, and the length of what is before it.
fn last_word(words: &str) -> (&str, usize) {
    words.rsplit_once(' ').map_or((words, 0), |(rest, last)| (last, rest.len()))
}

/// Drops a leading `digits - digits `.
fn without_licence(name: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match name.split_once(" - ").map(|(first, rest)| (first, rest.split_once(' ').unwrap_or((rest, "")))) {
        Some((first, (second, rest))) if digits(first) && digits(second) => rest,
        _ => name,
    }
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

lockstep_plugin::export!(TaxiCompany);

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_name_loses_its_licence_number_punctuation_and_legal_form() {
        assert_eq!(clean("  2733 - 74600 Benny   Jona, Inc. "), "benny jona");
        assert_eq!(clean("Taxi Affiliation Services"), "taxi affiliation services");
        assert_eq!(clean("6742 - 83735 Tasha ride inc"), "tasha ride");
        assert_eq!(clean("Checker Taxi Co., Inc."), "checker taxi");
        assert_eq!(clean("24 Seven Taxi"), "24 seven taxi");
        assert_eq!(clean(""), "");
    }
}
