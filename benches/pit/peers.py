"""The point-in-time join by Polars, DuckDB or pandas, as a child of the benchmark; see contender.py.

Usage: peers.py polars|polars-streaming|duckdb|pandas SPEC

SPEC is JSON: {"labels": PARQUET, "views": [{"path": PARQUET, "features": [NAME, ...]}, ...], "join_key": NAME,
"ttl_days": N, "threads": N | null, "memory_bytes": N | null, "folder": FOLDER}. All files are in time order, so nothing has to be sorted: the best
case of Polars and pandas. Only DuckDB can be told how much memory to take.
"""

import json
import os
import sys

from contender import answer

PEER, SPEC = sys.argv[1], json.loads(sys.argv[2])
KEY, TTL_DAYS, VIEWS, LABELS = SPEC["join_key"], SPEC["ttl_days"], SPEC["views"], SPEC["labels"]
FEATURES = [name for view in VIEWS for name in view["features"]]
LABEL_TIME, EVENT_TIME = "event_timestamp", "event_time"


def polars_join():
    joined = pl.scan_parquet(LABELS).with_columns(pl.col(LABEL_TIME).set_sorted())
    for view in VIEWS:
        history = pl.scan_parquet(view["path"]).with_columns(pl.col(EVENT_TIME).set_sorted())
        joined = joined.join_asof(
            history,
            left_on=LABEL_TIME,
            right_on=EVENT_TIME,
            by=KEY,
            strategy="backward",
            tolerance=timedelta(days=TTL_DAYS),
            check_sortedness=False,
        ).drop(EVENT_TIME, strict=False)
    return joined.select("label_id", *FEATURES).collect(engine=engine).to_arrow()


def duckdb_join():
    """ASOF has no tolerance: what is older than the ttl becomes null afterwards."""
    columns, joins = ["l.label_id"], []
    for number, view in enumerate(VIEWS):
        history = f"h{number}"
        fresh = f"{history}.{EVENT_TIME} >= l.{LABEL_TIME} - interval {TTL_DAYS} days"
        columns += [f"case when {fresh} then {history}.{name} end as {name}" for name in view["features"]]
        joins.append(
            f"asof left join read_parquet('{view['path']}') {history} "
            f"on l.{KEY} = {history}.{KEY} and l.{LABEL_TIME} >= {history}.{EVENT_TIME}"
        )
    query = f"select {', '.join(columns)} from read_parquet('{LABELS}') l {' '.join(joins)}"
    table = connection.sql(query).arrow()
    return table if hasattr(table, "num_rows") else table.read_all()


def pandas_join():
    joined = pd.read_parquet(LABELS)
    for view in VIEWS:
        joined = pd.merge_asof(
            joined,
            pd.read_parquet(view["path"]),
            left_on=LABEL_TIME,
            right_on=EVENT_TIME,
            by=KEY,
            tolerance=pd.Timedelta(days=TTL_DAYS),
        ).drop(columns=EVENT_TIME)
    return pa.Table.from_pandas(joined[["label_id", *FEATURES]], preserve_index=False)


def threads(count):
    return "1 thread" if count == 1 else f"{count} threads"


if PEER.startswith("polars"):
    if SPEC["threads"]:
        os.environ["POLARS_MAX_THREADS"] = str(SPEC["threads"])
    from datetime import timedelta

    import polars as pl

    engine = "streaming" if PEER == "polars-streaming" else "in-memory"
    answer(f"polars {pl.__version__} {engine}, {threads(pl.thread_pool_size())}", polars_join, FEATURES)
elif PEER == "duckdb":
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set temp_directory = '{SPEC['folder']}/duckdb'")
    if SPEC["threads"]:
        connection.execute(f"set threads = {SPEC['threads']}")
    if SPEC["memory_bytes"]:
        connection.execute(f"set memory_limit = '{SPEC['memory_bytes'] // 1024**2}MiB'")
    count = connection.execute("select current_setting('threads')").fetchall()[0][0]
    answer(f"duckdb {duckdb.__version__}, {threads(count)}", duckdb_join, FEATURES)
else:
    import pandas as pd
    import pyarrow as pa

    answer(f"pandas {pd.__version__}", pandas_join, FEATURES)
