"""Polars' join_asof on random rows, compared with our training set, bit by bit.

    polars_asof.py make FOLDER      writes history.parquet and labels.parquet
    polars_asof.py compare FOLDER   compares ours.parquet with join_asof

join_asof takes the last of the rows that tie, whatever their created times, and knows no null keys; so no two rows of one
key have one time here, and no key is null.
"""

import pathlib
import random
import struct
import sys
from datetime import timedelta

import polars as pl

TTL = timedelta(days=30)
BEGIN = 1_700_000_000_000_000
DAY = 86_400_000_000


def times(name):
    return pl.col(name).cast(pl.Datetime("us", "UTC"))


def make(folder):
    chance = random.Random(3)
    seen = {(f"k{chance.randrange(400)}", BEGIN + chance.randrange(200) * DAY) for _ in range(40_000)}
    rows = sorted(seen)
    chance.shuffle(rows)
    history = pl.DataFrame(
        {
            "company": [key for key, _ in rows],
            "at": [time for _, time in rows],
            "value": [chance.choice([None, chance.random(), float("nan"), -0.0]) for _ in rows],
            "text": [chance.choice([None, "", f"naïve {place}"]) for place in range(len(rows))],
        }
    )
    history.with_columns(times("at")).write_parquet(folder / "history.parquet", row_group_size=5_000)
    count = 20_000
    labels = pl.DataFrame(
        {
            "label_id": list(range(count)),
            "company": [f"k{chance.randrange(410)}" for _ in range(count)],
            "event_timestamp": [BEGIN + chance.randrange(-3 * 4, 235 * 4) * DAY // 4 for _ in range(count)],
        }
    )
    labels.with_columns(times("event_timestamp")).write_parquet(folder / "labels.parquet")


def compare(folder):
    history = pl.read_parquet(folder / "history.parquet").sort("at")
    labels = pl.read_parquet(folder / "labels.parquet").sort("event_timestamp", maintain_order=True)
    theirs = labels.join_asof(
        history, left_on="event_timestamp", right_on="at", by="company", strategy="backward", tolerance=TTL
    ).sort("label_id")
    ours = pl.read_parquet(folder / "ours.parquet")
    assert ours["label_id"].to_list() == list(range(ours.height)), "ours is in the labels' order"
    bits = lambda series: [value if value is None else struct.pack("<d", value) for value in series]
    assert bits(ours["value"]) == bits(theirs["value"])
    assert ours["text"].to_list() == theirs["text"].to_list()
    found = ours["text"].is_not_null().sum()
    assert 1_000 < found < ours.height - 1_000, found
    print(f"{ours.height} rows are Polars'.")


{"make": make, "compare": compare}[sys.argv[1]](pathlib.Path(sys.argv[2]))
