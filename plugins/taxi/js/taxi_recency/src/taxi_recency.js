/** How long a taxi company has been idle, as of the time that is asked about. */
import { transform } from "../sdk/lockstep_plugin/index.js";

const DAY_MICROS = 86_400_000_000;
const WEEK_DAYS = 7;
const INT64_MAX = 2n ** 63n - 1n;

export default transform({
  name: "taxi_recency",
  version: "1.0.0",
  doc: "Days since the last trip, never negative; and whether that is more than a week.",
  time: "as-of",
  features: { last_trip_at: "timestamp" },
  outputs: { days_since_last_trip: "float64", idle_over_week: "bool" },
  row({ as_of, last_trip_at }) {
    const days = daysBetween(last_trip_at, as_of);
    return { days_since_last_trip: days, idle_over_week: days > WEEK_DAYS };
  },
});

/** A trip that lies in the future, by a clock that runs ahead, counts as now. */
export function daysBetween(start, end) {
  const micros = end - start;
  return Number(micros < 0n ? 0n : micros > INT64_MAX ? INT64_MAX : micros) / DAY_MICROS;
}
