//! What a transform says of itself, and the parameters it gets.

use std::borrow::Cow;
use std::fmt::Display;
use std::ptr;

/// The type of a column, in Lockstep's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    Bytes,
    /// Microseconds since 1970, UTC.
    Timestamp,
    /// Days since 1970.
    Date,
    /// So many `float32` in every row.
    Embedding(u32),
    BoolList,
    Int32List,
    Int64List,
    Float32List,
    Float64List,
    TimestampList,
}

/// A named, typed column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    pub kind: Type,
}

impl Column {
    /// A transform writes its outputs by the same words that it declares them by, which are one place in its memory then:
    /// seldom is there a letter to compare.
    #[inline]
    pub(crate) fn is(&self, name: &str, kind: Type) -> bool {
        self.kind == kind && (ptr::eq::<str>(&*self.name, name) || self.name == name)
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
}

#[derive(Clone, Debug)]
pub(crate) struct ParameterSpec {
    pub name: String,
    pub default: Value,
    pub doc: String,
}

/// A transform's name, version, columns and parameters. Inputs are nullable, and so are outputs.
#[derive(Clone, Debug)]
pub struct Signature {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) doc: String,
    pub(crate) features: Vec<Column>,
    pub(crate) request: Vec<Column>,
    pub(crate) outputs: Vec<Column>,
    pub(crate) parameters: Vec<ParameterSpec>,
    pub(crate) as_of: bool,
    pub(crate) handles_nulls: bool,
}

impl Signature {
    /// `version` is semantic: a major says that values change, a minor that outputs were added.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            doc: String::new(),
            features: Vec::new(),
            request: Vec::new(),
            outputs: Vec::new(),
            parameters: Vec::new(),
            as_of: false,
            handles_nulls: false,
        }
    }

    pub fn doc(mut self, doc: &str) -> Self {
        doc.clone_into(&mut self.doc);
        self
    }

    /// An input that is a feature of another view.
    pub fn feature(mut self, name: impl Into<Cow<'static, str>>, kind: Type) -> Self {
        self.features.push(Column { name: name.into(), kind });
        self
    }

    /// An input that comes with the request, or with the label row in training.
    pub fn request(mut self, name: impl Into<Cow<'static, str>>, kind: Type) -> Self {
        self.request.push(Column { name: name.into(), kind });
        self
    }

    pub fn output(mut self, name: impl Into<Cow<'static, str>>, kind: Type) -> Self {
        self.outputs.push(Column { name: name.into(), kind });
        self
    }

    /// A parameter that may be left out.
    pub fn parameter(mut self, name: &str, default: Value, doc: &str) -> Self {
        self.parameters.push(ParameterSpec { name: name.to_owned(), default, doc: doc.to_owned() });
        self
    }

    /// The transform reads the column `as_of`: the time of the request, or of the label.
    pub fn as_of(mut self) -> Self {
        self.as_of = true;
        self
    }

    /// Rows with a null input are computed like any other. Without this the gateway nulls all their outputs.
    pub fn handles_nulls(mut self) -> Self {
        self.handles_nulls = true;
        self
    }
}

/// The parameters of one binding, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct Parameters(pub(crate) Vec<(String, Value)>);

/// Why a binding is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    BadParameter { name: String, reason: String },
    Other(String),
}

impl Refusal {
    pub fn bad_parameter(name: &str, reason: impl Display) -> Self {
        Self::BadParameter { name: name.to_owned(), reason: reason.to_string() }
    }
}

impl Parameters {
    pub fn int(&self, name: &str) -> Result<i64, Refusal> {
        match self.get(name)? {
            Value::Int(value) => Ok(*value),
            _ => Err(Refusal::bad_parameter(name, "it is not an int64")),
        }
    }

    pub fn float(&self, name: &str) -> Result<f64, Refusal> {
        match self.get(name)? {
            Value::Float(value) => Ok(*value),
            _ => Err(Refusal::bad_parameter(name, "it is not a float64")),
        }
    }

    pub fn bool(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name)? {
            Value::Bool(value) => Ok(*value),
            _ => Err(Refusal::bad_parameter(name, "it is not a bool")),
        }
    }

    pub fn string(&self, name: &str) -> Result<&str, Refusal> {
        match self.get(name)? {
            Value::String(value) => Ok(value),
            _ => Err(Refusal::bad_parameter(name, "it is not a string")),
        }
    }

    fn get(&self, name: &str) -> Result<&Value, Refusal> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value).ok_or_else(|| Refusal::bad_parameter(name, "it is missing"))
    }
}
