//! What a plugin says of itself is checked, once, before anything is built on it.

use std::collections::BTreeSet;

use crate::catalog::{DType, Field, Parameter, ParameterSpec, Scalar, Signature, TimeUse};
use crate::limits::{DESCRIPTOR_STRING_BYTES_MAX, FRAME_COLUMNS_MAX, NAME_BYTES_MAX};

use super::frame;
use super::wit::{self, AS_OF, Descriptor, ParamSpec, field, parameter_type};

/// The signature that a descriptor stands for, or what is wrong with it.
pub fn check(descriptor: &Descriptor) -> Result<Signature, String> {
    check_name("the plugin", &descriptor.name)?;
    check_text("the doc", &descriptor.doc)?;
    if descriptor.frame_version != frame::VERSION {
        return Err(format!("it speaks frame/{}, we speak frame/{}", descriptor.frame_version, frame::VERSION));
    }
    let version = &descriptor.version;
    check_text("the version", version)?;
    let version = version.parse().map_err(|_| format!("version {version:?} is not semantic, such as 1.0.0"))?;

    let signature = Signature {
        name: descriptor.name.clone(),
        version,
        doc: descriptor.doc.clone(),
        features: fields("input", &descriptor.features)?,
        request: fields("input", &descriptor.request)?,
        outputs: fields("output", &descriptor.outputs)?,
        parameters: descriptor.params.iter().map(parameter).collect::<Result<_, _>>()?,
        time: wit::time(descriptor.time),
        nulls: wit::nulls(descriptor.nulls),
        frame_version: descriptor.frame_version,
    };
    let inputs = input_fields(&signature);
    check_unique("input", inputs.iter().map(|field| &field.name))?;
    check_unique("output", signature.outputs.iter().map(|field| &field.name))?;
    check_unique("parameter", signature.parameters.iter().map(|parameter| &parameter.name))?;
    if signature.time == TimeUse::None && inputs.iter().any(|field| field.name == AS_OF) {
        return Err("an input is called as_of; that is the column of a plugin with `time: as-of`".to_owned());
    }
    match (inputs.len(), signature.outputs.len()) {
        (_, 0) => Err("it has no output".to_owned()),
        (is @ FRAME_COLUMNS_MAX.., _) | (_, is @ FRAME_COLUMNS_MAX..) => {
            Err(format!("it has {is} columns, fewer than {FRAME_COLUMNS_MAX} fit into a frame"))
        }
        _ => Ok(signature),
    }
}

/// The input columns in their order: `as_of` if time is used, features, request fields.
pub fn input_fields(signature: &Signature) -> Vec<Field> {
    let as_of = Field { name: AS_OF.to_owned(), dtype: DType::TIMESTAMP, nullable: false };
    let as_of = (signature.time == TimeUse::AsOf).then_some(as_of);
    as_of.into_iter().chain(signature.features.iter().cloned()).chain(signature.request.iter().cloned()).collect()
}

fn fields(what: &str, from: &[wit::lockstep::transform::types::Field]) -> Result<Vec<Field>, String> {
    let checked = from.iter().map(|from| {
        check_name(what, &from.name)?;
        field(from).ok_or_else(|| format!("{what} {} has a width of {} for its type", from.name, from.width))
    });
    checked.collect()
}

fn parameter(from: &ParamSpec) -> Result<ParameterSpec, String> {
    check_name("parameter", &from.name)?;
    check_text("a parameter's doc", &from.doc)?;
    let name = from.name.clone();
    let dtype = parameter_type(from)
        .ok_or_else(|| format!("parameter {name} is {:?}; it can be boolean, int64, float64 or utf8", from.dtype))?;
    let default = wit::parameter(&from.default);
    let fits = match (&default, dtype) {
        (Parameter::Null, _)
        | (Parameter::Bool(_), DType::One(Scalar::Bool))
        | (Parameter::Int(_), DType::One(Scalar::Int64)) => true,
        (Parameter::Float(value), DType::One(Scalar::Float64)) => value.is_finite(),
        (Parameter::String(value), DType::One(Scalar::String)) => value.len() <= DESCRIPTOR_STRING_BYTES_MAX,
        _ => false,
    };
    match fits {
        true => Ok(ParameterSpec { name, dtype, required: from.required, default, doc: from.doc.clone() }),
        false => Err(format!("the default of parameter {name} is not a {dtype}")),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let is_snake_case = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match is_snake_case && name.len() <= NAME_BYTES_MAX {
        true => Ok(()),
        false => {
            let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
            Err(format!("the name {shown:?} of {what} is not snake_case of at most {NAME_BYTES_MAX} bytes"))
        }
    }
}

fn check_text(what: &str, text: &str) -> Result<(), String> {
    match text.len() {
        0..=DESCRIPTOR_STRING_BYTES_MAX => Ok(()),
        is => Err(format!("{what} has {is} bytes, at most {DESCRIPTOR_STRING_BYTES_MAX} are read")),
    }
}

fn check_unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("two {what}s are called {name}"));
        }
    }
    Ok(())
}
