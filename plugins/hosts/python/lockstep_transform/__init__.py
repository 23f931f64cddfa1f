"""Lockstep transforms without a gateway: the same component, the same bytes, inside a job of your own.

    import lockstep_transform as lt

    quote = lt.Transform("plugins/built/taxi_quote.wasm")
    table, errors = lt.transform_frame(quote, table, keep_columns=True)

    frame.mapInArrow(lt.map_in_arrow("taxi_quote.wasm", keep_columns=True), lt.spark_schema(...))

Rows that go in here come out with the values that a gateway serves and trains with, bit for bit.
"""
import pyarrow as pa

from .cast import Refused, exactly
from .host import AS_OF, EVENT_TIME, RowError, Transform, TransformError

__all__ = ["Refused", "RowError", "Transform", "TransformError", "map_in_arrow", "output_schema", "transform_frame"]


def transform_frame(transform, table, *, columns=None, as_of=None, time_column=None, keep_columns=False):
    """Computes the rows of a table (or a record batch): `(table of the outputs, refused rows)`.

    transform     a `Transform`
    columns       from an input of the plugin to the table's column, where their names differ
    as_of         the one time that all rows are seen from, for a plugin with `time: as-of`
    time_column   the column with that time; without it `as_of`, else `event_timestamp`
    keep_columns  whether the table's own columns come first in the answer

    Columns are cast as a gateway casts them: the same values, or an error.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    inputs = _inputs(transform, table, columns or {}, as_of, time_column)
    outputs, errors, _ = transform.apply(inputs, table.num_rows)
    computed = dict(zip(transform.schema.names, outputs))
    if not keep_columns:
        return pa.table(computed, schema=transform.schema), errors
    whole = table
    for field, array in zip(transform.schema, outputs):
        if field.name in table.column_names:
            raise TransformError(f"the rows already have a column {field.name}, which {transform.name} computes")
        whole = whole.append_column(field, array)
    return whole, errors


def map_in_arrow(component, parameters=None, *, outputs=None, on_error=None, **options):
    """A function for `DataFrame.mapInArrow`, of Spark and of Sail.

    component   the bytes of the `.wasm` file, or its path where every worker has the file at the same place
    on_error    called in the worker with the refused rows of a batch; without it they are null and nothing is said
    options     those of `transform_frame`

    The component is compiled once in each worker process. Nothing of it is pickled but its bytes.
    """
    if not isinstance(component, (bytes, bytearray, str)):
        component = str(component)
    made = []

    def batches(incoming):
        if not made:
            made.append(Transform(component, parameters, outputs))
        for batch in incoming:
            if batch.num_rows == 0:
                continue
            table, errors = transform_frame(made[0], batch, **options)
            if errors and on_error:
                on_error(errors)
            yield from table.combine_chunks().to_batches()

    return batches


def output_schema(transform, schema, keep_columns=False):
    """The Arrow schema of the answer for rows of `schema`; `pyspark.sql.pandas.types.from_arrow_schema` makes Spark's."""
    own = list(schema) if keep_columns else []
    return pa.schema(own + list(transform.schema))


def _inputs(transform, table, columns, as_of, time_column):
    unknown = set(columns) - {column.name for column in transform.features + transform.request}
    if unknown:
        raise TransformError(f"columns maps {', '.join(sorted(unknown))}, which is no input of {transform.name}")
    inputs = []
    if transform.uses_time:
        inputs.append(_times(table, as_of, time_column))
    for column in transform.features + transform.request:
        name = columns.get(column.name, column.name)
        if name in table.column_names:
            array = exactly(name, table.column(name), column)
            if column in transform.request and not column.nullable and array.null_count:
                raise TransformError(f"request field {column.name} is null in some row, and must have a value")
        elif column in transform.request and column.nullable:
            array = pa.nulls(table.num_rows, column.type)
        else:
            raise TransformError(f"column {name} is missing; it holds an input of {transform.name}")
        inputs.append(array)
    return inputs


def _times(table, as_of, time_column):
    time = frame_time()
    if as_of is not None:
        return pa.repeat(pa.scalar(as_of, time.type), table.num_rows)
    names = [time_column] if time_column else [AS_OF, EVENT_TIME]
    found = [name for name in names if name in table.column_names]
    if not found:
        raise TransformError(f"column {names[0]} is missing; it holds the time that each row is seen from")
    return exactly(found[0], table.column(found[0]), time)


def frame_time():
    """The column `as_of` of a frame."""
    from .frame import TAGS, Column

    return Column(AS_OF, TAGS["timestamp-us"], False, 0)
