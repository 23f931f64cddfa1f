"""Runs the test vectors of frame/1 (wit/vectors) and the goldens of the plugins through the Python host.

    python frame_vectors.py REPOSITORY
"""
import json
import struct
import sys
from pathlib import Path

import pyarrow as pa

root = Path(sys.argv[1])
sys.path.insert(0, str(root / "plugins/hosts/python"))

import lockstep_transform as lt  # noqa: E402
from lockstep_transform import frame  # noqa: E402


# What the vectors call the types, by the name in the WIT.
NAMES = {"bool": "boolean", "string": "utf8", "bytes": "binary", "timestamp": "timestamp-us", "date": "date32"}


def column_of(name, written):
    """`list<float32, 3>` is an embedding of width 3."""
    if not written.startswith("list<"):
        return frame.Column(name, frame.TAGS[NAMES.get(written, written)], True, 0)
    item, _, width = written[5:-1].partition(",")
    if width:
        return frame.Column(name, frame.TAGS["fixed-list-float32"], True, int(width))
    return frame.Column(name, frame.TAGS[f"list-{NAMES.get(item, item)}"], True, 0)


def value(written, column):
    """A value of vectors.json as Python has it."""
    if written is None:
        return None
    if isinstance(written, list):
        return [value(item, column) for item in written]
    if column.tag == frame.BINARY:
        return bytes.fromhex(written)
    if column.numpy is not None and column.numpy.kind == "f":
        return float({"-0": "-0.0"}.get(written, written))
    return written


def array_of(values, column):
    """Times and dates are written as numbers."""
    numbers = {"timestamp-us": pa.int64(), "date32": pa.int32(), "list-timestamp-us": pa.list_(pa.int64())}
    number = numbers.get(frame.TYPES[column.tag][0])
    return pa.array(values, column.type) if number is None else pa.array(values, number).cast(column.type)


def main() -> None:
    vectors = json.loads((root / "wit/vectors/vectors.json").read_text())
    checked = 0
    for vector in vectors:
        data = (root / "wit/vectors" / vector["file"]).read_bytes()
        columns, arrays = [], []
        for number, each in enumerate(vector["columns"]):
            column = column_of(f"c{number}", each["type"])
            columns.append(column)
            values = [value(written, column) for written in each["values"]]
            arrays.append(array_of(values, column))
        rows = vector["rows"]
        assert frame.write(columns, arrays) == data, f"{vector['file']} is written otherwise"
        read = frame.read(columns, data, rows)
        assert frame.write(columns, read) == data, f"{vector['file']} is read otherwise"
        # A slice of a longer column is the same column.
        longer = [pa.concat_arrays([array, array]).slice(len(array), len(array)) for array in arrays]
        assert frame.write(columns, longer) == data, f"{vector['file']} is written otherwise out of a slice"
        for end in (0, 15, 40, len(data) - 8):
            if end < len(data):
                refuses(columns, data[:end], rows)
        checked += 1
    print(f"ok  {checked} vectors of frame/1")
    goldens = sorted((root / "plugins/goldens").iterdir())
    for golden in goldens:
        transform = lt.Transform(root / "plugins/built" / f"{golden.name}.wasm")
        data = (golden / "in.frame").read_bytes()
        rows = struct.unpack_from("<I", data, 4)[0]
        assert transform._module is not None, "a component of Rust is one module"
        # Both ways into the component: by its module, and by the package's own.
        for module in (transform._module, None):
            transform._module = module
            outputs, _, _ = transform.apply(frame.read(transform.inputs, data, rows), rows)
            assert frame.write(transform.outputs, outputs) == (golden / "out.frame").read_bytes(), golden.name
    print(f"ok  goldens of {', '.join(golden.name for golden in goldens)}")
    print("All checks passed.")


def refuses(columns, data, rows) -> None:
    try:
        frame.read(columns, data, rows)
    except frame.BadFrame:
        return
    raise AssertionError("a frame that was cut off was read")


if __name__ == "__main__":
    main()
