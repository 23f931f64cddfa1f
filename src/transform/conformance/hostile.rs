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

/// A frame that is not one.
struct Damaged {
    what: String,
    bytes: Vec<u8>,
    /// Whoever reads it can only go wrong. The others hold every value that is asked for, in a layout that is not
    /// frame/1's: taking one is careless and hurts nobody as long as the host is right.
    is_senseless: bool,
}

/// Sends damaged forms of a frame with `rows` of `inputs`, each to a fresh instance. A refusal is right, a trap is fine.
pub fn refuses_bad_frames(subject: &Subject<'_>, inputs: &[ArrayRef], rows: usize) -> Result<Check, Error> {
    const NAME: &str = "frames";
    let Some(frame) = Guest::fresh(subject.fresh, &subject.transform)?.frame(inputs, 0..rows) else {
        return Ok(Check::new(NAME, Verdict::Skipped, "no frame of ordinary rows fits"));
    };
    let damaged = damaged_forms(&frame, inputs.len());
    let mut taken = Vec::new();
    for form in &damaged {
        if Guest::fresh(subject.fresh, &subject.transform)?.call(&form.bytes, rows).is_ok() {
            taken.push(form);
        }
    }
    let senseless = taken.iter().find(|form| form.is_senseless);
    let count = damaged.len();
    let check = match (senseless.or(taken.first()), senseless) {
        (None, _) => Check::new(NAME, Verdict::Passed, format!("{count} damaged frames, none is taken")),
        (Some(first), senseless) => {
            let verdict = if senseless.is_some() { Verdict::Failed } else { Verdict::Warned };
            let detail =
                format!("{} of {count} damaged frames are answered, such as one with {}", taken.len(), first.what);
            Check::new(NAME, verdict, detail)
        }
    };
    Ok(check)
}

fn damaged_forms(frame: &[u8], columns: usize) -> Vec<Damaged> {
    let mut forms = Vec::new();
    let head = HEADER_BYTES + columns * DESCRIPTOR_BYTES;
    for length in [0, 3, HEADER_BYTES - 1, head - 1, (head + frame.len()) / 2] {
        if length < frame.len() {
            let what = format!("{length} of its {} bytes", frame.len());
            forms.push(Damaged { what, bytes: frame[..length].to_vec(), is_senseless: true });
        }
    }
    for more in [1, 8, 4_096] {
        let bytes = [frame, &vec![0; more]].concat();
        forms.push(Damaged { what: format!("{more} bytes after its end"), bytes, is_senseless: false });
    }
    let mut changed = |is_senseless: bool, what: String, at: usize, word: u32| {
        let mut bytes = frame.to_vec();
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if bytes != frame {
            forms.push(Damaged { what, bytes, is_senseless });
        }
    };
    let word =
        |at: usize| frame.get(at..at + 4).map_or(0, |word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    changed(true, "another magic number".to_owned(), 0, 0x3246_534c);
    changed(true, "one column more than it holds".to_owned(), 8, word(8) + 1);
    if columns > 0 {
        changed(true, "one row more than it holds".to_owned(), 4, word(4) + 1);
        changed(true, "4294967295 rows".to_owned(), 4, u32::MAX);
    }
    for column in 0..columns.min(COLUMNS_TRIED_MAX) {
        damage_column(&mut changed, &word, column, frame.len() as u32);
    }
    forms
}

/// A descriptor that lies, and offsets that do.
fn damage_column(
    changed: &mut dyn FnMut(bool, String, usize, u32),
    word: &dyn Fn(usize) -> u32,
    column: usize,
    frame_bytes: u32,
) {
    let descriptor = HEADER_BYTES + column * DESCRIPTOR_BYTES;
    changed(true, format!("column {column} of another type"), descriptor, word(descriptor) ^ 7);
    for (buffer, at) in [("values", descriptor + VALUES), ("offsets", descriptor + OFFSETS)] {
        if word(at + 4) == 0 {
            continue;
        }
        changed(true, format!("the {buffer} of column {column} beyond its end"), at, frame_bytes);
        changed(true, format!("the {buffer} of column {column} far away"), at, u32::MAX - 7);
        changed(true, format!("the {buffer} of column {column} 4294967295 bytes long"), at + 4, u32::MAX);
        changed(true, format!("the {buffer} of column {column} too short"), at + 4, word(at + 4) / 2);
        changed(false, format!("the {buffer} of column {column} over its header"), at, 0);
        changed(false, format!("the {buffer} of column {column} over its descriptors"), at, HEADER_BYTES as u32);
    }
    if word(descriptor + OFFSETS + 4) > 8 {
        let offsets = word(descriptor + OFFSETS) as usize;
        changed(true, format!("offsets of column {column} beyond the values"), offsets + 4, i32::MAX as u32);
        changed(true, format!("offsets of column {column} below 0"), offsets + 4, u32::MAX);
        changed(false, format!("offsets of column {column} that do not begin at 0"), offsets, 1);
    }
    if column > 0 && word(descriptor + VALUES + 4) > 0 {
        let before = word(descriptor - DESCRIPTOR_BYTES + VALUES);
        changed(false, format!("the values of column {column} over those before"), descriptor + VALUES, before);
    }
}
