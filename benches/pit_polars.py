"""The point-in-time join by Polars or DuckDB, as a child of the benchmark.

Usage: pit_polars.py polars|duckdb FOLDER THREADS

FOLDER holds history.parquet and labels.parquet, both in time order. The program says {"ready": version}, then answers
each line of its input: `run` joins once and says the wall and CPU seconds of that; `write PATH` joins once and writes
the result, in the order of the labels, for the comparison of values. Imports and start-up are not measured.
"""

import json
import os
import resource
import sys
import time

PEER, FOLDER, THREADS = sys.argv[1], sys.argv[2], sys.argv[3]
TTL_DAYS = 30
FEATURES = ["f_0", "f_1", "f_2", "f_3"]
HISTORY, LABELS = f"{FOLDER}/history.parquet", f"{FOLDER}/labels.parquet"


def polars_join():
    """Both files are in time order, so nothing has to be sorted: the best case of join_asof."""
    from datetime import timedelta

    history = pl.scan_parquet(HISTORY).with_columns(pl.col("event_time").set_sorted())
    labels = pl.scan_parquet(LABELS).with_columns(pl.col("event_timestamp").set_sorted())
    joined = labels.join_asof(
        history,
        left_on="event_timestamp",
        right_on="event_time",
        by="customer_id",
        strategy="backward",
        tolerance=timedelta(days=TTL_DAYS),
        check_sortedness=False,
    )
    return joined.select("label_id", *FEATURES).collect().to_arrow()


def duckdb_join():
    """ASOF has no tolerance: what is older than the ttl becomes null afterwards."""
    fresh = f"h.event_time >= l.event_timestamp - interval {TTL_DAYS} days"
    columns = ", ".join(f"case when {fresh} then h.{name} end as {name}" for name in FEATURES)
    query = f"""
        select l.label_id, {columns}
        from read_parquet('{LABELS}') l
        asof left join read_parquet('{HISTORY}') h
        on l.customer_id = h.customer_id and l.event_timestamp >= h.event_time
    """
    table = connection.sql(query).arrow()
    return table if hasattr(table, "num_rows") else table.read_all()


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(answer):
    print(json.dumps(answer), flush=True)


if PEER == "polars":
    if THREADS != "all":
        os.environ["POLARS_MAX_THREADS"] = THREADS
    import polars as pl

    join, version = polars_join, f"polars {pl.__version__}, {pl.thread_pool_size()} thread(s)"
else:
    import duckdb

    connection = duckdb.connect()
    if THREADS != "all":
        connection.execute(f"set threads = {THREADS}").fetchall()
    threads = connection.execute("select current_setting('threads')").fetchall()[0][0]
    join, version = duckdb_join, f"duckdb {duckdb.__version__}, {threads} thread(s)"

say({"ready": version})
for line in sys.stdin:
    command, _, path = line.strip().partition(" ")
    wall, cpu = time.perf_counter(), cpu_seconds()
    table = join()
    measured = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu, "rows": table.num_rows}
    if command == "write":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table.sort_by("label_id"), path)
    say(measured)
