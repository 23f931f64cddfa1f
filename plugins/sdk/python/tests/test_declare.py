"""What a function declares, and how it is called for the rows of a frame."""

import unittest

from lockstep_plugin import (
    AsOf, Embedding, Feature, FeatureColumn, Float32, Int32, Parameter, Refuse, Request, Rows, Timestamp, declare, frame,
    kinds, transform,
)
from lockstep_plugin.compute import Bound, Failed


def declared(function, outputs, **more):
    declare.declared = None
    transform(name="t", version="1.0.0", outputs=outputs, **more)(function)
    return declare.declared


def applied(transform, columns, **parameters):
    """The outputs for these input columns, as lists, and the refused rows."""
    inputs = [(field.name, field.kind, values) for field, values in zip(transform.inputs, columns)]
    rows = len(columns[0])
    bound = Bound(transform, parameters, {field.name for field in transform.outputs})
    answer, refused = bound.apply(frame.write(rows, inputs))
    _, outputs = frame.read(answer, [field.kind for field in transform.outputs])
    return [output.tolist() for output in outputs], refused


class Declared(unittest.TestCase):
    def test_arguments_say_what_is_read(self):
        def function(
            as_of: AsOf,
            fare: Feature[float | None],
            vector: Feature[Embedding[3]],
            hours: Feature[list[Int32]],
            seen: Request[Timestamp],
            most: Parameter[float] = 2.0,
            name: Parameter[str] = "x",
        ):
            """What it is."""

        it = declared(function, {"a": Float32}, parameters={"most": "The most."})
        self.assertEqual([f"{field.name}: {field.kind}" for field in it.inputs], [
            "as_of: timestamp", "fare: float64", "vector: list<float32, 3>", "hours: list<int32>", "seen: timestamp",
        ])
        self.assertEqual([(p.name, p.kind, p.required, p.default, p.doc) for p in it.parameters], [
            ("most", kinds.FLOAT64, False, 2.0, "The most."), ("name", kinds.STRING, False, "x", ""),
        ])
        self.assertTrue(it.handles_nulls and it.uses_as_of and not it.by_column)
        self.assertEqual(it.doc, "What it is.")

    def test_a_wrong_declaration_says_what_to_write(self):
        def unmarked(x: float): ...
        def mixed(x: Feature[float], y: FeatureColumn[float]): ...
        def rows_of_a_row(x: Feature[float], rows: Rows): ...
        def untyped(x: Feature[dict]): ...
        def listed(x: Feature[list[str]]): ...
        def defaulted(x: Feature[float] = 1.0): ...
        def other_time(now: AsOf): ...
        def structured(x: Feature[float], most: Parameter[Int32] = 1): ...

        wrong = [
            (unmarked, "argument x of t says not what it is: write x: Feature\\[float\\]"),
            (mixed, "values of one row and whole columns"),
            (rows_of_a_row, "values of one row and whole columns"),
            (untyped, "input x cannot be <class 'dict'>: a column is bool, int"),
            (listed, "input x cannot be list\\[str\\]"),
            (defaulted, "input x has a default"),
            (other_time, "the argument `as_of: AsOf`"),
            (structured, "parameter most is int32; it can be bool, int, float or str"),
        ]
        for function, message in wrong:
            with self.subTest(function.__name__), self.assertRaisesRegex(TypeError, message):
                declared(function, {"a": float})

    def test_a_plugin_has_one_transform(self):
        declared(lambda: 1.0, {"a": float})
        with self.assertRaisesRegex(TypeError, "t and u are two"):
            transform(name="u", version="1.0.0", outputs={"a": float})(lambda: 1.0)


class Applied(unittest.TestCase):
    def test_a_row_with_a_null_is_null_without_asking_the_function(self):
        def twice(x: Feature[float], y: Request[int], factor: Parameter[float] = 2.0):
            return x * factor + y

        it = declared(twice, {"a": float})
        self.assertEqual(applied(it, [[1.0, None, 3.0], [1, 2, None]], factor=2.0), ([[3.0, None, None]], []))

    def test_arguments_may_stand_in_any_order(self):
        def mixed(most: Parameter[float], y: Request[float], x: Feature[float], as_of: AsOf):
            return x + 2 * y + 4 * most + 8 * as_of

        self.assertEqual(applied(declared(mixed, {"a": float}), [[1], [10.0], [100.0]], most=1000.0), ([[4218.0]], []))

    def test_a_function_that_takes_nulls_is_asked_for_them_and_not_for_others(self):
        def either(x: Feature[float | None], y: Feature[float]):
            return y if x is None else x

        it = declared(either, {"a": float})
        self.assertEqual(applied(it, [[1.0, None, 3.0], [7.0, 8.0, None]]), ([[1.0, 8.0, None]], []))

    def test_rows_are_refused_and_outputs_left_out(self):
        def odd(x: Feature[int]):
            if x < 0:
                raise Refuse(1_001, f"{x} is below 0")
            return None if x == 0 else (x, x % 2 == 1)

        it = declared(odd, {"a": int, "b": bool})
        outputs, refused = applied(it, [[1, 0, -4, 6]])
        self.assertEqual(outputs, [[1, None, None, 6], [True, None, None, False]])
        self.assertEqual(refused, [(2, 1_001, "-4 is below 0")])

    def test_columns_are_taken_and_given_whole(self):
        def doubled(x: FeatureColumn[float], names: FeatureColumn[str], rows: Rows):
            rows.refuse(1, 2_000, "no")
            return memoryview(bytes(x.values)).cast("d"), (name and name.upper() for name in names)

        it = declared(doubled, {"a": float, "b": str})
        outputs, refused = applied(it, [[1.0, 2.0, 3.0], ["a", None, "ü"]])
        self.assertEqual(outputs, [[1.0, 2.0, 3.0], ["A", None, "Ü"]])
        self.assertEqual(refused, [(1, 2_000, "no")])

    def test_what_goes_wrong_is_told_with_its_row_and_line(self):
        def wrong(x: Feature[int]):
            return [1.0, (1.0, 2.0), {"a": 1}, 1 // 0][x]

        it = declared(wrong, {"a": float, "b": float})
        with self.assertRaisesRegex(Failed, "^row 0: ZeroDivisionError: .* \\(test_declare.py, line [0-9]+\\)$"):
            applied(it, [[3]])

        def few(x: Feature[int]):
            return (1.0,)

        with self.assertRaisesRegex(Failed, "^t returned 1 outputs, not 2: a, b$"):
            applied(declared(few, {"a": float, "b": float}), [[0]])

    def test_no_rows_are_an_answer(self):
        def same(x: Feature[float]):
            return x

        self.assertEqual(applied(declared(same, {"a": float}), [[]]), ([[]], []))


if __name__ == "__main__":
    unittest.main()
