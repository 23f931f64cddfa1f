"""Talks to a running gateway over HTTP with Python's standard library alone, as Feast's clients and people do.

    python http_client.py --http 127.0.0.1:6566

Expects the project examples/chicago_taxi, applied and synced. Prints one line a check; a check that fails is an
AssertionError with what came.
"""
import argparse
import datetime
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", default="127.0.0.1:6566")
    parser.add_argument("--flight", help="not used; every client takes the same arguments")
    gateway = Gateway(f"http://{parser.parse_args().http}")
    see_what_there_is(gateway)
    columns = ask_as_feast_does(gateway)
    ask_as_a_person_does(gateway, columns)
    ask_row_by_row(gateway, columns)
    push_and_read_back(gateway)
    write_and_materialize(gateway)
    refuse_what_is_wrong(gateway)
    print("All HTTP checks passed.")


class Answer:
    def __init__(self, status: int, headers, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        # Bare NaN and Infinity are not JSON, though Python would read them.
        return json.loads(self.body, parse_constant=lambda word: AssertionError(f"{word} is not JSON"))

    def feast_error(self) -> dict:
        """Feast's clients decode an error twice and import the class that it names."""
        error = json.loads(self.json())
        assert error["module"] == "feast.errors" and error["class"] and error["message"], error
        return error


class Gateway:
    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, body=None, headers: dict | None = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | (headers or {})
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body) -> Answer:
        return self.ask("POST", path, body)

    def online(self, body: dict) -> dict:
        """Feast's answer by column name."""
        answer = self.post("/get-online-features", body)
        assert answer.status == 200, answer.body
        read = answer.json()
        names, results = read["metadata"]["feature_names"], read["results"]
        assert len(names) == len(results) == len(set(names)), names
        for result in results:
            assert sorted(result) == ["event_timestamps", "statuses", "values"], result
            assert len({len(column) for column in result.values()}) == 1, result
        return dict(zip(names, results))


def passed(what: str) -> None:
    print(f"ok  {what}")


def see_what_there_is(gateway: Gateway) -> None:
    health = gateway.get("/health")
    assert (health.status, health.body) == (200, b""), health.body
    entities = gateway.get("/v1/entities").json()["entities"]
    assert [entity["name"] for entity in entities] == ["area", "company", "trip"], entities
    views = {view["name"]: view for view in gateway.get("/v1/feature-views").json()["feature_views"]}
    assert views["company_stats"]["kind"] == "feature" and views["trip_quote"]["placement"] == "request", views
    service = gateway.get(f"/v1/feature-services/{SERVICE}").json()
    assert {each["name"] for each in service["inputs"]} == set(ENTITIES), service["inputs"]
    paths = gateway.get("/openapi.json").json()["paths"]
    assert "/get-online-features" in paths and "/v1/services/{service}/features" in paths, sorted(paths)
    page = gateway.get("/")
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html"), page.headers
    passed(f"health, {len(entities)} entities, {len(views)} views, {len(paths)} described paths, a page")


def ask_as_feast_does(gateway: Gateway) -> dict:
    """As Feast 0.64 and later ask: one call for everything, `full_feature_names` always there."""
    body = {"feature_service": SERVICE, "entities": ENTITIES, "full_feature_names": False, "include_feature_view_version_metadata": False, "as_of": AS_OF}
    columns = gateway.online(body)
    assert list(columns)[:2] == ["company", "area"], list(columns)
    assert columns["company"]["values"] == ENTITIES["company"]
    assert set(columns["company"]["statuses"]) == {"PRESENT"}
    assert columns["company"]["event_timestamps"] == ["1970-01-01T00:00:00Z"] * 3
    trips = columns["company_stats__trips_30d"]
    assert trips["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"] and trips["values"][2] is None, trips
    assert all(isinstance(value, int) and value > 0 for value in trips["values"][:2]), trips
    assert trips["event_timestamps"][2] == "1970-01-01T00:00:00Z" and trips["event_timestamps"][0] < AS_OF, trips
    fares = columns["trip_quote__expected_fare"]["values"]
    assert all(isinstance(value, float) for value in fares) and fares[2] == 0.0, fares
    assert columns["company_identity__company_clean"]["values"][0] == "taxi affiliation services", columns
    assert columns["company_identity__company_clean"]["statuses"][2] == "NOT_FOUND"

    refs = ["area_stats:trips_30d", "company_stats:trips_30d"]
    named = gateway.online({"features": refs, "entities": ENTITIES, "full_feature_names": True, "as_of": AS_OF})
    assert list(named)[-2:] == ["area_stats__trips_30d", "company_stats__trips_30d"], list(named)
    assert named["company_stats__trips_30d"] == trips
    passed(f"/get-online-features: {len(columns)} columns with statuses and times")
    return columns


def ask_as_a_person_does(gateway: Gateway, columns: dict) -> None:
    for row in range(3):
        typed = {name: values[row] for name, values in ENTITIES.items()} | {"as_of": AS_OF}
        answer = gateway.get(f"/v1/services/{SERVICE}/features?{urllib.parse.urlencode(typed)}")
        assert answer.status == 200, answer.body
        read = answer.json()
        assert (read["service"], read["as_of"]) == (SERVICE, AS_OF) and len(read["features"]) == 1, read
        compare(read["features"][0], columns, row)
        digests = dict(each.split("=") for each in answer.headers["lockstep-digest"].split(","))
        assert {"company_identity", "company_recency", "trip_quote"} <= set(digests), digests
        assert answer.headers["lockstep-version"] == str(read["version"])
    passed("typed look-ups give the values of /get-online-features, with version and digests")


def ask_row_by_row(gateway: Gateway, columns: dict) -> None:
    answer = gateway.post(f"/v1/services/{SERVICE}/features", {"entities": ENTITIES, "as_of": AS_OF})
    assert answer.status == 200, answer.body
    rows = answer.json()["features"]
    assert len(rows) == 3
    for row, values in enumerate(rows):
        compare(values, columns, row)
    assert answer.json()["statuses"]["company_stats__trips_30d"] == ["PRESENT", "PRESENT", "NOT_FOUND"]
    passed(f"posted look-ups: {len(rows)} rows of {len(rows[0])} values")


def compare(row: dict, columns: dict, position: int) -> None:
    for name, column in columns.items():
        expected, value = column["values"][position], row[name]
        assert type(value) is type(expected) and value == expected, f"{name}: {value!r} and {expected!r}"


def push_and_read_back(gateway: Gateway) -> None:
    company = f"pushed {uuid.uuid4()}"
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    times = [now - datetime.timedelta(hours=1), now - datetime.timedelta(minutes=1)]
    # Naive times are UTC, as Feast's clients send them.
    df = {"company": [company, company], "last_ride_fare": [9.0, 12.5], "last_ride_miles": [1, None], "event_time": [time.replace(tzinfo=None).isoformat() for time in times]}
    pushed = gateway.post("/push", {"push_source_name": "rides", "df": df, "to": "online", "allow_registry_cache": True, "transform_on_write": True})
    assert (pushed.status, pushed.body) == (200, b""), pushed.body
    question = {"features": ["company_last_ride:last_ride_fare", "company_last_ride:last_ride_miles"], "entities": {"company": [company]}}
    ride = gateway.online(question)
    time = times[1].isoformat().replace("+00:00", "Z")
    assert ride["last_ride_fare"] == {"values": [12.5], "statuses": ["PRESENT"], "event_timestamps": [time]}, ride
    assert ride["last_ride_miles"]["statuses"] == ["NULL_VALUE"], ride
    older = gateway.post("/push", {"push_source_name": "rides", "df": {name: values[:1] for name, values in df.items()}})
    assert older.status == 200 and gateway.online(question) == ride, "an older ride does not replace a newer one"
    passed("/push: the newest row of a key is served, nulls are nulls")


def write_and_materialize(gateway: Gateway) -> None:
    company = f"written {uuid.uuid4()}"
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0, tzinfo=None)
    # Feast's client calls the times so whatever the source calls them.
    df = {"company": [company], "last_ride_fare": [3.25], "last_ride_miles": [0.5], "event_timestamp": [now.isoformat()], "created": [None]}
    written = gateway.post("/write-to-online-store", {"feature_view_name": "company_last_ride", "df": df, "allow_registry_cache": False})
    assert (written.status, written.json()) == (200, None), written.body
    ride = gateway.online({"features": ["company_last_ride:last_ride_fare"], "entities": {"company": [company]}})
    assert ride["last_ride_fare"]["values"] == [3.25], ride

    # What is synced already is not changed by a second time.
    question = {"features": ["area_stats:trips_30d"], "entities": {"area": [8, 32]}, "as_of": AS_OF}
    before = gateway.online(question)
    for path, body in [
        ("/materialize", {"start_ts": "2016-12-01T00:00:00", "end_ts": AS_OF, "feature_views": ["area_stats"]}),
        ("/materialize-incremental", {"end_ts": AS_OF, "feature_views": ["area_stats"]}),
    ]:
        done = gateway.post(path, body)
        assert (done.status, done.json()) == (200, None), done.body
        assert gateway.online(question) == before, path
    passed("/write-to-online-store, /materialize, /materialize-incremental")


def refuse_what_is_wrong(gateway: Gateway) -> None:
    company = {"company": ["a"]}
    for body, status, kind, word in [
        ({"feature_service": "nope", "entities": company}, 404, "FeatureServiceNotFoundException", "nope"),
        ({"features": ["nope:x"], "entities": company}, 404, "FeatureViewNotFoundException", "nope"),
        ({"features": ["company_stats:nope"], "entities": company}, 404, "FeastObjectNotFoundException", "nope"),
        ({"features": ["company_stats:trips_30d", "area_stats:trips_30d"], "entities": ENTITIES}, 400, "FeatureNameCollisionError", "trips_30d"),
        ({"features": ["company_stats:trips_30d"], "entities": {"area": [8]}}, 422, "FeastError", "company"),
        ({"features": ["company_stats:trips_30d"], "entities": {"company": [None]}}, 422, "FeastError", "row 0"),
        ({"features": ["area_stats:trips_30d"], "entities": {"area": ["eight"]}}, 422, "FeastError", "eight"),
    ]:
        answer = gateway.post("/get-online-features", body)
        error = answer.feast_error()
        assert (answer.status, error["class"]) == (status, kind) and word in error["message"], (answer.status, error)
    missing = gateway.post("/get-online-features", {"features": []})
    assert missing.status == 422 and missing.json()["detail"][0]["loc"] == ["body", "entities"], missing.body
    assert gateway.post("/push", {"push_source_name": "nope", "df": {}}).feast_error()["class"] == "PushSourceNotFoundException"
    typo = gateway.get("/v1/feature-servics")
    assert typo.status == 404 and "/v1/feature-services" in typo.json()["nearby"], typo.body
    assert gateway.ask("DELETE", "/push").status == 405
    assert gateway.ask("POST", "/push", {}, {"Content-Type": "text/plain"}).status == 415
    passed("what is wrong is refused as Feast's clients expect it")


if __name__ == "__main__":
    main()
