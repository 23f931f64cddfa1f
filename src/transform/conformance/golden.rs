//! Golden cases: rows, and what a plugin must make of them. One JSON file a case, a column a line, so that a changed
//! value is a changed line.
//!
//! ```json
//! {
//!   "doc": "A fare far above the usual one is cut.",
//!   "parameters": {"most": 5.0},
//!   "inputs": {
//!     "usual_fare": [10, 10, null],
//!     "planned_fare": [15, 500, 7]
//!   },
//!   "outputs": {
//!     "fare_ratio": [1.5, 5.0, null]
//!   },
//!   "errors": [
//!     {"row": 2, "code": 1001, "message": "no usual fare"}
//!   ]
//! }
//! ```
//!
//! Values are written as requests write them (`values`): `"NaN"`, `"Infinity"`, times in RFC 3339 or as epoch
//! microseconds, bytes in base64. `inputs` and `outputs` may name a Parquet file instead. Only `inputs` must be there:
//! the rest of a case is recorded.

use std::fmt::{self, Write};
use std::marker::PhantomData;

use arrow::array::{Array, ArrayRef, RecordBatch};
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use crate::cast;
use crate::catalog::{DType, Field, Parameter, Signature, Transform};
use crate::limits::GOLDEN_ROWS_MAX;
use crate::transform::signature::input_fields;
use crate::transform::wit::AS_OF;
use crate::values::{Column, Refused, Times, json_column};

/// One case, as its file has it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name without `.json`.
    pub name: String,
    pub doc: Option<String>,
    /// Those that are not the plugin's defaults.
    pub parameters: Vec<(String, Parameter)>,
    /// The outputs that are asked for; `None` asks for all.
    pub wanted: Option<Vec<String>>,
    inputs: Columns,
    /// A time for each row, or one for all of them.
    as_of: Option<Box<RawValue>>,
    outputs: Option<Columns>,
    /// Rows that the plugin refuses.
    pub errors: Vec<RefusedRow>,
}

/// Columns by name: their values as JSON, or a Parquet file and its rows.
#[derive(Clone, Debug)]
enum Columns {
    Json(Vec<(String, Box<RawValue>)>),
    File { name: String, rows: RecordBatch },
}

/// A row that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedRow {
    pub row: usize,
    pub code: u32,
    /// Not compared where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Reads the Parquet file that a case names.
pub type ReadRows<'a> = dyn FnMut(&str) -> Result<RecordBatch, String> + 'a;

impl Case {
    /// Reads a case. `read` finds the Parquet files that it names, which lie beside it.
    pub fn parse(name: &str, text: &str, read: &mut ReadRows<'_>) -> Result<Self, Error> {
        let wrong = |detail: String| Error::Case { case: name.to_owned(), detail };
        let file: File = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let inputs = columns("inputs", &file.inputs, read).map_err(wrong)?;
        let outputs = file.outputs.map(|outputs| columns("outputs", &outputs, read));
        Ok(Self {
            name: name.to_owned(),
            doc: file.doc,
            parameters: file.parameters.0,
            wanted: file.wanted,
            inputs,
            as_of: file.as_of,
            outputs: outputs.transpose().map_err(wrong)?,
            errors: file.errors,
        })
    }

    /// The transform's input columns, cast as a request's are, and their rows.
    pub fn inputs(&self, signature: &Signature) -> Result<(Vec<ArrayRef>, usize), Error> {
        let fields = input_fields(signature);
        let given = match &self.as_of {
            None => &fields[..],
            Some(_) => match fields.split_first() {
                Some((first, rest)) if first.name == AS_OF => rest,
                _ => return Err(self.wrong("it has as_of, and the plugin uses no time".to_owned())),
            },
        };
        let mut arrays = self.typed(&self.inputs, "input", given)?;
        let rows = self.rows(given, &arrays)?;
        if let Some(as_of) = &self.as_of {
            arrays.insert(0, self.times(as_of, rows)?);
        }
        Ok((arrays, rows))
    }

    /// The outputs that are expected, of the types that `transform` gives them; `None` if nothing was recorded yet.
    pub fn outputs(&self, transform: &Transform) -> Result<Option<Vec<ArrayRef>>, Error> {
        let outputs = self.outputs.as_ref().map(|outputs| self.typed(outputs, "output", &transform.outputs));
        outputs.transpose()
    }

    /// The name of the Parquet file with the inputs, if that is where they are.
    pub fn input_file(&self) -> Option<&str> {
        self.inputs.file()
    }

    /// The name of the Parquet file with the expected outputs, if that is where they are.
    pub fn output_file(&self) -> Option<&str> {
        self.outputs.as_ref()?.file()
    }

    /// The same case, expecting what `answered` has: as values, or in the Parquet file `file`.
    pub fn recorded(&self, answered: &RecordBatch, errors: Vec<RefusedRow>, file: Option<&str>) -> Self {
        let outputs = match file {
            Some(name) => Columns::File { name: name.to_owned(), rows: answered.clone() },
            None => {
                let fields = answered.schema_ref().fields().iter().zip(answered.columns());
                Columns::Json(fields.map(|(field, array)| (field.name().clone(), json_of(array))).collect())
            }
        };
        Self { outputs: Some(outputs), errors, ..self.clone() }
    }

    /// The case as its file is written. Reading it again gives the same case.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(doc) = &self.doc {
            parts.push(format!("\"doc\": {}", quoted(doc)));
        }
        if !self.parameters.is_empty() {
            let parameter = |(name, value): &(String, Parameter)| format!("{}: {}", quoted(name), json_text(value));
            parts.push(format!("\"parameters\": {{{}}}", joined(&self.parameters, ", ", parameter)));
        }
        if let Some(wanted) = &self.wanted {
            parts.push(format!("\"wanted\": [{}]", joined(wanted, ", ", |name| quoted(name))));
        }
        if let Some(as_of) = &self.as_of {
            parts.push(format!("\"as_of\": {as_of}"));
        }
        parts.push(format!("\"inputs\": {}", self.inputs.text()));
        if let Some(outputs) = &self.outputs {
            parts.push(format!("\"outputs\": {}", outputs.text()));
        }
        if !self.errors.is_empty() {
            parts.push(format!("\"errors\": [\n    {}\n  ]", joined(&self.errors, ",\n    ", RefusedRow::text)));
        }
        format!("{{\n  {}\n}}\n", parts.join(",\n  "))
    }

    fn typed(&self, columns: &Columns, what: &str, fields: &[Field]) -> Result<Vec<ArrayRef>, Error> {
        let has = |name: &str| fields.iter().any(|field| field.name == name);
        if let Columns::Json(columns) = columns
            && let Some((name, _)) = columns.iter().find(|(name, _)| !has(name))
        {
            let known = joined(fields, ", ", |field| field.name.clone());
            return Err(self.wrong(format!("there is no {what} {name}; the {what}s are {known}")));
        }
        let column = |field: &Field| {
            let (name, dtype) = (&field.name, field.dtype);
            let typed = match columns {
                Columns::Json(columns) => columns
                    .iter()
                    .find(|(column, _)| column == name)
                    .map(|(_, json)| json_column(json.get(), dtype, Times::Micros, GOLDEN_ROWS_MAX).map_err(shown)),
                Columns::File { rows, .. } => rows
                    .column_by_name(name)
                    .map(|column| cast::exactly_by_row(column, dtype).map_err(|error| error.to_string())),
            };
            let typed = typed.ok_or_else(|| self.wrong(format!("{what} {name} is missing; it is {dtype}")))?;
            typed.map_err(|detail| self.wrong(format!("{what} {name}: {detail}")))
        };
        fields.iter().map(column).collect()
    }

    fn rows(&self, fields: &[Field], arrays: &[ArrayRef]) -> Result<usize, Error> {
        let Some(rows) = arrays.first().map(|array| array.len()) else { return Ok(0) };
        match fields.iter().zip(arrays).find(|(_, array)| array.len() != rows) {
            None => Ok(rows),
            Some((field, array)) => Err(self.wrong(format!(
                "input {} has {} values and input {} has {rows}; all must have as many",
                field.name,
                array.len(),
                fields[0].name
            ))),
        }
    }

    fn times(&self, json: &RawValue, rows: usize) -> Result<ArrayRef, Error> {
        let one_for_all = !json.get().starts_with('[');
        let json = if one_for_all { format!("[{json}]") } else { json.get().to_owned() };
        let times = json_column(&json, DType::TIMESTAMP, Times::Micros, GOLDEN_ROWS_MAX);
        let times = times.map_err(|error| self.wrong(format!("as_of: {}", shown(error))))?;
        match (one_for_all, times.len()) {
            (true, _) => {
                let places = arrow::array::UInt32Array::from(vec![0; rows]);
                arrow::compute::take(&times, &places, None).map_err(|error| self.wrong(error.to_string()))
            }
            (false, is) if is == rows => Ok(times),
            (false, is) => Err(self.wrong(format!("as_of has {is} times for {rows} rows"))),
        }
    }

    fn wrong(&self, detail: String) -> Error {
        Error::Case { case: self.name.clone(), detail }
    }
}

impl Columns {
    fn file(&self) -> Option<&str> {
        match self {
            Self::File { name, .. } => Some(name),
            Self::Json(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::File { name, .. } => quoted(name),
            Self::Json(columns) if columns.is_empty() => "{}".to_owned(),
            Self::Json(columns) => {
                let column = |(name, values): &(String, Box<RawValue>)| format!("{}: {values}", quoted(name));
                format!("{{\n    {}\n  }}", joined(columns, ",\n    ", column))
            }
        }
    }
}

impl RefusedRow {
    fn text(&self) -> String {
        let mut text = format!("{{\"row\": {}, \"code\": {}", self.row, self.code);
        if let Some(message) = &self.message {
            let _ = write!(text, ", \"message\": {}", quoted(message));
        }
        text + "}"
    }
}

impl PartialEq for Case {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text() == other.text()
    }
}

/// A case's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    doc: Option<String>,
    #[serde(default)]
    parameters: Entries<Parameter>,
    wanted: Option<Vec<String>>,
    as_of: Option<Box<RawValue>>,
    inputs: Box<RawValue>,
    outputs: Option<Box<RawValue>>,
    #[serde(default)]
    errors: Vec<RefusedRow>,
}

fn columns(what: &str, json: &RawValue, read: &mut ReadRows<'_>) -> Result<Columns, String> {
    if json.get().starts_with('"') {
        let name: String = serde_json::from_str(json.get()).map_err(|error| format!("{what}: {error}"))?;
        let rows = read(&name).map_err(|error| format!("{what}: {error}"))?;
        return match rows.num_rows() {
            0..=GOLDEN_ROWS_MAX => Ok(Columns::File { name, rows }),
            is => Err(format!("{what}: {name} has {is} rows, a case has at most {GOLDEN_ROWS_MAX}")),
        };
    }
    let columns: Entries<Box<RawValue>> =
        serde_json::from_str(json.get()).map_err(|error| format!("{what} must be columns or a file: {error}"))?;
    Ok(Columns::Json(columns.0))
}

/// The members of an object, in the order in which they are written.
struct Entries<T>(Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(String, T)> = Vec::new();
        while let Some((name, value)) = members.next_entry::<String, T>()? {
            if entries.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("{name} stands there twice")));
            }
            entries.push((name, value));
        }
        Ok(Entries(entries))
    }
}

/// The values of a column as JSON, each of them as it is read again.
fn json_of(array: &ArrayRef) -> Box<RawValue> {
    let mut json = vec![b'['];
    if !array.is_empty() {
        let shown = Column::of(array, Times::Micros);
        for row in 0..array.len() {
            if row > 0 {
                json.extend_from_slice(b", ");
            }
            match far_time(array, row) {
                Some(micros) => json.extend_from_slice(micros.to_string().as_bytes()),
                None => shown.push(&mut json, row),
            }
        }
    }
    json.push(b']');
    let json = String::from_utf8(json).expect("JSON is UTF-8");
    RawValue::from_string(json).expect("values are written as JSON")
}

/// A time in a year that RFC 3339 has no digits for.
fn far_time(array: &ArrayRef, row: usize) -> Option<i64> {
    const YEAR_0: i64 = -62_167_219_200_000_000;
    const YEAR_10_000: i64 = 253_402_300_800_000_000;
    let times = arrow::array::AsArray::as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>(array)?;
    (times.is_valid(row) && !(YEAR_0..YEAR_10_000).contains(&times.value(row))).then(|| times.value(row))
}

fn shown(refused: Refused) -> String {
    refused.to_string()
}

fn quoted(text: &str) -> String {
    json_text(&text)
}

fn json_text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn joined<T>(parts: &[T], between: &str, text: impl FnMut(&T) -> String) -> String {
    parts.iter().map(text).collect::<Vec<_>>().join(between)
}
