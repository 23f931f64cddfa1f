//! A plugin becomes a transform: its parameters are filled in, its outputs chosen, and both are put into its digest.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tracing::info;

use crate::catalog::{DType, Digest, Field, Parameter, ParameterSpec, Scalar, Signature, Transform};
use crate::limits::{DESCRIPTOR_STRING_BYTES_MAX, PLUGIN_PARAMETER_BYTES_MAX};

use super::frame::Column;
use super::instance::Instance;
use super::limits::Budget;
use super::plugin::Plugin;
use super::pool::Pool;
use super::refusals::clipped;
use super::wit::{self, BindError, Binding, Bound};
use super::{Error, Fault, Transforms, signature, snapshot};

/// What a digest is a digest of; changed when the form of what follows changes.
const DIGEST_FORM: &[u8] = b"lockstep/transform/1\0";

/// Fills in a plugin's parameters and has it confirm the columns. The first instance is in the pool already.
pub fn bind(
    stage: &Transforms,
    plugin: &Arc<Plugin>,
    given: &[(String, Parameter)],
    outputs: Option<&[String]>,
) -> Result<Pool, Error> {
    let parameters = parameters(plugin, given)?;
    let outputs = select(plugin, outputs)?;
    let binding = Binding {
        params: parameters.iter().map(|(name, value)| (name.clone(), wit::value(value))).collect(),
        outputs: outputs.iter().map(|field| field.name.clone()).collect(),
    };
    let (instance, bound) = start(stage, plugin, &binding)?;
    let inputs = signature::input_fields(&plugin.signature);
    confirm(plugin, "input", &inputs, &bound.inputs)?;
    confirm(plugin, "output", &outputs, &bound.outputs)?;

    let digest = digest(plugin.component, &parameters, &plugin.signature, &outputs);
    // A row that the plugin refuses has null outputs, whatever the plugin says of them.
    let nullable = outputs.iter().map(|field| Field { nullable: true, ..field.clone() }).collect();
    let transform = Transform {
        plugin: plugin.name.clone(),
        component: plugin.component,
        parameters,
        signature: plugin.signature.clone(),
        outputs: nullable,
        digest,
    };
    let (inputs, outputs) = (columns(plugin, inputs)?, columns(plugin, outputs)?);
    let snapshot = plugin.bytes.as_ref().and_then(|component| {
        let taken = snapshot::take(stage, plugin, component, digest, &binding, &bound);
        taken.inspect_err(|error| info!("every instance is bound by itself: {error}")).ok()
    });
    let pool = Pool::new(Arc::clone(plugin), transform, binding, bound, snapshot, inputs, outputs);
    pool.give_back(stage, instance);
    Ok(pool)
}

/// A new instance in its initial state: instantiated and bound.
pub fn start(stage: &Transforms, plugin: &Plugin, binding: &Binding) -> Result<(Instance, Bound), Error> {
    let slot = stage.slot()?;
    let limits = plugin.limits.load();
    let at_fault = |fault: Fault| Error::Fault { plugin: plugin.name.clone(), fault };
    let mut instance = Instance::start(stage, &plugin.instantiable, slot, &limits).map_err(at_fault)?;
    match instance.bind(binding, Budget::without_rows(&limits)).map_err(at_fault)? {
        Ok(bound) => Ok((instance, bound)),
        Err(error) => Err(refusal(plugin, error)),
    }
}

/// What a plugin says against its binding, in no more words than anything else it says.
fn refusal(plugin: &Plugin, error: BindError) -> Error {
    let name = plugin.name.clone();
    let said = |text: String| clipped(&text, DESCRIPTOR_STRING_BYTES_MAX);
    match error {
        BindError::UnknownParam(parameter) => {
            Error::UnknownParameter { plugin: name, parameter: said(parameter), has: parameter_names(plugin) }
        }
        BindError::BadParam((parameter, detail)) => {
            Error::BadParameter { plugin: name, parameter: said(parameter), detail: said(detail) }
        }
        BindError::UnknownOutput(output) => {
            Error::UnknownOutput { plugin: name, output: said(output), has: output_names(plugin) }
        }
        BindError::Other(detail) => Error::BindRefused { plugin: name, detail: said(detail) },
    }
}

/// All parameters in the signature's order, defaults filled in.
fn parameters(plugin: &Plugin, given: &[(String, Parameter)]) -> Result<Vec<(String, Parameter)>, Error> {
    let specs = &plugin.signature.parameters;
    let known = |name: &str| specs.iter().any(|spec| spec.name == name);
    if let Some((parameter, _)) = given.iter().find(|(name, _)| !known(name)) {
        let (plugin, parameter, has) = (plugin.name.clone(), parameter.clone(), parameter_names(plugin));
        return Err(Error::UnknownParameter { plugin, parameter, has });
    }
    let mut bytes = 0;
    let filled_in = specs.iter().map(|spec| {
        let bad =
            |detail: String| Error::BadParameter { plugin: plugin.name.clone(), parameter: spec.name.clone(), detail };
        let given = given.iter().find(|(name, _)| *name == spec.name).map_or(&Parameter::Null, |(_, value)| value);
        let value = parameter(spec, given).map_err(bad)?;
        if let Parameter::String(text) = &value {
            bytes += text.len();
        }
        match bytes {
            0..=PLUGIN_PARAMETER_BYTES_MAX => Ok((spec.name.clone(), value)),
            _ => Err(bad(format!("the parameters have more than {PLUGIN_PARAMETER_BYTES_MAX} bytes"))),
        }
    });
    filled_in.collect()
}

fn parameter(spec: &ParameterSpec, given: &Parameter) -> Result<Parameter, String> {
    /// Integers up to here are exact as float64.
    const EXACT_MAX: u64 = 1 << 53;
    match (given, spec.dtype) {
        (Parameter::Null, _) if spec.required => Err("it is required".to_owned()),
        (Parameter::Null, _) => Ok(spec.default.clone()),
        (Parameter::Bool(_), DType::One(Scalar::Bool))
        | (Parameter::Int(_), DType::One(Scalar::Int64))
        | (Parameter::String(_), DType::One(Scalar::String)) => Ok(given.clone()),
        (Parameter::Float(value), DType::One(Scalar::Float64)) if value.is_finite() => Ok(given.clone()),
        (Parameter::Int(value), DType::One(Scalar::Float64)) if value.unsigned_abs() <= EXACT_MAX => {
            Ok(Parameter::Float(*value as f64))
        }
        (_, dtype) => Err(format!("{} is not a {dtype}", shown(given))),
    }
}

fn shown(value: &Parameter) -> String {
    match value {
        Parameter::Null => "null".to_owned(),
        Parameter::Bool(value) => value.to_string(),
        Parameter::Int(value) => value.to_string(),
        Parameter::Float(value) => value.to_string(),
        Parameter::String(value) => format!("{value:?}"),
    }
}

/// The wanted outputs, in the signature's order.
fn select(plugin: &Plugin, wanted: Option<&[String]>) -> Result<Vec<Field>, Error> {
    let declared = &plugin.signature.outputs;
    let Some(wanted) = wanted else { return Ok(declared.clone()) };
    if let Some(output) = wanted.iter().find(|name| !declared.iter().any(|field| field.name == **name)) {
        let (plugin, output, has) = (plugin.name.clone(), output.clone(), output_names(plugin));
        return Err(Error::UnknownOutput { plugin, output, has });
    }
    Ok(declared.iter().filter(|field| wanted.contains(&field.name)).cloned().collect())
}

/// The plugin binds exactly the columns that it describes.
fn confirm(
    plugin: &Plugin,
    what: &str,
    described: &[Field],
    bound: &[wit::lockstep::transform::types::Field],
) -> Result<(), Error> {
    let bound: Vec<Option<Field>> = bound.iter().map(wit::field).collect();
    if bound.len() == described.len() && bound.iter().zip(described).all(|(is, said)| is.as_ref() == Some(said)) {
        return Ok(());
    }
    let says = |fields: &mut dyn Iterator<Item = &Field>| {
        let fields = fields.map(|field| format!("{}: {}", field.name, field.dtype));
        fields.collect::<Vec<_>>().join(", ")
    };
    let (is, said) = (says(&mut bound.iter().flatten()), says(&mut described.iter()));
    let is = clipped(&is, DESCRIPTOR_STRING_BYTES_MAX);
    let detail = format!("it describes the {what}s {said} and binds {is}");
    Err(Error::LyingSignature { plugin: plugin.name.clone(), detail })
}

fn columns(plugin: &Plugin, fields: Vec<Field>) -> Result<Vec<Column>, Error> {
    let column = |field: Field| {
        let detail = format!("column {} is {}, which frame/1 cannot carry", field.name, field.dtype);
        Column::new(field).ok_or_else(|| Error::BadSignature { plugin: plugin.name.clone(), detail })
    };
    fields.into_iter().map(column).collect()
}

fn parameter_names(plugin: &Plugin) -> String {
    names(plugin.signature.parameters.iter().map(|spec| spec.name.as_str()))
}

fn output_names(plugin: &Plugin) -> String {
    names(plugin.signature.outputs.iter().map(|field| field.name.as_str()))
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "none".to_owned() } else { names }
}

/// The digest of a transform: SHA-256 over, one after the other,
///
/// 1. `lockstep/transform/1` and a zero byte;
/// 2. the 32 bytes of the SHA-256 of the component;
/// 3. the parameters, all of them, defaults filled in, in the signature's order: their number, then for each its name, a
///    byte for its type (0 null, 1 bool, 2 int64, 3 float64, 4 string) and its value;
/// 4. the signature: name, version, features, request fields, outputs, a byte for time (0 none, 1 as-of), a byte for
///    nulls (0 propagate, 1 handle), the frame version;
/// 5. the outputs that are computed.
///
/// Numbers are little-endian, counts and lengths `u32`; a text is its length and its UTF-8 bytes; a list of columns is
/// its number and for each the name, the type as definition files write it, and a byte for nullable. The doc and the
/// parameters' docs are not in it: they are in the component's bytes and change no value.
pub fn digest(
    component: Digest,
    parameters: &[(String, Parameter)],
    signature: &Signature,
    outputs: &[Field],
) -> Digest {
    let mut form = Form(Sha256::new());
    form.0.update(DIGEST_FORM);
    form.0.update(component.0);
    form.count(parameters.len());
    for (name, value) in parameters {
        form.text(name);
        match value {
            Parameter::Null => form.0.update([0]),
            Parameter::Bool(value) => form.0.update([1, u8::from(*value)]),
            Parameter::Int(value) => {
                form.0.update([2]);
                form.0.update(value.to_le_bytes());
            }
            Parameter::Float(value) => {
                form.0.update([3]);
                form.0.update(value.to_le_bytes());
            }
            Parameter::String(value) => {
                form.0.update([4]);
                form.text(value);
            }
        }
    }
    form.text(&signature.name);
    form.text(&signature.version.to_string());
    form.fields(&signature.features);
    form.fields(&signature.request);
    form.fields(&signature.outputs);
    form.0.update([signature.time as u8, signature.nulls as u8]);
    form.0.update(signature.frame_version.to_le_bytes());
    form.fields(outputs);
    Digest(form.0.finalize().into())
}

/// Writes the parts of a digest.
struct Form(Sha256);

impl Form {
    fn count(&mut self, count: usize) {
        self.0.update(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text);
    }

    fn fields(&mut self, fields: &[Field]) {
        self.count(fields.len());
        for field in fields {
            self.text(&field.name);
            self.text(&field.dtype.to_string());
            self.0.update([u8::from(field.nullable)]);
        }
    }
}
