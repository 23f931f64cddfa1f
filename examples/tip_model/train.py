"""Trains the model on a training set that Lockstep made, and keeps with it what serving must be asked for.

    lockstep -C PROJECT train tip_model_v1 --labels data/labels.parquet --to training.parquet
    python train.py training.parquet model.joblib
"""
import sys

import joblib
import numpy as np
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier

from features import feature_columns, matrix


def main(training: str, model_path: str) -> None:
    table = pq.read_table(training)
    table = table.filter(table["big_tipper"].is_valid())
    columns = feature_columns(table.schema)
    target = table["big_tipper"].to_numpy(zero_copy_only=False).astype(bool)
    # The last fifth, in time, is what the model has not seen.
    order = np.argsort(table["event_timestamp"].to_numpy(zero_copy_only=False), kind="stable")
    rows = matrix(table, columns)
    seen, unseen = np.split(order, [len(order) * 4 // 5])
    model = HistGradientBoostingClassifier(random_state=20161231, early_stopping=False)
    model.fit(rows[seen], target[seen])
    accuracy = model.score(rows[unseen], target[unseen])
    usual = max(target[unseen].mean(), 1 - target[unseen].mean())
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    joblib.dump({"model": model, "columns": columns, "made_of": metadata}, model_path)
    print(f"{len(seen)} trips seen, {len(unseen)} not: {accuracy:.3f} of those right (always the same answer: {usual:.3f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
