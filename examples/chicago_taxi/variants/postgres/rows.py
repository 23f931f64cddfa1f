r"""Writes the trips of data/trips.parquet, in their order, to standard output as CSV that PostgreSQL's COPY reads.

    pip install pyarrow
    python3 variants/postgres/rows.py | psql -c '\copy public.trips from stdin csv header'

Floats are written with as many digits as it takes to read the same bits again.
"""
import sys

import pyarrow.csv
import pyarrow.parquet as pq

pyarrow.csv.write_csv(pq.read_table("data/trips.parquet"), sys.stdout.buffer)
