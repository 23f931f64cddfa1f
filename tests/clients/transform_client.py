"""Sends frames of pandas, Polars and DuckDB through transforms of a running gateway, and checks the answers against what
the gateway serves.

    python transform_client.py --http 127.0.0.1:6566 --flight 127.0.0.1:8815

Expects the project examples/chicago_taxi, applied and synced. Prints one line a check; a check that fails is an
AssertionError with what came.
"""
import argparse
import json
import threading

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as flight

AS_OF = "2016-12-31T00:00:00Z"
QUOTE = ["expected_fare", "hour_sin", "hour_cos", "is_rush_hour", "pays_by_card"]
AREAS = [8, 32, 28, 7, 6, 33, 76, 77]
COMPANIES = ["Taxi Affiliation Services", "Blue Ribbon Taxi Association Inc.", "Choice Taxi Association", "no such company"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http")
    parser.add_argument("--flight", default="127.0.0.1:8815")
    client = flight.connect(f"grpc://{parser.parse_args().flight}")
    rides = served_rides(client)
    frames_of_all_libraries(client, rides)
    time_per_row_and_for_all(client)
    a_plugin_with_parameters(client)
    large_batches_stream(client, rides)
    refused_rows(client, rides)
    what_is_wrong_is_said(client, rides)
    no_rows(client)
    print("All transform checks passed.")


def passed(what: str) -> None:
    print(f"ok  {what}")


def get(client: flight.FlightClient, ticket: dict) -> pa.Table:
    return client.do_get(flight.Ticket(json.dumps(ticket))).read_all()


def exchange(client: flight.FlightClient, transform: dict, table: pa.Table, rows_max=None) -> tuple:
    """The answer and the `app_metadata` of its messages. Writes beside reading, as a gateway that holds back wants it."""
    descriptor = flight.FlightDescriptor.for_command(json.dumps({"transform": transform}))
    writer, reader = client.do_exchange(descriptor)
    failed = []

    def write() -> None:
        try:
            writer.begin(table.schema)
            for batch in table.to_batches(max_chunksize=rows_max):
                writer.write_batch(batch)
            writer.done_writing()
        except pa.ArrowException as error:
            failed.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    batches, made, schema = [], [], None
    try:
        schema = reader.schema
        for chunk in reader:
            batches.append(chunk.data)
            if chunk.app_metadata is not None:
                made.append(json.loads(chunk.app_metadata.to_pybytes()))
    finally:
        writing.join()
        try:
            writer.close()
        except pa.ArrowException:
            pass  # What went wrong was told by the reader.
    assert not failed, failed
    return pa.Table.from_batches(batches, schema), made


def equal_bits(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    left, right = (pa.concat_arrays(each.chunks) if each.num_chunks else pa.array([], each.type) for each in (left, right))
    if left.type != right.type or len(left) != len(right) or not left.is_valid().equals(right.is_valid()):
        return False
    if pa.types.is_floating(left.type):
        bits = np.uint64 if left.type == pa.float64() else np.uint32
        left, right = (np.asarray(each.fill_null(0.0)).view(bits) for each in (left, right))
        return bool(np.array_equal(left, right))
    return left.equals(right)


def check(expected: pa.Table, answer: pa.Table, names: dict, what: str) -> int:
    for theirs, ours in names.items():
        assert equal_bits(expected[theirs], answer[ours]), f"{what}: {ours}\n{expected[theirs]}\n{answer[ours]}"
    return len(names) * answer.num_rows


def served_rides(client: flight.FlightClient) -> pa.Table:
    """What the gateway serves for some rides, with what it computed them of."""
    random = np.random.default_rng(20_161_231)
    rows = 4_000
    entities = {
        "area": random.choice(AREAS, rows).tolist(),
        "hour": random.integers(0, 24, rows).tolist(),
        "payment_type": random.choice(["Cash", "Credit Card", "credit card ", ""], rows).tolist(),
        "planned_miles": [None if one % 17 == 0 else one / 7 for one in range(rows)],
    }
    features = ["area_stats:avg_fare_30d", "area_stats:avg_miles_30d"] + [f"trip_quote:{name}" for name in QUOTE]
    served = get(client, {"features": features, "entities": entities, "as_of": AS_OF})
    rides = {name: pa.array(values) for name, values in entities.items()}
    served = served.select([name for name in served.column_names if name != "area"])
    return pa.table(rides | {name: served[name] for name in served.column_names})


def inputs_of(rides: pa.Table) -> pa.Table:
    names = ["avg_fare_30d", "avg_miles_30d", "hour", "payment_type", "planned_miles"]
    return rides.select(names).rename_columns(["area_fare_30d", "area_miles_30d", *names[2:]])


def frames_of_all_libraries(client: flight.FlightClient, rides: pa.Table) -> None:
    inputs = inputs_of(rides)
    polars = pl.from_arrow(inputs)
    connection = duckdb.connect()
    connection.register("inputs", inputs)
    frames = {
        "pyarrow": inputs,
        "pandas": pa.Table.from_pandas(inputs.to_pandas(), preserve_index=False),
        "pandas on Arrow": pa.Table.from_pandas(inputs.to_pandas(types_mapper=pd.ArrowDtype), preserve_index=False),
        "Polars": polars.to_arrow(),
        "Polars categorical": polars.with_columns(pl.col("payment_type").cast(pl.Categorical)).to_arrow(),
        "DuckDB": connection.sql("select * from inputs").to_arrow_table(),
    }
    compared = 0
    for library, frame in frames.items():
        answer, made = exchange(client, {"view": "trip_quote", "keep_columns": True}, frame)
        assert answer.column_names == inputs.column_names + QUOTE, answer.column_names
        assert answer.schema.metadata[b"lockstep.digest"].decode() == made[0]["digest"], made[0]
        compared += check(rides, answer, {name: name for name in QUOTE}, library)
    some, _ = exchange(client, {"view": "trip_quote", "outputs": ["hour_cos", "expected_fare"]}, inputs)
    assert some.column_names == ["expected_fare", "hour_cos"], some.column_names
    renamed = inputs.rename_columns(["fare", "miles", "hour", "payment_type", "planned_miles"])
    columns = {"area_fare_30d": "fare", "area_miles_30d": "miles"}
    answer, _ = exchange(client, {"view": "trip_quote", "columns": columns}, renamed)
    assert answer.column_names == QUOTE, answer.column_names
    compared += check(rides, answer, {name: name for name in QUOTE}, "renamed")
    passed(f"trip_quote over {', '.join(frames)}: {compared} values equal to what is served, bit for bit")


def time_per_row_and_for_all(client: flight.FlightClient) -> None:
    recency = ["days_since_last_trip"]
    features = ["company_stats:last_trip_at", "company_recency:days_since_last_trip"]
    served = get(client, {"features": features, "entities": {"company": COMPANIES}, "as_of": AS_OF})
    inputs = served.select(["last_trip_at"])
    answer, _ = exchange(client, {"view": "company_recency", "as_of": AS_OF, "outputs": recency}, inputs)
    compared = check(served, answer, {name: name for name in recency}, "as_of for all")
    moment = pd.Timestamp(AS_OF)
    for name, unit in [("as_of", "us"), ("event_timestamp", "ns"), ("asked", "ms")]:
        times = pa.array([moment] * len(COMPANIES), pa.timestamp(unit, "UTC"))
        named = {"time_column": name} if name == "asked" else {}
        answer, _ = exchange(client, {"view": "company_recency", "outputs": recency, **named}, inputs.append_column(name, times))
        compared += check(served, answer, {each: each for each in recency}, name)
    expect_error(lambda: exchange(client, {"view": "company_recency"}, inputs), "column as_of is missing")
    passed(f"company_recency by as_of, event_timestamp and a column of another name: {compared} values equal")


def a_plugin_with_parameters(client: flight.FlightClient) -> None:
    names = pa.table({"company_name": ["Taxi Affiliation Services", None, "Chicago Medallion Inc.", "5129 - 87128"]})
    features = ["company_identity:company_clean", "company_identity:company_bucket"]
    served = get(client, {"features": features, "entities": {"company": COMPANIES[:3]}, "as_of": AS_OF})
    plugin = {"plugin": "taxi_company", "parameters": {"buckets": 64}}
    answer, _ = exchange(client, plugin, pa.table({"company_name": COMPANIES[:3]}))
    compared = check(served, answer, {"company_clean": "company_clean", "company_bucket": "company_bucket"}, "64 buckets")
    answer, _ = exchange(client, {"plugin": "taxi_company", "parameters": {"buckets": 2}}, names)
    buckets = answer["company_bucket"].to_pylist()
    assert buckets[1] is None and set(buckets) - {None} <= {0, 1}, buckets
    expect_error(lambda: exchange(client, {"plugin": "taxi_company", "parameters": {"pails": 2}}, names), "no parameter pails")
    expect_error(lambda: exchange(client, {"plugin": "nonesuch"}, names), "those that are: taxi_company, taxi_quote, taxi_recency")
    passed(f"taxi_company with parameters of the caller's: {compared} values equal")


def large_batches_stream(client: flight.FlightClient, rides: pa.Table) -> None:
    """Batches that are cut into several pieces, more of them than are in flight, answered in order."""
    rows = 250_000
    places = pa.array(np.arange(rows) % rides.num_rows)
    inputs, expected = inputs_of(rides).take(places), rides.take(places)
    number = pa.array(np.arange(rows))
    for rows_max in (None, 7_000):
        sent = inputs.append_column("number", number).combine_chunks()
        answer, made = exchange(client, {"view": "trip_quote", "keep_columns": True}, sent, rows_max)
        assert answer["number"].combine_chunks().equals(number), "rows come back in order"
        check(expected, answer, {name: name for name in QUOTE}, f"{rows_max} rows in a batch")
        assert [each["from"] for each in made] == np.cumsum([0] + [each["rows"] for each in made[:-1]]).tolist(), made
        assert len(made) >= rows // 16_384, len(made)
    passed(f"{rows} rows in one batch and in batches of 7000, answered in {len(made)} pieces, in order")


def refused_rows(client: flight.FlightClient, rides: pa.Table) -> None:
    hours = rides["hour"].to_pylist()
    wrong = [5, 20_000, 39_999]
    inputs = pa.concat_tables([inputs_of(rides)] * 10).combine_chunks()
    hours = np.array(hours * 10)
    hours[wrong] = 99
    inputs = inputs.set_column(inputs.column_names.index("hour"), "hour", pa.array(hours))
    answer, made = exchange(client, {"view": "trip_quote"}, inputs)
    errors = [error for each in made for error in each["row_errors"]]
    assert [error["row"] for error in errors] == wrong and sum(each["row_error_count"] for each in made) == 3, errors
    assert errors[0]["code"] == 1_000 and errors[0]["message"] == "hour 99 is not between 0 and 23", errors[0]
    for name in QUOTE:
        assert [answer[name][row].as_py() for row in wrong] == [None] * 3, name
    assert answer["hour_sin"].null_count == 3, answer["hour_sin"].null_count
    passed(f"rows that the plugin refuses are null and named by their place: {wrong}")


def what_is_wrong_is_said(client: flight.FlightClient, rides: pa.Table) -> None:
    inputs = inputs_of(rides)
    quote = {"view": "trip_quote"}
    expect_error(lambda: exchange(client, quote, inputs.drop_columns(["area_fare_30d"])), "column area_fare_30d is missing")
    fractions = inputs.set_column(2, "hour", pa.array([3.5] * inputs.num_rows))
    expect_error(lambda: exchange(client, quote, fractions), "3.5 is not a whole number")
    texts = inputs.set_column(2, "hour", pc.cast(inputs["hour"], pa.string()))
    expect_error(lambda: exchange(client, quote, texts), "column hour is string, it must be int32")
    expect_error(lambda: exchange(client, {"view": "company_stats"}, inputs), "which has no transform")
    expect_error(lambda: exchange(client, {"view": "nonesuch"}, inputs), "feature view nonesuch does not exist")
    expect_error(lambda: exchange(client, quote | {"outputs": ["fare"]}, inputs), "has no feature fare")
    expect_error(lambda: exchange(client, quote | {"columns": {"fare": "x"}}, inputs), "no input of trip_quote")
    taken = inputs.append_column("hour_sin", inputs["planned_miles"])
    expect_error(lambda: exchange(client, quote | {"keep_columns": True}, taken), "already have a column hour_sin")
    expect_error(lambda: exchange(client, {"plugin": "taxi_quote", **quote}, inputs), "name one of both")
    expect_error(lambda: get(client, {"transform": quote}), "DoExchange")
    passed("what is wrong with a transform or with its rows is said by name")


def no_rows(client: flight.FlightClient) -> None:
    schema = pa.schema([("area_fare_30d", pa.float64()), ("area_miles_30d", pa.float64()), ("hour", pa.int32()), ("payment_type", pa.string()), ("planned_miles", pa.float64())])
    answer, _ = exchange(client, {"view": "trip_quote", "keep_columns": True}, schema.empty_table())
    assert answer.num_rows == 0 and answer.column_names == schema.names + QUOTE, answer.schema
    passed("columns without rows get columns without rows")


def expect_error(call, words: str) -> None:
    try:
        call()
    except (pa.ArrowException, flight.FlightError) as error:
        assert words in str(error), f"{words!r} is not in {error}"
    else:
        raise AssertionError(f"nothing was wrong, and {words!r} should have been")


if __name__ == "__main__":
    main()
