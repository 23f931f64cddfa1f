//! Frames that no host of ours would write: a plugin must not take them. One that reads beyond its columns, or trusts a
//! length, computes from bytes that are nobody's values.

use arrow::array::ArrayRef;

use super::report::{Check, Verdict};
use super::subject::Subject;
use crate::transform::Error;
use crate::transform::frame::{DESCRIPTOR_BYTES, HEADER_BYTES};
use crate::transform::probe::Guest;

/// Columns whose descriptors are damaged.
const COLUMNS_TRIED_MAX: usize = 8;
/// Within a descriptor: where the places of the values and of the offsets stand.
const VALUES: usize = 16;
const OFFSETS: usize = 24;

/// Sends damaged forms of a frame with `rows` of `inputs`, each to a fresh instance. A refusal is right, a trap is fine.
pub fn refuses_bad_frames(subject: &Subject<'_>, inputs: &[ArrayRef], rows: usize) -> Result<Check, Error> {
    const NAME: &str = "frames";
    let Some(frame) = Guest::fresh(subject.fresh, &subject.transform)?.frame(inputs, 0..rows) else {
        return Ok(Check::new(NAME, Verdict::Skipped, "no frame of ordinary rows fits"));
    };
    let damaged = damaged_forms(&frame, inputs.len());
    let (count, mut taken) = (damaged.len(), Vec::new());
    for (what, bytes) in damaged {
        if Guest::fresh(subject.fresh, &subject.transform)?.call(&bytes, rows).is_ok() {
            taken.push(what);
        }
    }
    let check = match taken.as_slice() {
        [] => Check::new(NAME, Verdict::Passed, format!("{count} damaged frames, none is taken")),
        [first, ..] => {
            let detail = format!(
                "{} of {count} damaged frames are answered as if they were right; the first: {first}",
                taken.len()
            );
            Check::new(NAME, Verdict::Failed, detail)
        }
    };
    Ok(check)
}

fn damaged_forms(frame: &[u8], columns: usize) -> Vec<(String, Vec<u8>)> {
    let mut forms = Vec::new();
    let head = HEADER_BYTES + columns * DESCRIPTOR_BYTES;
    for length in [0, 3, HEADER_BYTES - 1, head - 1, (head + frame.len()) / 2, frame.len().saturating_sub(8)] {
        if length < frame.len() {
            forms.push((format!("cut off after {length} of {} bytes", frame.len()), frame[..length].to_vec()));
        }
    }
    for more in [1, 8, 4_096] {
        forms.push((format!("{more} bytes too long"), [frame, &vec![0; more]].concat()));
    }
    let mut changed = |what: String, at: usize, word: u32| {
        let mut bytes = frame.to_vec();
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if bytes != frame {
            forms.push((what, bytes));
        }
    };
    let word =
        |at: usize| frame.get(at..at + 4).map_or(0, |word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    changed("another magic number".to_owned(), 0, 0x3246_534c);
    changed("one row more than it holds".to_owned(), 4, word(4) + 1);
    changed("4294967295 rows".to_owned(), 4, u32::MAX);
    changed("one column more than it holds".to_owned(), 8, word(8) + 1);
    for column in 0..columns.min(COLUMNS_TRIED_MAX) {
        let descriptor = HEADER_BYTES + column * DESCRIPTOR_BYTES;
        changed(format!("column {column} of another type"), descriptor, word(descriptor) ^ 7);
        for (buffer, at) in [("values", descriptor + VALUES), ("offsets", descriptor + OFFSETS)] {
            if word(at + 4) == 0 {
                continue;
            }
            changed(format!("the {buffer} of column {column} over the header"), at, 0);
            changed(format!("the {buffer} of column {column} over the descriptors"), at, HEADER_BYTES as u32);
            changed(format!("the {buffer} of column {column} beyond the end"), at, frame.len() as u32);
            changed(format!("the {buffer} of column {column} far away"), at, u32::MAX - 7);
            changed(format!("the {buffer} of column {column} 4294967295 bytes long"), at + 4, u32::MAX);
            changed(format!("the {buffer} of column {column} 8 bytes short"), at + 4, word(at + 4).saturating_sub(8));
        }
        if word(descriptor + OFFSETS + 4) > 8 {
            let offsets = word(descriptor + OFFSETS) as usize;
            changed(format!("offsets of column {column} that do not begin at 0"), offsets, 1);
            changed(format!("offsets of column {column} that fall"), offsets + 4, i32::MAX as u32);
            changed(format!("offsets of column {column} below 0"), offsets + 4, u32::MAX);
        }
        if column > 0 && word(descriptor + VALUES + 4) > 0 {
            let before = word(descriptor - DESCRIPTOR_BYTES + VALUES);
            changed(
                format!("the values of column {column} over those of the column before"),
                descriptor + VALUES,
                before,
            );
        }
    }
    forms
}
