/** The types of columns: by the names that definition files use, and as they lie in a frame. */

/** How the values of a column lie in its buffers. */
export const FIXED = "fixed", BITS = "bits", TEXT = "text", BYTES = "bytes", EMBEDDING = "embedding", LIST = "list",
  BIT_LIST = "bit list";

const kind = (name, tag, dtype, layout, View = null, width = 0) => ({ name, tag, dtype, layout, View, width });

const KINDS = new Map(
  [
    kind("bool", 0, "boolean", BITS),
    kind("int32", 1, "int32", FIXED, Int32Array),
    kind("int64", 2, "int64", FIXED, BigInt64Array),
    kind("float32", 3, "float32", FIXED, Float32Array),
    kind("float64", 4, "float64", FIXED, Float64Array),
    kind("string", 5, "utf8", TEXT),
    kind("bytes", 6, "binary", BYTES),
    kind("timestamp", 7, "timestamp-us", FIXED, BigInt64Array),
    kind("date", 8, "date32", FIXED, Int32Array),
    kind("list<bool>", 10, "list-boolean", BIT_LIST),
    kind("list<int32>", 11, "list-int32", LIST, Int32Array),
    kind("list<int64>", 12, "list-int64", LIST, BigInt64Array),
    kind("list<float32>", 13, "list-float32", LIST, Float32Array),
    kind("list<float64>", 14, "list-float64", LIST, Float64Array),
    kind("list<timestamp>", 15, "list-timestamp-us", LIST, BigInt64Array),
  ].map((kind) => [kind.name, kind]),
);
const WIDTH_MAX = 65_536;

/** The kind of a name such as `float64`, `list<int64>` or `list<float32, 8>`; `undefined` for any other text. */
export function kindOf(name) {
  const [, width] = /^list<float32, ([1-9][0-9]*)>$/.exec(name) ?? [];
  if (width === undefined) return KINDS.get(name);
  return Number(width) <= WIDTH_MAX
    ? kind(name, 9, "fixed-list-float32", EMBEDDING, Float32Array, Number(width))
    : undefined;
}
