//! Mean, spread, extremes, quantiles and histogram of a stream of numbers.

use super::quantiles::{Ordered, Quantiles};

/// Finite numbers so far; those that are not are counted apart.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    count: u64,
    mean: f64,
    /// The sum of the squared distances from the mean.
    squares: f64,
    extremes: Option<(f64, f64)>,
    nans: u64,
    infinities: u64,
    quantiles: Quantiles,
}

/// What is said of numbers.
#[derive(Clone, Debug)]
pub struct Summary {
    pub count: u64,
    pub nans: u64,
    pub infinities: u64,
    /// `None` without any number.
    pub mean: Option<f64>,
    /// Of a sample (divided by one less than the count), as pandas has it; `None` with fewer than two numbers.
    pub variance: Option<f64>,
    pub extremes: Option<(f64, f64)>,
    pub ordered: Ordered,
}

/// A bin of a histogram; `to` belongs to the last one only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub count: u64,
}

impl Numbers {
    /// Adds numbers, some of which may not be finite. `scratch` is room for the others.
    pub fn push(&mut self, values: &[f64], scratch: &mut Vec<f64>) {
        // No branch, so that the compiler takes many at once; nearly always there is nothing to sort out.
        let finite = values.iter().fold(true, |finite, value| finite & value.is_finite());
        if finite {
            return self.push_finite(values);
        }
        self.nans += values.iter().filter(|value| value.is_nan()).count() as u64;
        self.infinities += values.iter().filter(|value| value.is_infinite()).count() as u64;
        scratch.clear();
        scratch.extend(values.iter().filter(|value| value.is_finite()));
        self.push_finite(scratch);
    }

    fn push_finite(&mut self, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        // Two passes over the batch, then both are put together (Chan, Golub, LeVeque 1979): the sum of squares alone
        // would lose everything where the mean is large.
        let count = values.len() as f64;
        let sum: f64 = values.iter().sum();
        // A sum may leave the floats where the mean does not.
        let mean = if sum.is_finite() { sum / count } else { values.iter().map(|value| value / count).sum() };
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let (before, both) = (self.count as f64, self.count as f64 + count);
        let apart = mean - self.mean;
        self.mean += apart * (count / both);
        self.squares += squares + apart * apart * (before * count / both);
        self.count += values.len() as u64;
        let (low, high) = self.extremes.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        let extremes =
            values.iter().fold((low, high), |(low, high): (f64, f64), value| (low.min(*value), high.max(*value)));
        self.extremes = Some(extremes);
        self.quantiles.push(values);
    }

    pub fn finish(self) -> Summary {
        Summary {
            count: self.count,
            nans: self.nans,
            infinities: self.infinities,
            mean: (self.count > 0).then_some(self.mean),
            variance: (self.count > 1).then(|| self.squares / (self.count - 1) as f64),
            extremes: self.extremes,
            ordered: self.quantiles.finish(),
        }
    }
}

impl Summary {
    /// So many bins of one width between the least and the largest number; one bin where these are the same.
    pub fn histogram(&self, bins: usize) -> Vec<Bin> {
        let Some((low, high)) = self.extremes else { return Vec::new() };
        if low == high {
            return vec![Bin { from: low, to: high, count: self.count }];
        }
        // As a mix, because the difference of two large numbers may not be finite.
        let edge = |bin: usize| {
            let part = bin as f64 / bins as f64;
            low * (1.0 - part) + high * part
        };
        let below = |bin: usize| match bin {
            0 => 0,
            last if last == bins => self.count,
            bin => self.ordered.count_below(edge(bin)),
        };
        let bin = |bin: usize| {
            let to = if bin + 1 == bins { high } else { edge(bin + 1) };
            Bin { from: edge(bin), to, count: below(bin + 1).saturating_sub(below(bin)) }
        };
        (0..bins).map(bin).collect()
    }

    /// The part of the numbers that lie more than `times` the distance of the quartiles outside of them.
    pub fn outlier_ratio(&self, times: f64) -> Option<f64> {
        let (low, high) = (self.ordered.quantile(0.25)?, self.ordered.quantile(0.75)?);
        let reach = times * (high - low);
        let inside = self.ordered.count_up_to(high + reach).saturating_sub(self.ordered.count_below(low - reach));
        Some(self.count.saturating_sub(inside) as f64 / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(values: &[f64], at_once: usize) -> Summary {
        let mut numbers = Numbers::default();
        values.chunks(at_once).for_each(|chunk| numbers.push(chunk, &mut Vec::new()));
        numbers.finish()
    }

    #[test]
    fn mean_and_variance_do_not_depend_on_how_rows_are_cut() {
        let values: Vec<f64> = (0..10_000).map(|row| 1e9 + f64::from(row % 101) * 0.01).collect();
        let shifted = values.iter().map(|value| value - 1e9).collect::<Vec<_>>();
        let mean = shifted.iter().sum::<f64>() / 10_000.0;
        let variance = shifted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 9_999.0;
        for at_once in [1, 7, 4_096, 10_000] {
            let summary = summary(&values, at_once);
            assert!((summary.mean.unwrap() - 1e9 - mean).abs() < 1e-5, "{at_once}");
            assert!((summary.variance.unwrap() - variance).abs() < 1e-6, "{at_once}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_counted_apart() {
        let summary = summary(&[1.0, f64::NAN, 3.0, f64::INFINITY, f64::NEG_INFINITY], 5);
        assert_eq!((summary.count, summary.nans, summary.infinities), (2, 1, 2));
        assert_eq!((summary.mean, summary.extremes), (Some(2.0), Some((1.0, 3.0))));
    }

    #[test]
    fn bins_hold_every_number_once_and_the_last_one_its_end() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let bins = summary(&values, 10).histogram(4);
        let counts: Vec<u64> = bins.iter().map(|bin| bin.count).collect();
        assert_eq!((counts, bins[0].from, bins[3].to), (vec![25, 25, 25, 26], 0.0, 100.0));
        assert_eq!(summary(&[5.0; 3], 3).histogram(4), [Bin { from: 5.0, to: 5.0, count: 3 }]);
        assert_eq!(summary(&[], 1).histogram(4), []);
        let wide = summary(&[f64::MIN, 0.0, f64::MAX], 3).histogram(2);
        assert_eq!(wide.iter().map(|bin| bin.count).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn outliers_are_what_lies_far_outside_of_the_quartiles() {
        let mut values: Vec<f64> = (0..98).map(f64::from).collect();
        values.extend([1e6, -1e6]);
        assert_eq!(summary(&values, 9).outlier_ratio(3.0), Some(0.02));
        assert_eq!(summary(&[], 1).outlier_ratio(3.0), None);
    }
}
