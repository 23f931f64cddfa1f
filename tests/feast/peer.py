"""Feast itself, on the Redis of a test.

    peer.py write PORT VERSION   materializes the rows of rows.json into Redis
    peer.py read PORT VERSION    asks for them, and prints them in the form of rows.json

VERSION is the entity_key_serialization_version. Values are those of rows.json: JSON numbers and texts, bytes in base64,
times in RFC 3339, and "NaN", "Infinity", "-Infinity".
"""

import base64
import json
import math
import pathlib
import sys
import tempfile
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RepoConfig
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

SCALARS = {
    "int32": (Int32, pa.int32(), ValueType.INT32),
    "int64": (Int64, pa.int64(), ValueType.INT64),
    "float32": (Float32, pa.float32(), None),
    "float64": (Float64, pa.float64(), None),
    "bool": (Bool, pa.bool_(), None),
    "string": (String, pa.string(), ValueType.STRING),
    "bytes": (Bytes, pa.binary(), ValueType.BYTES),
    "timestamp": (UnixTimestamp, pa.timestamp("us", tz="UTC"), ValueType.UNIX_TIMESTAMP),
}
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# What Feast's own type map takes for a missing time.
NO_TIME = -(2**63)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def item_of(dtype):
    return dtype.removeprefix("list<").removesuffix(">").split(",")[0] if dtype.startswith("list<") else None


def feast_type(dtype):
    item = item_of(dtype)
    return Array(SCALARS[item][0]) if item else SCALARS[dtype][0]


def arrow_type(dtype):
    item = item_of(dtype)
    return pa.list_(SCALARS[item][1]) if item else SCALARS[dtype][1]


def time_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def value_of(dtype, value):
    if value is None:
        return None
    item = item_of(dtype)
    if item:
        return [value_of(item, one) for one in value]
    if dtype == "bytes":
        return base64.b64decode(value)
    if dtype == "timestamp":
        return time_of(value)
    if dtype.startswith("float"):
        return SPECIAL.get(value, value) if isinstance(value, str) else float(value)
    return value


def shown(dtype, value):
    """A value of a `Value` protobuf in the form of rows.json."""
    item = item_of(dtype)
    if item:
        return [shown(item, one) for one in value.val]
    if dtype == "bytes":
        return base64.b64encode(value).decode()
    if dtype == "timestamp":
        return (EPOCH + timedelta(seconds=value)).strftime("%Y-%m-%dT%H:%M:%SZ")
    if dtype.startswith("float"):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
    return value


def define(views, folder):
    """Entities and views, with the rows as files."""
    entities, defined = {}, []
    for view in views:
        for name, dtype in view["join_keys"]:
            entities.setdefault(name, Entity(name=name, join_keys=[name], value_type=SCALARS[dtype][2]))
        columns = {}
        for position, (name, dtype) in enumerate(view["join_keys"]):
            values = [value_of(dtype, row["keys"][position]) for row in view["rows"]]
            columns[name] = pa.array(values, arrow_type(dtype))
        for position, (name, dtype) in enumerate(view["features"]):
            values = [value_of(dtype, row["values"][position]) for row in view["rows"]]
            columns[name] = pa.array(values, arrow_type(dtype))
        times = [time_of(row["at"]) for row in view["rows"]]
        columns["event_timestamp"] = pa.array(times, pa.timestamp("us", tz="UTC"))
        path = str(folder / f"{view['view']}.parquet")
        pq.write_table(pa.table(columns), path)
        fields = [Field(name=name, dtype=feast_type(dtype)) for name, dtype in view["join_keys"] + view["features"]]
        source = FileSource(name=view["view"] + "_source", path=path, timestamp_field="event_timestamp")
        keys = [entities[name] for name, _ in view["join_keys"]]
        defined.append(
            FeatureView(name=view["view"], entities=keys, schema=fields, source=source, ttl=timedelta(0), online=True)
        )
    return [*entities.values(), *defined]


def read(store, views):
    answer = []
    for view in views:
        features = [f"{view['view']}:{name}" for name, _ in view["features"]]
        asked = [{name: row["keys"][at] for at, (name, _) in enumerate(view["join_keys"])} for row in view["rows"]]
        # A view without entities is asked for with any name at all.
        asked = asked if view["join_keys"] else [{"anything": 0} for _ in view["rows"]]
        response = store.get_online_features(features=features, entity_rows=asked).proto
        names = list(response.metadata.feature_names.val)
        rows = []
        for position, row in enumerate(view["rows"]):
            values = []
            for name, dtype in view["features"]:
                result = response.results[names.index(name)]
                which = result.values[position].WhichOneof("val")
                value = None if which is None else getattr(result.values[position], which)
                is_missing = value is None or (dtype == "timestamp" and value == NO_TIME)
                values.append(None if is_missing else shown(dtype, value))
                time = result.event_timestamps[position]
            at = EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)
            rows.append({"at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "keys": row["keys"], "values": values})
        answer.append({**view, "rows": rows})
    print(json.dumps(answer))


def main():
    command, port, version = sys.argv[1:]
    views = json.loads((pathlib.Path(__file__).parent / "rows.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        config = RepoConfig(
            project="proj_a",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "redis", "connection_string": f"127.0.0.1:{port}"},
            entity_key_serialization_version=int(version),
        )
        store = FeatureStore(config=config)
        store.apply(define(views, folder))
        if command == "write":
            store.materialize(datetime(2026, 11, 1, tzinfo=timezone.utc), datetime(2026, 12, 1, tzinfo=timezone.utc))
        else:
            read(store, views)


main()
