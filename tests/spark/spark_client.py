"""Runs transforms inside a job of PySpark or of Sail by `mapInArrow`, and checks every value against the gateway's.

    python spark_client.py --engine spark|sail --flight 127.0.0.1:8815 --plugins plugins/built

Expects a gateway with the project of tests/it/spark.rs. PySpark runs as a cluster of two workers on this machine, each a
process of its own. Prints one line a check; a check that fails is an AssertionError with what came.
"""
import argparse
import functools
import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as pq

MODULE = Path(__file__).resolve().parents[2] / "plugins/hosts/python"
sys.path.insert(0, str(MODULE))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(MODULE), os.environ.get("PYTHONPATH")]))
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable

import lockstep_transform as lt  # noqa: E402

ROWS = 100_000
AS_OF = 1_483_142_400_000_000  # 2016-12-31T00:00:00Z
COMPANIES = ["Taxi Affiliation Services", "Blue Ribbon Taxi Association Inc.", "5129 - 87128 Ünïcödé Cab 🚕 LLC", "", "choice"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["spark", "sail"], required=True)
    parser.add_argument("--flight", required=True)
    parser.add_argument("--plugins", type=Path, required=True)
    arguments = parser.parse_args()
    client = flight.connect(f"grpc://{arguments.flight}")
    jobs = [
        ("taxi_quote", "trip_quote", {}, quotes(), ROWS),
        ("taxi_recency", "company_recency", {}, recencies(), ROWS),
        ("taxi_company", "company_identity", {"buckets": 64}, companies(), ROWS),
        ("arithmetic", "sums", {}, numbers(), ROWS),
    ]
    with tempfile.TemporaryDirectory() as folder, {"spark": spark, "sail": sail}[arguments.engine](folder) as session:
        for plugin, view, parameters, rows, count in jobs:
            component = (arguments.plugins / f"{plugin}.wasm").read_bytes()
            expected = exchange(client, view, rows)
            transform = lt.Transform(component, parameters)
            here, _ = lt.transform_frame(transform, rows, keep_columns=True)
            ran = run(session, folder, plugin, component, parameters, transform, rows)
            names = transform.schema.names
            assert ran.num_rows == here.num_rows == expected.num_rows == count, (ran.num_rows, expected.num_rows)
            values = 0
            for name in names:
                for other, what in [(here, "the module alone"), (ran, arguments.engine)]:
                    assert equal_bits(expected[name], other[name]), f"{plugin}: {name} by {what}\n{expected[name]}\n{other[name]}"
                values += count
            assert any(expected[name].null_count < count for name in names), "a comparison of nulls proves nothing"
            print(f"ok  {plugin}: {values} values of {arguments.engine} equal to the gateway's, bit for bit")
        refuses(session, folder, (arguments.plugins / "taxi_quote.wasm").read_bytes(), arguments.plugins)
    print("All checks passed.")


def run(session, folder, name, component, parameters, transform, rows):
    """The rows through the transform, in a job."""
    from pyspark.sql.pandas.types import from_arrow_schema

    path = f"{folder}/{name}.parquet"
    pq.write_table(rows, path, row_group_size=12_500)
    frame = session.read.parquet(path).repartition(4)
    schema = from_arrow_schema(lt.output_schema(transform, rows.schema, keep_columns=True))
    mapped = frame.mapInArrow(lt.map_in_arrow(component, parameters, keep_columns=True), schema)
    return mapped.toArrow().sort_by("number")


def refuses(session, folder, component, plugins) -> None:
    """What a gateway refuses, a job refuses too; refused rows are null."""
    wrong = pa.table({"number": [0, 1], "area_fare_30d": [1.0, 1.0], "area_miles_30d": [1.0, 1.0], "hour": pa.array([99, 6], pa.int32()), "payment_type": ["Cash", "Cash"], "planned_miles": [1.0, 2.0]})
    ran = run(session, folder, "wrong", component, {}, lt.Transform(component), wrong)
    assert ran["hour_sin"].to_pylist() == [None, 1.0] and ran["expected_fare"].to_pylist() == [None, 2.0], ran
    _, errors = lt.transform_frame(lt.Transform(component), wrong)
    assert [(error.row, error.code, error.message) for error in errors] == [(0, 1_000, "hour 99 is not between 0 and 23")]
    for call, words in [
        (lambda: lt.Transform(plugins / "taxi_company.wasm", {"pails": 3}), "has no parameter pails"),
        (lambda: lt.Transform(plugins / "taxi_company.wasm", {"buckets": 0}), "is not between 1 and 2147483647"),
        (lambda: lt.Transform(plugins / "fault_import.wasm"), "a transform imports nothing"),
        (lambda: lt.transform_frame(lt.Transform(component), wrong.drop_columns(["hour", "area_fare_30d"])), "column area_fare_30d is missing"),
        (lambda: lt.transform_frame(lt.Transform(component), wrong.set_column(3, "hour", pa.array([0.5, 1.0]))), "column hour is double"),
    ]:
        try:
            call()
        except (lt.TransformError, lt.Refused) as error:
            assert words in str(error), f"{words!r} is not in {error}"
        else:
            raise AssertionError(f"nothing was wrong, and {words!r} should have been")
    endless = lt.Transform(plugins / "fault_endless.wasm")
    try:
        lt.transform_frame(endless, pa.table({"x": [13.0]}))
    except lt.TransformError as error:
        assert "fuel" in str(error), error
    else:
        raise AssertionError("an endless loop ended")
    print("ok  refused rows, wrong parameters, imports, wrong columns and endless loops end as in a gateway")


class spark:
    """A cluster of two workers of one core each, on this machine."""

    def __init__(self, folder):
        from pyspark.sql import SparkSession

        settings = {
            "spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"],
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.warehouse.dir": folder,
            "spark.local.dir": folder,
            "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
        }
        builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("lockstep")
        self.session = functools.reduce(lambda so_far, each: so_far.config(*each), settings.items(), builder).getOrCreate()

    def __enter__(self):
        self.session.sparkContext.setLogLevel("ERROR")
        return self.session

    def __exit__(self, *_):
        import pyspark

        application = self.session.sparkContext.applicationId
        self.session.stop()
        # What the workers leave in the folder of the package.
        shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)


class sail:
    """Sail speaks Spark Connect."""

    def __init__(self, _):
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        self.server = SparkConnectServer("127.0.0.1", 0)
        self.server.start(background=True)
        _, port = self.server.listening_address
        self.session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
        self.session.conf.set("spark.sql.session.timeZone", "UTC")

    def __enter__(self):
        return self.session

    def __exit__(self, *_):
        self.session.stop()
        self.server.stop()


def random() -> np.random.Generator:
    return np.random.default_rng(20_161_231)


def some_null(values: np.ndarray, kind=None) -> pa.Array:
    return pa.array(values, kind, mask=np.arange(len(values)) % 13 == 5)


def odd_floats(values: np.ndarray) -> np.ndarray:
    """With the floats that are easily confused: both zeros, infinities, a NaN with a payload, subnormals."""
    odd = np.array([0.0, -0.0, np.inf, -np.inf, 5e-324, np.nan, -np.nan, 1.7976931348623157e308])
    odd[-2:-1].view(np.uint64)[:] = 0xFFF8_0000_0000_1234
    values = values.copy()
    values[::97] = np.resize(odd, len(values[::97]))
    return values


def quotes() -> pa.Table:
    r = random()
    return pa.table({
        "number": np.arange(ROWS),
        "area_fare_30d": some_null(odd_floats(r.gamma(2.0, 7.0, ROWS))),
        "area_miles_30d": some_null(odd_floats(r.gamma(2.0, 2.0, ROWS))),
        "hour": pa.array(r.integers(0, 24, ROWS), pa.int32()),
        "payment_type": some_null(r.choice(["Cash", "Credit Card", " CREDIT CARD", "Ünknown"], ROWS)),
        "planned_miles": some_null(odd_floats(r.gamma(1.5, 3.0, ROWS))),
    })


def recencies() -> pa.Table:
    r = random()
    times = pa.timestamp("us", "UTC")
    last = AS_OF - r.integers(-1, 40 * 86_400_000_000, ROWS)
    as_of = AS_OF + r.integers(0, 1_000_000_000, ROWS)
    return pa.table({"number": np.arange(ROWS), "as_of": pa.array(as_of, times), "last_trip_at": some_null(last, times)})


def companies() -> pa.Table:
    r = random()
    names = np.char.add(r.choice(COMPANIES, ROWS), r.integers(0, 500, ROWS).astype(str))
    return pa.table({"number": np.arange(ROWS), "company_name": some_null(names)})


def numbers() -> pa.Table:
    r = random()
    columns = {f"x_{column}": some_null(odd_floats(r.normal(0.0, 1e3, ROWS))) for column in range(50)}
    return pa.table({"number": np.arange(ROWS), **columns})


def exchange(client: flight.FlightClient, view: str, table: pa.Table) -> pa.Table:
    """The answer of the gateway."""
    descriptor = flight.FlightDescriptor.for_command(json.dumps({"transform": {"view": view, "keep_columns": True}}))
    writer, reader = client.do_exchange(descriptor)

    def write() -> None:
        writer.begin(table.schema)
        for batch in table.to_batches(max_chunksize=20_000):
            writer.write_batch(batch)
        writer.done_writing()

    writing = threading.Thread(target=write)
    writing.start()
    answer = reader.read_all()
    writing.join()
    writer.close()
    return answer


def equal_bits(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    left, right = (pa.concat_arrays(each.chunks) for each in (left, right))
    if pa.types.is_large_string(right.type) or pa.types.is_string_view(right.type):
        right = right.cast(pa.string())
    if left.type != right.type or len(left) != len(right) or not left.is_valid().equals(right.is_valid()):
        return False
    if pa.types.is_floating(left.type):
        bits = np.uint64 if left.type == pa.float64() else np.uint32
        left, right = (np.asarray(each.fill_null(0.0)).view(bits) for each in (left, right))
        return bool(np.array_equal(left, right))
    return left.equals(right)


if __name__ == "__main__":
    main()
