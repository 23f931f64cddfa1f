"""The quick way into a component that is one core module, as those of Rust and C are.

The `wasmtime` package hands every byte of a frame over as a value of its own, 150 ns each. A component that consists of one
module without imports has nothing around that module but types, so its functions can be called as they are: a frame is
copied into the module's memory and the answer out of it. The instructions that run are the same.

How arguments and results lie in memory is the component model's canonical ABI.
"""
import struct

from wasmtime import Instance, Module, Trap, WasmtimeError

CORE_MODULE_SECTION = 1
WASM_HEADER_BYTES = 8
# The positions of the cases of the WIT variant `scalar`, and how each value lies in its 8 bytes.
SCALARS = {bool: (1, "<B7x"), int: (2, "<q"), float: (3, "<d")}
TEXT = 4


class CannotRun(Exception):
    """The module cannot be called this way, or failed."""


def only_module(engine, component: bytes, interface: str):
    """The compiled core module of a component that has one, of the functions that a transform has; else None."""
    modules = [component[start:end] for section, start, end in _sections(component) if section == CORE_MODULE_SECTION]
    if len(modules) != 1:
        return None
    module = Module(engine, modules[0])
    wanted = {"memory", "cabi_realloc", f"{interface}#bind", f"{interface}#apply"}
    return module if not module.imports and wanted <= {export.name for export in module.exports} else None


def _sections(component: bytes):
    at = WASM_HEADER_BYTES
    while at < len(component):
        section, at, size, shift = component[at], at + 1, 0, 0
        while True:
            byte = component[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        yield section, at, at + size
        at += size


class CoreInstance:
    """An instance of the module, bound once."""

    def __init__(self, store, module, interface, binding):
        self._store = store
        exports = Instance(store, module, []).exports(store)
        self._memory, self._realloc = exports["memory"], exports["cabi_realloc"]
        self._apply = exports[f"{interface}#apply"]
        bound = exports[f"{interface}#bind"](store, *self._lists(binding))
        if self._bytes(bound, 1) != b"\0":
            raise CannotRun("the plugin refuses to be bound")

    def apply(self, data: bytes):
        """The frame of the answer and the refused rows, as (row, code, message); or the words of a failure."""
        result = self._apply(self._store, self._copied(data, 1), len(data))
        if self._bytes(result, 1) != b"\0":
            case, start, length = struct.unpack("<B3xII", self._bytes(result + 4, 12))
            return None, f"{('bad-frame', 'failed')[case & 1]} {self._text(start, length)}"
        start, length, errors, count = struct.unpack("<IIII", self._bytes(result + 4, 16))
        refused = [
            (row, code, self._text(at, bytes_))
            for row, code, at, bytes_ in struct.iter_unpack("<IIII", self._bytes(errors, 16 * count))
        ]
        return self._bytes(start, length), refused

    def _lists(self, binding):
        """The record `binding` as four numbers: two lists, each by its place and length."""
        params = b"".join(self._parameter(name, value) for name, value in binding.params)
        outputs = b"".join(self._string(name) for name in binding.outputs)
        return [
            self._copied(params, 8), len(binding.params),
            self._copied(outputs, 4), len(binding.outputs),
        ]

    def _parameter(self, name, value):
        if value is None:
            case, payload = 0, bytes(8)
        elif isinstance(value, str):
            case, payload = TEXT, self._string(value)
        else:
            case, form = SCALARS[type(value)]
            payload = struct.pack(form, value)
        return self._string(name) + struct.pack("<B7x", case) + payload

    def _string(self, text):
        data = text.encode()
        return struct.pack("<II", self._copied(data, 1), len(data))

    def _copied(self, data, alignment):
        place = self._realloc(self._store, 0, 0, alignment, len(data)) & 0xFFFF_FFFF
        if data:
            self._memory.write(self._store, data, place)
        return place

    def _bytes(self, start, length):
        start &= 0xFFFF_FFFF
        data = bytes(self._memory.read(self._store, start, start + length)) if length else b""
        if len(data) != length:
            raise CannotRun("the plugin names memory that it does not have")
        return data

    def _text(self, start, length):
        return self._bytes(start, length).decode(errors="replace")


FAILURES = (WasmtimeError, Trap, IndexError, CannotRun)
