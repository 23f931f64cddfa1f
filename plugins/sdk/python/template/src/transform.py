"""{{name}}: how far a planned fare is above what its area is used to.

A transform is a pure function of one row: the same row and parameters give the same answer, in training and in serving.
Change the arguments, the outputs and the body; everything else follows from them.
"""

from lockstep_plugin import BadParameter, Feature, Parameter, Request, transform


def check(most):
    """Called once, with the parameters, before any row."""
    if not most > 0:
        raise BadParameter("most", f"{most} is not above 0")


@transform(
    name="{{name}}",
    # A major version says that values change, a minor one that outputs were added.
    version="1.0.0",
    outputs={"fare_ratio": float},
    parameters={"most": "The largest ratio, above 0."},
    check=check,
)
def ratio(usual_fare: Feature[float], planned_fare: Request[float], most: Parameter[float] = 10.0):
    """The planned fare over the usual one, cut at a maximum."""
    return min(planned_fare / usual_fare, most) if usual_fare > 0 else None
