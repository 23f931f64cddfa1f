/** One call: the columns of a frame go through the transform's function, its answer becomes a frame. */
import { Refuse, checkedCode } from "./declare.js";
import { read, write } from "./frame.js";

/** The function threw, or gave something that is no answer. */
export class Failed extends Error {}

/** The answer's frame to a frame, and the refused rows; for a transform with its parameters and the wanted outputs. */
export function apply(declared, parameters, wanted, asked) {
  const { rows, columns } = read(asked, declared.inputs.map((field) => field.kind));
  const errors = [];
  const compute = declared.columns === null ? byRow : byColumn;
  const values = compute(declared, parameters, rows, columns, errors);
  const outputs = wanted.map(({ name, kind }) => ({ name, kind, values: values[name] }));
  return { frame: write(rows, outputs), errors };
}

function byColumn(declared, parameters, rows, columns, errors) {
  const inputs = Object.fromEntries(declared.inputs.map((field, place) => [field.name, columns[place]]));
  const refusals = {
    length: rows,
    refuse(row, code, message) {
      if (!Number.isInteger(row) || row < 0 || row >= rows) throw new RangeError(`row ${row} of ${rows} cannot be refused`);
      errors.push({ row, code: checkedCode(code), message: String(message) });
    },
  };
  try {
    return checked(declared, declared.columns(inputs, parameters, refusals));
  } catch (error) {
    throw new Failed(described(error));
  }
}

function byRow(declared, parameters, rows, columns, errors) {
  const { row: compute, inputs } = declared, names = declared.outputs.map((field) => field.name);
  const values = columns.map((column) => column.list());
  const outputs = names.map(() => new Array(rows).fill(null));
  const strict = declared.nulls === "propagate" ? columns.filter((column) => column.nullCount > 0) : [];
  for (let row = 0; row < rows; row++) {
    if (strict.length > 0 && strict.some((column) => !column.has(row))) continue;
    const arguments_ = {};
    for (let place = 0; place < columns.length; place++) arguments_[inputs[place].name] = values[place][row];
    try {
      const answer = compute(arguments_, parameters);
      if (answer === null) continue;
      for (let place = 0; place < names.length; place++) {
        const value = answer?.[names[place]];
        if (value === undefined) checked(declared, answer);
        outputs[place][row] = value;
      }
    } catch (error) {
      if (!(error instanceof Refuse)) throw new Failed(`row ${row}: ${described(error)}`);
      errors.push({ row, code: error.code, message: error.message });
    }
  }
  return Object.fromEntries(names.map((name, place) => [name, outputs[place]]));
}

/** An object with all outputs: one that is forgotten is an error and not a column of nulls. */
function checked(declared, answer) {
  if (answer === null || typeof answer !== "object") throw new TypeError(`it returned ${answer}, not an object of outputs`);
  const missing = declared.outputs.find(({ name }) => answer[name] === undefined);
  if (missing !== undefined) throw new TypeError(`output ${missing.name} is missing; null is how a row has none`);
  return answer;
}

/** An error in one line, with the place in the author's own code where it was thrown. */
export function described(error) {
  if (!(error instanceof Error)) return String(error);
  const lines = String(error.stack ?? "").split("\n");
  const place = lines.map((line) => /([^\s/@(]+\.m?js):(\d+)(?::\d+)?\)?$/.exec(line)).find((found) => found !== null && !found.input.includes("lockstep_plugin/"));
  const text = `${error.name}: ${error.message}`;
  return place ? `${text} (${place[1]}, line ${place[2]})` : text;
}
