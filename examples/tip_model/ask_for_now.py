"""Makes the label file for "what would the model say now": the entities of the last 1,000 trips, all at one moment.

    python ask_for_now.py PROJECT/data/labels.parquet now.parquet 2016-12-31T00:00:00Z
"""
import datetime
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def main(labels: str, to: str, as_of: str) -> None:
    table = pq.read_table(labels)
    table = table.slice(table.num_rows - 1_000)
    moment = datetime.datetime.fromisoformat(as_of.replace("Z", "+00:00"))
    times = pa.array([moment] * table.num_rows, pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(table.column_names.index("event_timestamp"), "event_timestamp", times), to)


if __name__ == "__main__":
    main(*sys.argv[1:])
