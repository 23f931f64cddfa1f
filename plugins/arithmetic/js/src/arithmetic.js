/** 50 columns scaled and clamped: little work on many columns, for benchmarks and for tests of the boundary. */
import { transform } from "../sdk/lockstep_plugin/index.js";

const COLUMNS = Array.from({ length: 50 }, (_, column) => column);
const named = (letter) => Object.fromEntries(COLUMNS.map((column) => [`${letter}_${column}`, "float64"]));

export default transform({
  name: "arithmetic",
  version: "1.0.0",
  doc: "y_i = clamp((x_i - 3.5) * 0.25, -5, 5).",
  nulls: "handle",
  features: named("x"),
  outputs: named("y"),
  columns: (inputs) => Object.fromEntries(COLUMNS.map((column) => [`y_${column}`, scaled(inputs[`x_${column}`])])),
});

function scaled(column) {
  const { values, length } = column;
  if (column.nullCount === 0) return values.map(clamped);
  // By index, which costs far less than to iterate.
  const scaled = new Array(length);
  for (let row = 0; row < length; row++) scaled[row] = column.has(row) ? clamped(values[row]) : null;
  return scaled;
}

function clamped(x) {
  return Math.min(Math.max((x - 3.5) * 0.25, -5), 5);
}
