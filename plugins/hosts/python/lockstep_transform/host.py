"""A transform component, run by the `wasmtime` package with the settings that a gateway runs it with.

What matters for values is the same: NaNs are canonical, relaxed SIMD and threads are off, nothing may be imported, nulls
propagate by the plugin's policy, and a row that the plugin refuses has null outputs. Every chunk of rows gets an instance
of its own, so nothing can be remembered from one to the next.
"""
import ctypes
import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from wasmtime import Config, Engine, Store, WasmtimeError, component
from wasmtime import _ffi as ffi
from wasmtime.component._enter import enter_wasm

from . import core, frame
from .frame import BYTES_MAX, ROWS_MAX, TAGS, Column

INTERFACE = "lockstep:transform/transform@0.1.0"
AS_OF, EVENT_TIME = "as_of", "event_timestamp"
# The bounds of a gateway (src/limits.rs), by which a plugin that never ends does end.
FUEL_PER_CALL, FUEL_PER_ROW = 50_000_000, 1_000_000
STACK_BYTES = 512 << 10
# A byte crosses as a value of its own through this package; smaller frames bound the memory that takes.
FRAME_BYTES = 1 << 20
ROW_ERRORS_MAX = 64
NULL_INPUT, PLUGIN_CODES = 1, 1_000
EXACT_INTEGER = 1 << 53


class TransformError(Exception):
    """The component cannot be used as asked, or failed."""


@dataclass(frozen=True)
class RowError:
    """A row that the plugin refused; its outputs are null. Codes below 1000 are the host's."""

    row: int
    code: int
    message: str


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    required: bool
    default: object
    doc: str


class Transform:
    """A component with its parameters filled in: one pure function from columns to columns.

    `component` is the `.wasm` file or its bytes; `outputs` names some of its outputs, in any order.
    """

    def __init__(self, component, parameters=None, outputs=None, memory_bytes=256 << 20):
        data = component if isinstance(component, (bytes, bytearray)) else Path(component).read_bytes()
        self.digest = hashlib.sha256(data).hexdigest()
        self._memory_bytes = memory_bytes
        self._engine, self._component, self._linker, self._module = _compiled(bytes(data))
        with _Instance(self, 0) as instance:
            described = instance.call("describe")
        self.name, self.version, self.doc = described.name, described.version, described.doc
        if getattr(described, "frame-version") != 1:
            raise TransformError(f"plugin {self.name} speaks another frame than frame/1")
        self.features = [_column(field) for field in described.features]
        self.request = [_column(field) for field in described.request]
        self.uses_time = described.time == "as-of"
        self.propagates_nulls = described.nulls == "propagate"
        self.parameters = [_parameter(spec) for spec in described.params]
        as_of = [Column(AS_OF, TAGS["timestamp-us"], False, 0)] if self.uses_time else []
        self.inputs = as_of + self.features + self.request
        declared = [_column(field) for field in described.outputs]
        unknown = set(outputs or ()) - {column.name for column in declared}
        if unknown:
            raise TransformError(f"plugin {self.name} has no output {', '.join(sorted(unknown))}")
        self.outputs = [column for column in declared if outputs is None or column.name in outputs]
        self._binding = component_record(
            params=[(spec.name, _filled_in(self.name, spec, parameters or {})) for spec in self.parameters],
            outputs=[column.name for column in self.outputs],
        )
        unknown = set(parameters or ()) - {spec.name for spec in self.parameters}
        if unknown:
            raise TransformError(f"plugin {self.name} has no parameter {', '.join(sorted(unknown))}")
        with _Instance(self, 0) as instance:
            bound = self._bound(instance)
        if [[_column(f) for f in bound.inputs], [_column(f) for f in bound.outputs]] != [self.inputs, self.outputs]:
            raise TransformError(f"plugin {self.name} binds other columns than it describes")

    @property
    def schema(self) -> pa.Schema:
        """The outputs. All may be null: a row that is refused has none."""
        return pa.schema([pa.field(column.name, column.type) for column in self.outputs])

    def apply(self, arrays, rows):
        """Computes rows out of the input columns, in the order and of the types of `inputs`.

        Gives the output arrays, the first refused rows and how many were refused.
        """
        parts, errors, count, start, wanted = [], [], 0, 0, ROWS_MAX
        while start < rows:
            end = min(rows, start + wanted)
            chunk = [array.slice(start, end - start) for array in arrays]
            try:
                data = frame.write(self.inputs, chunk, BYTES_MAX if self._module or end - start == 1 else FRAME_BYTES)
                outputs, refused = self._chunk(chunk, data, start, end - start)
            except frame.TooLarge:
                if end - start == 1:
                    raise TransformError(f"row {start} for plugin {self.name} does not fit into a frame") from None
                wanted = (end - start) // 2
                continue
            parts.append(outputs)
            errors += refused[: max(0, ROW_ERRORS_MAX - len(errors))]
            count += len(refused)
            start = end
        columns = range(len(self.outputs))
        whole = [pa.concat_arrays([part[c] for part in parts]) if parts else pa.array([], self.outputs[c].type) for c in columns]
        return whole, errors, count

    def _chunk(self, arrays, data, start, rows):
        answer, refused = self._call_core(data, rows) if self._module else self._call(data, rows)
        if len(answer) > BYTES_MAX:
            raise TransformError(f"plugin {self.name} gave an answer of more than {BYTES_MAX} bytes")
        keep, errors = np.ones(rows, bool), []
        for column, array in zip(self.inputs, arrays):
            if array.null_count == 0:
                continue
            valid = np.asarray(array.is_valid())
            if not column.nullable:
                what = f"{column.name} is null, and the plugin takes no null there"
                errors += [RowError(start + int(row), NULL_INPUT, what) for row in np.flatnonzero(~valid)]
            if self.propagates_nulls or not column.nullable:
                keep &= valid
        seen = set()
        for error in refused:
            if error.row >= rows or error.code < PLUGIN_CODES:
                raise TransformError(f"plugin {self.name} refuses row {error.row} of {rows} with code {error.code}")
            keep[error.row] = False
            if error.row not in seen:
                seen.add(error.row)
                errors.append(RowError(start + error.row, error.code, _clipped(error.message)))
        try:
            outputs = frame.read(self.outputs, answer, rows, None if keep.all() else keep)
        except frame.BadFrame as bad:
            raise TransformError(f"plugin {self.name} gave an answer that {bad}") from None
        return outputs, errors

    def _call(self, data, rows):
        with _Instance(self, rows) as instance:
            self._bound(instance)
            return instance.apply(data)

    def _call_core(self, data, rows):
        store = _store(self)
        try:
            instance = core.CoreInstance(store, self._module, INTERFACE, self._binding)
            store.set_fuel(FUEL_PER_CALL + FUEL_PER_ROW * rows)
            answer, refused = instance.apply(data)
        except core.FAILURES as error:
            raise TransformError(f"the plugin failed in apply: {error}") from None
        finally:
            store.close()
        if answer is None:
            raise TransformError(f"the plugin failed: {refused}")
        return answer, [RowError(*error) for error in refused]

    def _bound(self, instance):
        bound = instance.call("bind", self._binding)
        if isinstance(bound, component.Variant):
            raise TransformError(f"plugin {self.name} refuses to be bound: {_said(bound)}")
        return bound


def component_record(**fields):
    """A record as the `wasmtime` package takes it."""
    record = component.Record()
    for name, value in fields.items():
        setattr(record, name, value)
    return record


_compiled_lock = threading.Lock()
_compiled_components = {}


def _compiled(data):
    """Compiles each component once in a process; an executor of Spark runs many tasks with the same one."""
    key = hashlib.sha256(data).digest()
    with _compiled_lock:
        if key not in _compiled_components:
            config = Config()
            config.consume_fuel = True
            config.cranelift_nan_canonicalization = True
            config.wasm_simd = True
            config.wasm_relaxed_simd = False
            config.wasm_threads = False
            config.wasm_memory64 = False
            config.wasm_multi_memory = False
            config.max_wasm_stack = STACK_BYTES
            engine = Engine(config)
            try:
                compiled = component.Component(engine, data)
            except WasmtimeError as error:
                raise TransformError(f"this is not a component we can run: {error}") from None
            module = core.only_module(engine, data, INTERFACE)
            _compiled_components[key] = (engine, compiled, component.Linker(engine), module)
        return _compiled_components[key]


def _store(transform):
    store = Store(transform._engine)
    store.set_limits(memory_size=transform._memory_bytes, table_elements=20_000)
    store.set_fuel(FUEL_PER_CALL)
    return store


class _Instance:
    """One instance of a component in a store of its own."""

    def __init__(self, transform, rows):
        self._store = _store(transform)
        self._rows = rows
        try:
            # Nothing is defined in the linker, so a component that imports a function is refused here.
            self._instance = transform._linker.instantiate(self._store, transform._component)
        except WasmtimeError as error:
            raise TransformError(f"the component cannot be instantiated; a transform imports nothing: {error}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._store.close()

    def _function(self, name):
        interface = self._instance.get_export_index(self._store, INTERFACE)
        index = interface and self._instance.get_export_index(self._store, name, interface)
        function = index and self._instance.get_func(self._store, index)
        if not function:
            raise TransformError(f"the component does not export {name} of {INTERFACE}")
        return function

    def call(self, name, *arguments):
        function = self._function(name)
        self._store.set_fuel(FUEL_PER_CALL)
        try:
            return function(self._store, *arguments)
        except WasmtimeError as error:
            raise TransformError(f"the plugin failed in {name}: {error}") from None

    def apply(self, data):
        """One call of `apply`: the frame of the answer, and the refused rows.

        The package makes a Python object of every byte of a list; numpy fills and reads the same C values at once.
        """
        function = self._function("apply")
        result_type = function.type(self._store).result
        self._store.set_fuel(FUEL_PER_CALL + FUEL_PER_ROW * self._rows)
        argument, result = ffi.wasmtime_component_val_t(), ffi.wasmtime_component_val_t()
        _fill(argument, data)
        try:
            call = lambda: ffi.wasmtime_component_func_call(
                ctypes.byref(function._func), self._store._context(), ctypes.byref(argument), 1, ctypes.byref(result), 1
            )
            try:
                enter_wasm(call)
            except WasmtimeError as error:
                # The package bounds what a guest hands over; half of the rows may be within it.
                if "hostcalls" in str(error):
                    raise frame.TooLarge("the answer is too large for one call") from None
                raise TransformError(f"the plugin failed in apply: {error}") from None
        finally:
            ffi.wasmtime_component_val_delete(ctypes.byref(argument))
        answer = _take_frame(result)
        applied = result_type.convert_from_c(result)
        if answer is None:
            raise TransformError(f"the plugin failed: {_said(applied)}")
        return answer, applied.errors


_VALUE = np.dtype(
    {
        "names": ["kind", "byte"],
        "formats": ["u1", "u1"],
        "offsets": [ffi.wasmtime_component_val_t.kind.offset, ffi.wasmtime_component_val_t.of.offset],
        "itemsize": ctypes.sizeof(ffi.wasmtime_component_val_t),
    }
)


def _values(values):
    """The C values of a list, as numpy sees them."""
    address = ctypes.cast(values.data, ctypes.c_void_p).value
    memory = (ctypes.c_uint8 * (values.size * _VALUE.itemsize)).from_address(address)
    return np.frombuffer(memory, _VALUE)


def _number(constant):
    return getattr(constant, "value", constant)


def _fill(value, data):
    values = ffi.wasmtime_component_vallist_t()
    ffi.wasmtime_component_vallist_new_uninit(ctypes.byref(values), len(data))
    view = _values(values)
    view["kind"] = _number(ffi.WASMTIME_COMPONENT_U8)
    view["byte"] = np.frombuffer(data, np.uint8)
    value.kind = ffi.WASMTIME_COMPONENT_LIST
    value.of.list = values


def _take_frame(result):
    """Takes the field `frame` out of `ok({frame, errors})` and leaves an empty list there; None if it is an error."""
    if not result.of.result.is_ok:
        return None
    record = result.of.result.val.contents.of.record
    for position in range(record.size):
        entry = record.data[position]
        if ctypes.string_at(entry.name.data, entry.name.size) == b"frame":
            values = entry.val.of.list
            data = _values(values)["byte"].tobytes() if values.size else b""
            ffi.wasmtime_component_vallist_delete(ctypes.byref(values))
            ffi.wasmtime_component_vallist_new_empty(ctypes.byref(entry.val.of.list))
            return data
    raise TransformError("the answer of the plugin has no frame")


def _column(field):
    return Column(field.name, TAGS[field.dtype], field.nullable, field.width)


def _parameter(spec):
    return Parameter(spec.name, spec.dtype, spec.required, spec.default, spec.doc)


PARAMETER_TYPES = {"boolean": bool, "int64": int, "float64": float, "utf8": str}


def _filled_in(plugin, spec, given):
    """A parameter's value, by the rules of a gateway. The package finds the case of the WIT variant by its Python type."""
    value = given.get(spec.name)
    if value is None:
        if spec.required:
            raise TransformError(f"parameter {spec.name} of plugin {plugin}: it is required")
        value = spec.default
    if value is None:
        return None
    wanted = PARAMETER_TYPES[spec.type]
    if wanted is float and type(value) is int and abs(value) <= EXACT_INTEGER:
        value = float(value)
    if type(value) is not wanted or (wanted is float and not np.isfinite(value)):
        raise TransformError(f"parameter {spec.name} of plugin {plugin}: {value!r} is not a {spec.type}")
    return value


def _said(error):
    """A variant of the WIT as words."""
    payload = error.payload if isinstance(error.payload, str) else ": ".join(error.payload)
    return f"{error.tag} {payload}"


def _clipped(message):
    printable = "".join(character for character in message if character.isprintable())
    return printable.encode()[:256].decode(errors="ignore")
