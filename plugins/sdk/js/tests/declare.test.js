/** What a declaration says, and how its function is called for the rows of a frame. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { component } from "../lockstep_plugin/component.js";
import { read, write } from "../lockstep_plugin/frame.js";
import { BadParameter, Refuse, transform } from "../lockstep_plugin/index.js";

const declared = (more) => transform({ name: "t", version: "1.0.0", outputs: { a: "float64" }, ...more });

/** The outputs for these input columns, as arrays, and the refused rows. */
function applied(plugin, columns, parameters = []) {
  const exports = component(plugin);
  exports.bind({ params: parameters, outputs: plugin.outputs.map((field) => field.name) });
  const inputs = plugin.inputs.map((field, place) => ({ ...field, values: columns[place] }));
  const { frame, errors } = exports.apply(write(columns[0].length, inputs));
  const outputs = read(frame, plugin.outputs.map((field) => field.kind)).columns.map((column) => [...column]);
  return { outputs, errors };
}

test("a descriptor says what was declared", () => {
  const plugin = declared({
    time: "as-of",
    nulls: "handle",
    features: { vector: "list<float32, 3>" },
    request: { hours: "list<int32>" },
    parameters: { most: { type: "int64", default: 3, doc: "The most." }, word: { type: "string" } },
    row: () => null,
  });
  const { features, request, params, time, nulls, frameVersion } = component(plugin).describe();
  assert.deepEqual(features, [{ name: "vector", dtype: "fixed-list-float32", nullable: true, width: 3 }]);
  assert.deepEqual(request, [{ name: "hours", dtype: "list-int32", nullable: true, width: 0 }]);
  assert.deepEqual(params, [
    { name: "most", dtype: "int64", required: false, default: { tag: "int64", val: 3n }, doc: "The most." },
    { name: "word", dtype: "utf8", required: true, default: { tag: "null" }, doc: "" },
  ]);
  assert.deepEqual([time, nulls, frameVersion], ["as-of", "handle", 1]);
});

test("a wrong declaration says what to write", () => {
  const row = () => null;
  const wrong = [
    [{ row, features: { x: "double" } }, /feature x is double; write a type such as float64/],
    [{ row, feature: {} }, /it has the key feature; known are name, version/],
    [{ row, columns: row }, /a function `row` or `columns`/],
    [{}, /a function `row` or `columns`/],
    [{ row, outputs: {} }, /it has no output/],
    [{ row, time: "now" }, /time is "as-of", or left out/],
    [{ row, nulls: "drop" }, /nulls is "propagate" or "handle"/],
    [{ row, parameters: { most: { type: "int32" } } }, /parameter most is int32; it can be bool, int64/],
    [{ row, parameters: { most: { type: "int64", default: 0.5 } } }, /the default of parameter most is no int64/],
  ];
  for (const [more, message] of wrong) assert.throws(() => declared(more), message);
});

test("a row with a null is null without asking the function", () => {
  const plugin = declared({
    features: { x: "float64", y: "int64" },
    parameters: { factor: { type: "float64", default: 2 } },
    row: ({ x, y }, { factor }) => ({ a: x * factor + Number(y) }),
  });
  assert.deepEqual(applied(plugin, [[1, null, 3], [1n, 2n, null]]).outputs, [[3, null, null]]);
  const factor = [["factor", { tag: "float64", val: 10 }]];
  assert.deepEqual(applied(plugin, [[1], [1n]], factor).outputs, [[11]]);
});

test("rows are refused and outputs left out", () => {
  const plugin = declared({
    features: { x: "int64" },
    outputs: { a: "int64", b: "bool" },
    row({ x }) {
      if (x < 0n) throw new Refuse(1_001, `${x} is below 0`);
      return x === 0n ? null : { a: x, b: x % 2n === 1n };
    },
  });
  const { outputs, errors } = applied(plugin, [[1n, 0n, -4n, 6n]]);
  assert.deepEqual(outputs, [[1n, null, null, 6n], [true, null, null, false]]);
  assert.deepEqual(errors, [{ row: 2, code: 1_001, message: "-4 is below 0" }]);
});

test("columns are taken and given whole", () => {
  const plugin = declared({
    features: { x: "float64", names: "string" },
    outputs: { a: "float64", b: "string" },
    columns({ x, names }, _parameters, rows) {
      rows.refuse(1, 2_000, "no");
      return { a: x.values.map((value) => value * 2), b: [...names].map((name) => name?.toUpperCase() ?? null) };
    },
  });
  const { outputs, errors } = applied(plugin, [[1, 2, 3], ["a", null, "ü"]]);
  assert.deepEqual(outputs, [[2, 4, 6], ["A", null, "Ü"]]);
  assert.deepEqual(errors, [{ row: 1, code: 2_000, message: "no" }]);
});

test("what goes wrong is told with its row and line", () => {
  const failing = (row) => () => applied(declared({ features: { x: "int64" }, row }), [[0n]]);
  const failed = (pattern) => (thrown) => thrown.tag === "failed" && pattern.test(thrown.val);
  assert.throws(failing(({ x }) => ({ a: 1n / x })), failed(/^row 0: RangeError: Division by zero \(declare.test.js, line \d+\)$/));
  assert.throws(failing(() => ({})), failed(/^row 0: TypeError: output a is missing; null is how a row has none/));
  assert.throws(failing(() => 1), failed(/^row 0: TypeError: it returned 1, not an object of outputs/));
  assert.throws(failing(() => ({ a: "1" })), failed(/^output a: "1" of row 0 is no float64$/));
});

test("what the gateway cannot bind is an error of the interface", () => {
  const plugin = declared({
    row: () => null,
    parameters: { most: { type: "float64", default: 1 } },
    check({ most }) {
      if (most <= 0) throw new BadParameter("most", `${most} is not above 0`);
    },
  });
  const bind = (params, outputs) => () => component(plugin).bind({ params, outputs });
  assert.throws(bind([], ["b"]), { tag: "unknown-output", val: "b" });
  assert.throws(bind([["least", { tag: "float64", val: 1 }]], []), { tag: "unknown-param", val: "least" });
  assert.throws(bind([["most", { tag: "float64", val: 0 }]], []), { tag: "bad-param", val: ["most", "0 is not above 0"] });
});

test("no rows are an answer", () => {
  const plugin = declared({ features: { x: "float64" }, row: ({ x }) => ({ a: x }) });
  assert.deepEqual(applied(plugin, [[]]), { outputs: [[]], errors: [] });
});
