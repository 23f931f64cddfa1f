/**
 * Write a Lockstep transform in JavaScript: a pure function from columns to columns.
 *
 *     import { transform } from "../sdk/lockstep_plugin/index.js";
 *
 *     export default transform({
 *       name: "fare_ratio",
 *       version: "1.0.0",
 *       doc: "The planned fare over the usual one, cut at a maximum.",
 *       features: { usual_fare: "float64" },
 *       request: { planned_fare: "float64" },
 *       outputs: { fare_ratio: "float64" },
 *       parameters: { most: { type: "float64", default: 10, doc: "The largest ratio, above 0." } },
 *       row: ({ usual_fare, planned_fare }, { most }) =>
 *         usual_fare > 0 ? { fare_ratio: Math.min(planned_fare / usual_fare, most) } : null,
 *     });
 *
 * Row `i` of every output depends on row `i` of the inputs, on the parameters and on nothing else. There is no clock and
 * no randomness to be had: asking for one throws an error that says what to do instead.
 *
 * Reading order: `declare.js` (what a transform is), `kinds.js` (types), `frame.js` (the bytes that cross), `compute.js`
 * (one call), `component.js` (what the gateway calls), `seal.js` (what is taken away).
 */
export { BadParameter, Refuse, transform } from "./declare.js";
