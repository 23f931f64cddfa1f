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
const NOWHERE = { start: 0, length: 0 };
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

  /** The values of all rows, `null` where one is null: an array, or the typed array that is there already. */
  list() {
    if (this.kind.layout === FIXED && this.nullCount === 0) return this.values;
    const list = new Array(this.length);
    for (let row = 0; row < list.length; row++) list[row] = this.get(row);
    return list;
  }

  [Symbol.iterator]() {
    return this.list()[Symbol.iterator]();
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
      let falls = offsets[0] !== 0;
      for (let row = 0; row < rows; row++) falls ||= offsets[row + 1] < offsets[row];
      if (falls) throw new BadFrame("its offsets do not begin at 0, or fall");
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
  const parts = [], descriptors = [];
  let end = HEADER_BYTES + outputs.length * DESCRIPTOR_BYTES;
  const put = (bytes) => {
    const length = bytes.byteLength, start = length === 0 ? 0 : end;
    parts.push({ start, bytes });
    end += Math.ceil(length / 8) * 8;
    return { start, length };
  };
  for (let column = 0; column < outputs.length; column++) {
    const { name, kind, values } = outputs[column];
    if (values === null || typeof values !== "object" || values.length !== rows) {
      throw new WrongOutput(`output ${name} has ${values?.length ?? "no"} values for ${rows} rows`);
    }
    const { items, offsets } = laidOut(name, kind, values);
    const nulls = countNulls(values);
    descriptors.push({
      nulls,
      offsets: offsets === null ? NOWHERE : put(bytesOf(offsets)),
      values: put(items),
      validity: nulls > 0 ? put(validityOf(values)) : NOWHERE,
    });
  }

  const frame = new Uint8Array(end), words = new Uint32Array(frame.buffer);
  words[0] = MAGIC;
  words[1] = rows;
  words[2] = outputs.length;
  for (let column = 0; column < outputs.length; column++) {
    const { nulls, validity, values, offsets } = descriptors[column];
    const place = (HEADER_BYTES + column * DESCRIPTOR_BYTES) / 4;
    words[place] = outputs[column].kind.tag | (nulls > 0 ? 1 << 8 : 0);
    words[place + 1] = nulls;
    words[place + 2] = validity.start;
    words[place + 3] = validity.length;
    words[place + 4] = values.start;
    words[place + 5] = values.length;
    words[place + 6] = offsets.start;
    words[place + 7] = offsets.length;
  }
  for (let part = 0; part < parts.length; part++) frame.set(parts[part].bytes, parts[part].start);
  return frame;
}

function bytesOf(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

// A call costs the interpreter as much as three steps of a loop, an iterator (`for … of`, `...`) as much as forty: what is
// done for each value or column is a plain loop.

function countNulls(values) {
  if (ArrayBuffer.isView(values)) return 0;
  let nulls = 0;
  for (let row = 0; row < values.length; row++) {
    const value = values[row];
    if (value === null || value === undefined) nulls += 1;
  }
  return nulls;
}

function validityOf(values) {
  const validity = new Uint8Array(Math.ceil(values.length / 8));
  for (let row = 0; row < values.length; row++) {
    const value = values[row];
    if (value !== null && value !== undefined) validity[row >> 3] |= 1 << (row & 7);
  }
  return validity;
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
  const wanted = View === BigInt64Array ? "bigint" : "number";
  const isRounded = View === Float32Array || View === Float64Array;
  const takesNull = kind.layout === FIXED;
  for (let row = 0; row < view.length; row++) {
    const value = values[row];
    if (takesNull && (value === null || value === undefined)) continue;
    if (typeof value !== wanted) wrong(row, value);
    view[row] = value;
    // What does not fit is another number afterwards.
    if (!isRounded && view[row] !== value) wrong(row, value);
  }
  return view;
}

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
