/** What a transform is: its inputs, outputs and parameters, and the function that computes it. */
import { kindOf } from "./kinds.js";

const CODE_MIN = 1_000, CODE_MAX = 0xffff_ffff;
const PARAMETER_TYPES = new Map([
  ["bool", (value) => typeof value === "boolean"],
  ["int64", (value) => typeof value === "bigint" || Number.isSafeInteger(value)],
  ["float64", (value) => Number.isFinite(value)],
  ["string", (value) => typeof value === "string"],
]);
const KEYS = new Set(
  ["name", "version", "doc", "time", "nulls", "features", "request", "outputs", "parameters", "check", "row", "columns"],
);

export const AS_OF = "as_of";

/** Thrown for one row: its outputs are null, and the caller is told why. `code` is 1000 or more, by your choice. */
export class Refuse extends Error {
  constructor(code, message) {
    super(message);
    this.code = checkedCode(code);
  }
}

/** Thrown by `check`: the parameter `name` cannot have this value. */
export class BadParameter extends Error {
  constructor(name, reason) {
    super(`parameter ${name}: ${reason}`);
    this.parameter = name;
    this.reason = String(reason);
  }
}

export function checkedCode(code) {
  if (!Number.isInteger(code) || code < CODE_MIN || code > CODE_MAX) {
    throw new RangeError(`a row is refused with the code ${code}; codes are numbers from ${CODE_MIN}`);
  }
  return code;
}

/**
 * Declares the plugin's transform; `export default` what it returns. `index.d.ts` documents every key.
 *
 * Either `row` computes one row: `row(inputs, parameters)` gives an object of outputs, or `null` where all are null.
 * Or `columns` computes a whole call: `columns(inputs, parameters, rows)` gives an object with, for each output, an array
 * or a typed array with a value for every row; `rows.refuse(row, code, message)` gives up on one.
 */
export function transform(declaration) {
  const { name, version, doc = "", time = null, nulls = "propagate", check = null, row = null, columns = null } = declaration;
  const wrong = (reason) => {
    throw new TypeError(`transform ${name}: ${reason}`);
  };
  const unknown = Object.keys(declaration).find((key) => !KEYS.has(key));
  if (unknown !== undefined) wrong(`it has the key ${unknown}; known are ${[...KEYS].join(", ")}`);
  if (typeof name !== "string" || typeof version !== "string") wrong("its name and version are texts");
  if (time !== null && time !== "as-of") wrong(`time is "as-of", or left out`);
  if (nulls !== "propagate" && nulls !== "handle") wrong(`nulls is "propagate" or "handle"`);
  if ((typeof row === "function") === (typeof columns === "function")) wrong("it has a function `row` or `columns`");
  if (check !== null && typeof check !== "function") wrong("check is a function");

  const fields = (what, types = {}) =>
    Object.entries(types).map(([field, type]) => {
      const kind = kindOf(type) ?? wrong(`${what} ${field} is ${type}; write a type such as float64 or list<int64>`);
      return { name: field, kind };
    });
  const outputs = fields("output", declaration.outputs);
  if (outputs.length === 0) wrong("it has no output");
  const parameters = Object.entries(declaration.parameters ?? {}).map(([parameter, spec]) => {
    const fits = PARAMETER_TYPES.get(spec.type) ?? wrong(`parameter ${parameter} is ${spec.type}; it can be ${[...PARAMETER_TYPES.keys()].join(", ")}`);
    const isRequired = spec.default === undefined;
    if (!isRequired && !fits(spec.default)) wrong(`the default of parameter ${parameter} is no ${spec.type}`);
    const value = isRequired ? null : spec.type === "int64" ? BigInt(spec.default) : spec.default;
    return { name: parameter, kind: kindOf(spec.type), isRequired, default: value, doc: spec.doc ?? "" };
  });
  const features = fields("feature", declaration.features), request = fields("request field", declaration.request);
  const asOf = time === null ? [] : [{ name: AS_OF, kind: kindOf("timestamp") }];
  const inputs = [...asOf, ...features, ...request];
  return { name, version, doc, time, nulls, check, row, columns, features, request, inputs, outputs, parameters };
}
