/** A type of column, as definition files write it. `list<float32, 8>` has so many items in every row. */
export type Type =
  | "bool" | "int32" | "int64" | "float32" | "float64" | "string" | "bytes" | "timestamp" | "date"
  | "list<bool>" | "list<int32>" | "list<int64>" | "list<float32>" | "list<float64>" | "list<timestamp>"
  | `list<float32, ${number}>`;

/**
 * A value of a row: `int64` and `timestamp` (microseconds since 1970, UTC) are bigints, `date` is days since 1970,
 * `bytes` a Uint8Array, a list a typed array (an array of booleans for `list<bool>`).
 */
export type Value =
  | boolean | number | bigint | string | Uint8Array | boolean[] | Int32Array | BigInt64Array | Float32Array | Float64Array;

export interface Column extends Iterable<Value | null> {
  readonly length: number;
  readonly nullCount: number;
  /** The numbers as they lie in the frame, zero where a row is null; the items, for lists; bits and bytes otherwise. */
  readonly values: Int32Array | BigInt64Array | Float32Array | Float64Array | Uint8Array;
  /** Where each list, string or bytes value begins in `values`; null for other types. */
  readonly offsets: Int32Array | null;
  has(row: number): boolean;
  get(row: number): Value | null;
  /** The values of all rows, null where one is null: an array, or a typed array of them. */
  list(): ArrayLike<Value | null>;
}

export interface Rows {
  readonly length: number;
  /** Gives up on a row: its outputs are null, and the caller is told why. `code` is 1000 or more. */
  refuse(row: number, code: number, message: string): void;
}

export interface Parameter {
  type: "bool" | "int64" | "float64" | "string";
  /** Without one the parameter is required. */
  default?: boolean | number | bigint | string;
  doc?: string;
}

export type Parameters = Readonly<Record<string, boolean | number | bigint | string>>;

export interface Declaration {
  /** In snake_case; the same as in plugin.yaml. */
  name: string;
  /** Semantic: a major version says that values change, a minor one that outputs were added. */
  version: string;
  doc?: string;
  /** `"as-of"` gives the input `as_of`: the time of the request, or of the label in training. */
  time?: "as-of";
  /** `"propagate"` (if left out): all outputs of a row with a null input are null, without asking the function. */
  nulls?: "propagate" | "handle";
  features?: Record<string, Type>;
  /** Inputs that come with the request, or with the label row in training. */
  request?: Record<string, Type>;
  outputs: Record<string, Type>;
  parameters?: Record<string, Parameter>;
  /** Called once with the parameters; throws {@link BadParameter}. */
  check?(parameters: Parameters): void;
  /** One row: an object with every output, or null where all are null. */
  row?(inputs: Record<string, any>, parameters: Parameters): Record<string, Value | number[] | null> | null;
  /** A whole call: for every output an array or a typed array with a value for every row. */
  columns?(inputs: Record<string, Column>, parameters: Parameters, rows: Rows): Record<string, ArrayLike<unknown>>;
}

/** Declares the plugin's transform, with either `row` or `columns`; `export default` what it returns. */
export function transform(declaration: Declaration): object;

/** Thrown by `row`: the outputs of the row are null, and the caller is told why. `code` is 1000 or more. */
export class Refuse extends Error {
  constructor(code: number, message: string);
}

/** Thrown by `check`: the parameter cannot have this value. */
export class BadParameter extends Error {
  constructor(name: string, reason: string);
}
