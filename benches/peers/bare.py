"""A bare Python client of Redis, as a child of the benchmark: no server, one connection, one request after the other.

Usage: bare.py PORT SPEC

SPEC is a file with JSON: {"join_key": NAME, "prefix": TEXT, "questions": [[KEY, ...], ...],
"views": [{"name": NAME, "features": [NAME, ...], "path": PARQUET}, ...]}. The program says {"ready": VERSIONS}, then
answers each line of its input:

  fill           writes one hash an entity, one JSON value a feature, into database 2
  check KIND     the values of the first questions, as the bits of float64: [[[BITS or null, ...] a row, ...] a question]
  run KIND S     asks for S seconds, and says {"requests", "wall", "cpu"}

KIND is `hash` (HMGET of the JSON values, in one pipeline) or `packed` (MGET of the gateway's own rows, struct.unpack).
"""

import binascii
import json
import resource
import struct
import sys
import time

import redis

PORT, SPEC = int(sys.argv[1]), json.load(open(sys.argv[2]))
CHECKED = 10
HEADER_BYTES = 34
BUCKETS = 256

packed, hashes = redis.Redis(port=PORT), redis.Redis(port=PORT, db=2)
names = [name for view in SPEC["views"] for name in view["features"]]
views = [(view["name"].encode(), len(view["features"])) for view in SPEC["views"]]
prefix = SPEC["prefix"].encode()
readers = {count: struct.Struct(f"<{count}d") for _, count in views}


def fill():
    import pyarrow.parquet

    rows = {}
    for view in SPEC["views"]:
        table = pyarrow.parquet.read_table(view["path"])
        columns = [table[name].to_pylist() for name in view["features"]]
        for position, key in enumerate(table[SPEC["join_key"]].to_pylist()):
            row = rows.setdefault(key, {})
            row.update((name, json.dumps(column[position])) for name, column in zip(view["features"], columns))
    pipeline = hashes.pipeline(transaction=False)
    for number, (key, row) in enumerate(rows.items()):
        pipeline.hset(f"features:customer:{key}", mapping=row)
        if number % 500 == 499:
            pipeline.execute()
    pipeline.execute()
    return {"rows": len(rows)}


def read_hash(keys):
    pipeline = hashes.pipeline(transaction=False)
    for key in keys:
        pipeline.hmget(f"features:customer:{key}", names)
    return [[None if value is None else json.loads(value) for value in row] for row in pipeline.execute()]


def read_packed(keys):
    encoded = [struct.pack(">Q", key + (1 << 63)) for key in keys]
    buckets = [b"%d" % (binascii.crc_hqx(key, 0) % BUCKETS) for key in encoded]
    asked = [
        b"%sf:%s:{%s}:%s" % (prefix, name, bucket, key) for name, _ in views for key, bucket in zip(encoded, buckets)
    ]
    answers = iter(packed.mget(asked))
    rows = [[] for _ in keys]
    for _, count in views:
        bitmap_bytes = (count + 7) // 8
        for row in rows:
            stored = next(answers)
            if stored is None:
                row.extend([None] * count)
                continue
            present = int.from_bytes(stored[HEADER_BYTES : HEADER_BYTES + bitmap_bytes], "little")
            values = readers[count].unpack_from(stored, HEADER_BYTES + bitmap_bytes)
            row.extend(value if present >> feature & 1 else None for feature, value in enumerate(values))
    return rows


def bits(value):
    return None if value is None else struct.unpack("<Q", struct.pack("<d", value))[0]


def run(read, seconds):
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu, began, requests = used.ru_utime + used.ru_stime, time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        read(SPEC["questions"][requests % len(SPEC["questions"])])
        requests += 1
    wall, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return {"requests": requests, "wall": wall, "cpu": used.ru_utime + used.ru_stime - cpu}


def answer(words):
    if words[0] == "fill":
        return fill()
    read = {"hash": read_hash, "packed": read_packed}[words[1]]
    if words[0] == "check":
        return [[[bits(value) for value in row] for row in read(keys)] for keys in SPEC["questions"][:CHECKED]]
    return run(read, float(words[2]))


print(json.dumps({"ready": f"redis-py {redis.__version__}, Python {sys.version.split()[0]}"}), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(line.split())), flush=True)
