//! How long a taxi company has been idle, as of the time that is asked about.

use lockstep_plugin::{Failure, Outputs, Parameters, Refusal, Rows, Signature, Transform, Type};

const DAY_MICROS: f64 = 86_400_000_000.0;
const WEEK_DAYS: f64 = 7.0;

struct TaxiRecency;

impl Transform for TaxiRecency {
    fn describe() -> Signature {
        Signature::new("taxi_recency", "1.0.0")
            .doc("Days since the last trip, never negative; and whether that is more than a week.")
            .as_of()
            .feature("last_trip_at", Type::Timestamp)
            .output("days_since_last_trip", Type::Float64)
            .output("idle_over_week", Type::Bool)
    }

    fn bind(_: &Parameters) -> Result<Self, Refusal> {
        Ok(Self)
    }

    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
        let (as_of, last_trip_at) = (rows.timestamps("as_of")?, rows.timestamps("last_trip_at")?);
        let days = |row: usize| Some(days_between(last_trip_at.get(row)?, as_of.get(row)?));
        outputs.float64s("days_since_last_trip", days)?;
        outputs.bools("idle_over_week", |row| Some(days(row)? > WEEK_DAYS))
    }
}

/// A trip that lies in the future, by a clock that runs ahead, counts as now.
fn days_between(from: i64, until: i64) -> f64 {
    until.saturating_sub(from).max(0) as f64 / DAY_MICROS
}

lockstep_plugin::export!(TaxiRecency);
