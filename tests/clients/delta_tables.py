"""What other programs do with Delta tables that Lockstep reads and writes, as a user of Python's deltalake would do it.

    python delta_tables.py create|check|merge|append|optimize|trained FOLDER

Each command is one turn of a conversation with the test that runs it (tests/it/delta.rs). A check that fails is an
AssertionError with what came.
"""
import datetime
import os
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

UTC = datetime.timezone.utc
TYPES = pa.schema([
    ("driver", pa.int64()),
    ("rating", pa.float64()),
    ("note", pa.string()),
    ("day", pa.string()),
    ("at", pa.timestamp("us", tz="UTC")),
])


def rows(first: int, count: int, rating: float) -> pa.Table:
    """Drivers `first` and following, two to a day."""
    drivers = range(first, first + count)
    return pa.table({
        "driver": pa.array(drivers, pa.int64()),
        "rating": pa.array([rating] * count, pa.float64()),
        "note": pa.array([f"ü {driver}" if driver % 2 else None for driver in drivers], pa.string()),
        "day": pa.array([f"2026-01-{1 + driver // 2:02}" for driver in drivers], pa.string()),
        "at": pa.array([datetime.datetime(2026, 1, 1 + driver // 2, tzinfo=UTC) for driver in drivers], TYPES.field("at").type),
    }, schema=TYPES)


def values(folder: str) -> list[tuple]:
    table = DeltaTable(folder).to_pyarrow_table(columns=["driver", "rating", "note"])
    return sorted(zip(*(column.to_pylist() for column in table.columns)))


def create(folder: str) -> None:
    write_deltalake(folder, rows(0, 6, 1.0), partition_by=["day"])
    write_deltalake(folder, rows(6, 2, 1.0), mode="append")


def check(folder: str) -> None:
    """After Lockstep appended drivers 8 and 9 with a tip, and put a rating of 5 in the place of driver 1's."""
    table = DeltaTable(folder)
    assert table.metadata().partition_columns == ["day"], table.metadata()
    names = [field.name for field in table.schema().fields]
    assert sorted(names) == ["at", "day", "driver", "note", "rating", "tip"], names
    assert [driver for driver, _, _ in values(folder)] == list(range(10)), values(folder)
    assert values(folder)[1] == (1, 5.0, "corrected"), values(folder)
    files = table.file_uris([("day", "=", "2026-01-05")])
    assert len(files) == 1 and "day=2026-01-05" in files[0], files
    batches = [commit.get("lockstep.batch_id") for commit in table.history()]
    assert sorted(filter(None, batches)) == ["append", "upsert"], batches


def merge(folder: str) -> None:
    changed = rows(8, 4, 2.0)
    merged = DeltaTable(folder).merge(
        changed, predicate="kept.driver = new.driver and kept.at = new.at", source_alias="new", target_alias="kept",
    )
    merged.when_matched_update_all().when_not_matched_insert_all().execute()


def append(folder: str) -> None:
    """Twenty commits, one driver each from 100 on, while Lockstep writes as well."""
    for driver in range(20):
        later = rows(0, 1, 3.0).set_column(0, "driver", pa.array([100 + driver], pa.int64()))
        write_deltalake(folder, later, mode="append", schema_mode="merge")


def optimize(folder: str) -> None:
    table = DeltaTable(folder)
    before = values(folder)
    table.optimize.compact()
    table.create_checkpoint()
    assert values(folder) == before, values(folder)


def trained(folder: str) -> None:
    """A training set of two drivers, one of them twice."""
    table = DeltaTable(folder)
    assert table.version() == 0, table.version()
    types = [(field.name, field.type.type) for field in table.schema().fields]
    assert types == [
        ("driver", "long"), ("event_timestamp", "timestamp"), ("weight", "long"), ("fares__fare", "double"),
        ("rated__rating", "double"), ("lockstep_digest", "string"),
    ], types
    rows = table.to_pyarrow_table(columns=["driver", "weight", "fares__fare", "rated__rating"])
    rows = sorted(zip(*(column.to_pylist() for column in rows.columns)), key=lambda row: row[1])
    assert rows == [(0, 7, 1.0, 4.5), (1, 8, 2.0, None), (0, 2**32 - 1, None, None)], rows
    assert table.metadata().configuration["lockstep.service"] == "model", table.metadata()
    counts = table.get_add_actions().column("num_records").to_pylist()
    assert counts == [3], counts


if __name__ == "__main__":
    commands = {command.__name__: command for command in (create, check, merge, append, optimize, trained)}
    commands[sys.argv[1]](sys.argv[2])
    print("done.")
    sys.stdout.flush()
    # The interpreter's own end races with the threads of the libraries, and loses now and then.
    os._exit(0)
