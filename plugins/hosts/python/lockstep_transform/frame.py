"""frame/1: Arrow columns as the bytes that a transform reads, and back. wit/vectors/README.md is the format.

Everything goes by buffers: numpy looks at Arrow's memory, and no value becomes a Python object.
"""
import struct
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAGIC = 0x3146534C  # b"LSF1", little-endian
HEADER_BYTES, DESCRIPTOR_BYTES = 16, 32
HAS_VALIDITY = 1
ROWS_MAX = 8_192
BYTES_MAX = 8 << 20

# By the position of a type in the WIT enum `dtype`: its name there, Arrow's type, and numpy's where values have a width.
TYPES = (
    ("boolean", pa.bool_(), None),
    ("int32", pa.int32(), np.dtype("<i4")),
    ("int64", pa.int64(), np.dtype("<i8")),
    ("float32", pa.float32(), np.dtype("<f4")),
    ("float64", pa.float64(), np.dtype("<f8")),
    ("utf8", pa.string(), None),
    ("binary", pa.binary(), None),
    ("timestamp-us", pa.timestamp("us", "UTC"), np.dtype("<i8")),
    ("date32", pa.date32(), np.dtype("<i4")),
    ("fixed-list-float32", None, np.dtype("<f4")),
    ("list-boolean", pa.list_(pa.bool_()), None),
    ("list-int32", pa.list_(pa.int32()), np.dtype("<i4")),
    ("list-int64", pa.list_(pa.int64()), np.dtype("<i8")),
    ("list-float32", pa.list_(pa.float32()), np.dtype("<f4")),
    ("list-float64", pa.list_(pa.float64()), np.dtype("<f8")),
    ("list-timestamp-us", pa.list_(pa.timestamp("us", "UTC")), np.dtype("<i8")),
)
TAGS = {name: tag for tag, (name, _, _) in enumerate(TYPES)}
BOOLEAN, UTF8, BINARY, FIXED_LIST, LIST_BOOLEAN = 0, 5, 6, 9, 10
NANS = {4: np.uint32(0x7FC00000), 8: np.uint64(0x7FF8000000000000)}


class BadFrame(ValueError):
    """The bytes are not the frame that was agreed on."""


class TooLarge(ValueError):
    """The rows do not fit into one frame; fewer may."""


@dataclass(frozen=True)
class Column:
    """One column of a frame, as `bind` agreed on it."""

    name: str
    tag: int
    nullable: bool
    width: int  # of a fixed list, else 0

    @property
    def type(self) -> pa.DataType:
        return pa.list_(pa.float32(), self.width) if self.tag == FIXED_LIST else TYPES[self.tag][1]

    @property
    def numpy(self):
        return TYPES[self.tag][2]

    @property
    def is_text(self) -> bool:
        return self.tag in (UTF8, BINARY)

    @property
    def is_list(self) -> bool:
        return self.tag >= LIST_BOOLEAN


def write(columns, arrays, bytes_max=BYTES_MAX) -> bytes:
    """The rows of `arrays`, which have the types of `columns`, as one frame. Nulls where none may be are zeros."""
    rows = len(arrays[0]) if arrays else 0
    parts, descriptors, end = [], [], HEADER_BYTES + DESCRIPTOR_BYTES * len(columns)
    for column, array in zip(columns, arrays):
        valid = _valid(array)
        offsets, values = _buffers(column, array, valid)
        nulls = 0 if valid is None or not column.nullable else int(len(valid) - np.count_nonzero(valid))
        validity = np.packbits(valid, bitorder="little") if nulls else None
        places = []
        for buffer in (offsets, values, validity):
            if buffer is None or buffer.size == 0:
                places.append((0, 0))
                continue
            data = memoryview(np.ascontiguousarray(buffer)).cast("B")
            places.append((end, len(data)))
            padding = -len(data) % 8
            parts += [data, bytes(padding)]
            end += len(data) + padding
            if end > bytes_max:
                raise TooLarge(f"the rows take more than {bytes_max} bytes")
        (offsets_at, values_at, validity_at) = places
        flags = HAS_VALIDITY if nulls else 0
        descriptors.append(struct.pack("<BBHIIIIIII", column.tag, flags, 0, nulls, *validity_at, *values_at, *offsets_at))
    return b"".join([struct.pack("<IIII", MAGIC, rows, len(columns), 0), *descriptors, *parts])


def read(columns, frame: bytes, rows: int, keep=None) -> list:
    """The columns of a frame of `rows` rows. Rows that `keep` (a numpy array of bools) leaves out come out null.

    The frame is a guest's: every place in it is checked before anything is read.
    """
    if len(frame) < HEADER_BYTES + DESCRIPTOR_BYTES * len(columns):
        raise BadFrame("it ends within its descriptors")
    magic, is_rows, is_columns, flags = struct.unpack_from("<IIII", frame)
    if (magic, is_rows, is_columns, flags) != (MAGIC, rows, len(columns), 0):
        raise BadFrame(f"has {is_rows} rows and {is_columns} columns instead of {rows} and {len(columns)}")
    memory = np.frombuffer(frame, np.uint8)
    end = HEADER_BYTES + DESCRIPTOR_BYTES * len(columns)
    arrays = []
    for position, column in enumerate(columns):
        at = HEADER_BYTES + DESCRIPTOR_BYTES * position
        tag, flags, zero, nulls, *places = struct.unpack_from("<BBHIIIIIII", frame, at)
        if tag != column.tag or flags & ~HAS_VALIDITY or zero:
            raise BadFrame(f"has column {column.name} of another type, or with flags that frame/1 does not know")
        validity_at, values_at, offsets_at = places[0:2], places[2:4], places[4:6]

        def buffer(place, length):
            nonlocal end
            start = 0 if length == 0 else (end + 7) // 8 * 8
            if place != [start, length] or start + length > len(frame):
                raise BadFrame(f"is damaged in column {column.name}: a buffer is not where its rows put it")
            if length:
                end = start + length
            return memory[start : start + length]

        offsets, items = None, 0
        if column.is_text or column.is_list:
            offsets = buffer(offsets_at, (rows + 1) * 4).view("<i4")
            if offsets[0] != 0 or np.any(offsets[1:] < offsets[:-1]):
                raise BadFrame(f"is damaged in column {column.name}: its offsets do not begin at 0 or fall")
            items = int(offsets[-1])
        else:
            buffer(offsets_at, 0)
        values = buffer(values_at, _values_bytes(column, rows, items))
        validity = buffer(validity_at, (rows + 7) // 8 if flags & HAS_VALIDITY else 0)
        valid = np.unpackbits(validity, count=rows, bitorder="little").view(bool) if len(validity) else None
        if nulls != (0 if valid is None else rows - int(np.count_nonzero(valid))):
            raise BadFrame(f"is damaged in column {column.name}: its number of nulls is not that of its bitmap")
        if nulls and not column.nullable:
            raise BadFrame(f"has nulls in column {column.name}, which is not nullable")
        if keep is not None:
            valid = keep if valid is None else valid & keep
        arrays.append(_array(column, rows, offsets, items, values, valid))
    if len(frame) != (end + 7) // 8 * 8:
        raise BadFrame("it goes on after its last buffer, or ends before it")
    return arrays


def _valid(array):
    return np.asarray(array.is_valid()) if array.null_count else None


def _fixed(array, dtype):
    """The values of an array of fixed width, as a copy; those of null rows are whatever lies there."""
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype, count=len(array), offset=array.offset * dtype.itemsize).copy()


def _canonical(values):
    """Every NaN in its one form, in place."""
    if values.dtype.kind == "f":
        values.view(f"<u{values.dtype.itemsize}")[np.isnan(values)] = NANS[values.dtype.itemsize]
    return values


def _bits(array):
    return np.packbits(np.asarray(array.fill_null(False)), bitorder="little")


def _buffers(column, array, valid):
    """Offsets (or none) and values."""
    if column.tag == BOOLEAN:
        return None, _bits(array)
    if column.tag == FIXED_LIST:
        items = array.flatten()
        _no_null_items(column, items)
        values = np.zeros((len(array), column.width), column.numpy)
        values[slice(None) if valid is None else valid] = _fixed(items, column.numpy).reshape(-1, column.width)
        return None, _canonical(values.reshape(-1))
    if column.is_text:
        if valid is not None:
            array = array.fill_null("" if column.tag == UTF8 else b"")
        offsets, data = array.buffers()[1:3]
        if offsets is None or len(array) == 0:
            return np.zeros(1, "<i4"), None
        offsets = np.frombuffer(offsets, "<i4", count=len(array) + 1, offset=array.offset * 4)
        data = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else None
        return offsets - offsets[0], data
    if column.is_list:
        lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0))
        offsets = np.zeros(len(array) + 1, "<i4")
        np.cumsum(lengths, out=offsets[1:])
        items = array.flatten()
        _no_null_items(column, items)
        return offsets, _bits(items) if column.tag == LIST_BOOLEAN else _canonical(_fixed(items, column.numpy))
    values = _canonical(_fixed(array, column.numpy))
    if valid is not None:
        values[~valid] = 0
    return None, values


def _no_null_items(column, items):
    if items.null_count:
        raise ValueError(f"a list in column {column.name} has a null among its items")


def _values_bytes(column, rows, items):
    if column.tag == BOOLEAN:
        return (rows + 7) // 8
    if column.tag == FIXED_LIST:
        return rows * column.width * 4
    if column.is_text:
        return items
    if column.tag == LIST_BOOLEAN:
        return (items + 7) // 8
    return (items if column.is_list else rows) * column.numpy.itemsize


def _array(column, rows, offsets, items, values, valid):
    all_valid = valid is None or bool(valid.all())
    bitmap = None if all_valid else pa.py_buffer(np.packbits(valid, bitorder="little"))
    dtype = column.numpy
    if dtype is not None:
        values = _canonical(values.view(dtype).copy())
    if not all_valid and not column.is_text and not column.is_list and column.tag != BOOLEAN:
        values.reshape(rows, -1)[~valid] = 0
    data = pa.py_buffer(np.ascontiguousarray(values))
    if column.tag == FIXED_LIST:
        child = pa.Array.from_buffers(pa.float32(), rows * column.width, [None, data])
        return pa.Array.from_buffers(column.type, rows, [bitmap], children=[child])
    if column.is_list:
        child = pa.Array.from_buffers(column.type.value_type, items, [None, data])
        array = pa.Array.from_buffers(column.type, rows, [bitmap, pa.py_buffer(offsets.copy())], children=[child])
    elif column.is_text:
        array = pa.Array.from_buffers(column.type, rows, [bitmap, pa.py_buffer(offsets.copy()), data])
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            raise BadFrame(f"is damaged in column {column.name}: it is not UTF-8") from None
    else:
        return pa.Array.from_buffers(column.type, rows, [bitmap, data])
    # Nothing is left in null rows, so that equal columns have equal buffers.
    return array if all_valid else array.take(pa.array(np.arange(rows), mask=~valid))
