"""Computes trips.json, what `statistics_over_http_are_those_that_pandas_computes` expects, with pandas.

    python tests/golden/statistics/make.py > tests/golden/statistics/trips.json
"""

import json
import pathlib

import pandas

TRIPS = pathlib.Path(__file__).parents[3] / "examples/chicago_taxi/data/trips.parquet"
SHARES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]


def statistics(name, values):
    known = values.dropna()
    found = {
        "column": name,
        "count": len(values),
        "nulls": int(values.isna().sum()),
        "null_ratio": float(values.isna().mean()),
    }
    if pandas.api.types.is_numeric_dtype(values):
        found |= {
            "distinct": int(known.nunique()),
            "mean": float(known.mean()),
            "std": float(known.std()),
            "min": float(known.min()),
            "max": float(known.max()),
            "median": float(known.median()),
            "quantiles": [{"below": share, "value": float(known.quantile(share))} for share in SHARES],
            "quantiles_method": "exact",
        }
    elif pandas.api.types.is_datetime64_any_dtype(values):
        shown = lambda time: time.tz_convert(None).isoformat() + "Z"
        found |= {"distinct": int(known.nunique()), "min": shown(known.min()), "max": shown(known.max())}
    else:
        counts = known.value_counts()
        first = counts[counts == counts.iloc[0]]
        found["distinct"] = int(known.nunique())
        if len(first) == 1:
            found["top_first"] = {"value": first.index[0], "count": int(first.iloc[0])}
    return found


trips = pandas.read_parquet(TRIPS)
columns = [statistics(name, trips[name]) for name in trips.columns]
print(json.dumps({"rows": len(trips), "columns": columns}, indent=1))
