"""What the gateway calls: the WIT interface `transform` over the plugin's declared transform.

Only the component imports this module, because `wit_world` is made when the component is.
"""

from componentize_py_types import Err
from wit_world.imports import types

from . import declare, frame
from .compute import Bound, Failed, described
from .declare import BadParameter
from .kinds import BOOL, FLOAT64, INT64

_FRAME_VERSION = 1
_DTYPES = list(types.Dtype)

_bound = None


class Transform:
    def describe(self):
        declared = _declared()
        return types.Descriptor(
            name=declared.name,
            version=declared.version,
            doc=declared.doc,
            features=_fields(declared.features),
            request=_fields(declared.request),
            outputs=_fields(declared.outputs),
            params=[_parameter(parameter) for parameter in declared.parameters],
            time=types.TimeUse.AS_OF if declared.uses_as_of else types.TimeUse.NONE,
            nulls=types.NullPolicy.HANDLE if declared.handles_nulls else types.NullPolicy.PROPAGATE,
            frame_version=_FRAME_VERSION,
        )

    def bind(self, binding):
        global _bound
        declared = _declared()
        outputs = {field.name for field in declared.outputs}
        for name in binding.outputs:
            if name not in outputs:
                raise Err(types.BindError_UnknownOutput(name))
        parameters = {parameter.name: parameter.default for parameter in declared.parameters}
        for name, scalar in binding.params:
            if name not in parameters:
                raise Err(types.BindError_UnknownParam(name))
            if not isinstance(scalar, types.Scalar_Null):
                parameters[name] = scalar.value
        if declared.check is not None:
            try:
                declared.check(**parameters)
            except BadParameter as error:
                raise Err(types.BindError_BadParam((error.name, error.reason))) from error
            except Exception as error:
                raise Err(types.BindError_Other(described(error))) from error
        _bound = Bound(declared, parameters, set(binding.outputs))
        inputs = _fields(declared.inputs)
        if declared.uses_as_of:
            inputs[0].nullable = False
        return types.Bound(inputs, _fields([field for _, field in _bound.wanted]))

    def apply(self, asked):
        if _bound is None:
            raise Err(types.ApplyError_Failed("bind was not called"))
        try:
            answer, refused = _bound.apply(asked)
        except frame.BadFrame as error:
            raise Err(types.ApplyError_BadFrame(str(error))) from error
        except (Failed, frame.WrongOutput) as error:
            raise Err(types.ApplyError_Failed(str(error))) from error
        except BaseException as error:
            raise Err(types.ApplyError_Failed(described(error))) from error
        return types.Applied(answer, [types.RowError(*refusal) for refusal in refused])


def _declared():
    if declare.declared is None:
        raise RuntimeError("the plugin declares no transform: decorate its function with @transform(…)")
    return declare.declared


def _fields(fields):
    return [types.Field(field.name, _DTYPES[field.kind.tag], True, field.kind.width) for field in fields]


def _parameter(parameter):
    default = types.Scalar_Null()
    if parameter.default is not None:
        default = _SCALARS.get(parameter.kind, types.Scalar_Utf8)(parameter.default)
    return types.ParamSpec(parameter.name, _DTYPES[parameter.kind.tag], parameter.required, default, parameter.doc)


# The plugin's module was imported before this one: what it forgot is an error of the build.
_declared()

_SCALARS = {
    BOOL: types.Scalar_Boolean,
    INT64: types.Scalar_Int64,
    FLOAT64: lambda value: types.Scalar_Float64(float(value)),
}
