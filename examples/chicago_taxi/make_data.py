"""Makes data/trips.parquet and data/labels.parquet from the CSV export of the trips (see README.md).

    python make_data.py trips.csv

Needs pyarrow. The files are committed; this script is here so that you can see where they come from.
"""
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

MICROS = 1_000_000
UTC = pa.timestamp("us", "UTC")


def main(csv: str) -> None:
    raw = pa.csv.read_csv(csv, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True, null_values=[""]))
    start = raw["trip_start_timestamp"]
    # A trip's fare and tip are known when it ends. No trip ends at the moment it starts, whatever the meter says.
    seconds = pc.max_element_wise(pc.fill_null(raw["trip_seconds"], 900), 1)
    trips = pa.table({
        "trip_id": pa.array(range(len(raw)), pa.int64()),
        "company": raw["company"],
        "pickup_area": raw["pickup_community_area"],
        "dropoff_area": raw["dropoff_community_area"],
        "trip_start": pc.cast(pc.multiply(start, MICROS), pa.timestamp("us")).cast(UTC),
        "trip_end": pc.cast(pc.multiply(pc.add(start, seconds), MICROS), pa.timestamp("us")).cast(UTC),
        "trip_seconds": raw["trip_seconds"],
        "trip_miles": raw["trip_miles"].cast(pa.float64()),
        "fare": raw["fare"].cast(pa.float64()),
        "tips": raw["tips"].cast(pa.float64()),
        "payment_type": raw["payment_type"],
        "hour": raw["trip_start_hour"].cast(pa.int32()),
        "pickup_latitude": raw["pickup_latitude"],
        "pickup_longitude": raw["pickup_longitude"],
        "dropoff_latitude": raw["dropoff_latitude"],
        "dropoff_longitude": raw["dropoff_longitude"],
    }).sort_by("trip_end").combine_chunks()
    labels = pa.table({
        "trip_id": trips["trip_id"],
        "event_timestamp": trips["trip_start"],
        "company": trips["company"],
        "area": trips["pickup_area"],
        "hour": trips["hour"],
        "payment_type": trips["payment_type"],
        "planned_miles": trips["trip_miles"],
        "big_tipper": pc.greater(trips["tips"], pc.multiply(trips["fare"], 0.2)),
    }).sort_by([("event_timestamp", "ascending"), ("trip_id", "ascending")]).combine_chunks()
    data = Path(__file__).parent / "data"
    data.mkdir(exist_ok=True)
    pq.write_table(trips, data / "trips.parquet", compression="zstd", compression_level=19)
    pq.write_table(labels, data / "labels.parquet", compression="zstd", compression_level=19)


if __name__ == "__main__":
    main(sys.argv[1])
