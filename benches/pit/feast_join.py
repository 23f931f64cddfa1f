"""The point-in-time join by Feast, as a child of the benchmark; see contender.py.

Usage: feast_join.py duckdb|dask SPEC

The same SPEC as for peers.py; "folder" becomes a repository of Feast.
"""

import datetime
import json
import pathlib
import sys

import feast
import pandas
import pyarrow.parquet
from contender import answer
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

OFFLINE_STORE, SPEC = sys.argv[1], json.loads(sys.argv[2])
FOLDER = pathlib.Path(SPEC["folder"]) / f"feast-{OFFLINE_STORE}"
FEATURES = [name for view in SPEC["views"] for name in view["features"]]

FOLDER.mkdir(exist_ok=True)
(FOLDER / "feature_store.yaml").write_text(
    f"""project: joined
provider: local
registry: {FOLDER}/registry.db
entity_key_serialization_version: 3
online_store: {{type: sqlite, path: {FOLDER}/online.db}}
offline_store: {{type: {OFFLINE_STORE}}}
"""
)
store = FeatureStore(repo_path=str(FOLDER))
entity = Entity(name="customer", join_keys=[SPEC["join_key"]], value_type=ValueType.INT64)


def view(number, spec):
    return FeatureView(
        name=f"view_{number}",
        entities=[entity],
        ttl=datetime.timedelta(days=SPEC["ttl_days"]),
        schema=[Field(name=name, dtype=Float64) for name in spec["features"]],
        source=FileSource(name=f"rows_{number}", path=spec["path"], timestamp_field="event_time"),
    )


views = [view(number, spec) for number, spec in enumerate(SPEC["views"])]
store.apply([entity, *views])
wanted = [f"view_{number}:{name}" for number, spec in enumerate(SPEC["views"]) for name in spec["features"]]


def join():
    labels = pandas.read_parquet(SPEC["labels"])
    return store.get_historical_features(entity_df=labels, features=wanted).to_arrow()


# With dask, Feast leaves a label out where the newest row of its key is older than the ttl.
labels_asked = pyarrow.parquet.read_metadata(SPEC["labels"]).num_rows if OFFLINE_STORE == "dask" else None
answer(f"Feast {feast.__version__}, {OFFLINE_STORE}", join, FEATURES, labels_asked)
