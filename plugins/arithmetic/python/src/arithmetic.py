"""50 columns scaled and clamped: little work on many columns, for benchmarks and for tests of the boundary."""

from inspect import Parameter, Signature

from lockstep_plugin import FeatureColumn, transform

COLUMNS = 50


def arithmetic(**columns):
    """y_i = clamp((x_i - 3.5) * 0.25, -5, 5)."""
    return tuple(map(scaled, columns.values()))


def scaled(column):
    values = column if column.null_count else column.values
    return [None if x is None else min(max((x - 3.5) * 0.25, -5.0), 5.0) for x in values]


# Fifty arguments, written by a loop.
arithmetic.__signature__ = Signature(
    Parameter(f"x_{column}", Parameter.KEYWORD_ONLY, annotation=FeatureColumn[float | None]) for column in range(COLUMNS)
)
transform(name="arithmetic", version="1.0.0", outputs={f"y_{column}": float for column in range(COLUMNS)})(arithmetic)
