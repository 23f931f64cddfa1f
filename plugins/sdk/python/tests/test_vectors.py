"""The vectors of wit/vectors: each file is read into its values, and the values are written into exactly that file."""

import json
import unittest
from pathlib import Path

from lockstep_plugin import frame, kinds
from lockstep_plugin.frame import BadFrame, WrongOutput

VECTORS = Path(__file__).parents[4] / "wit" / "vectors"
KINDS = {kind.name: kind for kind in vars(kinds).values() if isinstance(kind, kinds.Kind)}
KINDS["list<float32, 3>"] = kinds.embedding(3)
WORDS = {"NaN": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "-0": -0.0}


def value_of(kind, cell):
    """A cell of the vectors as a transform would give it."""
    if isinstance(cell, list):
        return [value_of(kind, item) for item in cell]
    if kind is kinds.BINARY and cell is not None:
        return bytes.fromhex(cell)
    return WORDS.get(cell, cell) if kind is not kinds.STRING and isinstance(cell, str) else cell


def vectors():
    for vector in json.loads((VECTORS / "vectors.json").read_text()):
        yield vector, (VECTORS / vector["file"]).read_bytes()


class Vectors(unittest.TestCase):
    def test_every_file_is_read_into_its_values(self):
        for vector, file in vectors():
            with self.subTest(vector["file"]):
                column_kinds = [KINDS[column["type"]] for column in vector["columns"]]
                rows, columns = frame.read(file, column_kinds)
                self.assertEqual(rows, vector["rows"])
                for kind, column, said in zip(column_kinds, columns, vector["columns"]):
                    wanted = [value_of(kind, cell) for cell in said["values"]]
                    self.assertEqual(repr(column.tolist()), repr([as_read(kind, value) for value in wanted]))

    def test_the_values_are_written_into_exactly_that_file(self):
        for vector, file in vectors():
            with self.subTest(vector["file"]):
                outputs = []
                for column in vector["columns"]:
                    kind = KINDS[column["type"]]
                    outputs.append(("x", kind, [value_of(kind, cell) for cell in column["values"]]))
                self.assertEqual(frame.write(vector["rows"], outputs), file)

    def test_columns_that_were_read_are_written_as_they_were(self):
        for vector, file in vectors():
            with self.subTest(vector["file"]):
                column_kinds = [KINDS[column["type"]] for column in vector["columns"]]
                rows, columns = frame.read(file, column_kinds)
                self.assertEqual(frame.write(rows, [("x", kind, column) for kind, column in zip(column_kinds, columns)]), file)

    def test_a_frame_that_is_cut_anywhere_is_refused(self):
        for vector, file in vectors():
            column_kinds = [KINDS[column["type"]] for column in vector["columns"]]
            needed = len(file.rstrip(b"\0"))
            for end in range(0, needed):
                with self.subTest(vector["file"], end=end), self.assertRaises(BadFrame):
                    for column in frame.read(file[:end], column_kinds)[1]:
                        column.tolist()

    def test_a_buffer_at_another_place_than_its_own_is_refused(self):
        for vector, file in vectors():
            column_kinds = [KINDS[column["type"]] for column in vector["columns"]]
            for column, kind in enumerate(column_kinds):
                descriptor = 16 + 32 * column
                # Values, and what of validity and offsets this column has.
                read = [*range(16, 24), *(range(8, 16) if file[descriptor + 1] else ())]
                read += range(24, 32) if file[descriptor + 28] else ()
                for place in read:
                    moved = bytearray(file)
                    moved[descriptor + place] ^= 8
                    with self.subTest(vector["file"], kind=kind, place=place), self.assertRaises(BadFrame):
                        frame.read(bytes(moved), column_kinds)
            with self.subTest(vector["file"]), self.assertRaises(BadFrame):
                frame.read(file + bytes(8), column_kinds)

    def test_views_of_numbers_are_written_without_a_list(self):
        _, columns = frame.read((VECTORS / "float64.frame").read_bytes(), [kinds.FLOAT64])
        self.assertEqual(
            frame.write(3, [("x", kinds.FLOAT64, columns[0].values)]), (VECTORS / "float64.frame").read_bytes()
        )

    def test_a_value_that_does_not_fit_is_named(self):
        wrong = [
            (kinds.INT32, [1, 1 << 31], "output x: '2147483648' of row 1 is no int32"),
            (kinds.INT64, [1.5], "output x: '1.5' of row 0 is no int64"),
            (kinds.BOOL, [True, 1], "output x: '1' of row 1 is no bool"),
            (kinds.STRING, [None, b"a"], "output x: \"b'a'\" of row 1 is no string"),
            (kinds.embedding(2), [[1.0]], "output x: row 0 has 1 items, not 2"),
            (kinds.FLOAT64, [1.0, 2.0, 3.0], "output x has 3 values for 2 rows"),
        ]
        for kind, values, message in wrong:
            with self.subTest(kind), self.assertRaises(WrongOutput) as raised:
                frame.write(len(values) if len(values) < 3 else 2, [("x", kind, values)])
            self.assertEqual(str(raised.exception), message)


def as_read(kind, value):
    """Integers of the vectors' JSON where floats belong."""
    if isinstance(value, list):
        return [as_read(kind, item) for item in value]
    return float(value) if kind.code in ("f", "d") and value is not None else value


if __name__ == "__main__":
    unittest.main()
