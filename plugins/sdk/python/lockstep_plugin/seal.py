"""What a transform cannot have is taken away: clock, randomness, output, environment, files, late imports.

The sandbox refuses all of them anyway, but by killing the instance without a word, or by answering what was true when
the component was built. Here each raises `Impure`, which says what to do instead.

It is done in two steps. `before_import` closes what would be wrong even while the plugin's own module is imported: a
time or a random number that is read then is baked into the component. `after_import` closes the rest: what is printed
while building is harmless, and a file that is read at the top of a module becomes a part of the component.
"""

import builtins
import datetime
import os
import random
import sys
import time
import warnings
from collections.abc import Mapping

# Read the clock, or import late, by themselves; imported here, before either is closed.
import _strptime  # noqa: F401
import logging  # noqa: F401


class Impure(RuntimeError):
    """The transform asked for something that its row does not say."""


CLOCK = "a transform has no clock: take the argument `as_of: AsOf` and read the time of the row there"
CHANCE = "a transform has no random numbers: hash a column instead, or seed a random.Random with one"
OUTPUT = "a transform prints nowhere: return it as an output, or raise Refuse(code, message) for the row"
ENVIRONMENT = "a transform has no environment: take an argument of the type Parameter"
FILES = "a transform has no files: read it at the top of the module, so that it becomes a part of the component"
IMPORTS = "a transform imports nothing while it runs: import {} at the top of the module"
NETWORK = "a transform has no network: take what it needs as a feature, a request field or a parameter"
HASH = "the hash() of a text is another one after each build: take zlib.crc32 or hashlib"

_CLOCKS = (
    "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns",
    "thread_time", "thread_time_ns", "clock_gettime", "clock_gettime_ns", "sleep",
)
# Read the clock only where they get no time: the place of that argument.
_CLOCKS_BY_DEFAULT = {"gmtime": 0, "localtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
_FILES = (
    "open", "stat", "lstat", "listdir", "scandir", "access", "mkdir", "rmdir", "remove", "unlink", "rename", "replace",
    "readlink", "getcwd", "chdir", "system", "popen",
)


def _raising(name, advice):
    def closed(*_, **__):
        raise Impure(f"{name}: {advice}")

    closed.__name__ = closed.__qualname__ = name
    return closed


def _close(module, names, advice):
    for name in names:
        if hasattr(module, name):
            setattr(module, name, _raising(f"{module.__name__}.{name}", advice))


def before_import():
    """Closes the clock, randomness and the hash of texts; empties the environment."""
    _close(time, _CLOCKS, CLOCK)
    for name, place in _CLOCKS_BY_DEFAULT.items():
        if hasattr(time, name):
            setattr(time, name, _needs_a_time(f"time.{name}", getattr(time, name), place))
    datetime.date, datetime.datetime = _dates_without_now()
    chance = [name for name in random.__all__ if not isinstance(getattr(random, name), type)]
    _close(random, chance, CHANCE)
    random.Random, random.SystemRandom = _seeded(random.Random), _raising("random.SystemRandom", CHANCE)
    _close(os, ("urandom", "getrandom"), CHANCE)
    builtins.hash = _hash_without_texts(builtins.hash)
    os.environ.clear()


def after_import():
    """Closes printing, the environment, files, imports and the network."""
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = _Closed(OUTPUT)
    # A warning that is shown once for each place would make the second call differ from the first.
    warnings.simplefilter("always", append=True)
    warnings.showwarning = _warning
    os.environ = os.environb = _Environment(ENVIRONMENT)
    builtins.input = _raising("input", OUTPUT)
    builtins.open = sys.modules["io"].open = _raising("open", FILES)
    _close(os, _FILES, FILES)
    _close(sys.modules[os.name], _FILES, FILES)
    if "socket" in sys.modules:
        sys.modules["socket"].socket = _raising("socket.socket", NETWORK)
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder.__name__ != "PathFinder"] + [_NoImports]


def _needs_a_time(name, function, place):
    def with_time(*arguments):
        if len(arguments) <= place or arguments[place] is None:
            raise Impure(f"{name} without a time: {CLOCK}")
        return function(*arguments)

    return with_time


def _dates_without_now():
    """Subclasses of the two classes, which are otherwise the same to everybody."""

    class Same(type):
        def __instancecheck__(cls, value):
            return isinstance(value, cls.__mro__[1]) if cls in ours else type.__instancecheck__(cls, value)

        def __subclasscheck__(cls, other):
            return issubclass(other, cls.__mro__[1]) if cls in ours else type.__subclasscheck__(cls, other)

    def closed(base, names):
        body = {name: classmethod(_raising(f"{base.__name__}.{name}", CLOCK)) for name in names}
        return Same(base.__name__, (base,), {"__module__": "datetime", "__slots__": (), **body})

    ours = (closed(datetime.date, ["today"]), closed(datetime.datetime, ["now", "utcnow", "today"]))
    return ours


def _seeded(base):
    class Random(base):
        """Needs a seed: the same row must give the same values."""

        def __init__(self, x=None):
            self.seed(x)

        def seed(self, a=None, version=2):
            if a is None:
                raise Impure(f"random.Random without a seed: {CHANCE}")
            super().seed(a, version)

        def __new__(cls, x=None):
            return super().__new__(cls, 0)

    return Random


def _hash_without_texts(plain):
    def hash(value, /):
        # A class that hashes by a name of its own is no harm: dicts do not show it.
        if _has_text(value) and sys._getframe(1).f_code.co_name != "__hash__":
            raise Impure(f"hash: {HASH}")
        return plain(value)

    return hash


def _has_text(value):
    return isinstance(value, (str, bytes)) or isinstance(value, (tuple, frozenset)) and any(map(_has_text, value))


def _warning(message, category, filename, lineno, file=None, line=None):
    raise Impure(f"{category.__name__}: {message} (a warning has nowhere to go: do what it says, or filter it)")


class _Closed:
    """Stands where the environment or a stream was."""

    def __init__(self, advice):
        object.__setattr__(self, "_advice", advice)

    def flush(self):
        """The interpreter flushes its streams now and then."""

    def __getattr__(self, name):
        raise Impure(object.__getattribute__(self, "_advice"))

    def _closed(self, *_):
        raise Impure(self._advice)

    __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = _closed


class _Environment(_Closed):
    """componentize-py's runtime empties the environment when all is imported; it may see that there is none."""

    def keys(self):
        return []


Mapping.register(_Environment)


class _NoImports:
    """Comes after the finders of what is built in, in place of the one that looks for files."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        raise ImportError(IMPORTS.format(name))
