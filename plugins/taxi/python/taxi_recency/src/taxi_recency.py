"""How long a taxi company has been idle, as of the time that is asked about."""

from lockstep_plugin import AsOf, Feature, Timestamp, transform

DAY_MICROS = 86_400_000_000.0
WEEK_DAYS = 7.0
INT64_MAX = (1 << 63) - 1


@transform(
    name="taxi_recency",
    version="1.0.0",
    outputs={"days_since_last_trip": float, "idle_over_week": bool},
)
def taxi_recency(as_of: AsOf, last_trip_at: Feature[Timestamp]):
    """Days since the last trip, never negative; and whether that is more than a week."""
    days = days_between(last_trip_at, as_of)
    return days, days > WEEK_DAYS


def days_between(start, end):
    """A trip that lies in the future, by a clock that runs ahead, counts as now."""
    return float(min(max(end - start, 0), INT64_MAX)) / DAY_MICROS
