"""A small model server: a request names the entities, the features come from Lockstep over Arrow Flight.

    python model_server.py model.joblib --flight 127.0.0.1:8815 --port 8900

POST /predict with {"entities": {"company": [...], "area": [...], ...}, "as_of": "2016-12-31T00:00:00Z"} answers
{"big_tipper": [0.12, ...]}, a probability a row. Without as_of it is now.
"""
import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import joblib
import pyarrow.flight as flight

from features import SERVICE, matrix


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        try:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(200, {"big_tipper": self.server.predict(question).tolist()})
        except (KeyError, ValueError) as error:
            self.answer(400, {"detail": str(error)})
        except flight.FlightError as error:
            self.answer(503, {"detail": f"features cannot be fetched: {error}"})

    def answer(self, status: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_) -> None:
        pass


class ModelServer(ThreadingHTTPServer):
    def __init__(self, port: int, model_path: str, flight_address: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        kept = joblib.load(model_path)
        self.model, self.columns = kept["model"], kept["columns"]
        self.client = flight.connect(f"grpc://{flight_address}")

    def predict(self, question: dict):
        ticket = {"service": SERVICE, "entities": question["entities"]}
        if "as_of" in question:
            ticket["as_of"] = question["as_of"]
        features = self.client.do_get(flight.Ticket(json.dumps(ticket))).read_all()
        return self.model.predict_proba(matrix(features, self.columns))[:, 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--flight", default="127.0.0.1:8815")
    parser.add_argument("--port", type=int, default=8900)
    arguments = parser.parse_args()
    server = ModelServer(arguments.port, arguments.model, arguments.flight)
    print(f"http://127.0.0.1:{server.server_port}/predict", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
