//! {{name}}: how far a planned fare is above what its area is used to.
//!
//! A transform is a pure function of one row: the same row and parameters give the same answer, in training and in
//! serving. Change the arguments, the answer and the body; `describe` and everything else follows from them.

lockstep_plugin::transform! {
    name: "{{name}}",
    // A major version says that values change, a minor one that outputs were added.
    version: "1.0.0",
    doc: "The planned fare over the usual one, cut at a maximum.",

    fn ratio(
        usual_fare: f64,
        #[request] planned_fare: f64,
        #[parameter(default = 10.0, doc = "The largest ratio, above 0.", valid = most > 0.0)] most: f64,
    ) -> Ratio { fare_ratio: Option<f64> } {
        Ratio { fare_ratio: (usual_fare > 0.0).then(|| (planned_fare / usual_fare).min(most)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ratio, ratio};

    #[test]
    fn a_ratio_is_cut_at_the_most_and_nothing_without_a_usual_fare() {
        assert_eq!(ratio(10.0, 15.0, 10.0), Ratio { fare_ratio: Some(1.5) });
        assert_eq!(ratio(10.0, 500.0, 10.0), Ratio { fare_ratio: Some(10.0) });
        assert_eq!(ratio(0.0, 15.0, 10.0), Ratio { fare_ratio: None });
    }
}
