//! Does row i of the answer depend on row i alone? However the rows are cut, ordered and repeated, their answers are
//! those that each of them had alone, on an instance that nobody had used.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use super::answer::{Answer, answer, shown, taken};
use super::corpus::{Corpus, Row};
use super::edges::below;
use super::fuel::FuelSeen;
use super::report::{Check, Verdict};
use super::subject::Subject;
use crate::batch::timestamps;
use crate::catalog::{NullPolicy, TimeUse};
use crate::limits::FRAME_ROWS_MAX;
use crate::transform::Error;

/// Numbers of rows of one call: around a byte of a bitmap, and around the largest frame.
const ROW_COUNTS: [usize; 7] = [0, 1, 7, 8, 9, FRAME_ROWS_MAX - 1, FRAME_ROWS_MAX];
/// Rows of one call when a batch is cut.
const CHUNKS: [usize; 5] = [2, 7, 64, 1_000, FRAME_ROWS_MAX];
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The rows, and what each of them alone is answered.
pub struct Alone<'a> {
    pub subject: &'a Subject<'a>,
    pub corpus: &'a Corpus,
    pub inputs: &'a [ArrayRef],
    pub answer: Answer,
}

/// Has each row answered alone, by a fresh instance. Refused rows are fine, faults are not.
pub fn rows_alone(
    subject: &Subject<'_>,
    corpus: &Corpus,
    inputs: &[ArrayRef],
    seen: &mut FuelSeen,
) -> (Check, Option<Answer>) {
    const NAME: &str = "answers";
    let (mut answers, mut faults, mut first) = (Vec::with_capacity(corpus.rows.len()), 0, None);
    for row in 0..corpus.rows.len() {
        let alone: Vec<ArrayRef> = inputs.iter().map(|column| column.slice(row, 1)).collect();
        match answer(subject.fresh, &subject.transform, &alone, 1) {
            Ok(answer) => {
                seen.call(answer.fuel, 1);
                answers.push(answer);
            }
            Err(error) => {
                faults += 1;
                first.get_or_insert((row, error));
            }
        }
    }
    let Some((row, error)) = first else {
        let answer = Answer::of_rows(&subject.transform.outputs, &answers);
        let detail = format!("{} rows, each alone; {} refused", answer.rows, answer.refused_count);
        return (Check::new(NAME, Verdict::Passed, detail), Some(answer));
    };
    let smallest = smallest(subject, corpus, vec![corpus.rows[row].clone()], &error);
    let detail = format!("{error} · smallest input: {smallest} · {faults} of {} rows fail", corpus.rows.len());
    (Check::new(NAME, Verdict::Failed, detail), None)
}

/// The smallest input that fails as `error` says.
fn smallest(subject: &Subject<'_>, corpus: &Corpus, rows: Vec<Row>, error: &Error) -> String {
    let fault = |error: &Error| match error {
        Error::Fault { fault, .. } => Some(fault.kind()),
        _ => None,
    };
    let wanted = fault(error);
    let mut fails = |rows: &[Row]| {
        let columns = corpus.columns(rows);
        answer(subject.fresh, &subject.transform, &columns, rows.len()).is_err_and(|error| fault(&error) == wanted)
    };
    corpus.described(&corpus.shrunk(rows, &mut fails))
}

impl Alone<'_> {
    pub fn row_counts(&self, seen: &mut FuelSeen) -> Check {
        let short = self.corpus.short_rows();
        for rows in ROW_COUNTS {
            let places = self.repeated(&short, rows);
            match self.compared(&places, rows.max(1)) {
                Ok(fuel) => seen.call(fuel, rows),
                Err(detail) => {
                    return Check::new("row counts", Verdict::Failed, format!("a call with {rows} rows: {detail}"));
                }
            }
        }
        let counts = ROW_COUNTS.map(|rows| rows.to_string()).join(", ");
        Check::new("row counts", Verdict::Passed, format!("calls with {counts} rows"))
    }

    pub fn chunks(&self) -> Check {
        let short = self.corpus.short_rows();
        for rows in CHUNKS {
            // Small calls over every row there is, large ones over rows that come again and again.
            let places = match rows {
                64.. => self.repeated(&short, FRAME_ROWS_MAX),
                _ => (0..self.answer.rows).collect(),
            };
            if let Err(detail) = self.compared(&places, rows) {
                let detail = format!("{} rows, {rows} in each call: {detail}", places.len());
                return Check::new("chunks", Verdict::Failed, detail);
            }
        }
        let sizes = CHUNKS.map(|rows| rows.to_string()).join(", ");
        Check::new("chunks", Verdict::Passed, format!("cut into calls of {sizes} rows, as each row alone"))
    }

    pub fn order(&self) -> Check {
        let rows = self.answer.rows;
        let half = rows / 2;
        // Coprime to every number of rows that is no multiple of it, so that each row comes once.
        let stride = [613, 617, 619].into_iter().find(|stride| !rows.is_multiple_of(*stride)).unwrap_or(1);
        let orders: [(&str, Vec<usize>); 4] = [
            ("reversed", (0..rows).rev().collect()),
            ("permuted", (0..rows).map(|row| row * stride % rows.max(1)).collect()),
            ("every row twice", (0..rows).flat_map(|row| [row, row]).collect()),
            ("the second half before the first", (half..rows).chain(0..half).collect()),
        ];
        for (name, places) in orders {
            if let Err(detail) = self.compared(&places, FRAME_ROWS_MAX) {
                return Check::new("order", Verdict::Failed, format!("{name}: {detail}"));
            }
        }
        Check::new("order", Verdict::Passed, "reversed, permuted, doubled, halves exchanged: as each row alone")
    }

    /// A row with a null among its inputs has only nulls, if the plugin leaves nulls to the gateway.
    pub fn nulls(&self) -> Check {
        const NAME: &str = "nulls";
        let signature = &self.subject.transform.signature;
        if signature.nulls == NullPolicy::Handle {
            return Check::new(NAME, Verdict::Skipped, "the plugin says that it handles nulls itself");
        }
        let with_null: Vec<usize> =
            (0..self.answer.rows).filter(|row| self.corpus.rows[*row].iter().any(Option::is_none)).collect();
        if with_null.is_empty() {
            return Check::new(NAME, Verdict::Skipped, "no input may be null");
        }
        for row in &with_null {
            let mut outputs = self.subject.transform.outputs.iter().zip(&self.answer.columns);
            if let Some((field, column)) = outputs.find(|(_, column)| column.is_valid(*row)) {
                let input = self.corpus.described(&self.corpus.rows[*row..row + 1]);
                let got = shown(column, *row);
                let detail = format!("column {}, expected null, got {got} · input: {input}", field.name);
                return Check::new(NAME, Verdict::Failed, detail);
            }
        }
        let refused = with_null.iter().filter(|row| self.answer.refused.contains_key(row)).count();
        match refused {
            0 => Check::new(NAME, Verdict::Passed, format!("{} rows with nulls give nulls", with_null.len())),
            _ => {
                let detail = format!(
                    "{} rows with nulls give nulls, but the plugin refuses {refused} of them: what stands in a null place is no value, do not look at it",
                    with_null.len()
                );
                Check::new(NAME, Verdict::Warned, detail)
            }
        }
    }

    /// Rows of different times beside each other do not see each other's time, and the time is used at all.
    pub fn time(&self) -> Check {
        const NAME: &str = "time";
        if self.subject.transform.signature.time == TimeUse::None {
            return Check::new(NAME, Verdict::Skipped, "the plugin uses no time and gets none");
        }
        let rows = self.answer.rows;
        let later = |days: i64| {
            let times = self.inputs[0].as_primitive::<TimestampMicrosecondType>().iter();
            let times = times.map(|time| time.map(|time| time.saturating_add(days * MICROS_PER_DAY)));
            let mut inputs = self.inputs.to_vec();
            inputs[0] = Arc::new(timestamps(times.collect()));
            inputs
        };
        let both = |inputs: &[ArrayRef]| -> Vec<ArrayRef> {
            self.inputs.iter().zip(inputs).map(|(now, later)| below(now, later)).collect()
        };
        let later = later(400);
        let shifted = self.subject.fresh_answer(&later, rows);
        let together = self.subject.fresh_answer(&both(&later), 2 * rows);
        let fields = &self.subject.transform.outputs;
        let (shifted, together) = match (shifted, together) {
            (Ok(shifted), Ok(together)) => (shifted, together),
            (Err(error), _) | (_, Err(error)) => {
                return Check::new(NAME, Verdict::Failed, format!("400 days later: {error}"));
            }
        };
        let expected = Answer::of_rows(fields, &[self.answer.clone(), shifted.clone()]);
        if let Some(difference) = expected.differs(fields, &together) {
            let detail = format!("rows of two times in one call: {difference}");
            return Check::new(NAME, Verdict::Failed, detail);
        }
        match self.answer.differs(fields, &shifted) {
            Some(_) => Check::new(NAME, Verdict::Passed, "rows of two times in one call: as each row alone"),
            None => Check::new(
                NAME,
                Verdict::Warned,
                "no answer changes when as_of is 400 days later: a plugin that does not use time can be synced",
            ),
        }
    }

    /// `rows` of `places`, one after the other and again from the first.
    fn repeated(&self, places: &[usize], rows: usize) -> Vec<usize> {
        places.iter().copied().cycle().take(rows).collect()
    }

    /// The rows in `places`, so many in each call on a fresh instance: the fuel, or what is not as the rows alone.
    fn compared(&self, places: &[usize], rows: usize) -> Result<u64, String> {
        let inputs = taken(self.inputs, places);
        let (mut parts, mut start) = (Vec::new(), 0);
        loop {
            let length = rows.min(places.len() - start);
            let part: Vec<ArrayRef> = inputs.iter().map(|column| column.slice(start, length)).collect();
            let answered = self.subject.fresh_answer(&part, length).map_err(|error| {
                let failing = places[start..start + length].iter().map(|place| self.corpus.rows[*place].clone());
                let smallest = smallest(self.subject, self.corpus, failing.collect(), &error);
                format!("{error} · smallest input: {smallest}")
            })?;
            parts.push(answered);
            start += length;
            if start >= places.len() {
                break;
            }
        }
        let fields = &self.subject.transform.outputs;
        let got = Answer::of_rows(fields, &parts);
        let is_whole = parts.iter().all(|part| part.refused.len() == part.refused_count);
        match self.answer.at(places).differs(fields, &got) {
            // Of many refused rows in one call only the first are known.
            Some(difference) if is_whole || difference.column.is_some() => {
                let input = difference.row.map(|row| self.corpus.described(&[self.corpus.rows[places[row]].clone()]));
                Err(format!("{difference}{}", input.map_or(String::new(), |input| format!(" · input: {input}"))))
            }
            _ => Ok(got.fuel),
        }
    }
}
