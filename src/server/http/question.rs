//! What a request asks: its selection is planned, and the columns that came along take the types the plan says.

use std::borrow::Cow;

use arrow::array::{ArrayRef, new_null_array};
use serde_json::value::RawValue;

use super::super::reply::{Class, Failure};
use super::values::{self, Refused, Times};
use crate::cast;
use crate::catalog::{Catalog, DType, FeatureRef, Field, Selection};
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::flow::serve::{self, Prepared, WhenUnreachable};
use crate::gateway::Gateway;
use crate::limits::SERVE_ROWS_MAX;
use crate::plan::{InputKind, PlanInput};

/// A question that `serve` can answer.
#[derive(Debug)]
pub struct Question {
    pub prepared: Prepared,
    /// In the order and of the types of the plan's inputs.
    pub inputs: Vec<ArrayRef>,
    pub rows: usize,
    /// The join keys that came, in the order in which they came; also those that the plan does not need.
    pub echoed: Vec<(String, ArrayRef)>,
    pub as_of: Option<Micros>,
    pub unreachable: WhenUnreachable,
}

/// What a question asks beside its features and columns.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub as_of: Option<Micros>,
    pub unreachable: WhenUnreachable,
    /// The fingerprint of the schema that the answer must have.
    pub fingerprint: Option<String>,
}

/// A column as it came.
#[derive(Debug)]
pub enum Given<'a> {
    Json(&'a RawValue),
    Text(Vec<String>),
    Arrow(ArrayRef),
}

impl Given<'_> {
    fn rows(&self) -> Result<usize, Refused> {
        match self {
            Self::Json(values) => values::json_length(values.get()),
            Self::Text(texts) => Ok(texts.len()),
            Self::Arrow(column) => Ok(column.len()),
        }
    }

    fn column(&self, name: &str, dtype: DType, times: Times) -> Result<ArrayRef, Failure> {
        let read = match self {
            Self::Json(values) => values::json_column(values.get(), dtype, times, SERVE_ROWS_MAX),
            Self::Text(texts) => values::text_column(texts, dtype, times),
            Self::Arrow(column) => {
                let refused = |error: cast::CastError| Failure::invalid(format!("column {name}: {error}"));
                return cast::exactly_by_row(column, dtype).map_err(refused);
            }
        };
        read.map_err(|refused| refuse(name, &refused))
    }
}

/// Plans `selection` and gives each column that came the type it must have. Columns that the plan does not need and
/// that are no join keys say how many rows there are and are not read further.
pub fn ask(
    gateway: &Gateway,
    selection: &Selection,
    columns: &[(Cow<'_, str>, Given<'_>)],
    times: Times,
    wishes: Wishes,
) -> Result<Question, Failure> {
    let prepared = serve::prepare(gateway, selection)?.checked(wishes.fingerprint.as_deref())?;
    let (catalog, plan) = (&prepared.applied.catalog, &prepared.plan);
    let mut inputs: Vec<Option<ArrayRef>> = vec![None; plan.inputs.len()];
    let mut echoed: Vec<(String, ArrayRef)> = Vec::new();
    let mut rows: Option<(usize, &str)> = None;
    for (given_name, given) in columns {
        let name = column_name(catalog, &plan.inputs, given_name);
        let position = plan.inputs.iter().position(|input| input.field.name == name);
        let join_key = join_key(catalog, name);
        let read = match (position.map(|position| &plan.inputs[position].field)).or(join_key) {
            Some(field) => Some(given.column(given_name, field.dtype, times)?),
            None => None,
        };
        let length = match &read {
            Some(column) => column.len(),
            None => given.rows().map_err(|refused| refuse(given_name, &refused))?,
        };
        match rows {
            Some((rows, other)) if rows != length => return Err(ragged(other, rows, given_name, length)),
            _ => rows = Some((length, given_name)),
        }
        let Some(column) = read else { continue };
        // Under an alias a join key stands in a column of another name.
        let is_key = position.is_some_and(|position| plan.inputs[position].kind == InputKind::JoinKey);
        if join_key.is_some() || is_key {
            if echoed.iter().any(|(echoed, _)| echoed == name) {
                return Err(Failure::invalid(format!("join key {name} came twice")));
            }
            echoed.push((name.to_owned(), column.clone()));
        }
        if let Some(position) = position {
            inputs[position] = Some(column);
        }
    }
    let Some((rows, _)) = rows else {
        return Err(Failure::invalid(format!("no column came along; needed are {}", needed(&plan.inputs))));
    };
    let inputs = plan.inputs.iter().zip(inputs).map(|(input, column)| complete(input, column, rows)).collect();
    let Wishes { as_of, unreachable, fingerprint: _ } = wishes;
    Ok(Question { inputs: Result::from_iter::<Vec<_>>(inputs)?, rows, echoed, as_of, unreachable, prepared })
}

/// The features a client named. A service wins over a list, as in Feast.
pub fn selection(
    service: Option<&str>,
    features: &[String],
    full_feature_names: Option<bool>,
) -> Result<Selection, Failure> {
    if let Some(name) = service.filter(|name| !name.is_empty()) {
        return Ok(Selection::Service { name: name.to_owned(), full_feature_names });
    }
    let refs = features.iter().map(|text| feature_ref(text)).collect::<Result<_, _>>()?;
    Ok(Selection::Features { refs, full_feature_names: full_feature_names.unwrap_or(false) })
}

/// `view:feature`; the view may have a version.
fn feature_ref(text: &str) -> Result<FeatureRef, Failure> {
    match text.split_once(':') {
        Some((view, feature)) if !view.is_empty() && !feature.is_empty() && !feature.contains(':') => {
            Ok(FeatureRef::new(view, feature))
        }
        _ => Err(Failure::invalid(format!("{text:?} does not name a feature; write view:feature"))),
    }
}

/// A column may also be called by the entity, if that has one join key; Feast's older clients do.
fn column_name<'a>(catalog: &'a Catalog, inputs: &[PlanInput], name: &'a str) -> &'a str {
    if inputs.iter().any(|input| input.field.name == name) || join_key(catalog, name).is_some() {
        return name;
    }
    match catalog.entities.get(name).map(|entity| entity.join_keys.as_slice()) {
        Some([join_key]) => &join_key.name,
        _ => name,
    }
}

fn join_key<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Field> {
    catalog.entities.values().flat_map(|entity| &entity.join_keys).find(|join_key| join_key.name == name)
}

/// The column of an input, or nulls for a request field that may be left out.
fn complete(input: &PlanInput, column: Option<ArrayRef>, rows: usize) -> Result<ArrayRef, Failure> {
    let Field { name, dtype, nullable } = &input.field;
    match (column, input.kind) {
        (Some(column), InputKind::JoinKey) => Ok(column),
        (Some(column), InputKind::Request) if !nullable && column.null_count() > 0 => {
            let row = (0..rows).find(|row| column.is_null(*row)).unwrap_or_default();
            Err(Failure::invalid(format!("row {row} has no value for request field {name}, which must have one")))
        }
        (Some(column), InputKind::Request) => Ok(column),
        (None, InputKind::Request) if *nullable => Ok(new_null_array(&dtype.arrow(), rows)),
        (None, InputKind::Request) => {
            let message =
                format!("request field {name} ({dtype}) is missing; the features that were asked for need it");
            Err(Failure::invalid(message).with_class(Class::RequestDataNotFound))
        }
        (None, InputKind::JoinKey) => Err(Failure::invalid(format!(
            "join key {name} ({dtype}) is missing; the features that were asked for are found by it"
        ))),
    }
}

fn needed(inputs: &[PlanInput]) -> String {
    inputs.iter().map(|input| input.field.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn ragged(one: &str, rows: usize, other: &str, length: usize) -> Failure {
    Failure::invalid(format!("column {one} has {rows} values and column {other} has {length}; all must have as many"))
}

/// A refused column, by the name under which it came.
pub fn refuse(name: &str, refused: &Refused) -> Failure {
    match refused {
        Refused::TooLong { .. } => Failure::new(ErrorKind::TooLarge, format!("column {name}: {refused}")),
        Refused::NotAnArray | Refused::Value { .. } => Failure::invalid(format!("column {name}: {refused}")),
    }
}
