//! `lockstep get`: a look-up in the online store, without a server.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::datatypes::DataType;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::cast;
use crate::catalog::{Catalog, FeatureRef, Selection, View};
use crate::clock::{Deadline, Micros};
use crate::flow::serve::{Answer, Status, WhenUnreachable, prepare, serve};
use crate::plan::{FeaturePlan, InputKind};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep get tip_model_v1 company='Choice Taxi Association' area=8 hour=9 payment_type=Cash planned_miles=2.5\n  \
lockstep get company_stats:avg_fare_30d company='Choice Taxi Association' --as-of 2016-12-31\n\nWhile a gateway runs on the same embedded store, ask it over HTTP."
)]
pub(super) struct Arguments {
    /// A feature service (or one of its lists, as `service@3`), or features as `view:feature`, and then the values that identify the row, as `name=value`
    #[arg(required = true)]
    words: Vec<String>,
    /// The moment to ask about; now if not given
    #[arg(long, value_parser = time::parse)]
    as_of: Option<Micros>,
}

#[derive(Serialize)]
struct Row {
    feature: String,
    value: Value,
    #[serde(skip)]
    text: String,
    status: &'static str,
    event_time: Option<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let (values, names): (Vec<&String>, Vec<&String>) = arguments.words.iter().partition(|word| word.contains('='));
    let given: BTreeMap<&str, &str> = values.iter().filter_map(|value| value.split_once('=')).collect();

    let gateway = Project::open(&context.project)?.gateway().await?;
    let selection = selection(&names, &gateway.applied.load().catalog)?;
    let prepared = prepare(&gateway, &selection)?;
    let inputs = inputs(&prepared.plan, &given)?;
    let deadline = Deadline::after(Duration::from_secs(30));
    let answer = serve(&gateway, prepared, inputs, 1, arguments.as_of, WhenUnreachable::Fail, deadline).await?;
    let rows = rows(&answer);
    output::print(context.format, &rows, |rows| {
        let cells = |row: &Row| {
            let event_time = row.event_time.clone().unwrap_or_default();
            vec![row.feature.clone(), row.text.clone(), row.status.to_owned(), event_time]
        };
        output::table(&["feature", "value", "status", "event time"], rows.iter().map(cells))
    })?;
    explain(&answer);
    Ok(Outcome::Done)
}

fn selection(names: &[&String], catalog: &Catalog) -> Result<Selection, Failure> {
    match names {
        [] => Err(Failure::invalid("name a feature service, or features as view:feature")),
        [view] if catalog.view(view).is_some() && !catalog.services.contains_key(view.as_str()) => {
            let features = catalog.view(view).map(View::features).unwrap_or_default();
            let features = features.iter().map(|feature| format!("{view}:{}", feature.name));
            let features = features.collect::<Vec<_>>().join(" ");
            Err(Failure::invalid(format!("{view} is a view, not a feature service; ask for its features: {features}")))
        }
        [service] if !service.contains(':') => {
            Ok(Selection::Service { name: (*service).clone(), full_feature_names: None })
        }
        features => {
            let refs = features.iter().map(|name| match name.split_once(':') {
                Some((view, feature)) => Ok(FeatureRef::new(view, feature)),
                None => Err(Failure::invalid(format!("{name:?} is neither view:feature nor name=value"))),
            });
            Ok(Selection::Features { refs: refs.collect::<Result<_, _>>()?, full_feature_names: false })
        }
    }
}

fn inputs(plan: &FeaturePlan, given: &BTreeMap<&str, &str>) -> Result<Vec<ArrayRef>, Failure> {
    if let Some(name) = given.keys().find(|name| !plan.inputs.iter().any(|input| input.field.name == **name)) {
        let known: Vec<&str> = plan.inputs.iter().map(|input| input.field.name.as_str()).collect();
        return Err(Failure::invalid(format!("{name} is not asked for; this look-up takes {}", known.join(", "))));
    }
    plan.inputs
        .iter()
        .map(|input| match given.get(input.field.name.as_str()) {
            Some(value) => cast::from_text(&[Some(value)], input.field.dtype)
                .map_err(|detail| Failure::invalid(format!("{}: {detail}", input.field.name))),
            None if input.kind == InputKind::Request && input.field.nullable => {
                Ok(new_null_array(&input.field.dtype.arrow(), 1))
            }
            None => Err(Failure::invalid(format!("{0} is missing; add {0}=…", input.field.name))),
        })
        .collect()
}

fn rows(answer: &Answer) -> Vec<Row> {
    let outputs = answer.prepared.plan.outputs.iter().zip(&answer.columns);
    outputs
        .map(|(output, column)| Row {
            feature: output.field.name.clone(),
            value: json(&column.values),
            text: cast::to_text(&column.values, 0),
            status: word(column.status(0)),
            event_time: column.rows.event_time.is_valid(0).then(|| time::show(column.rows.event_time.value(0))),
        })
        .collect()
}

/// The first value of a column: numbers and truth values as JSON has them, lists as lists, everything else as text.
fn json(values: &ArrayRef) -> Value {
    if values.is_null(0) {
        return Value::Null;
    }
    let text = cast::to_text(values, 0);
    match values.data_type() {
        // A number that JSON does not have (NaN) stays text.
        data_type if data_type.is_numeric() => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        DataType::Boolean => Value::Bool(text == "true"),
        DataType::List(_) | DataType::FixedSizeList(..) => {
            let items = match values.data_type() {
                DataType::List(_) => values.as_list::<i32>().value(0),
                _ => values.as_fixed_size_list().value(0),
            };
            Value::Array((0..items.len()).map(|item| json(&items.slice(item, 1))).collect())
        }
        _ => Value::String(text),
    }
}

/// Feast's words.
fn word(status: Status) -> &'static str {
    match status {
        Status::Present => "PRESENT",
        Status::NullValue => "NULL_VALUE",
        Status::NotFound => "NOT_FOUND",
        Status::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        Status::Unavailable => "UNAVAILABLE",
    }
}

/// Why nothing came back, where there is something to do about it.
fn explain(answer: &Answer) {
    let any = |status| answer.columns.iter().any(|column| column.status(0) == status);
    if any(Status::OutsideMaxAge) {
        output::note(
            "note: OUTSIDE_MAX_AGE values are older than their view's ttl; --as-of asks about an earlier moment",
        );
    }
    if any(Status::NotFound) {
        output::note(
            "note: NOT_FOUND means that the online store has no row with this key; lockstep sync and push bring rows there",
        );
    }
}
