/**
 * What a trip is likely to cost, and what the hour and the way of paying say about it.
 *
 * Where nothing is known of the area's last 30 days, the city's meter applies: 3.25 to start and 2.25 for each mile.
 */
import { transform } from "../sdk/lockstep_plugin/index.js";

const METER_START = 3.25;
const METER_PER_MILE = 2.25;
const HOURS_OF_DAY = 24;
/** The row's hour is not an hour of a day. */
const NOT_AN_HOUR = 1_000;
/** Unicode's White_Space at both ends; `trim` would take U+FEFF as well and leave U+0085. */
const SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const ENDS = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");

export default transform({
  name: "taxi_quote",
  version: "1.0.0",
  doc: "Expected fare of a planned trip by the area's fare per mile; the hour on a circle; rush hour; card.",
  nulls: "handle",
  features: { area_fare_30d: "float64", area_miles_30d: "float64" },
  request: { hour: "int32", payment_type: "string", planned_miles: "float64" },
  outputs: {
    expected_fare: "float64",
    hour_sin: "float64",
    hour_cos: "float64",
    is_rush_hour: "bool",
    pays_by_card: "bool",
  },
  columns({ area_fare_30d, area_miles_30d, hour, payment_type, planned_miles }, _parameters, rows) {
    const hours = [...hour];
    hours.forEach((value, row) => {
      if (value !== null && (value < 0 || value > 23)) {
        rows.refuse(row, NOT_AN_HOUR, `hour ${value} is not between 0 and 23`);
      }
    });
    const angles = hours.map((value) => known(value, (hour) => (hour / HOURS_OF_DAY) * 2 * Math.PI));
    return {
      expected_fare: hours.map((_, row) =>
        known(planned_miles.get(row), (miles) => fare(miles, area_fare_30d.get(row), area_miles_30d.get(row))),
      ),
      hour_sin: angles.map((angle) => known(angle, Math.sin)),
      hour_cos: angles.map((angle) => known(angle, Math.cos)),
      is_rush_hour: hours.map((value) => known(value, (hour) => (hour >= 7 && hour <= 9) || (hour >= 16 && hour <= 18))),
      pays_by_card: [...payment_type].map((text) =>
        known(text, (text) => text.replace(ENDS, "").toLowerCase() === "credit card"),
      ),
    };
  },
});

/** `compute` of a value, and null of null. */
function known(value, compute) {
  return value === null ? null : compute(value);
}

export function fare(plannedMiles, areaFare, areaMiles) {
  return areaFare !== null && areaMiles !== null && areaMiles > 0
    ? plannedMiles * (areaFare / areaMiles)
    : METER_START + plannedMiles * METER_PER_MILE;
}
