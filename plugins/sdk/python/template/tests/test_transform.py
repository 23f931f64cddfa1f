"""The function, natively: `python3 tests/test_{{name}}.py`."""

import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("src", "sdk")]

from {{name}} import BadParameter, check, ratio  # noqa: E402


class Ratio(unittest.TestCase):
    def test_a_ratio_is_cut_at_the_most_and_nothing_without_a_usual_fare(self):
        self.assertEqual(ratio(10.0, 15.0), 1.5)
        self.assertEqual(ratio(10.0, 500.0), 10.0)
        self.assertIsNone(ratio(0.0, 15.0))

    def test_the_most_is_above_zero(self):
        with self.assertRaises(BadParameter):
            check(0.0)


if __name__ == "__main__":
    unittest.main()
