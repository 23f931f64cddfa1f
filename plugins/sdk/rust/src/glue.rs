//! Between the generated bindings and [`Transform`]: descriptors out, one binding kept, frames through.

use std::cell::RefCell;

pub use crate::bindings::exports::lockstep::transform::transform::{
    Applied, ApplyError, BindError, Binding, Bound, Descriptor,
};
use crate::bindings::lockstep::transform::types::{Dtype, Field, NullPolicy, ParamSpec, Scalar, TimeUse};
use crate::outputs::Output;
use crate::{Column, Failure, Outputs, Parameters, Refusal, Rows, Signature, Transform, Type, Value};

const FRAME_VERSION: u32 = 1;

/// A bound transform without its type, so that one place can hold it.
trait Apply {
    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure>;
}

impl<T: Transform> Apply for T {
    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
        Transform::apply(self, rows, outputs)
    }
}

struct Instance {
    transform: Box<dyn Apply>,
    inputs: Vec<Column>,
    outputs: Vec<Output>,
}

thread_local! {
    static INSTANCE: RefCell<Option<Instance>> = const { RefCell::new(None) };
}

pub fn describe<T: Transform>() -> Descriptor {
    let signature = T::describe();
    let params = signature.parameters.iter().map(|parameter| ParamSpec {
        name: parameter.name.clone(),
        dtype: dtype_of(&parameter.default),
        required: false,
        default: scalar(&parameter.default),
        doc: parameter.doc.clone(),
    });
    Descriptor {
        params: params.collect(),
        features: fields(&signature.features),
        request: fields(&signature.request),
        outputs: fields(&signature.outputs),
        time: if signature.as_of { TimeUse::AsOf } else { TimeUse::None },
        nulls: if signature.handles_nulls { NullPolicy::Handle } else { NullPolicy::Propagate },
        frame_version: FRAME_VERSION,
        name: signature.name,
        version: signature.version,
        doc: signature.doc,
    }
}

pub fn bind<T: Transform>(binding: Binding) -> Result<Bound, BindError> {
    let signature = T::describe();
    let parameters = parameters(&signature, binding.params)?;
    let outputs = chosen(signature.outputs, binding.outputs)?;
    let transform = T::bind(&parameters).map_err(|refusal| match refusal {
        Refusal::BadParameter { name, reason } => BindError::BadParam((name, reason)),
        Refusal::Other(reason) => BindError::Other(reason),
    })?;
    let as_of = signature.as_of.then(|| Column { name: "as_of".into(), kind: Type::Timestamp });
    let inputs: Vec<Column> = as_of.into_iter().chain(signature.features).chain(signature.request).collect();

    let wanted = outputs.iter().filter(|output| output.wanted).map(|output| field(&output.column));
    let mut bound = Bound { inputs: fields(&inputs), outputs: wanted.collect() };
    if signature.as_of {
        bound.inputs[0].nullable = false;
    }
    INSTANCE.set(Some(Instance { transform: Box::new(transform), inputs, outputs }));
    #[cfg(target_family = "wasm")]
    crate::memory::keep();
    Ok(bound)
}

/// The declared outputs, and which of them are wanted. The gateway names them in the declared order, so one walk finds
/// them all: a fresh instance is bound in each call.
fn chosen(declared: Vec<Column>, wanted: Vec<String>) -> Result<Vec<Output>, BindError> {
    let mut wanted = wanted.into_iter().peekable();
    let output = |column: Column| Output { wanted: wanted.next_if(|name| *name == column.name).is_some(), column };
    let outputs = declared.into_iter().map(output).collect();
    match wanted.next() {
        Some(unknown) => Err(BindError::UnknownOutput(unknown)),
        None => Ok(outputs),
    }
}

pub fn apply(frame: &[u8]) -> Result<Applied, ApplyError> {
    INSTANCE.with_borrow(|instance| {
        let instance = instance.as_ref().ok_or_else(|| ApplyError::Failed("bind was not called".to_owned()))?;
        let answer = || {
            let rows = Rows::new(frame, &instance.inputs)?;
            let mut outputs = Outputs::new(&instance.outputs, rows.len());
            instance.transform.apply(&rows, &mut outputs)?;
            outputs.finish()
        };
        match answer() {
            Ok((frame, errors)) => Ok(Applied { frame, errors }),
            Err(Failure::BadFrame(reason)) => Err(ApplyError::BadFrame(reason)),
            Err(Failure::Failed(reason)) => Err(ApplyError::Failed(reason)),
        }
    })
}

/// The given values, and the defaults of those that are not given.
fn parameters(signature: &Signature, given: Vec<(String, Scalar)>) -> Result<Parameters, BindError> {
    let mut values = Vec::new();
    for spec in &signature.parameters {
        values.push((spec.name.clone(), spec.default.clone()));
    }
    for (name, value) in given {
        let Some(place) = values.iter_mut().find(|(known, _)| *known == name) else {
            return Err(BindError::UnknownParam(name));
        };
        match value {
            Scalar::Null => {}
            Scalar::Boolean(value) => place.1 = Value::Bool(value),
            Scalar::Int64(value) => place.1 = Value::Int(value),
            Scalar::Float64(value) => place.1 = Value::Float(value),
            Scalar::Utf8(value) => place.1 = Value::String(value),
        }
    }
    Ok(Parameters(values))
}

pub fn fields(columns: &[Column]) -> Vec<Field> {
    columns.iter().map(field).collect()
}

fn field(column: &Column) -> Field {
    let (dtype, width) = match column.kind {
        Type::Bool => (Dtype::Boolean, 0),
        Type::Int32 => (Dtype::Int32, 0),
        Type::Int64 => (Dtype::Int64, 0),
        Type::Float32 => (Dtype::Float32, 0),
        Type::Float64 => (Dtype::Float64, 0),
        Type::String => (Dtype::Utf8, 0),
        Type::Bytes => (Dtype::Binary, 0),
        Type::Timestamp => (Dtype::TimestampUs, 0),
        Type::Date => (Dtype::Date32, 0),
        Type::Embedding(width) => (Dtype::FixedListFloat32, width),
        Type::BoolList => (Dtype::ListBoolean, 0),
        Type::Int32List => (Dtype::ListInt32, 0),
        Type::Int64List => (Dtype::ListInt64, 0),
        Type::Float32List => (Dtype::ListFloat32, 0),
        Type::Float64List => (Dtype::ListFloat64, 0),
        Type::TimestampList => (Dtype::ListTimestampUs, 0),
    };
    Field { name: column.name.clone().into_owned(), dtype, nullable: true, width }
}

fn dtype_of(value: &Value) -> Dtype {
    match value {
        Value::Bool(_) => Dtype::Boolean,
        Value::Int(_) => Dtype::Int64,
        Value::Float(_) => Dtype::Float64,
        Value::String(_) => Dtype::Utf8,
    }
}

fn scalar(value: &Value) -> Scalar {
    match value {
        Value::Bool(value) => Scalar::Boolean(*value),
        Value::Int(value) => Scalar::Int64(*value),
        Value::Float(value) => Scalar::Float64(*value),
        Value::String(value) => Scalar::Utf8(value.clone()),
    }
}
