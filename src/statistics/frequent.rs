//! The most frequent values of a stream: all of them counted while they are few, the heavy ones beyond (Misra and Gries
//! 1982). What is counted too little is bounded, and the bound is told.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use serde_json::Value;

use super::distinct::{AsItIs, HyperLogLog};
use crate::limits::STATISTICS_COUNTED_VALUES;

/// Values by their hash. Two values of one hash count as one; with 64 bits that is a matter of billions of values.
#[derive(Debug, Default)]
pub struct Frequent {
    counts: HashMap<u64, Counted, BuildHasherDefault<AsItIs>>,
    /// By how much a count can be too small.
    missed: u64,
    /// Every hash, once not all of them are in `counts`.
    all: Option<HyperLogLog>,
}

#[derive(Debug)]
struct Counted {
    count: u64,
    /// What people read. Of a value that came once among very many it is not kept.
    shown: Option<Value>,
}

/// How many distinct values there were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distinct {
    Exact(u64),
    Estimated(f64),
}

impl Frequent {
    /// `shown` is called where the value is kept.
    pub fn push(&mut self, hash: u64, shown: impl FnOnce() -> Value) {
        if let Some(all) = &mut self.all {
            all.push(hash);
        }
        let is_saturated = self.all.is_some();
        let counted = self.counts.entry(hash).or_insert(Counted { count: 0, shown: None });
        counted.count += 1;
        if counted.shown.is_none() && (!is_saturated || counted.count > 1) {
            counted.shown = Some(shown());
        }
        if self.counts.len() > STATISTICS_COUNTED_VALUES {
            self.forget();
        }
    }

    /// Lets go of the rarer half: everything counts less by what the last of them had.
    fn forget(&mut self) {
        if self.all.is_none() {
            let mut all = HyperLogLog::default();
            self.counts.keys().for_each(|hash| all.push(*hash));
            self.all = Some(all);
        }
        let mut counts: Vec<u64> = self.counts.values().map(|counted| counted.count).collect();
        let middle = counts.len() / 2;
        let (_, gone, _) = counts.select_nth_unstable(middle);
        let gone = *gone;
        self.missed += gone;
        self.counts.retain(|_, counted| {
            counted.count = counted.count.saturating_sub(gone);
            counted.count > 0
        });
    }

    pub fn distinct(&self) -> Distinct {
        match &self.all {
            None => Distinct::Exact(self.counts.len() as u64),
            Some(all) => Distinct::Estimated(all.estimate()),
        }
    }

    /// By how much a count can be too small; 0 where all values were counted.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The most frequent values, the first one first. Where not all were counted, those that surely are among them: what
    /// may have come no more often than a value that was let go is left out.
    pub fn top(&self, most: usize) -> Vec<(Value, u64)> {
        let counted = self.counts.iter().filter(|(_, counted)| counted.count > self.missed);
        let mut top: Vec<(u64, u64, &Value)> =
            counted.filter_map(|(hash, counted)| Some((counted.count, *hash, counted.shown.as_ref()?))).collect();
        // By hash among equals, so that the same rows give the same answer.
        top.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
        top.into_iter().take(most).map(|(count, _, shown)| (shown.clone(), count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::statistics::distinct::{STANDARD_ERROR, hash_bits};

    fn push(frequent: &mut Frequent, value: u64) {
        frequent.push(hash_bits(value), || json!(value));
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let mut frequent = Frequent::default();
        for value in [7, 7, 8, 7, 9, 8] {
            push(&mut frequent, value);
        }
        assert_eq!(frequent.top(2), [(json!(7), 3), (json!(8), 2)]);
        assert_eq!((frequent.distinct(), frequent.missed()), (Distinct::Exact(3), 0));
    }

    #[test]
    fn heavy_values_among_very_many_are_found_and_counted_within_the_bound() {
        let mut frequent = Frequent::default();
        let rows = 400_000;
        // Every fourth value is 1, every eighth 2; the others come once.
        for row in 0..rows {
            let value = match row % 8 {
                0 | 4 => 1,
                2 => 2,
                _ => 1_000 + row,
            };
            push(&mut frequent, value);
        }
        let top = frequent.top(10);
        assert_eq!(top.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>(), [json!(1), json!(2)]);
        for ((_, counted), really) in top.iter().zip([rows / 4, rows / 8]) {
            assert!(*counted <= really && really <= counted + frequent.missed(), "{counted} of {really}");
        }
        assert!(frequent.missed() <= rows / (STATISTICS_COUNTED_VALUES as u64 / 2), "{}", frequent.missed());
        let Distinct::Estimated(distinct) = frequent.distinct() else { panic!("there are more than are counted") };
        let really = (rows as f64).mul_add(5.0 / 8.0, 2.0);
        assert!((distinct - really).abs() <= 4.0 * STANDARD_ERROR * really, "{distinct} of {really}");
    }
}
