//! Quantiles of a stream of numbers in bounded memory: exact while they fit, a sketch beyond.
//!
//! The sketch is a ladder of buffers, as in KLL (Karnin, Lang, Liberty 2016): a full buffer is sorted and every second
//! value goes up one rung, where it stands for twice as many. Which of two neighbours goes up alternates, so that errors
//! cancel; no random numbers, so that the same rows give the same answer. Each such step moves a rank by no more than what
//! one value on that rung stands for. These steps are added up, and the sum is told as the bound of the error.

use crate::limits::{STATISTICS_EXACT_VALUES, STATISTICS_RUNG_VALUES};

/// Numbers so far.
#[derive(Clone, Debug, Default)]
pub struct Quantiles {
    /// Rung `n` has values that stand for 2ⁿ numbers each. While there is one rung, it has every number.
    rungs: Vec<Rung>,
    count: u64,
    /// By how much a rank can be wrong.
    error: u64,
}

#[derive(Clone, Debug, Default)]
struct Rung {
    values: Vec<f64>,
    /// Whether the next step takes the second of two neighbours.
    second: bool,
}

/// The numbers in order, ready to be asked.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// Ascending.
    values: Vec<f64>,
    /// How many numbers stand at or before each value; nothing where each value is one number.
    up_to: Option<Vec<u64>>,
    count: u64,
    error: u64,
}

impl Quantiles {
    /// `values` are finite.
    pub fn push(&mut self, values: &[f64]) {
        self.count += values.len() as u64;
        let mut rest = values;
        while !rest.is_empty() {
            if self.rungs.is_empty() {
                self.rungs.push(Rung::default());
            }
            let lowest = &mut self.rungs[0].values;
            let (now, later) = rest.split_at(rest.len().min(STATISTICS_EXACT_VALUES - lowest.len()));
            lowest.extend_from_slice(now);
            rest = later;
            // A full rung moves up only when there is more to come, so that exactly so many numbers are still exact.
            if !rest.is_empty() {
                self.step_up();
            }
        }
    }

    pub fn finish(self) -> Ordered {
        let Self { mut rungs, count, error } = self;
        if rungs.len() <= 1 {
            let mut values = rungs.pop().map(|rung| rung.values).unwrap_or_default();
            values.sort_unstable_by(f64::total_cmp);
            return Ordered { values, up_to: None, count, error };
        }
        let weighted = rungs.iter().enumerate();
        let weighted = weighted.flat_map(|(rung, kept)| kept.values.iter().map(move |value| (*value, 1_u64 << rung)));
        let mut weighted: Vec<(f64, u64)> = weighted.collect();
        weighted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let mut total = 0;
        let up_to = weighted.iter().map(|(_, weight)| {
            total += weight;
            total
        });
        let up_to = Some(up_to.collect());
        Ordered { values: weighted.into_iter().map(|(value, _)| value).collect(), up_to, count, error }
    }

    /// Empties the lowest rung, and every rung above it that then has too much.
    fn step_up(&mut self) {
        let mut rung = 0;
        loop {
            let bound = if rung == 0 { 0 } else { STATISTICS_RUNG_VALUES };
            if self.rungs[rung].values.len() <= bound {
                return;
            }
            if self.rungs.len() == rung + 1 {
                self.rungs.push(Rung::default());
            }
            let (below, above) = self.rungs.split_at_mut(rung + 1);
            let (from, to) = (&mut below[rung], &mut above[0].values);
            from.values.sort_unstable_by(f64::total_cmp);
            // The largest of an odd number stays, so that what stands for two numbers took the place of two.
            let kept = (from.values.len() % 2 == 1).then(|| from.values.pop()).flatten();
            to.extend(from.values.iter().skip(usize::from(from.second)).step_by(2));
            from.values.clear();
            from.values.extend(kept);
            from.second = !from.second;
            self.error += 1 << rung;
            rung += 1;
        }
    }
}

impl Ordered {
    /// Whether nothing was left out.
    pub fn is_exact(&self) -> bool {
        self.up_to.is_none()
    }

    /// The rank of an answer is wrong by no more than this part of all numbers.
    pub fn rank_error(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.error as f64 / self.count as f64 }
    }

    /// The value below which the part `share` (0 to 1) of the numbers lies. Between two numbers of exact ones it is
    /// interpolated, as numpy and pandas do it; of a sketch it is one of the numbers. `None` without any number.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let Some(up_to) = &self.up_to else {
            let place = share.clamp(0.0, 1.0) * last as f64;
            let (low, high) = (self.values[place.floor() as usize], self.values[place.ceil() as usize]);
            // As a mix, because the difference of two large numbers may not be finite.
            let part = place.fract();
            return Some(if part == 0.0 { low } else { low * (1.0 - part) + high * part });
        };
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        Some(self.values[up_to.partition_point(|up_to| *up_to < rank).min(last)])
    }

    /// How many numbers are less than `value`.
    pub fn count_below(&self, value: f64) -> u64 {
        self.count_before(self.values.partition_point(|known| *known < value))
    }

    /// How many numbers are `value` at the most.
    pub fn count_up_to(&self, value: f64) -> u64 {
        self.count_before(self.values.partition_point(|known| *known <= value))
    }

    fn count_before(&self, place: usize) -> u64 {
        match (&self.up_to, place) {
            (_, 0) => 0,
            (None, place) => place as u64,
            (Some(up_to), place) => up_to[place - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ordered(values: &[f64], at_once: usize) -> Ordered {
        let mut quantiles = Quantiles::default();
        values.chunks(at_once.max(1)).for_each(|chunk| quantiles.push(chunk));
        quantiles.finish()
    }

    /// Numbers that come in no order.
    fn shuffled(count: u64) -> Vec<f64> {
        (0..count).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as f64).collect()
    }

    #[test]
    fn few_numbers_are_answered_as_numpy_does() {
        let four = ordered(&[4.0, 1.0, 3.0, 2.0], 3);
        assert_eq!((four.quantile(0.0), four.quantile(1.0)), (Some(1.0), Some(4.0)));
        assert_eq!((four.quantile(0.5), four.quantile(0.25)), (Some(2.5), Some(1.75)));
        assert_eq!((four.count_below(3.0), four.count_up_to(3.0), four.count_up_to(9.0)), (2, 3, 4));
        assert_eq!(ordered(&[], 1).quantile(0.5), None);
        assert_eq!(ordered(&[f64::MAX, f64::MIN], 1).quantile(0.5), Some(0.0));
    }

    #[test]
    fn as_many_numbers_as_are_kept_are_exact_and_one_more_is_not() {
        let numbers = shuffled(STATISTICS_EXACT_VALUES as u64 + 1);
        assert!(ordered(&numbers[..STATISTICS_EXACT_VALUES], 1_000).is_exact());
        assert!(!ordered(&numbers, 1_000).is_exact());
    }

    #[test]
    fn a_sketch_of_sorted_reversed_and_shuffled_numbers_keeps_its_promise() {
        let mut numbers = shuffled(1_000_000);
        check_bound(&numbers, 8_192);
        numbers.sort_unstable_by(f64::total_cmp);
        check_bound(&numbers, 8_192);
        numbers.reverse();
        check_bound(&numbers, 8_192);
    }

    /// Every rank that a sketch says is within its own bound, and the bound is a small one.
    fn check_bound(numbers: &[f64], at_once: usize) {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let sketch = ordered(numbers, at_once);
        let bound = sketch.rank_error() * numbers.len() as f64;
        assert!(sketch.rank_error() < 0.003, "{}", sketch.rank_error());
        for hundredth in 0..=100 {
            let share = f64::from(hundredth) / 100.0;
            let value = sketch.quantile(share).unwrap();
            let rank = share * sorted.len() as f64;
            let (first, last) = (
                sorted.partition_point(|known| *known < value) as f64,
                sorted.partition_point(|known| *known <= value) as f64,
            );
            assert!(first - bound - 1.0 <= rank && rank <= last + bound + 1.0, "{share}: {first}..{last} ± {bound}");
            let counted = sketch.count_up_to(value) as f64;
            assert!((counted - last).abs() <= bound + 1.0, "{share}: {counted} and not {last}");
        }
        assert_eq!(sketch.count_up_to(f64::INFINITY), numbers.len() as u64, "no number is lost");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_sketch_of_any_numbers_keeps_its_promise(
            kinds in prop::collection::vec((0.0_f64..1e6, 1_usize..40_000), 5..12),
            at_once in 1_000_usize..100_000,
        ) {
            let repeated = kinds.iter().flat_map(|(value, times)| (0..*times).map(move |step| value + (step % 97) as f64));
            let numbers: Vec<f64> = repeated.collect();
            prop_assume!(numbers.len() > STATISTICS_EXACT_VALUES);
            check_bound(&numbers, at_once);
        }
    }
}
