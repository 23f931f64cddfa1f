//! The WIT world's types, and their counterparts in the catalog.

use crate::catalog::{DType, Field, NullPolicy, Parameter, Scalar, TimeUse};

use self::lockstep::transform::types;

wasmtime::component::bindgen!({
    path: "wit/transform.wit",
    world: "transform-plugin",
    additional_derives: [PartialEq],
});

pub use types::{Applied, ApplyError, BindError, Binding, Bound, Descriptor, ParamSpec, Scalar as Value};

/// The column that a transform which uses time gets first.
pub const AS_OF: &str = "as_of";

/// A field as the catalog has it; nothing if its width makes no sense.
pub fn field(from: &types::Field) -> Option<Field> {
    use types::Dtype;
    const WIDTH_MAX: u32 = 65_536;
    let dtype = match from.dtype {
        Dtype::FixedListFloat32 => {
            let fits = (1..=WIDTH_MAX).contains(&from.width);
            return fits.then(|| Field {
                name: from.name.clone(),
                dtype: DType::Embedding(from.width),
                nullable: from.nullable,
            });
        }
        Dtype::Boolean => DType::One(Scalar::Bool),
        Dtype::Int32 => DType::One(Scalar::Int32),
        Dtype::Int64 => DType::One(Scalar::Int64),
        Dtype::Float32 => DType::One(Scalar::Float32),
        Dtype::Float64 => DType::One(Scalar::Float64),
        Dtype::Utf8 => DType::One(Scalar::String),
        Dtype::Binary => DType::One(Scalar::Bytes),
        Dtype::TimestampUs => DType::One(Scalar::Timestamp),
        Dtype::Date32 => DType::One(Scalar::Date),
        Dtype::ListBoolean => DType::List(Scalar::Bool),
        Dtype::ListInt32 => DType::List(Scalar::Int32),
        Dtype::ListInt64 => DType::List(Scalar::Int64),
        Dtype::ListFloat32 => DType::List(Scalar::Float32),
        Dtype::ListFloat64 => DType::List(Scalar::Float64),
        Dtype::ListTimestampUs => DType::List(Scalar::Timestamp),
    };
    (from.width == 0).then(|| Field { name: from.name.clone(), dtype, nullable: from.nullable })
}

pub fn time(from: types::TimeUse) -> TimeUse {
    match from {
        types::TimeUse::None => TimeUse::None,
        types::TimeUse::AsOf => TimeUse::AsOf,
    }
}

pub fn nulls(from: types::NullPolicy) -> NullPolicy {
    match from {
        types::NullPolicy::Propagate => NullPolicy::Propagate,
        types::NullPolicy::Handle => NullPolicy::Handle,
    }
}

/// The type of a parameter; nothing for a type that a parameter cannot have.
pub fn parameter_type(from: &ParamSpec) -> Option<DType> {
    use types::Dtype;
    match from.dtype {
        Dtype::Boolean => Some(DType::One(Scalar::Bool)),
        Dtype::Int64 => Some(DType::One(Scalar::Int64)),
        Dtype::Float64 => Some(DType::One(Scalar::Float64)),
        Dtype::Utf8 => Some(DType::One(Scalar::String)),
        _ => None,
    }
}

pub fn parameter(from: &Value) -> Parameter {
    match from {
        Value::Null => Parameter::Null,
        Value::Boolean(value) => Parameter::Bool(*value),
        Value::Int64(value) => Parameter::Int(*value),
        Value::Float64(value) => Parameter::Float(*value),
        Value::Utf8(value) => Parameter::String(value.clone()),
    }
}

pub fn value(from: &Parameter) -> Value {
    match from {
        Parameter::Null => Value::Null,
        Parameter::Bool(value) => Value::Boolean(*value),
        Parameter::Int(value) => Value::Int64(*value),
        Parameter::Float(value) => Value::Float64(*value),
        Parameter::String(value) => Value::Utf8(value.clone()),
    }
}
