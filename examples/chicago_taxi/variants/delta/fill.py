"""Makes a Delta table of the trips: data/trips, with the rows of data/trips.parquet in their order.

    pip install deltalake pyarrow
    python3 variants/delta/fill.py        in the project's folder
"""
import pyarrow.parquet as pq
from deltalake import write_deltalake

write_deltalake("data/trips", pq.read_table("data/trips.parquet"))
