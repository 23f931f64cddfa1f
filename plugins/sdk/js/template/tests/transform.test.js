/** The function, natively: `npm test`. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { check, ratio } from "../src/{{name}}.js";

test("a ratio is cut at the most, and nothing without a usual fare", () => {
  assert.equal(ratio(10, 15, 10), 1.5);
  assert.equal(ratio(10, 500, 10), 10);
  assert.equal(ratio(0, 15, 10), null);
});

test("the most is above zero", () => {
  assert.throws(() => check({ most: 0 }), /0 is not above 0/);
});
