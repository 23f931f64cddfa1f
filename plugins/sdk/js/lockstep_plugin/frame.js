/**
 * frame/1, the bytes in which rows cross: columns are views of a frame, and outputs become one.
 *
 * The whole format is on one page, wit/vectors/README.md. Nothing is copied on the way in until it is asked for; what
 * comes from the frame is checked before it is used.
 */
import { BITS, BIT_LIST, BYTES, EMBEDDING, FIXED, LIST, TEXT } from "./kinds.js";

const MAGIC = 0x3146534c; // "LSF1", little-endian
const HEADER_BYTES = 16, DESCRIPTOR_BYTES = 32;
const WITH_OFFSETS = new Set([TEXT, BYTES, LIST, BIT_LIST]);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const LONELY = /[\ud800-\udfff]/u;

/** The frame is not what was agreed on. */
export class BadFrame extends Error {}

/** The transform gave what its output cannot hold. */
export class WrongOutput extends Error {}

/**
 * One input column. `get(row)` and iteration give JavaScript values, `null` where a row is null.
 *
 * `values` is a typed array of the numbers (items, for lists) as they lie in the frame, zero where a row is null: the
 * quick way over columns of numbers, times and dates. `offsets` says where each list, string or bytes value begins.
 */
export class Column {
  #validity;
  #text = null;

  constructor(kind, length, nullCount, values, offsets, validity) {
    this.kind = kind;
    this.length = length;
    this.nullCount = nullCount;
    this.values = values;
    this.offsets = offsets;
    this.#validity = validity;
  }

  /** Whether a row has a value. */
  has(row) {
    return this.nullCount === 0 || bit(this.#validity, row);
  }

  get(row) {
    if (!this.has(row)) return null;
    const { values, offsets } = this;
    const { layout, width } = this.kind;
    switch (layout) {
      case FIXED: return values[row];
      case BITS: return bit(values, row);
      case TEXT: return this.#textAt(offsets[row], offsets[row + 1]);
      case BIT_LIST: return Array.from({ length: offsets[row + 1] - offsets[row] }, (_, i) => bit(values, offsets[row] + i));
      case EMBEDDING: return values.subarray(row * width, (row + 1) * width);
      default: return values.subarray(offsets[row], offsets[row + 1]);
    }
  }

  *[Symbol.iterator]() {
    for (let row = 0; row < this.length; row++) yield this.get(row);
  }

  /** Where all texts of the column are ASCII they are decoded at once, and a text is a piece of the whole. */
  #textAt(start, end) {
    try {
      this.#text ??= decoder.decode(this.values);
      if (this.#text.length === this.values.length) return this.#text.slice(start, end);
      return decoder.decode(this.values.subarray(start, end));
    } catch {
      throw new BadFrame("a text is not UTF-8");
    }
  }
}

function bit(bytes, place) {
  return ((bytes[place >> 3] >> (place & 7)) & 1) === 1;
}

/** The number of rows and the columns of a frame, which must be of these kinds. */
export function read(frame, kinds) {
  // Views of 8 bytes begin at multiples of 8 in their buffer.
  const bytes = frame.byteOffset % 8 === 0 ? frame : frame.slice();
  const size = bytes.byteLength;
  if (size < HEADER_BYTES + kinds.length * DESCRIPTOR_BYTES) throw new BadFrame("it ends within its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  const word = (place) => view.getUint32(place, true);
  const rows = word(4);
  if (word(0) !== MAGIC || word(12) !== 0) throw new BadFrame("it does not begin with LSF1");
  if (word(8) !== kinds.length) {
    throw new BadFrame(`it has ${word(8)} columns, ${kinds.length} were agreed on`);
  }
  let end = HEADER_BYTES + kinds.length * DESCRIPTOR_BYTES;
  // The next buffer. There is one place for each, so that none can lie over another or beyond the end.
  const part = (place, View, items) => {
    const start = word(place), length = word(place + 4);
    if (length !== items * View.BYTES_PER_ELEMENT || start !== (length > 0 ? end : 0) || start + length > size) {
      throw new BadFrame("a buffer has another length or place than its rows need");
    }
    end += Math.ceil(length / 8) * 8;
    return new View(bytes.buffer, bytes.byteOffset + start, items);
  };

  const columns = kinds.map((kind, column) => {
    const place = HEADER_BYTES + column * DESCRIPTOR_BYTES;
    if (view.getUint8(place) !== kind.tag) {
      throw new BadFrame(`a column has the type ${view.getUint8(place)}, ${kind.tag} was agreed on`);
    }
    const hasValidity = (view.getUint8(place + 1) & 1) === 1;
    let offsets = null, items = rows;
    if (WITH_OFFSETS.has(kind.layout)) {
      offsets = part(place + 24, Int32Array, rows + 1);
      items = offsets[rows];
      if (offsets[0] !== 0 || offsets.some((end, row) => row > 0 && end < offsets[row - 1])) {
        throw new BadFrame("its offsets do not begin at 0, or fall");
      }
    }
    const isBits = kind.layout === BITS || kind.layout === BIT_LIST;
    const count = isBits ? Math.ceil(items / 8) : items * (kind.width || 1);
    const values = part(place + 16, kind.View ?? Uint8Array, count);
    const validity = hasValidity ? part(place + 8, Uint8Array, Math.ceil(rows / 8)) : null;
    return new Column(kind, rows, hasValidity ? word(place + 4) : 0, values, offsets, validity);
  });
  if (end !== size) throw new BadFrame("it is longer than its columns");
  return { rows, columns };
}

/** The frame of these outputs, each `{ name, kind, values }` with a value or `null` for every row. */
export function write(rows, outputs) {
  const head = HEADER_BYTES + outputs.length * DESCRIPTOR_BYTES;
  const parts = [];
  let end = head;
  const put = (bytes) => {
    if (bytes.byteLength === 0) return [0, 0];
    const start = end;
    parts.push([start, bytes]);
    end += Math.ceil(bytes.byteLength / 8) * 8;
    return [start, bytes.byteLength];
  };
  const descriptors = outputs.map(({ name, kind, values }) => {
    if (values === null || typeof values !== "object" || values.length !== rows) {
      throw new WrongOutput(`output ${name} has ${values?.length ?? "no"} values for ${rows} rows`);
    }
    const { items, offsets } = laidOut(name, kind, values);
    const offsetsAt = offsets === null ? [0, 0] : put(bytesOf(offsets));
    const itemsAt = put(items);
    const { nulls, validity } = nullsOf(values);
    return [nulls, ...(nulls > 0 ? put(validity) : [0, 0]), ...itemsAt, ...offsetsAt];
  });

  const frame = new Uint8Array(end), view = new DataView(frame.buffer);
  [MAGIC, rows, outputs.length, 0].forEach((word, place) => view.setUint32(place * 4, word, true));
  descriptors.forEach((words, column) => {
    const place = HEADER_BYTES + column * DESCRIPTOR_BYTES;
    view.setUint8(place, outputs[column].kind.tag);
    view.setUint8(place + 1, words[0] > 0 ? 1 : 0);
    words.forEach((word, i) => view.setUint32(place + 4 + i * 4, word, true));
  });
  for (const [start, bytes] of parts) frame.set(bytes, start);
  return frame;
}

function bytesOf(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function nullsOf(values) {
  let nulls = 0;
  const validity = new Uint8Array(Math.ceil(values.length / 8));
  if (ArrayBuffer.isView(values)) return { nulls, validity };
  for (let row = 0; row < values.length; row++) {
    if (isNull(values[row])) nulls += 1;
    else validity[row >> 3] |= 1 << (row & 7);
  }
  return { nulls, validity };
}

function isNull(value) {
  return value === null || value === undefined;
}

/** The bytes of a column's values, and its offsets where it has some. */
function laidOut(name, kind, values) {
  const wrong = (row, value) => {
    throw new WrongOutput(`output ${name}: ${shown(value)} of row ${row} is no ${kind.name}`);
  };
  switch (kind.layout) {
    case FIXED: {
      if (values instanceof kind.View) return { items: bytesOf(values), offsets: null };
      return { items: bytesOf(numbers(kind, values, wrong)), offsets: null };
    }
    case BITS:
      return { items: packed(values, (value, row) => (isNull(value) ? false : flag(value, row, wrong))), offsets: null };
    case EMBEDDING: {
      const items = new Float32Array(values.length * kind.width);
      values.forEach((value, row) => {
        if (isNull(value)) return;
        if (value.length !== kind.width) {
          throw new WrongOutput(`output ${name}: row ${row} has ${value.length} items, not ${kind.width}`);
        }
        items.set(numbers(kind, value, () => wrong(row, value)), row * kind.width);
      });
      return { items: bytesOf(items), offsets: null };
    }
    default: {
      const pieces = Array.from(values, (value, row) => (isNull(value) ? [] : piece(kind, value, row, wrong)));
      const offsets = new Int32Array(pieces.length + 1);
      pieces.forEach((items, row) => { offsets[row + 1] = offsets[row] + items.length; });
      if (kind.layout === BIT_LIST) return { items: packed(pieces.flat(), (value) => value), offsets };
      const items = new (kind.View ?? Uint8Array)(offsets[pieces.length]);
      pieces.forEach((value, row) => items.set(value, offsets[row]));
      return { items: bytesOf(items), offsets };
    }
  }
}

/** The items of one row's list, or the bytes of its text. */
function piece(kind, value, row, wrong) {
  switch (kind.layout) {
    case TEXT:
      // A lonely half of a surrogate pair would become another character.
      if (typeof value !== "string" || LONELY.test(value)) wrong(row, value);
      return encoder.encode(value);
    case BYTES:
      return value instanceof Uint8Array ? value : wrong(row, value);
    case BIT_LIST:
      return Array.from(value, (item) => flag(item, row, () => wrong(row, value)));
    default:
      return numbers(kind, value, () => wrong(row, value));
  }
}

function numbers(kind, values, wrong) {
  const { View } = kind;
  if (values instanceof View) return values;
  const view = new View(values.length);
  for (let row = 0; row < view.length; row++) {
    const value = values[row];
    if (isNull(value) && kind.layout === FIXED) continue;
    if (!FITS.get(View)(value)) wrong(row, value);
    view[row] = value;
  }
  return view;
}

const INT64_MIN = -(2n ** 63n), INT64_MAX = 2n ** 63n - 1n;
const isNumber = (value) => typeof value === "number";
const FITS = new Map([
  [Int32Array, (value) => isNumber(value) && (value | 0) === value],
  [BigInt64Array, (value) => typeof value === "bigint" && value >= INT64_MIN && value <= INT64_MAX],
  [Float32Array, isNumber],
  [Float64Array, isNumber],
]);

function flag(value, row, wrong) {
  return typeof value === "boolean" ? value : wrong(row, value);
}

function packed(values, isSet) {
  const bytes = new Uint8Array(Math.ceil(values.length / 8));
  for (let row = 0; row < values.length; row++) {
    if (isSet(values[row], row)) bytes[row >> 3] |= 1 << (row & 7);
  }
  return bytes;
}

function shown(value) {
  const text = typeof value === "bigint" ? `${value}n` : typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.slice(0, 80);
}
