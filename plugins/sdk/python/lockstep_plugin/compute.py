"""One call: the columns of a frame go through the transform's function, its answer becomes a frame."""

from functools import partial
from itertools import repeat

from . import frame
from .declare import Refuse, Rows


class Failed(Exception):
    """The function raised, or gave something that is no answer."""


class Bound:
    """A transform with its parameters and the outputs that are wanted."""

    def __init__(self, declared, parameters, wanted):
        self.declared, self.parameters = declared, parameters
        self.kinds = [field.kind for field in declared.inputs]
        self.names = [field.name for field in declared.inputs]
        self.wanted = [(place, field) for place, field in enumerate(declared.outputs) if field.name in wanted]
        # Inputs whose nulls the function does not see.
        self.strict = [place for place, field in enumerate(declared.inputs) if not field.takes_null]

    def apply(self, asked):
        """The answer's frame, and the refused rows as `(row, code, message)`."""
        rows, columns = frame.read(asked, self.kinds)
        refused = []
        compute = self._by_column if self.declared.by_column else self._by_row
        outputs = compute(rows, columns, refused)
        answer = [(field.name, field.kind, outputs[place]) for place, field in self.wanted]
        return frame.write(rows, answer), refused

    def _by_column(self, rows, columns, refused):
        arguments = dict(zip(self.names, columns), **self.parameters)
        refusals = Rows(rows)
        if self.declared.rows_argument:
            arguments[self.declared.rows_argument] = refusals
        try:
            answer = self.declared.function(**arguments)
        except Exception as error:
            raise Failed(described(error)) from error
        refused += refusals.refused
        if len(self.declared.outputs) == 1 and not isinstance(answer, tuple):
            answer = (answer,)
        self._check_count(answer)
        return [values if hasattr(values, "__len__") else list(values) for values in answer]

    def _by_row(self, rows, columns, refused):
        function = partial(self.declared.function, **self.parameters)
        names = self.names
        # By position where the arguments stand in the frame's order, which is quicker.
        in_order = self.declared.arguments[: len(names)] == names
        count = len(self.declared.outputs)
        nothing = (None,) * count
        has_nulls = any(columns[place].null_count for place in self.strict)
        answers = []
        values_by_row = zip(*(column.tolist() for column in columns)) if columns else repeat((), rows)
        for row, values in enumerate(values_by_row):
            if has_nulls and any(values[place] is None for place in self.strict):
                answers.append(nothing)
                continue
            try:
                answer = function(*values) if in_order else function(**dict(zip(names, values)))
            except Refuse as refusal:
                refused.append((row, refusal.code, refusal.message))
                answers.append(nothing)
                continue
            except Exception as error:
                raise Failed(f"row {row}: {described(error)}") from error
            if answer is None:
                answer = nothing
            elif count == 1 and not isinstance(answer, tuple):
                answer = (answer,)
            elif type(answer) is not tuple or len(answer) != count:
                self._check_count(answer)
            answers.append(answer)
        return list(map(list, zip(*answers))) if answers else [[] for _ in range(count)]

    def _check_count(self, answer):
        names = [field.name for field in self.declared.outputs]
        if not isinstance(answer, tuple):
            raise Failed(f"{self.declared.name} returned a {type(answer).__name__}, not a tuple of {', '.join(names)}")
        if len(answer) != len(names):
            raise Failed(f"{self.declared.name} returned {len(answer)} outputs, not {len(names)}: {', '.join(names)}")


def described(error):
    """An exception in one line, with the place in the author's own code where it was raised."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place, trace = None, error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "lockstep_plugin" not in file:
            place = (file.rpartition("/")[2], trace.tb_lineno)
        trace = trace.tb_next
    return f"{text} ({place[0]}, line {place[1]})" if place else text
