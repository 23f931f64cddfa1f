"""Talks to a running gateway over Arrow Flight as a user of pyarrow would, and checks the answers against HTTP.

    python flight_client.py --http 127.0.0.1:6566 --flight 127.0.0.1:8815

Expects the project examples/chicago_taxi, applied and synced. Prints one line a check; a check that fails is an
AssertionError with what came.
"""
import argparse
import datetime
import json
import time
import urllib.request
import uuid

import pyarrow as pa
import pyarrow.flight as flight

SERVICE = "tip_model_v1"
AS_OF = "2016-12-31T00:00:00Z"
# The last company does not exist.
ENTITIES = {
    "company": ["Taxi Affiliation Services", "Blue Ribbon Taxi Association Inc.", "no such company"],
    "area": [8, 32, 8],
    "hour": [3, 14, 23],
    "payment_type": ["Cash", "Credit Card", "Cash"],
    "planned_miles": [1.5, 7.25, 0.0],
}
TYPES = {"company": pa.string(), "area": pa.int64(), "hour": pa.int32(), "payment_type": pa.string(), "planned_miles": pa.float64()}
STATUSES = ["INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", default="127.0.0.1:6566")
    parser.add_argument("--flight", default="127.0.0.1:8815")
    arguments = parser.parse_args()
    client = flight.connect(f"grpc://{arguments.flight}")
    list_what_there_is(client)
    get_by_a_ticket_written_by_hand(client, arguments.http)
    get_single_features(client)
    exchange_batches_in_order(client)
    exchange_other_arrow_types(client)
    make_training_sets(client)
    push_and_read_back(client)
    act(client)
    set_and_delete_by_hand(client)
    refuse_what_is_wrong(client)
    measure(client)
    print("All Flight checks passed.")


def passed(what: str) -> None:
    print(f"ok  {what}")


def get(client: flight.FlightClient, ticket: dict) -> pa.Table:
    return client.do_get(flight.Ticket(json.dumps(ticket))).read_all()


def entities(rows: slice = slice(None)) -> dict:
    return {name: values[rows] for name, values in ENTITIES.items()}


def batch_of(columns: dict) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array(values, TYPES[name]) for name, values in columns.items()})


def list_what_there_is(client: flight.FlightClient) -> None:
    infos = {tuple(part.decode() for part in info.descriptor.path): info for info in client.list_flights()}
    assert ("services", SERVICE) in infos and ("views", "company_stats") in infos, sorted(infos)
    info = infos["services", SERVICE]
    descriptor = flight.FlightDescriptor.for_path("services", SERVICE)
    assert client.get_schema(descriptor).schema.equals(info.schema)
    assert client.get_flight_info(descriptor).schema.equals(info.schema)
    assert [field.name for field in info.schema][:2] == ["company", "area"], info.schema
    needs = json.loads(info.app_metadata)
    assert {each["name"] for each in needs["inputs"]} == set(ENTITIES), needs["inputs"]
    # The ticket of a listing is a template; as it stands it has no rows.
    empty = client.do_get(info.endpoints[0].ticket).read_all()
    assert empty.num_rows == 0 and empty.schema.equals(info.schema), empty.schema
    assert [each.descriptor.path[1] for each in client.list_flights(b"area_")] == [b"area_stats"]
    passed(f"list_flights, get_flight_info, get_schema: {len(infos)} flights, {len(info.schema)} columns in {SERVICE}")


def get_by_a_ticket_written_by_hand(client: flight.FlightClient, http: str) -> None:
    table = get(client, {"service": SERVICE, "entities": ENTITIES, "as_of": AS_OF, "statuses": True})
    body = json.dumps({"feature_service": SERVICE, "entities": ENTITIES, "as_of": AS_OF}).encode()
    request = urllib.request.Request(f"http://{http}/get-online-features", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    names = answer["metadata"]["feature_names"]
    assert not [field for field in table.schema if pa.types.is_dictionary(field.type) or field.type == pa.string_view()]
    compared = 0
    for name, column in zip(names, answer["results"]):
        if name not in table.column_names:
            continue
        for row, (over_http, over_flight) in enumerate(zip(column["values"], table[name].to_pylist())):
            assert same(over_http, over_flight), f"{name}, row {row}: HTTP {over_http!r}, Flight {over_flight!r}"
            compared += 1
        if f"{name}__status" in table.column_names:
            statuses = [STATUSES[number] for number in table[f"{name}__status"].to_pylist()]
            assert statuses == column["statuses"], f"{name}: HTTP {column['statuses']}, Flight {statuses}"
    features = [name for name in table.column_names if not name.endswith("__status")]
    assert set(features) <= set(names), set(features) - set(names)
    assert table["company_stats__trips_30d"].type == pa.int64()
    assert table["company_stats__avg_fare_30d"].type == pa.float64()
    assert table["company_stats__trips_30d"].to_pylist()[2] is None, "an unknown company has no trips"
    assert table.schema.metadata[b"lockstep.version"].isdigit(), table.schema.metadata
    passed(f"do_get by a ticket written by hand: {compared} values and their statuses equal over HTTP and Flight")


def same(over_http, over_flight) -> bool:
    if isinstance(over_flight, datetime.datetime):
        seconds = over_flight.timestamp()
        if isinstance(over_http, str):
            return datetime.datetime.fromisoformat(over_http.replace("Z", "+00:00")) == over_flight
        return over_http in (int(seconds), int(seconds * 1_000_000))
    return type(over_http) is type(over_flight) and over_http == over_flight


def get_single_features(client: flight.FlightClient) -> None:
    refs = ["area_stats:trips_30d", "company_stats:trips_30d"]
    ticket = {"features": refs, "entities": {"company": ENTITIES["company"], "area": ENTITIES["area"]}, "as_of": AS_OF}
    table = get(client, ticket | {"full_feature_names": True})
    assert table.column_names[-2:] == ["area_stats__trips_30d", "company_stats__trips_30d"], table.column_names
    expect_error(lambda: get(client, ticket), "full_feature_names")
    passed("do_get of single features, in the order that was asked for")


def exchange_batches_in_order(client: flight.FlightClient) -> None:
    descriptor = flight.FlightDescriptor.for_command(json.dumps({"service": SERVICE, "as_of": AS_OF}))
    whole = get(client, {"service": SERVICE, "entities": ENTITIES, "as_of": AS_OF})
    sent = [slice(0, 1), slice(0, 3), slice(1, 1), slice(2, 3)] * 10
    writer, reader = client.do_exchange(descriptor)
    with writer:
        writer.begin(batch_of(ENTITIES).schema)
        for rows in sent:
            writer.write_batch(batch_of(entities(rows)))
        writer.done_writing()
        for rows in sent:
            chunk = reader.read_chunk()
            expected = whole.slice(rows.start, rows.stop - rows.start)
            assert pa.Table.from_batches([chunk.data]).equals(expected), f"rows {rows}: {chunk.data.to_pylist()}"
            made = json.loads(chunk.app_metadata.to_pybytes())
            assert made["as_of"] == AS_OF and made["version"] >= 1 and "trip_quote" in made["digests"], made
        expect_end(reader)
    passed(f"do_exchange: {len(sent)} batches answered in order, as one do_get answers them")


def exchange_other_arrow_types(client: flight.FlightClient) -> None:
    """What pandas and polars make of the same columns: dictionaries, views, wide integers, other compressions."""
    types = {"company": pa.dictionary(pa.int32(), pa.string()), "payment_type": pa.string_view(), "hour": pa.int64(), "area": pa.int16()}
    columns = {name: pa.array(values, TYPES[name]).cast(types.get(name, TYPES[name])) for name, values in ENTITIES.items()}
    batch = pa.record_batch(columns | {"label": pa.array([True, False, None])})
    whole = get(client, {"service": SERVICE, "entities": ENTITIES, "as_of": AS_OF})
    descriptor = flight.FlightDescriptor.for_command(json.dumps({"service": SERVICE, "as_of": AS_OF}))
    for compression in [None, "lz4", "zstd"]:
        options = flight.FlightCallOptions(write_options=pa.ipc.IpcWriteOptions(compression=compression))
        writer, reader = client.do_exchange(descriptor, options)
        with writer:
            writer.begin(batch.schema)
            writer.write_batch(batch)
            writer.done_writing()
            answer = reader.read_all()
        assert answer.equals(whole), f"{compression}: {answer.to_pylist()}"
        assert "label" not in answer.column_names
    passed("do_exchange of dictionaries, views and other widths, plain, LZ4 and zstd")


def make_training_sets(client: flight.FlightClient) -> None:
    times = ["2016-06-01T12:00:00", "2016-12-01T08:30:00", "2014-03-01T00:00:00"]
    times = [datetime.datetime.fromisoformat(time).replace(tzinfo=datetime.timezone.utc) for time in times]
    labels = pa.Table.from_batches([batch_of(ENTITIES)])
    labels = labels.append_column("event_timestamp", pa.array(times, pa.timestamp("ns", "UTC")))
    labels = labels.append_column("big_tipper", pa.array([True, False, None]))
    training = {"service": SERVICE, "time_column": "event_timestamp", "digest_column": True}
    descriptor = flight.FlightDescriptor.for_command(json.dumps({"train": training}))

    writer, results = client.do_put(descriptor, labels.schema)
    with writer:
        for batch in labels.to_batches(max_chunksize=2):
            writer.write_batch(batch)
        writer.done_writing()
        ticket = json.loads(results.read().to_pybytes())
    assert list(ticket) == ["training"], ticket
    fetched = get(client, ticket)
    assert fetched.num_rows == labels.num_rows
    assert fetched.select(labels.column_names).equals(labels), "label columns pass through unchanged, in order"
    service = client.get_schema(flight.FlightDescriptor.for_path("services", SERVICE)).schema
    features = [name for name in service.names if name not in labels.column_names]
    assert set(features) <= set(fetched.column_names), fetched.column_names
    assert fetched["company_stats__trips_30d"].to_pylist()[0] > 0
    assert fetched["company_stats__trips_30d"].to_pylist()[2] is None, "an unknown company has no trips"
    assert "lockstep_digest" in fetched.column_names
    expect_error(lambda: get(client, ticket), "no upload")

    writer, reader = client.do_exchange(descriptor)
    with writer:
        writer.begin(labels.schema)
        writer.write_table(labels)
        writer.done_writing()
        exchanged = reader.read_all()
    assert exchanged.equals(fetched), "one call or two, the training set is the same"
    passed(f"training set of {fetched.num_rows} labels and {len(features)} features, in one call and in two")

    every_trip = get(client, {"train": {"service": SERVICE, "labels": "tip_labels"}})
    assert every_trip.num_rows == 15_002 and {"big_tipper", "trip_id", *features} <= set(every_trip.column_names)
    unknown = {"service": SERVICE, "labels": "tip_labels", "known_at_column": "scored_at"}
    expect_error(lambda: get(client, {"train": unknown}), "column scored_at is missing", "by which rows were known")
    passed(f"training set of a source of the project: {every_trip.num_rows} labels, none of them sent")


def push_and_read_back(client: flight.FlightClient) -> None:
    company = f"pushed {uuid.uuid4()}"
    now = datetime.datetime.now(datetime.timezone.utc)
    rides = [
        pa.table({"company": [company], "last_ride_fare": [fare], "last_ride_miles": [2.5], "event_time": pa.array([time], pa.timestamp("us", "UTC"))})
        for fare, time in [(11.25, now - datetime.timedelta(minutes=1)), (12.5, now), (9.0, now - datetime.timedelta(hours=1))]
    ]
    descriptor = flight.FlightDescriptor.for_command(json.dumps({"push": "rides", "to": "online"}))
    writer, results = client.do_put(descriptor, rides[0].schema)
    counts = []
    with writer:
        for rows in rides:
            writer.write_table(rows)
            counts.append(json.loads(results.read().to_pybytes()))
        writer.done_writing()
    assert [count["rows"] for count in counts] == [1, 1, 1], counts
    assert [count["rows_older"] for count in counts] == [0, 0, 1], counts
    assert all("company_last_ride" in count["views"] for count in counts), counts
    ticket = {"features": ["company_last_ride:last_ride_fare"], "entities": {"company": [company]}}
    assert get(client, ticket)["last_ride_fare"].to_pylist() == [12.5], "the newest ride is served"

    wrong = rides[0].set_column(1, "last_ride_fare", pa.array(["a lot"]))
    writer, _ = client.do_put(flight.FlightDescriptor.for_path("push", "rides"), wrong.schema)

    def write() -> None:
        with writer:
            writer.write_table(wrong)
            writer.done_writing()
            writer.close()

    expect_error(write, "batch 0", "last_ride_fare")
    passed("do_put of pushed rides: counts for each batch, the newest is served")


def act(client: flight.FlightClient) -> None:
    actions = [action.type for action in client.list_actions()]
    online = ["online_set", "online_delete", "online_health", "online_stats"]
    assert actions == ["health", "version", "reload", "sync", *online, "statistics"], actions
    do = lambda name, body=b"": json.loads(next(iter(client.do_action(flight.Action(name, body)))).body.to_pybytes())
    assert do("health") == {"status": "ok"}
    assert do("version")["project"] == "chicago_taxi"
    synced = do("sync", json.dumps({"view": "area_stats", "until": AS_OF}).encode())
    assert synced["view"] == "area_stats", synced
    expect_error(lambda: do("restart"), "restart")
    asked = {"view": "company_stats", "features": ["trips_30d"], "to": AS_OF}
    found = do("statistics", json.dumps(asked).encode())
    assert [column["column"] for column in found["columns"]] == ["trips_30d"] and found["rows"] > 1_000, found
    passed("do_action: health, version, sync")


def set_and_delete_by_hand(client: flight.FlightClient) -> None:
    company = f"set {uuid.uuid4()}"
    do = lambda name, body: json.loads(next(iter(client.do_action(flight.Action(name, json.dumps(body).encode())))).body.to_pybytes())

    def ride() -> list:
        refs = ["company_last_ride:last_ride_fare", "company_last_ride:last_ride_miles"]
        return list(get(client, {"features": refs, "entities": {"company": [company]}}).to_pylist()[0].values())[1:]

    columns = {"company": [company], "last_ride_fare": [11.25], "last_ride_miles": [2.5]}
    done = do("online_set", {"view": "company_last_ride", "columns": columns})
    assert done == {"views": ["company_last_ride"], "rows": 1, "rows_written": 1, "rows_older": 0}, done
    assert ride() == [11.25, 2.5], ride()
    older = do("online_set", {"view": "company_last_ride", "columns": columns, "event_time": "2016-12-31T00:00:00Z"})
    assert (older["rows_written"], older["rows_older"]) == (0, 1), older

    rows = pa.table({"company": [company, f"{company} too"], "last_ride_fare": pa.array([12.5, 1.0])})
    descriptors = [
        (flight.FlightDescriptor.for_path("online", "company_last_ride"), [2, 0]),
        (flight.FlightDescriptor.for_command(json.dumps({"set": "company_last_ride", "event_time": AS_OF})), [0, 2]),
    ]
    for descriptor, counts in descriptors:
        writer, results = client.do_put(descriptor, rows.schema)
        with writer:
            writer.write_table(rows)
            done = json.loads(results.read().to_pybytes())
            writer.done_writing()
        assert [done["rows_written"], done["rows_older"]] == counts, done
    assert ride() == [12.5, None], "what is not named is null"

    named = {"view": "company_last_ride", "entity": {"company": company}}
    assert do("online_delete", named | {"feature": "last_ride_fare"})["outcome"] == "deleted"
    assert ride() == [None, None], ride()
    assert do("online_delete", named | {"feature": "last_ride_fare"})["outcome"] == "already_null"
    assert do("online_delete", named)["outcome"] == "deleted"
    assert do("online_delete", named)["outcome"] == "absent"
    assert do("online_delete", {"view": "company_last_ride", "entity": {"company": f"{company} too"}, "event_time": AS_OF})["outcome"] == "older"

    stats = do("online_stats", {"views": ["company_stats", "company_identity"]})["views"]
    assert [view["view"] for view in stats] == ["company_stats", "company_identity"] and stats[0]["keys"] > 10, stats
    everything = json.loads(next(iter(client.do_action("online_stats"))).body.to_pybytes())["views"]
    assert len(everything) > 3, everything
    health = json.loads(next(iter(client.do_action("online_health"))).body.to_pybytes())
    assert sorted(health) == ["facts", "store", "warnings"], health

    expect_error(lambda: do("online_set", {"view": "nope", "columns": {}}), "nope")
    expect_error(lambda: do("online_set", {"view": "company_identity", "columns": {}}), "name company_stats")
    expect_error(lambda: do("online_set", {"view": "company_stats"}), "the body of online_set", "columns")
    expect_error(lambda: do("online_delete", {"view": "company_stats", "entity": {"compny": "a"}}), "compny", "company")
    expect_error(lambda: do("online_delete", named | {"feature": "nope"}), "nope", "last_ride_fare")
    expect_error(lambda: do("online_delete", named | {"event_time": "soon"}), "soon")
    writer, _ = client.do_put(flight.FlightDescriptor.for_path("online", "company_recency"), rows.schema)

    def write() -> None:
        with writer:
            writer.write_table(rows)
            writer.done_writing()
            writer.close()

    expect_error(write, "batch 0", "computed when it is asked for")
    passed("online_set, online_delete, online_stats, online_health, and do_put of rows that are set")


def refuse_what_is_wrong(client: flight.FlightClient) -> None:
    expect_error(lambda: get(client, {"service": "nope", "entities": ENTITIES}), "nope")
    expect_error(lambda: get(client, {"service": SERVICE, "entities": ENTITIES | {"area": [8, "x", 8]}}), "area", "row 1")
    expect_error(lambda: get(client, {"service": SERVICE, "entities": ENTITIES | {"area": [8]}}), "rows")
    expect_error(lambda: get(client, {"service": SERVICE, "entities": {"company": ["a"]}}), "area", "missing")
    expect_error(lambda: get(client, {"service": SERVICE, "entities": ENTITIES, "as_off": AS_OF}), "as_off")
    expect_error(lambda: client.do_get(flight.Ticket(b"tips please")).read_all(), "the ticket is not one")
    expect_error(lambda: get(client, {"train": {"service": SERVICE, "labels": "../secret.parquet"}}), "is not defined")
    expect_error(lambda: client.get_schema(flight.FlightDescriptor.for_path("views", "nope")), "nope")

    descriptor = flight.FlightDescriptor.for_command(json.dumps({"service": SERVICE}))
    columns = {name: pa.array(values, TYPES[name]) for name, values in ENTITIES.items()}
    text = batch_of(ENTITIES).set_column(1, "area", pa.array(["8", "32", "8"]))
    fraction = pa.record_batch(columns | {"area": pa.array([8.0, 32.5, 8.0])})
    null = pa.record_batch(columns | {"company": pa.array([None, "a", "b"], pa.string())})
    for batch, words in [(text, ["area", "batch 0"]), (fraction, ["area", "32.5"]), (null, ["company", "row 0"])]:
        writer, reader = client.do_exchange(descriptor)

        def exchange() -> None:
            with writer:
                writer.begin(batch.schema)
                writer.write_batch(batch)
                writer.done_writing()
                reader.read_all()

        expect_error(exchange, *words)
    passed("what is wrong is refused with its column and row")


def measure(client: flight.FlightClient) -> None:
    ticket = {"service": SERVICE, "entities": entities(slice(0, 1)), "as_of": AS_OF}
    times = sorted(timed(lambda: get(client, ticket)) for _ in range(100))
    print(f"    do_get, one row: median {times[50] * 1e3:.2f} ms")
    rows = {name: values[:1] * 1_000 for name, values in ENTITIES.items()}
    batch = batch_of(rows)
    writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(json.dumps({"service": SERVICE, "as_of": AS_OF})))
    with writer:
        writer.begin(batch.schema)

        def turn() -> None:
            writer.write_batch(batch)
            assert reader.read_chunk().data.num_rows == 1_000

        times = sorted(timed(turn) for _ in range(50))
        writer.done_writing()
    print(f"    do_exchange, 1,000 rows: median {times[25] * 1e3:.2f} ms")


def timed(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def expect_error(call, *words: str) -> None:
    try:
        call()
    except (pa.ArrowException, flight.FlightError, KeyError) as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"the error does not say {missing}: {error}"
    else:
        raise AssertionError(f"no error, one with {words} was expected")


def expect_end(reader: flight.FlightStreamReader) -> None:
    try:
        chunk = reader.read_chunk()
    except StopIteration:
        return
    raise AssertionError(f"the stream goes on: {chunk}")


if __name__ == "__main__":
    main()
