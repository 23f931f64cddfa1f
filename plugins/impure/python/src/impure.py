"""Asks for everything that a transform cannot have, and gives what it is told instead. For tests."""

import datetime
import os
import random
import sys
import time
import uuid
import warnings

import baked
from lockstep_plugin import Feature, Refuse, transform

REQUESTS = {
    "clock": time.time,
    "monotonic": time.monotonic,
    "local time": time.localtime,
    "now": datetime.datetime.now,
    "today": datetime.date.today,
    "random": random.random,
    "generator": random.Random,
    "urandom": lambda: os.urandom(8),
    "uuid": uuid.uuid4,
    "hash": lambda: hash("a text"),
    "hash of a pair": lambda: hash((1, "a text")),
    "print": lambda: print("a line"),
    "error stream": lambda: sys.stderr.write("a line"),
    "warning": lambda: warnings.warn("an old thing"),
    "environment": lambda: os.environ["HOME"],
    "getenv": lambda: os.getenv("HOME", ""),
    "file": lambda: open("/etc/hostname").read(),
    "folder": lambda: os.listdir("/"),
    "late import": lambda: __import__("html.parser"),
    # These are pure.
    "hash of a number": lambda: hash((1, 2.5)) == hash((1, 2.5)),
    "seeded": lambda: random.Random(7).random(),
    "given time": lambda: time.strftime("%Y", time.gmtime(0)),
    "parsed time": lambda: datetime.datetime.strptime("2016-12-31", "%Y-%m-%d").isoformat(),
    "same class": lambda: isinstance(datetime.datetime(2016, 1, 1) - datetime.timedelta(1), datetime.date),
    "baked": lambda: baked.WORD,
    # These fail the row, or the call.
    "refuse": lambda: (_ for _ in ()).throw(Refuse(1_234, "not today")),
    "divide": lambda: 1 // 0,
}


@transform(name="impure", version="1.0.0", outputs={"answer": str, "same": str})
def impure(request: Feature[str]):
    """The answer to a request, or the advice that it was given instead."""
    if request == "divide" or request == "refuse":
        REQUESTS[request]()
    try:
        answer = str(REQUESTS[request]()) if request in REQUESTS else request
    except (RuntimeError, ImportError) as error:
        answer = f"{type(error).__name__}: {error}"
    return answer, request
