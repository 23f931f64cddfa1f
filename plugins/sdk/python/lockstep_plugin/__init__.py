"""Write a Lockstep transform in Python: a typed function from columns to columns.

    from lockstep_plugin import Feature, Parameter, Request, transform

    @transform(name="fare_ratio", version="1.0.0", outputs={"fare_ratio": float})
    def fare_ratio(usual_fare: Feature[float], planned_fare: Request[float], most: Parameter[float] = 10.0):
        \"\"\"The planned fare over the usual one, cut at a maximum.\"\"\"
        return min(planned_fare / usual_fare, most) if usual_fare > 0 else None

A transform is a pure, row-wise function: row `i` of every output depends on row `i` of the inputs, on the parameters and
on nothing else. There is no clock, no randomness, no environment and no file to be had: asking for one raises
`lockstep_plugin.Impure`, which says what to do instead.

Reading order: `declare.py` (what a transform is), `kinds.py` (types), `frame.py` (the bytes that cross),
`compute.py` (one call), `component.py` (what the gateway calls), `seal.py` (what is taken away).
"""

from .declare import (
    AsOf,
    AsOfColumn,
    BadParameter,
    Feature,
    FeatureColumn,
    Parameter,
    Refuse,
    Request,
    RequestColumn,
    Rows,
    transform,
)
from .frame import Column
from .kinds import Date, Embedding, Float32, Int32, Timestamp
from .seal import Impure

__all__ = [
    "AsOf", "AsOfColumn", "BadParameter", "Column", "Date", "Embedding", "Feature", "FeatureColumn", "Float32",
    "Impure", "Int32", "Parameter", "Refuse", "Request", "RequestColumn", "Rows", "Timestamp", "transform",
]
