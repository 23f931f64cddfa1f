//! `lockstep get`: a look-up in the online store, without a server.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, new_null_array};
use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::cast;
use crate::catalog::{FeatureRef, Selection};
use crate::clock::{Deadline, Micros};
use crate::flow::serve::{Answer, prepare, serve};
use crate::plan::{FeaturePlan, InputKind};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep get tip_model_v1 company='Choice Taxi Association' area=8 hour=9 payment_type=Cash planned_miles=2.5\n  \
lockstep get company_stats:avg_fare_30d company='Choice Taxi Association' --as-of 2016-12-31\n\nWhile a gateway runs on the same embedded store, ask it over HTTP.")]
pub(super) struct Arguments {
    /// A feature service, or features as `view:feature`, and then the values that identify the row, as `name=value`
    #[arg(required = true)]
    words: Vec<String>,
    /// The moment to ask about; now if not given
    #[arg(long, value_parser = time::parse)]
    as_of: Option<Micros>,
}

#[derive(Serialize)]
struct Row {
    feature: String,
    value: String,
    status: String,
    event_time: Option<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let (values, names): (Vec<&String>, Vec<&String>) = arguments.words.iter().partition(|word| word.contains('='));
    let selection = selection(&names)?;
    let given: BTreeMap<&str, &str> = values.iter().filter_map(|value| value.split_once('=')).collect();

    let gateway = Project::open(&context.project)?.gateway().await?;
    let prepared = prepare(&gateway, &selection)?;
    let inputs = inputs(&prepared.plan, &given)?;
    let deadline = Deadline::after(Duration::from_secs(30));
    let answer = serve(&gateway, prepared, inputs, 1, arguments.as_of, deadline).await?;
    output::print(context.format, &rows(&answer), |rows| {
        let cells = |row: &Row| vec![row.feature.clone(), row.value.clone(), row.status.clone(), row.event_time.clone().unwrap_or_default()];
        output::table(&["feature", "value", "status", "event time"], rows.iter().map(cells))
    })?;
    Ok(Outcome::Done)
}

fn selection(names: &[&String]) -> Result<Selection, Failure> {
    match names {
        [service] if !service.contains(':') => Ok(Selection::Service { name: (*service).clone(), full_feature_names: None }),
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
            None if input.kind == InputKind::Request && input.field.nullable => Ok(new_null_array(&input.field.dtype.arrow(), 1)),
            None => Err(Failure::invalid(format!("{0} is missing; add {0}=…", input.field.name))),
        })
        .collect()
}

fn rows(answer: &Answer) -> Vec<Row> {
    let outputs = answer.prepared.plan.outputs.iter().zip(&answer.columns);
    outputs
        .map(|(output, column)| Row {
            feature: output.field.name.clone(),
            value: cast::to_text(&column.values, 0),
            status: format!("{:?}", column.status(0)),
            event_time: column.rows.event_time.is_valid(0).then(|| time::show(column.rows.event_time.value(0))),
        })
        .collect()
}
