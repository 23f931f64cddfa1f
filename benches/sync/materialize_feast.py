"""Feast's own way from Parquet to Redis, for the benchmark.

Usage: materialize_feast.py FOLDER SPEC

SPEC is JSON: {"redis": "host:port,db=1", "join_key": NAME, "view": NAME, "features": [NAME, ...], "path": PARQUET}. FOLDER
becomes a repository of Feast. Says {"wall", "cpu", "version"} of `materialize` alone, without start-up and apply.
"""

import datetime
import json
import pathlib
import resource
import sys
import time

import feast
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

FOLDER, SPEC = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])

(FOLDER / "feature_store.yaml").write_text(
    f"""project: synced
provider: local
registry: {FOLDER}/registry.db
entity_key_serialization_version: 3
online_store: {{type: redis, connection_string: "{SPEC['redis']}"}}
offline_store: {{type: file}}
"""
)
store = FeatureStore(repo_path=str(FOLDER))
customer = Entity(name="customer", join_keys=[SPEC["join_key"]], value_type=ValueType.INT64)
view = FeatureView(
    name=SPEC["view"],
    entities=[customer],
    ttl=datetime.timedelta(days=30),
    schema=[Field(name=name, dtype=Float64) for name in SPEC["features"]],
    source=FileSource(name="rows", path=SPEC["path"], timestamp_field="event_time"),
)
store.apply([customer, view])


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


until = datetime.datetime.now(datetime.timezone.utc)
# What it says about its progress is not an answer.
answers, sys.stdout = sys.stdout, sys.stderr
wall, cpu = time.perf_counter(), cpu_seconds()
store.materialize(start_date=until - datetime.timedelta(days=30), end_date=until)
measured = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu, "version": feast.__version__}
print(json.dumps(measured), file=answers, flush=True)
