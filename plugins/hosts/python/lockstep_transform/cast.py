"""The one rule by which a column becomes an input: the same values, or an error. It is the gateway's rule."""
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MICROS_PER_DAY = 86_400_000_000


class Refused(ValueError):
    """A column cannot be read as the input that it is meant for."""


def exactly(name, column, wanted):
    """`column` as one array of the type of `wanted`, every value the same."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    to = wanted.type
    if array.type == to:
        return array
    if array.null_count == len(array):
        return pa.nulls(len(array), to)
    if pa.types.is_dictionary(array.type):
        return exactly(name, array.dictionary_decode(), wanted)
    try:
        cast = _cast(array, to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Refused(f"column {name} is {array.type}, it must be {to}: {error}") from None
    if cast is None:
        raise Refused(f"column {name} is {array.type}, it must be {to}")
    return cast


def _cast(array, to):
    is_, types = array.type, pa.types
    if types.is_boolean(to):
        return None
    if types.is_integer(to):
        return array.cast(to) if types.is_integer(is_) or _is_decimal(is_) else _integers(array, to)
    if types.is_floating(to):
        if types.is_floating(is_) or _is_decimal(is_):
            return _floats(array, to)
        return _floats_of_integers(array, to) if types.is_integer(is_) else None
    if types.is_string(to):
        is_text = types.is_large_string(is_) or types.is_string_view(is_) or _is_binary(is_)
        return array.cast(to) if is_text else None
    if types.is_binary(to):
        return array.cast(to) if _is_binary(is_) or _is_text(is_) else None
    if types.is_timestamp(to):
        return _times(array, to)
    if types.is_date32(to):
        return _dates(array, to)
    if types.is_fixed_size_list(to) or types.is_list(to):
        is_list = types.is_list(is_) or types.is_large_list(is_) or types.is_fixed_size_list(is_)
        if not is_list:
            return None
        plain = array.cast(pa.list_(is_.value_type)) if not types.is_list(is_) else array
        return plain.cast(to)
    return None


def _is_decimal(type_):
    return pa.types.is_decimal(type_)


def _is_binary(type_):
    types = pa.types
    return types.is_binary(type_) or types.is_large_binary(type_) or types.is_binary_view(type_) or types.is_fixed_size_binary(type_)


def _is_text(type_):
    types = pa.types
    return types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_)


def _integers(array, to):
    """Whole floats that fit become integers; a safe cast refuses the others."""
    return array.cast(to, safe=True) if pa.types.is_floating(array.type) else None


def _floats(array, to):
    """float64 read as float32 rounds to the nearest; a finite number never becomes infinite."""
    if _is_decimal(array.type):
        # Decimals are rare; Python rounds each of them correctly, which Arrow's own cast does not promise.
        doubles = [None if value is None else float(value) for value in array.to_pylist()]
        array = pa.array(doubles, pa.float64())
    cast = array.cast(to, safe=False)
    if pc.any(pc.and_not(pc.is_inf(cast), pc.is_inf(array))).as_py():
        raise pa.ArrowInvalid("a finite number would become infinite")
    return cast


def _floats_of_integers(array, to):
    """Integers become floats where the float is exactly that integer."""
    integers = array.cast(pa.int64(), safe=True)
    cast = integers.cast(to, safe=False)
    doubles = np.asarray(cast.cast(pa.float64()).fill_null(0.0))
    with np.errstate(invalid="ignore"):
        is_same = (doubles < 2.0**63) & (doubles.astype(np.int64) == np.asarray(integers.fill_null(0)))
    if not is_same.all():
        raise pa.ArrowInvalid("an integer is too large to be exact there")
    return cast


def _times(array, to):
    is_, types = array.type, pa.types
    if types.is_date(is_):
        array = array.cast(pa.timestamp("ms")) if types.is_date64(is_) else array.cast(pa.timestamp("s"))
        is_ = array.type
    if not types.is_timestamp(is_):
        return None
    if is_.unit == "ns":
        # Cut down to the microsecond before.
        numbers = np.floor_divide(np.asarray(array.cast(pa.int64()).fill_null(0)), 1_000)
        mask = np.asarray(array.is_null())
        return pa.array(numbers, pa.int64(), mask=mask).cast(pa.timestamp("us")).cast(to)
    return array.cast(pa.int64()).cast(pa.timestamp(is_.unit)).cast(pa.timestamp("us")).cast(to)


def _dates(array, to):
    """A time that is a midnight is its day."""
    times = _times(array, pa.timestamp("us", "UTC"))
    if times is None:
        return None
    numbers = np.asarray(times.cast(pa.int64()).fill_null(0))
    if np.any(numbers % MICROS_PER_DAY):
        raise pa.ArrowInvalid("a time is not midnight UTC")
    days = pa.array(numbers // MICROS_PER_DAY, pa.int64(), mask=np.asarray(times.is_null()))
    return days.cast(pa.int32()).cast(to)
