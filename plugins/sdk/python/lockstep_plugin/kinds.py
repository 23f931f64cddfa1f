"""The types of columns: as an author writes them, and as they lie in a frame."""

from array import array


class Int32(int):
    """A 32-bit integer; `int` alone is 64 bits wide."""


class Float32(float):
    """A 32-bit float; `float` alone is 64 bits wide."""


class Timestamp(int):
    """Microseconds since 1970, UTC."""


class Date(int):
    """Days since 1970."""


class Embedding:
    """`Embedding[384]`: so many float32 in every row."""

    width = 0

    def __class_getitem__(cls, width):
        if not isinstance(width, int) or not 1 <= width <= 65_536:
            raise TypeError(f"Embedding[{width!r}]: the width is a number from 1 to 65536")
        return type(f"Embedding[{width}]", (Embedding,), {"width": width})


class Kind:
    """A type of column. `code` is the struct code of one item, `None` where items are bits or bytes."""

    __slots__ = ("name", "tag", "code", "item_bytes", "layout", "width")

    def __init__(self, name, tag, code, layout, width=0):
        self.name, self.tag, self.code, self.layout, self.width = name, tag, code, layout, width
        self.item_bytes = array(code).itemsize if code else 1

    def __repr__(self):
        return self.name


# How the values of a column lie in its buffers.
FIXED, BITS, TEXT, BYTES, EMBEDDING, LIST, BIT_LIST = range(7)

BOOL = Kind("bool", 0, None, BITS)
INT32 = Kind("int32", 1, "i", FIXED)
INT64 = Kind("int64", 2, "q", FIXED)
FLOAT32 = Kind("float32", 3, "f", FIXED)
FLOAT64 = Kind("float64", 4, "d", FIXED)
STRING = Kind("string", 5, None, TEXT)
BINARY = Kind("bytes", 6, None, BYTES)
TIMESTAMP = Kind("timestamp", 7, "q", FIXED)
DATE = Kind("date", 8, "i", FIXED)
LIST_BOOL = Kind("list<bool>", 10, None, BIT_LIST)
LIST_INT32 = Kind("list<int32>", 11, "i", LIST)
LIST_INT64 = Kind("list<int64>", 12, "q", LIST)
LIST_FLOAT32 = Kind("list<float32>", 13, "f", LIST)
LIST_FLOAT64 = Kind("list<float64>", 14, "d", LIST)
LIST_TIMESTAMP = Kind("list<timestamp>", 15, "q", LIST)

_OF_TYPE = {
    bool: BOOL, Int32: INT32, int: INT64, Float32: FLOAT32, float: FLOAT64, str: STRING, bytes: BINARY,
    Timestamp: TIMESTAMP, Date: DATE,
}
_OF_ITEM = {
    bool: LIST_BOOL, Int32: LIST_INT32, int: LIST_INT64, Float32: LIST_FLOAT32, float: LIST_FLOAT64,
    Timestamp: LIST_TIMESTAMP,
}


def embedding(width):
    return Kind(f"list<float32, {width}>", 9, "f", EMBEDDING, width)


def kind_of(annotation):
    """The kind that a type stands for: `float`, `Int32`, `list[float]`, `Embedding[8]`; `None` for any other type."""
    if isinstance(annotation, type) and issubclass(annotation, Embedding) and annotation.width:
        return embedding(annotation.width)
    if getattr(annotation, "__origin__", None) is list:
        return _OF_ITEM.get(annotation.__args__[0])
    return _OF_TYPE.get(annotation)
