//! How long a taxi company has been idle, as of the time that is asked about.

use lockstep_plugin::Timestamp;

const DAY_MICROS: f64 = 86_400_000_000.0;
const WEEK_DAYS: f64 = 7.0;

lockstep_plugin::transform! {
    name: "taxi_recency",
    version: "1.0.0",
    doc: "Days since the last trip, never negative; and whether that is more than a week.",

    fn recency(as_of: Timestamp, last_trip_at: Timestamp) -> Recency { days_since_last_trip: f64, idle_over_week: bool } {
        // A trip that lies in the future, by a clock that runs ahead, counts as now.
        let days = as_of.0.saturating_sub(last_trip_at.0).max(0) as f64 / DAY_MICROS;
        Recency { days_since_last_trip: days, idle_over_week: days > WEEK_DAYS }
    }
}

#[cfg(test)]
mod tests {
    use super::{Recency, Timestamp, recency};

    #[test]
    fn a_trip_in_the_future_counts_as_now_and_eight_days_as_idle() {
        let after = |days: i64| recency(Timestamp(days * 86_400_000_000), Timestamp(0));
        assert_eq!(after(-1), Recency { days_since_last_trip: 0.0, idle_over_week: false });
        assert_eq!(after(7), Recency { days_since_last_trip: 7.0, idle_over_week: false });
        assert_eq!(after(8), Recency { days_since_last_trip: 8.0, idle_over_week: true });
    }
}
