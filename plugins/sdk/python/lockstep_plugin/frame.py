"""frame/1, the bytes in which rows cross: columns are views of a frame, and outputs become one.

The whole format is on one page, wit/vectors/README.md. Nothing is copied on the way in until it is asked for; what comes
from the frame is checked before it is used, because a slice that ends too early is no error in Python.
"""

from array import array
from itertools import chain
from struct import Struct

from .kinds import BITS, BIT_LIST, BYTES, EMBEDDING, FIXED, LIST, TEXT

MAGIC = b"LSF1"
_HEADER = Struct("<4sIII")
_DESCRIPTOR = Struct("<BBHIIIIIII")
_ROWS_MAX = 1 << 31
_BITS_OF = [tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256)]


class BadFrame(Exception):
    """The frame is not what was agreed on."""


class WrongOutput(Exception):
    """The transform gave what its output cannot hold."""


class Column:
    """One input column. `column[row]` and iteration give Python values, `None` where a row is null.

    `values` is a memoryview of the numbers (items, for lists) as they lie in the frame, zero where a row is null: the
    quick way over columns of numbers, times and dates. `offsets` says where each list, string or bytes value begins.
    """

    __slots__ = ("kind", "rows", "null_count", "values", "offsets", "_validity", "_list")

    def __init__(self, kind, rows, null_count, values, offsets, validity):
        self.kind, self.rows, self.null_count = kind, rows, null_count
        self.values, self.offsets, self._validity = values, offsets, validity
        self._list = None

    def __len__(self):
        return self.rows

    def __getitem__(self, row):
        return self.tolist()[row]

    def __iter__(self):
        return iter(self.tolist())

    def tolist(self):
        """The values of all rows, `None` where one is null. Made once; do not change it."""
        if self._list is None:
            values = _LISTED[self.kind.layout](self)
            if self.null_count:
                values = [value if valid else None for value, valid in zip(values, self.valid())]
            self._list = values
        return self._list

    def valid(self):
        """For each row whether it has a value."""
        return _bits(self._validity, self.rows) if self.null_count else [True] * self.rows


def _bits(data, count):
    return list(chain.from_iterable(map(_BITS_OF.__getitem__, data)))[:count]


def _listed_texts(column):
    data, offsets = bytes(column.values), column.offsets
    try:
        text = data.decode()
        if len(text) == len(data):
            return [text[start:end] for start, end in zip(offsets, offsets[1:])]
        return [data[start:end].decode() for start, end in zip(offsets, offsets[1:])]
    except UnicodeDecodeError as error:
        raise BadFrame("a text is not UTF-8") from error


def _listed_items(column):
    values, offsets = column.values, column.offsets
    return [values[start:end].tolist() for start, end in zip(offsets, offsets[1:])]


def _listed_bit_items(column):
    offsets = column.offsets
    bits = _bits(column.values, offsets[-1])
    return [bits[start:end] for start, end in zip(offsets, offsets[1:])]


def _listed_bytes(column):
    data, offsets = bytes(column.values), column.offsets
    return [data[start:end] for start, end in zip(offsets, offsets[1:])]


def _listed_embeddings(column):
    values, width = column.values, column.kind.width
    return [values[start : start + width].tolist() for start in range(0, column.rows * width, width)]


_LISTED = {
    FIXED: lambda column: column.values.tolist(),
    BITS: lambda column: _bits(column.values, column.rows),
    TEXT: _listed_texts,
    BYTES: _listed_bytes,
    EMBEDDING: _listed_embeddings,
    LIST: _listed_items,
    BIT_LIST: _listed_bit_items,
}


def read(frame, kinds):
    """The number of rows and the columns of a frame, which must be of these kinds."""
    view, size = memoryview(frame), len(frame)
    if size < _HEADER.size + len(kinds) * _DESCRIPTOR.size:
        raise BadFrame("it ends within its header")
    magic, rows, columns, flags = _HEADER.unpack_from(frame)
    if magic != MAGIC or flags or rows >= _ROWS_MAX:
        raise BadFrame("it does not begin with LSF1")
    if columns != len(kinds):
        raise BadFrame(f"it has {columns} columns, {len(kinds)} were agreed on")

    place = _HEADER.size + len(kinds) * _DESCRIPTOR.size

    def part(start, length, wanted, code=None):
        """The next buffer. There is one place for each, so that none can lie over another or beyond the end."""
        nonlocal place
        if length != wanted or start != (place if wanted else 0) or start + length > size:
            raise BadFrame("a buffer has another length or place than its rows need")
        place += (length + 7) // 8 * 8
        bytes_ = view[start : start + length]
        return bytes_.cast(code) if code else bytes_

    descriptors = _DESCRIPTOR.iter_unpack(view[_HEADER.size : place])
    read_columns, bits = [], (rows + 7) // 8
    for kind, (tag, flags, _, nulls, validity_at, validity_bytes, start, length, offsets_at, offsets_bytes) in zip(
        kinds, descriptors
    ):
        if tag != kind.tag:
            raise BadFrame(f"a column has the type {tag}, {kind.tag} was agreed on")
        offsets, layout = None, kind.layout
        if layout is FIXED:
            values = part(start, length, rows * kind.item_bytes, kind.code)
        elif layout is BITS:
            values = part(start, length, bits)
        elif layout is EMBEDDING:
            values = part(start, length, rows * kind.width * kind.item_bytes, kind.code)
        else:
            offsets = part(offsets_at, offsets_bytes, (rows + 1) * 4, "i").tolist()
            if offsets[0] != 0 or any(end < start for start, end in zip(offsets, offsets[1:])):
                raise BadFrame("its offsets do not begin at 0, or fall")
            items = offsets[-1]
            wanted = (items + 7) // 8 if layout is BIT_LIST else items * kind.item_bytes
            values = part(start, length, wanted, kind.code)
        validity = part(validity_at, validity_bytes, bits) if flags else None
        read_columns.append(Column(kind, rows, nulls if flags else 0, values, offsets, validity))
    if place != size:
        raise BadFrame("it is longer than its columns")
    return rows, read_columns


def write(rows, outputs):
    """The frame of these outputs, each `(name, kind, values)` with a value or `None` for every row."""
    parts, descriptors = [], []
    place = _HEADER.size + len(outputs) * _DESCRIPTOR.size

    def put(data):
        nonlocal place
        length = len(data)
        if not length:
            return 0, 0
        start, padding = place, -length % 8
        parts.append(data)
        if padding:
            parts.append(bytes(padding))
        place += length + padding
        return start, length

    for name, kind, values in outputs:
        if kind.layout is FIXED and type(values) is list and len(values) == rows:
            # Numbers without a null, by far the most, need no look at each.
            try:
                start, length = put(array(kind.code, values).tobytes())
            except TypeError:
                pass
            except OverflowError as error:
                raise WrongOutput(f"output {name}: {_culprit(kind, values)}") from error
            else:
                descriptors.append(_DESCRIPTOR.pack(kind.tag, 0, 0, 0, 0, 0, start, length, 0, 0))
                continue
        data, offsets, valid = _laid_out(name, kind, values, rows)
        offsets_at = put(offsets.tobytes()) if offsets is not None else (0, 0)
        values_at = put(data)
        nulls = valid.count(False) if valid else 0
        validity_at = put(_packed(valid)) if nulls else (0, 0)
        descriptors.append(_DESCRIPTOR.pack(kind.tag, 1 if nulls else 0, 0, nulls, *validity_at, *values_at, *offsets_at))
    return b"".join([_HEADER.pack(MAGIC, rows, len(outputs), 0), *descriptors, *parts])


def _laid_out(name, kind, values, rows):
    """The bytes of an output's values, its offsets, and which rows have a value, where some have none."""
    valid = None
    if not isinstance(values, (array, memoryview)):
        values = values if isinstance(values, list) else list(values)
        if None in values:
            valid = [value is not None for value in values]
    if len(values) != rows:
        raise WrongOutput(f"output {name} has {len(values)} values for {rows} rows")
    try:
        data, offsets = _LAID_OUT[kind.layout](kind, values, valid)
    except WrongOutput as error:
        raise WrongOutput(f"output {name}: {error}") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise WrongOutput(f"output {name}: {_culprit(kind, values)}") from error
    return data, offsets, valid


def _packed(flags):
    """Bits, least significant first."""
    if not flags:
        return b""
    digits = "".join(["1" if flag else "0" for flag in reversed(flags)])
    return int(digits, 2).to_bytes((len(flags) + 7) // 8, "little")


def _numbers(kind, values):
    """The bytes of numbers; a float where an integer belongs, or one that is too large, is an error."""
    if isinstance(values, (array, memoryview)):
        code = values.typecode if isinstance(values, array) else values.format
        if values.itemsize == kind.item_bytes and (code in "fd") == (kind.code in "fd"):
            return values.tobytes()
    return array(kind.code, values).tobytes()


def _fixed(kind, values, valid):
    filled = values if valid is None else [0 if value is None else value for value in values]
    return _numbers(kind, filled), None


def _flags(kind, values, valid):
    if not set(map(type, values)) <= {bool, type(None)}:
        raise TypeError
    return _packed(values), None


def _texts(kind, values, valid):
    return _pieces([b"" if value is None else value.encode() for value in values])


def _binaries(kind, values, valid):
    return _pieces([b"" if value is None else memoryview(value).tobytes() for value in values])


def _pieces(pieces):
    return b"".join(pieces), _offsets(pieces)


def _offsets(pieces):
    offsets, total = array("i", [0]), 0
    for piece in pieces:
        total += len(piece)
        offsets.append(total)
    return offsets


def _embeddings(kind, values, valid):
    zeros = [0.0] * kind.width
    for row, value in enumerate(values):
        if value is not None and len(value) != kind.width:
            raise WrongOutput(f"row {row} has {len(value)} items, not {kind.width}")
    return b"".join([_numbers(kind, zeros if value is None else value) for value in values]), None


def _lists(kind, values, valid):
    pieces = [() if value is None else value for value in values]
    return b"".join([_numbers(kind, piece) for piece in pieces]), _offsets(pieces)


def _flag_lists(kind, values, valid):
    pieces = [() if value is None else value for value in values]
    items = list(chain.from_iterable(pieces))
    if not set(map(type, items)) <= {bool}:
        raise TypeError
    return _packed(items), _offsets(pieces)


_LAID_OUT = {
    FIXED: _fixed,
    BITS: _flags,
    TEXT: _texts,
    BYTES: _binaries,
    EMBEDDING: _embeddings,
    LIST: _lists,
    BIT_LIST: _flag_lists,
}


def _culprit(kind, values):
    """The first value that does not fit, in words."""
    for row, value in enumerate(values):
        if value is None:
            continue
        try:
            _LAID_OUT[kind.layout](kind, [value], None)
        except Exception:
            return f"{str(value)[:80]!r} of row {row} is no {kind}"
    return f"its values are no {kind}"
