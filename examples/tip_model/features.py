"""What training and serving share: which columns the model reads, and how they become its matrix.

Both sides hand in an Arrow table that Lockstep made, so a feature is computed in one place and only copied here.
"""
import numpy as np
import pyarrow as pa

SERVICE = "tip_model_v1"
# Join keys and request fields: the model may read them too, but it need not.
REQUEST = ["company", "area", "hour", "payment_type", "planned_miles"]


def feature_columns(schema: pa.Schema) -> list[str]:
    """The numeric features, in the order of the service; times and texts are what plugins turned into numbers before."""
    numeric = lambda kind: pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    return [field.name for field in schema if "__" in field.name and numeric(field.type)]


def matrix(table: pa.Table, columns: list[str]) -> np.ndarray:
    """One row a label or entity, one float64 a feature; null is NaN."""
    as_floats = [table[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in columns]
    return np.column_stack(as_floats)
