"""Fills Feast's online store for the benchmark: the same Parquet files, the same Redis, another database.

Usage: fill_feast.py FOLDER SPEC

SPEC is JSON: {"redis": "host:port,db=1", "project": NAME, "join_key": NAME, "type": "float64" | "string", "service": NAME,
"precomputed": NAME | null, "views": [{"name": NAME, "features": [NAME, ...], "path": PARQUET}, ...]}. FOLDER becomes a
repository of Feast. Says {"rows": N} in the end.
"""

import datetime
import json
import pathlib
import sys

import pyarrow.parquet
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String

FOLDER, SPEC = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])

(FOLDER / "feature_store.yaml").write_text(
    f"""project: {SPEC['project']}
provider: local
registry: {FOLDER}/registry.db
entity_key_serialization_version: 3
online_store: {{type: redis, connection_string: "{SPEC['redis']}"}}
offline_store: {{type: file}}
"""
)
store = FeatureStore(repo_path=str(FOLDER))
key = SPEC["join_key"]
customer = Entity(name="customer", join_keys=[key], value_type=ValueType.INT64)
dtype = {"float64": Float64, "string": String}[SPEC["type"]]


def view(spec):
    return FeatureView(
        name=spec["name"],
        entities=[customer],
        ttl=datetime.timedelta(days=30),
        schema=[Field(name=name, dtype=dtype) for name in spec["features"]],
        source=FileSource(name=f"{spec['name']}_rows", path=spec["path"], timestamp_field="event_time"),
    )


views = [view(spec) for spec in SPEC["views"]]
services = [FeatureService(name=SPEC["service"], features=views)]
if SPEC["precomputed"]:
    services.append(FeatureService(name=SPEC["precomputed"], features=views, precompute_online=True))
store.apply([customer, *views, *services])

rows = 0
for spec in SPEC["views"]:
    table = pyarrow.parquet.read_table(spec["path"])
    # In parts: Feast turns every value into an object of its own.
    for start in range(0, table.num_rows, 10_000):
        frame = table.slice(start, 10_000).to_pandas()
        store.write_to_online_store(spec["name"], frame)
        rows += len(frame)
if SPEC["precomputed"]:
    store.precompute_feature_service(SPEC["precomputed"])
print(json.dumps({"rows": rows}), flush=True)
