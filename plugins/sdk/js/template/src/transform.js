/**
 * {{name}}: how far a planned fare is above what its area is used to.
 *
 * A transform is a pure function of one row: the same row and parameters give the same answer, in training and in serving.
 * Change the columns and the function; everything else follows from them.
 */
import { BadParameter, transform } from "../sdk/lockstep_plugin/index.js";

export default transform({
  name: "{{name}}",
  // A major version says that values change, a minor one that outputs were added.
  version: "1.0.0",
  doc: "The planned fare over the usual one, cut at a maximum.",
  features: { usual_fare: "float64" },
  request: { planned_fare: "float64" },
  outputs: { fare_ratio: "float64" },
  parameters: { most: { type: "float64", default: 10, doc: "The largest ratio, above 0." } },
  check,
  row: ({ usual_fare, planned_fare }, { most }) => ({ fare_ratio: ratio(usual_fare, planned_fare, most) }),
});

/** Called once, with the parameters, before any row. */
export function check({ most }) {
  if (!(most > 0)) throw new BadParameter("most", `${most} is not above 0`);
}

export function ratio(usual_fare, planned_fare, most) {
  return usual_fare > 0 ? Math.min(planned_fare / usual_fare, most) : null;
}
