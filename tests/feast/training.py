"""Feast itself on its own driver example: its data, its feature view, its point-in-time join.

The offline store is DuckDB's. The dask one leaves out labels whose rows are too old, and of rows with one event time it does
not always take the one that was created later.

    training.py make FOLDER      writes driver_stats.parquet and labels.parquet
    training.py compare FOLDER   makes Feast's training set and compares ours.parquet with it, value by value
"""

import pathlib
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.driver_test_data import create_driver_hourly_stats_df
from feast.repo_config import RepoConfig
from feast.types import Float32, Int64

FEATURES = ["conv_rate", "acc_rate", "avg_daily_trips"]
END = datetime(2026, 11, 20, tzinfo=timezone.utc)


def make(folder):
    np.random.seed(7)
    stats = create_driver_hourly_stats_df([1001, 1002, 1003, 1004, 1005], END - timedelta(days=15), END)
    stats = stats[["event_timestamp", "driver_id", *FEATURES, "created"]]
    # What the authors of the example wish for themselves: rows of one moment that were corrected later.
    corrected = stats.iloc[::5].copy()
    corrected["conv_rate"] = np.float32(1) - corrected["conv_rate"]
    corrected["created"] = corrected["created"] + timedelta(hours=1)
    pd.concat([corrected, stats], ignore_index=True).to_parquet(folder / "driver_stats.parquet")

    rows = 3_000
    minutes = np.random.randint(-3 * 24 * 60, 18 * 24 * 60, rows)
    start = END - timedelta(days=15)
    labels = pd.DataFrame(
        {
            "label_id": np.arange(rows),
            "driver_id": np.random.randint(1000, 1007, rows),
            "event_timestamp": [start + timedelta(minutes=int(minute)) for minute in minutes],
        }
    )
    # The edges: the very time of a row, and the ttl to the second and a second more.
    labels.loc[0, "event_timestamp"] = END - timedelta(hours=1)
    labels.loc[1, "event_timestamp"] = END + timedelta(hours=23)
    labels.loc[2, "event_timestamp"] = END + timedelta(hours=23, seconds=1)
    labels.loc[:2, "driver_id"] = 1001
    labels.to_parquet(folder / "labels.parquet")


def feasts(folder):
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = FileSource(
        name="driver_hourly_stats_source",
        path=str(folder / "driver_stats.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    view = FeatureView(
        name="driver_hourly_stats",
        entities=[driver],
        ttl=timedelta(days=1),
        schema=[
            Field(name="driver_id", dtype=Int64),
            Field(name="conv_rate", dtype=Float32),
            Field(name="acc_rate", dtype=Float32),
            Field(name="avg_daily_trips", dtype=Int64),
        ],
        source=source,
        online=False,
    )
    config = RepoConfig(
        project="driver",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply([driver, view])
    labels = pd.read_parquet(folder / "labels.parquet")
    asked = [f"driver_hourly_stats:{feature}" for feature in FEATURES]
    return store.get_historical_features(entity_df=labels, features=asked).to_df().sort_values("label_id")


def compare(folder):
    theirs = feasts(folder).set_index("label_id")
    ours = pd.read_parquet(folder / "ours.parquet").set_index("label_id")
    assert list(ours.index) == list(range(len(ours))), "ours is in the labels' order"
    assert len(theirs) == len(ours), (len(theirs), len(ours))
    ours = ours.loc[theirs.index]
    for feature in FEATURES:
        # pandas makes floats of integers with a null among them.
        left, right = ours[feature].astype("float64"), theirs[feature].astype("float64")
        same = (left == right) | (left.isna() & right.isna())
        assert same.all(), (feature, ours[~same].head(), theirs[~same].head())
        assert 100 < left.isna().sum() < len(left) - 100, "both found and not found"
    print(f"{len(theirs)} rows are Feast's.")


{"make": make, "compare": compare}[sys.argv[1]](pathlib.Path(sys.argv[2]))
