/** The vectors of wit/vectors: each file is read into its values, and the values are written into exactly that file. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { BadFrame, WrongOutput, read, write } from "../lockstep_plugin/frame.js";
import { kindOf } from "../lockstep_plugin/kinds.js";

const folder = new URL("../../../../wit/vectors/", import.meta.url);
const file = (name) => new Uint8Array(readFileSync(new URL(name, folder)));
const WORDS = { NaN, inf: Infinity, "-inf": -Infinity, "-0": -0 };
const HEX = /../g;

/** Integers beyond 2^53 would be rounded: each is read as a text and becomes what its column needs. */
const json = readFileSync(new URL("vectors.json", folder), "utf8").replace(/(?<=[[,])-?\d{16,}(?=[\],])/g, '"int $&"');
const vectors = JSON.parse(json).map((vector) => ({
  ...vector,
  kinds: vector.columns.map((column) => kindOf(column.type)),
  values: vector.columns.map((column) => column.values.map((cell) => valueOf(kindOf(column.type), cell))),
}));

/** A cell of the vectors as a transform would give it. */
function valueOf(kind, cell) {
  if (cell === null || typeof cell === "boolean") return cell;
  if (Array.isArray(cell)) {
    const items = cell.map((item) => valueOf(kind, item));
    return kind.View === null ? items : kind.View.from(items);
  }
  if (kind.layout === "bytes") return Uint8Array.from(cell.match(HEX) ?? [], (pair) => Number.parseInt(pair, 16));
  if (kind.layout === "text") return cell;
  if (kind.View === BigInt64Array) return BigInt(String(cell).replace("int ", ""));
  return WORDS[cell] ?? Number(cell);
}

test("every file is read into its values", () => {
  for (const vector of vectors) {
    const { rows, columns } = read(file(vector.file), vector.kinds);
    assert.equal(rows, vector.rows);
    columns.forEach((column, place) => assert.deepEqual([...column], vector.values[place], vector.file));
  }
});

test("the values are written into exactly that file", () => {
  for (const vector of vectors) {
    const outputs = vector.kinds.map((kind, place) => ({ name: "x", kind, values: vector.values[place] }));
    assert.deepEqual(write(vector.rows, outputs), file(vector.file), vector.file);
  }
});

test("a frame that is cut anywhere is refused", () => {
  for (const vector of vectors) {
    const whole = file(vector.file);
    const needed = whole.findLastIndex((byte) => byte !== 0) + 1;
    for (let end = 0; end < needed; end++) {
      const cut = () => read(whole.slice(0, end), vector.kinds).columns.forEach((column) => [...column]);
      assert.throws(cut, BadFrame, `${vector.file} cut at ${end}`);
    }
  }
});

test("a buffer at another place than its own is refused", () => {
  for (const vector of vectors) {
    const whole = file(vector.file);
    for (let column = 0; column < vector.kinds.length; column++) {
      const moved = whole.slice();
      moved[16 + 32 * column + 16] ^= 8;
      assert.throws(() => read(moved, vector.kinds), BadFrame, `${vector.file}, column ${column}`);
    }
    const longer = new Uint8Array([...whole, ...new Uint8Array(8)]);
    assert.throws(() => read(longer, vector.kinds), BadFrame, vector.file);
  }
});

test("typed arrays are written as they are", () => {
  const { columns } = read(file("float64.frame"), [kindOf("float64")]);
  const again = write(3, [{ name: "x", kind: kindOf("float64"), values: columns[0].values }]);
  assert.deepEqual(again, file("float64.frame"));
});

test("a value that does not fit is named", () => {
  const wrong = [
    ["int32", [1, 2 ** 31], "output x: 2147483648 of row 1 is no int32"],
    ["int64", [1], "output x: 1 of row 0 is no int64"],
    ["int64", [2n ** 63n], "output x: 9223372036854775808n of row 0 is no int64"],
    ["float64", ["a"], 'output x: "a" of row 0 is no float64'],
    ["bool", [true, 1], "output x: 1 of row 1 is no bool"],
    ["string", [null, "\ud800"], 'output x: "\\ud800" of row 1 is no string'],
    ["list<float32, 2>", [[1]], "output x: row 0 has 1 items, not 2"],
    ["float64", [1, 2, 3], "output x has 3 values for 2 rows"],
  ];
  for (const [type, values, message] of wrong) {
    const written = () => write(Math.min(values.length, 2), [{ name: "x", kind: kindOf(type), values }]);
    assert.throws(written, (error) => error instanceof WrongOutput && error.message === message);
  }
});
