/** What the gateway calls: the WIT interface `transform` over the plugin's declared transform. */
import { BadParameter } from "./declare.js";
import { BadFrame, WrongOutput } from "./frame.js";
import { Failed, apply, described } from "./compute.js";

const FRAME_VERSION = 1;
const SCALARS = { bool: "boolean", int64: "int64", float64: "float64", string: "utf8" };

/** The exports of the component. A thrown `{ tag, val }` is the interface's own error; any other would only be a trap. */
export function component(declared) {
  if (!Array.isArray(declared?.inputs)) {
    throw new TypeError("the plugin's module does not export what transform({…}) returned: write `export default transform({…})`");
  }
  let bound = null;
  return {
    describe() {
      return {
        name: declared.name,
        version: declared.version,
        doc: declared.doc,
        features: fields(declared.features),
        request: fields(declared.request),
        outputs: fields(declared.outputs),
        params: declared.parameters.map(parameter),
        time: declared.time ?? "none",
        nulls: declared.nulls,
        frameVersion: FRAME_VERSION,
      };
    },

    bind(binding) {
      const unknown = binding.outputs.find((name) => !declared.outputs.some((field) => field.name === name));
      if (unknown !== undefined) throw { tag: "unknown-output", val: unknown };
      const parameters = Object.fromEntries(declared.parameters.map((parameter) => [parameter.name, parameter.default]));
      for (const [name, scalar] of binding.params) {
        if (!(name in parameters)) throw { tag: "unknown-param", val: name };
        if (scalar.tag !== "null") parameters[name] = scalar.val;
      }
      try {
        declared.check?.(parameters);
      } catch (error) {
        if (error instanceof BadParameter) throw { tag: "bad-param", val: [error.parameter, error.reason] };
        throw { tag: "other", val: described(error) };
      }
      const wanted = declared.outputs.filter((field) => binding.outputs.includes(field.name));
      bound = { parameters: Object.freeze(parameters), wanted };
      const inputs = fields(declared.inputs);
      if (declared.time !== null) inputs[0].nullable = false;
      return { inputs, outputs: fields(wanted) };
    },

    apply(frame) {
      if (bound === null) throw { tag: "failed", val: "bind was not called" };
      try {
        return apply(declared, bound.parameters, bound.wanted, frame);
      } catch (error) {
        if (error instanceof BadFrame) throw { tag: "bad-frame", val: error.message };
        const isOurs = error instanceof Failed || error instanceof WrongOutput;
        throw { tag: "failed", val: isOurs ? error.message : described(error) };
      }
    },
  };
}

function fields(declared) {
  return declared.map(({ name, kind }) => ({ name, dtype: kind.dtype, nullable: true, width: kind.width }));
}

function parameter({ name, kind, isRequired, default: value, doc }) {
  const scalar = isRequired ? { tag: "null" } : { tag: SCALARS[kind.name], val: value };
  return { name, dtype: kind.dtype, required: isRequired, default: scalar, doc };
}
