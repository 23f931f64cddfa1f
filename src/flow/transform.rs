//! Rows that nobody stores go through a transform: a caller's columns in, the transform's outputs back.
//!
//! The transform is that of a derived view, or a plugin of the applied definitions with parameters of the caller's. It is
//! chosen once, for all rows that follow; a later `apply` changes nothing for them. Columns are found by the names of the
//! plugin's inputs and cast by the one rule of [`crate::cast`], and the rows go through the one stage that serving and
//! training use, so the same rows have the same features here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};

use super::Error;
use super::derive::off_the_async_threads;
use crate::batch::timestamps;
use crate::cast;
use crate::catalog::{Catalog, DerivedView, Digest, Field, Parameter, TimeUse, Transform, View};
use crate::clock::{Deadline, Micros};
use crate::gateway::{Applied, Gateway};
use crate::limits::CALLER_BINDINGS_MAX;
use crate::plan;
use crate::transform::RowError;

/// The column with the time that a transform with `time: as-of` sees each row from.
const AS_OF: &str = "as_of";
/// Where that time stands in a label frame.
const EVENT_TIME: &str = "event_timestamp";

/// What a caller wants done to its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub by: By,
    /// Some of the outputs, in the transform's order; all of them without it.
    pub outputs: Option<Vec<String>>,
    /// The caller's column for an input, where it has another name than the input.
    pub columns: BTreeMap<String, String>,
    /// The one time that every row is seen from.
    pub as_of: Option<Micros>,
    /// The column with that time; without it `as_of`, else `event_timestamp`.
    pub time_column: Option<String>,
    /// Whether the caller's own columns come back before the outputs.
    pub keep_columns: bool,
}

/// Whose transform it is.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    View(String),
    Plugin { name: String, parameters: Vec<(String, Parameter)> },
}

impl Asked {
    /// All outputs alone, of columns that are called as the inputs.
    pub fn of(by: By) -> Self {
        Self { by, outputs: None, columns: BTreeMap::new(), as_of: None, time_column: None, keep_columns: false }
    }
}

/// A transform that is ready for rows.
#[derive(Debug)]
pub struct Chosen {
    /// Holds on to the definitions as they were when the transform was chosen.
    pub applied: Arc<Applied>,
    pub transform: Arc<Transform>,
    asked: Asked,
    /// As messages name it: the view, or the plugin.
    name: String,
    /// The outputs that come back: their places in the transform's, and their names and types.
    outputs: Vec<(usize, Field)>,
}

/// What became of some rows.
#[derive(Debug)]
pub struct Transformed {
    pub rows: RecordBatch,
    /// The first rows that the plugin refused; their outputs are null.
    pub errors: Vec<RowError>,
    /// All of them.
    pub error_count: usize,
}

/// The plugins that callers have bound with parameters of their own. Each takes memory as long as the gateway runs, so
/// there is a bound.
#[derive(Debug, Default)]
pub struct Bindings(Mutex<BTreeSet<String>>);

impl Bindings {
    fn check(&self, binding: &str) -> Result<(), Error> {
        let bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match bound.len() >= CALLER_BINDINGS_MAX && !bound.contains(binding) {
            true => Err(Error::TooManyBindings { max: CALLER_BINDINGS_MAX }),
            false => Ok(()),
        }
    }

    fn note(&self, binding: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(binding);
    }
}

/// Finds the transform that a caller means.
pub async fn choose(gateway: &Gateway, bindings: &Bindings, asked: Asked) -> Result<Chosen, Error> {
    let applied = gateway.applied.load_full();
    match &asked.by {
        By::View(name) => {
            let view = derived_view(&applied.catalog, name)?;
            let transform = Arc::clone(&view.transform);
            let outputs = wanted(&view.features, asked.outputs.as_deref(), &view.name)?;
            let name = view.name.clone();
            check_mapping(&asked, &transform, &name)?;
            Ok(Chosen { applied, transform, asked, name, outputs })
        }
        By::Plugin { name, parameters } => {
            let (name, component) = (name.clone(), component(&applied.catalog, name)?);
            let (stage, plugin) = (Arc::clone(&gateway.transforms), name.clone());
            let (parameters, outputs) = (parameters.clone(), asked.outputs.clone());
            let binding = format!("{component} {parameters:?} {outputs:?}");
            bindings.check(&binding)?;
            let bound = off_the_async_threads(async move {
                let bound = stage.bind(&plugin, component, &parameters, outputs.as_deref());
                bound.map_err(|source| Error::Transform { view: plugin, source })
            });
            let transform = bound.await?;
            bindings.note(binding);
            let outputs = transform.outputs.iter().cloned().enumerate().collect();
            check_mapping(&asked, &transform, &name)?;
            Ok(Chosen { applied, transform, asked, name, outputs })
        }
    }
}

impl Chosen {
    /// The schema of what comes back for rows of `sent`.
    pub fn schema(&self, sent: &Schema) -> Result<SchemaRef, Error> {
        let outputs = self.outputs.iter().map(|(_, field)| field.arrow());
        let mut fields = Vec::new();
        if self.asked.keep_columns {
            fields.extend(sent.fields().iter().map(|field| field.as_ref().clone()));
            if let Some((_, taken)) =
                self.outputs.iter().find(|(_, output)| sent.column_with_name(&output.name).is_some())
            {
                let name = &taken.name;
                return Err(Error::Invalid(format!(
                    "the rows already have a column {name}, which {} computes; rename it, or leave keep_columns out",
                    self.name
                )));
            }
        }
        fields.extend(outputs);
        let digest = ("lockstep.digest".to_owned(), self.transform.digest.to_string());
        let version = ("lockstep.version".to_owned(), self.applied.version.to_string());
        Ok(Arc::new(Schema::new_with_metadata(fields, [digest, version].into())))
    }

    /// The inputs of the transform out of a caller's rows.
    fn inputs(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
        let signature = &self.transform.signature;
        let mut inputs = Vec::with_capacity(signature.features.len() + signature.request.len() + 1);
        if signature.time == TimeUse::AsOf {
            inputs.push(self.as_of(rows)?);
        }
        for field in &signature.features {
            let column = self.column(rows, field)?;
            inputs.push(column.ok_or_else(|| self.missing(field, "an input of the transform"))?);
        }
        for field in &signature.request {
            inputs.push(match self.column(rows, field)? {
                Some(column) if !field.nullable && column.null_count() > 0 => {
                    let row = (0..rows.num_rows()).find(|row| column.is_null(*row)).unwrap_or_default();
                    let name = &field.name;
                    return Err(Error::Invalid(format!(
                        "row {row} has no value for request field {name}, which must have one"
                    )));
                }
                Some(column) => column,
                None if field.nullable => new_null_array(&field.dtype.arrow(), rows.num_rows()),
                None => return Err(self.missing(field, "a request field")),
            });
        }
        Ok(inputs)
    }

    fn column(&self, rows: &RecordBatch, field: &Field) -> Result<Option<ArrayRef>, Error> {
        let name = self.asked.columns.get(&field.name).unwrap_or(&field.name);
        let column = rows.column_by_name(name).map(|column| cast::exactly_by_row(column, field.dtype));
        column.transpose().map_err(|error| Error::wrong_type(name, error))
    }

    fn missing(&self, field: &Field, what: &'static str) -> Error {
        let column = self.asked.columns.get(&field.name).unwrap_or(&field.name).clone();
        Error::MissingColumn { column, what }
    }

    fn as_of(&self, rows: &RecordBatch) -> Result<ArrayRef, Error> {
        if let Some(as_of) = self.asked.as_of {
            return Ok(Arc::new(timestamps(vec![Some(as_of); rows.num_rows()])));
        }
        let named = |name: &str| rows.column_by_name(name).map(|column| (name.to_owned(), Arc::clone(column)));
        let found = match &self.asked.time_column {
            Some(name) => named(name),
            None => named(AS_OF).or_else(|| named(EVENT_TIME)),
        };
        let Some((name, column)) = found else {
            let column = self.asked.time_column.clone().unwrap_or_else(|| AS_OF.to_owned());
            return Err(Error::MissingColumn { column, what: "the time that each row is seen from" });
        };
        Ok(Arc::new(cast::to_times(&column).map_err(|error| Error::wrong_type(&name, error))?))
    }
}

/// Computes some rows. Blocks; it is for a thread that holds up no request.
pub fn transform(
    gateway: &Gateway,
    chosen: &Chosen,
    rows: &RecordBatch,
    deadline: Deadline,
) -> Result<Transformed, Error> {
    let schema = chosen.schema(rows.schema_ref())?;
    let inputs = chosen.inputs(rows)?;
    let applied = gateway.transforms.apply(&chosen.transform, &inputs, rows.num_rows(), deadline);
    let applied = applied.map_err(|source| Error::Transform { view: chosen.name.clone(), source })?;
    let own = if chosen.asked.keep_columns { rows.columns() } else { &[] };
    let outputs = chosen.outputs.iter().map(|(place, _)| applied.rows.column(*place));
    let columns = own.iter().chain(outputs).cloned().collect();
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(schema, columns, &count);
    let rows = rows.map_err(|error| Error::Stopped(error.to_string()))?;
    Ok(Transformed { rows, errors: applied.errors, error_count: applied.error_count })
}

fn derived_view<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<DerivedView>, Error> {
    match catalog.view(name) {
        Some(View::Derived(view)) => Ok(view),
        Some(View::Feature(_)) => Err(Error::Invalid(format!(
            "{name} is a feature view, which has no transform; name a derived view, or ask for its features"
        ))),
        None => {
            let (view, project) = (name.to_owned(), catalog.project.clone());
            Err(plan::Error::UnknownView { view, project }.into())
        }
    }
}

/// The bytes that the applied definitions mean by the name of a plugin.
fn component(catalog: &Catalog, plugin: &str) -> Result<Digest, Error> {
    let transforms = || catalog.derived_views().map(|view| &view.transform);
    transforms().find(|transform| transform.plugin == plugin).map(|transform| transform.component).ok_or_else(|| {
        let known: BTreeSet<&str> = transforms().map(|transform| transform.plugin.as_str()).collect();
        let has = if known.is_empty() { "none".to_owned() } else { Vec::from_iter(known).join(", ") };
        Error::UnknownPlugin { plugin: plugin.to_owned(), has }
    })
}

/// The wanted features of a view with their places, in the view's order.
fn wanted(features: &[Field], wanted: Option<&[String]>, view: &str) -> Result<Vec<(usize, Field)>, Error> {
    let all = features.iter().cloned().map(|field| Field { nullable: true, ..field }).enumerate();
    let Some(wanted) = wanted else { return Ok(all.collect()) };
    if let Some(unknown) = wanted.iter().find(|name| !features.iter().any(|field| field.name == **name)) {
        let has = features.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(plan::Error::UnknownFeature { view: view.to_owned(), feature: unknown.clone(), has }.into());
    }
    Ok(all.filter(|(_, field)| wanted.contains(&field.name)).collect())
}

/// A name that is no input would be left aside, and its author would not know why.
fn check_mapping(asked: &Asked, transform: &Transform, name: &str) -> Result<(), Error> {
    let inputs = || transform.signature.features.iter().chain(&transform.signature.request);
    match asked.columns.keys().find(|column| !inputs().any(|field| field.name == **column)) {
        None => Ok(()),
        Some(unknown) => {
            let has = inputs().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
            Err(Error::Invalid(format!("columns maps {unknown}, which is no input of {name}; its inputs are {has}")))
        }
    }
}
