//! A YAML document that knows where everything in it stands, so that a mistake is told with its line and column.
//!
//! Definition files and `lockstep.yaml` are both read here: text → values with places → checked against a JSON Schema,
//! every mistake at once → a Rust type. Nothing here knows what the documents mean, and nothing here does IO.
//!
//! # Why not serde's own errors
//! serde stops at the first mistake and has no place for it. The schema that editors use to complete a file is the same
//! one that refuses it here, so the two cannot disagree.

mod check;
mod duration;
mod size;
mod schema;
mod suggest;
mod yaml;

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ErrorKind;
use crate::limits;

pub use check::Shape;
pub use duration::{duration_text, parse_duration};
pub use schema::schema_of;
pub use size::{parse_size, size_text};
pub(crate) use suggest::did_you_mean;

/// Something wrong in a file, in a sentence for the person who wrote the file. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mistake {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub text: String,
}

/// Everything wrong in some files, in the order in which a reader meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistakes(Vec<Mistake>);

/// Where something stands; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// A parsed document: its values, and the place of each of them by JSON pointer.
#[derive(Clone, Debug)]
pub struct Document {
    file: String,
    value: Value,
    places: HashMap<String, Placing>,
}

/// Where a value stands, and where its key does if it has one.
#[derive(Clone, Copy, Debug)]
struct Placing {
    value: Place,
    key: Place,
}

impl Document {
    /// Reads one YAML document. A file without any content is an empty mapping.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistakes> {
        if text.len() > limits::DEFINITION_FILE_BYTES_MAX {
            let max = limits::DEFINITION_FILE_BYTES_MAX;
            let text = format!("the file has {} bytes, at most {max} are read; split it", text.len());
            return Err(Mistakes::from(vec![Mistake { file: file.to_owned(), line: 1, column: 1, text }]));
        }
        let (value, places) = yaml::read(file, text)?;
        Ok(Self { file: file.to_owned(), value, places })
    }

    /// Checks the document against a shape and reads it into the type that the shape was made of.
    pub fn read<T: DeserializeOwned>(&self, shape: &Shape) -> Result<T, Mistakes> {
        let mistakes = shape.check(self);
        if !mistakes.is_empty() {
            return Err(Mistakes::from(mistakes));
        }
        // The schema is derived from the same type, so what is left for serde to refuse is next to nothing.
        T::deserialize(&self.value)
            .map_err(|error| Mistakes::from(vec![self.mistake("", format!("the file cannot be read: {error}"))]))
    }

    /// Replaces every text value (keys stay) by what `replace` makes of it; its errors become mistakes.
    pub fn replace_texts(&mut self, replace: &dyn Fn(&str) -> Result<String, String>) -> Result<(), Mistakes> {
        let mut value = std::mem::take(&mut self.value);
        let mut mistakes = Vec::new();
        replace_in(&mut value, &mut String::new(), &mut |pointer, text| match replace(text) {
            Ok(replaced) => replaced,
            Err(wrong) => {
                mistakes.push(self.mistake(pointer, wrong));
                String::new()
            }
        });
        self.value = value;
        if mistakes.is_empty() { Ok(()) } else { Err(Mistakes::from(mistakes)) }
    }

    /// A mistake in the value at `pointer`, or in the nearest thing around it that stands in the file.
    pub fn mistake(&self, pointer: &str, text: impl Into<String>) -> Mistake {
        self.mistake_at(self.placing(pointer).value, text)
    }

    /// A mistake in the key at `pointer`.
    pub fn key_mistake(&self, pointer: &str, text: impl Into<String>) -> Mistake {
        self.mistake_at(self.placing(pointer).key, text)
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    fn mistake_at(&self, place: Place, text: impl Into<String>) -> Mistake {
        Mistake { file: self.file.clone(), line: place.line, column: place.column, text: text.into() }
    }

    fn placing(&self, pointer: &str) -> Placing {
        let mut pointer = pointer;
        loop {
            if let Some(placing) = self.places.get(pointer) {
                return *placing;
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => {
                    let start = Place { line: 1, column: 1 };
                    return Placing { value: start, key: start };
                }
            }
        }
    }
}

fn replace_in(value: &mut Value, pointer: &mut String, replace: &mut dyn FnMut(&str, &str) -> String) {
    let length = pointer.len();
    match value {
        Value::String(text) => *text = replace(pointer, text),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                push_segment(pointer, &index.to_string());
                replace_in(item, pointer, replace);
                pointer.truncate(length);
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries.iter_mut() {
                push_segment(pointer, key);
                replace_in(item, pointer, replace);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Adds one step to a JSON pointer.
pub(crate) fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
}

impl From<Vec<Mistake>> for Mistakes {
    fn from(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort();
        mistakes.dedup();
        Self(mistakes)
    }
}

impl Mistakes {
    pub fn as_slice(&self) -> &[Mistake] {
        &self.0
    }

    pub fn into_vec(self) -> Vec<Mistake> {
        self.0
    }

    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text)
    }
}

/// One mistake a line; of very many, the first.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.0.iter().take(limits::MISTAKES_SHOWN_MAX).enumerate() {
            write!(f, "{}{mistake}", if position == 0 { "" } else { "\n" })?;
        }
        match self.0.len().saturating_sub(limits::MISTAKES_SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests;
