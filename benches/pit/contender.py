"""What every peer in Python does around its join: waits for a line, joins, measures itself, sums up the values.

A peer says {"ready": version} when it is imported and set up, then answers each line of its input with the wall and CPU
seconds of one join, its peak memory meanwhile, and a checksum of all values; or with {"gave_up": why}. Only the join is
measured: from the Parquet files to an Arrow table.
"""

import json
import resource
import sys
import time

import numpy

# Of one label before the next: more than any case has features.
PLACES_A_LABEL = 1_024
NULL = numpy.uint64(0xFFFF_FFFF_FFFF_FFFF)


def scatter(number):
    """SplitMix64 of each number; as in benches/synthetic.rs."""
    number = number + numpy.uint64(0x9E37_79B9_7F4A_7C15)
    number = (number ^ (number >> numpy.uint64(30))) * numpy.uint64(0xBF58_476D_1CE4_E5B9)
    number = (number ^ (number >> numpy.uint64(27))) * numpy.uint64(0x94D0_49BB_1331_11EB)
    return number ^ (number >> numpy.uint64(31))


def checksum(table, features, labels_asked=None):
    """The sum over all values, each with its label and feature, whatever the order of the rows; as in pit/ours.rs.

    A label that is asked for and not answered counts as one without values.
    """
    found = table["label_id"].to_numpy().astype("uint64")
    labels = found * numpy.uint64(PLACES_A_LABEL)
    lost = numpy.setdiff1d(numpy.arange(labels_asked or 0, dtype="uint64"), found) * numpy.uint64(PLACES_A_LABEL)
    total = 0
    for number, name in enumerate(features):
        total += int(scatter(NULL ^ scatter(lost + numpy.uint64(number))).sum())
        values = numpy.ascontiguousarray(table[name].to_numpy(), dtype="float64")
        # No value is NaN, so one that is was a null.
        bits = numpy.where(numpy.isnan(values), NULL, values.view("uint64"))
        total += int(scatter(bits ^ scatter(labels + numpy.uint64(number))).sum())
    return f"{total % 2**64:016x}"


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def forget_peak():
    """From now on the peak is that of the next join."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_bytes():
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1_024


def say(answer):
    print(json.dumps(answer), flush=True)


def answer(version, join, features, labels_asked=None):
    """Joins once for each line, until there is no more. With `labels_asked` the peer may lose labels without values."""
    say({"ready": version})
    for _ in sys.stdin:
        forget_peak()
        wall, cpu = time.perf_counter(), cpu_seconds()
        try:
            table = join()
        except Exception as error:
            say({"gave_up": f"{type(error).__name__}: {error}"[:500]})
            continue
        measured = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu, "peak_bytes": peak_bytes()}
        say({**measured, "rows": table.num_rows, "checksum": checksum(table, features, labels_asked)})
        del table
