"""The proof with a model: its predictions on served features equal those on training features, bit for bit.

    python compare.py model.joblib now-training.parquet http://127.0.0.1:8900/predict 2016-12-31T00:00:00Z

`now-training.parquet` is the training set of now.parquet (see ask_for_now.py); the model server is asked for the same
entities at the same moment. Rows without a company or area are left out: nobody can be asked for features of nothing.
Exits with 1 if a single bit differs.
"""
import json
import sys
import urllib.request

import joblib
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import REQUEST, matrix


def main(model_path: str, training: str, url: str, as_of: str) -> None:
    kept = joblib.load(model_path)
    table = pq.read_table(training)
    table = table.filter(pc.and_(pc.is_valid(table["company"]), pc.is_valid(table["area"])))
    trained = kept["model"].predict_proba(matrix(table, kept["columns"]))[:, 1]
    entities = {name: table[name].to_pylist() for name in REQUEST}
    body = json.dumps({"entities": entities, "as_of": as_of}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        served = np.array(json.load(response)["big_tipper"])
    assert len(served) == len(trained) > 0, (len(served), len(trained))
    differ = int((served.view(np.uint64) != trained.view(np.uint64)).sum())
    print(f"{differ} of {len(trained)} predictions differ ({len(np.unique(trained))} different ones)")
    sys.exit(differ > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
