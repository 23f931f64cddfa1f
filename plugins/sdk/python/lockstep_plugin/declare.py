"""What a transform is: a function whose arguments are its inputs and parameters, and the outputs it declares."""

import inspect
from types import NoneType, UnionType
from typing import Annotated, TypeVar, Union, get_args, get_origin

from .kinds import BOOL, FLOAT64, INT64, STRING, TIMESTAMP, Timestamp, kind_of

T = TypeVar("T")


class _Role:
    """What an argument is for, and whether it is one row's value or a whole column."""

    def __init__(self, name, by_column):
        self.name, self.by_column = name, by_column


# For type checkers `Feature[float]` is a float. A whole column is a `Column`, whatever its items are.
Feature = Annotated[T, _Role("feature", False)]
Request = Annotated[T, _Role("request", False)]
FeatureColumn = Annotated[T, _Role("feature", True)]
RequestColumn = Annotated[T, _Role("request", True)]
Parameter = Annotated[T, _Role("parameter", None)]
AsOf = Annotated[Timestamp, _Role("as_of", False)]
AsOfColumn = Annotated[Timestamp, _Role("as_of", True)]

AS_OF = "as_of"
_PARAMETER_KINDS = (BOOL, INT64, FLOAT64, STRING)
_CODE_MIN = 1_000


class Refuse(Exception):
    """Raised for one row: its outputs are null, and the caller is told why. `code` is 1000 or more, by your choice."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = checked_code(code), str(message)


class BadParameter(Exception):
    """Raised by `check`: the parameter `name` cannot have this value."""

    def __init__(self, name, reason):
        super().__init__(f"parameter {name}: {reason}")
        self.name, self.reason = name, str(reason)


class Rows:
    """The rows of one call, for a transform over whole columns: how many there are, and a way to refuse one."""

    def __init__(self, count):
        self.count = count
        self.refused = []

    def refuse(self, row, code, message):
        if not 0 <= row < self.count:
            raise ValueError(f"row {row} of {self.count} cannot be refused")
        self.refused.append((row, checked_code(code), str(message)))


def checked_code(code):
    if not isinstance(code, int) or not _CODE_MIN <= code < 1 << 32:
        raise ValueError(f"a row is refused with the code {code!r}; codes are numbers from 1000")
    return code


class Field:
    __slots__ = ("name", "kind", "takes_null")

    def __init__(self, name, kind, takes_null):
        self.name, self.kind, self.takes_null = name, kind, takes_null


class ParameterField:
    __slots__ = ("name", "kind", "required", "default", "doc")

    def __init__(self, name, kind, required, default, doc):
        self.name, self.kind, self.required, self.default, self.doc = name, kind, required, default, doc


class Declared:
    """A transform as it was declared."""

    def __init__(self, function, name, version, doc, check):
        self.function, self.name, self.version, self.doc, self.check = function, name, version, doc, check
        self.features, self.request, self.parameters, self.outputs = [], [], [], []
        self.uses_as_of = self.by_column = False
        # All arguments of the function, in its order.
        self.arguments = []
        # The name of the argument that is called with `Rows`, if there is one.
        self.rows_argument = None

    @property
    def inputs(self):
        as_of = [Field(AS_OF, TIMESTAMP, False)] if self.uses_as_of else []
        return as_of + self.features + self.request

    @property
    def handles_nulls(self):
        return any(field.takes_null for field in self.features + self.request)


# The transform of this plugin; there is one in a component.
declared = None


def transform(*, name, version, outputs, parameters=None, check=None):
    """Declares a function to be the plugin's transform. The function itself stays as it is and can be called in tests.

    Its arguments say what it reads, each by its annotation:

    - `Feature[float]`, `Request[str]`: the value of one row; `FeatureColumn[float]`, `RequestColumn[str]`: the whole
      `Column` of a call. One function takes either values or columns.
    - `Feature[float | None]`: the transform decides what a null means. Without any such argument all outputs of a row
      with a null input are null, and the function is not asked.
    - `as_of: AsOf` (or `AsOfColumn`): microseconds since 1970, the time of the request, or of the label in training.
    - `Parameter[int]`, `[float]`, `[str]` or `[bool]`, with a default unless it is required.
    - `rows: Rows`, for a function over columns: to refuse rows.

    It returns one value (or column) for a single output, a tuple of them in the order of `outputs` for several, and
    `None` for a row whose outputs are all null. A column is anything with a value or `None` for each row.

    `parameters` documents parameters by name. `check` is called with the parameters by name when the transform is bound,
    and raises `BadParameter`.
    """

    def declare(function):
        global declared
        if declared is not None:
            raise TypeError(f"a plugin has one transform; {declared.name} and {name} are two")
        declared = _declare(function, name, version, outputs, parameters or {}, check)
        return function

    return declare


def _declare(function, name, version, outputs, docs, check):
    transform = Declared(function, name, version, inspect.getdoc(function) or "", check)
    forms = set()
    for argument, parameter in inspect.signature(function, eval_str=True).parameters.items():
        transform.arguments.append(argument)
        if parameter.annotation is Rows:
            transform.rows_argument = argument
            forms.add(True)
            continue
        role = _role(parameter.annotation)
        if role is None:
            raise TypeError(f"argument {argument} of {name} says not what it is: write {argument}: Feature[float], say")
        if role.by_column is not None:
            forms.add(role.by_column)
        _take(transform, argument, role, parameter, docs)
    if len(forms) > 1:
        raise TypeError(f"{name} takes values of one row and whole columns; take either")
    transform.by_column = True in forms
    if unknown := set(docs) - {parameter.name for parameter in transform.parameters}:
        raise TypeError(f"{name} documents parameters that it does not have: {', '.join(sorted(unknown))}")
    if not outputs:
        raise TypeError(f"{name} has no output")
    for output, annotation in outputs.items():
        transform.outputs.append(Field(output, _kind(f"output {output}", annotation), True))
    return transform


def _role(annotation):
    roles = [item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, _Role)]
    return roles[0] if roles else None


def _take(transform, argument, role, parameter, docs):
    value_type, takes_null = _without_none(parameter.annotation.__origin__)
    if role.name == "parameter":
        kind = _kind(f"parameter {argument}", value_type)
        if kind not in _PARAMETER_KINDS:
            raise TypeError(f"parameter {argument} is {kind}; it can be bool, int, float or str")
        required = parameter.default is inspect.Parameter.empty
        default = None if required else parameter.default
        transform.parameters.append(ParameterField(argument, kind, required, default, docs.get(argument, "")))
        return
    if parameter.default is not inspect.Parameter.empty:
        raise TypeError(f"input {argument} has a default; only parameters have one, an input is null where it is missing")
    if role.name == AS_OF or argument == AS_OF:
        if role.name != AS_OF or argument != AS_OF:
            raise TypeError("the time of a row is the argument `as_of: AsOf` (or `as_of: AsOfColumn`)")
        transform.uses_as_of = True
        return
    fields = transform.features if role.name == "feature" else transform.request
    fields.append(Field(argument, _kind(f"input {argument}", value_type), takes_null))


def _without_none(annotation):
    if get_origin(annotation) in (Union, UnionType):
        others = [item for item in get_args(annotation) if item is not NoneType]
        if len(others) == 1:
            return others[0], True
    return annotation, False


def _kind(what, annotation):
    kind = kind_of(annotation)
    if kind is None:
        raise TypeError(
            f"{what} cannot be {annotation!r}: a column is bool, int, Int32, float, Float32, str, bytes, Timestamp, Date, "
            "Embedding[8], or a list of bool, int, Int32, float, Float32 or Timestamp"
        )
    return kind
