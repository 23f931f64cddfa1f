//! What there is to ask for: the services and views, their columns, and a ticket to start from.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, SchemaAsIpc, SchemaResult, Ticket};
use serde_json::{Map, Value, json};
use tonic::Status;

use super::command::Question;
use super::read::{answer_schema, planned, written_time};
use super::status::{invalid, of_flow, refused};
use crate::catalog::{Catalog, FeatureRef, Selection};
use crate::error::ErrorKind;
use crate::flow;
use crate::flow::serve::{Prepared, WhenUnreachable, prepare_with};
use crate::gateway::Gateway;
use crate::plan::InputKind;

/// Every service and every view that is kept online, whose name contains `part`.
pub(super) fn list(gateway: &Gateway, part: &[u8]) -> Result<Vec<FlightInfo>, Status> {
    let part = std::str::from_utf8(part).map_err(|_| invalid("the criteria are not text; write a part of a name"))?;
    let applied = gateway.applied.load_full();
    let services = applied
        .catalog
        .services
        .keys()
        .map(|name| ("services", name, Selection::Service { name: name.clone(), full_feature_names: None }));
    let views = applied.catalog.views.keys().map(|name| {
        let refs = view_features(&applied.catalog, name).unwrap_or_default();
        ("views", name, Selection::Features { refs, full_feature_names: false })
    });
    let mut infos = Vec::new();
    for (kind, name, selection) in services.chain(views).filter(|(_, name, _)| name.contains(part)) {
        let descriptor = FlightDescriptor::new_path(vec![kind.to_owned(), name.clone()]);
        match prepare_with(Arc::clone(&applied), &selection) {
            Ok(prepared) => infos.push(describe(descriptor, &Question::all(selection), &prepared)?),
            // A view for training only has no answer to describe.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(of_flow(error)),
        }
    }
    Ok(infos)
}

/// One question: the columns of its answer, what must come with it, and its ticket.
pub(super) fn info(gateway: &Gateway, descriptor: FlightDescriptor, question: &Question) -> Result<FlightInfo, Status> {
    let prepared = planned(gateway, question).map_err(of_flow)?;
    describe(descriptor, question, &prepared)
}

/// The columns of the answer to a question.
pub(super) fn schema(gateway: &Gateway, question: &Question) -> Result<SchemaResult, Status> {
    let prepared = planned(gateway, question).map_err(of_flow)?;
    let schema = answer_schema(&prepared, question.statuses);
    SchemaAsIpc::new(&schema, &IpcWriteOptions::default()).try_into().map_err(|error| not_written(&error))
}

/// The features of a view, in its order.
pub(super) fn view_features(catalog: &Catalog, view: &str) -> Option<Vec<FeatureRef>> {
    let view = catalog.view(view)?;
    Some(view.features().iter().map(|feature| FeatureRef::new(view.name(), &feature.name)).collect())
}

fn describe(descriptor: FlightDescriptor, question: &Question, prepared: &Prepared) -> Result<FlightInfo, Status> {
    // A command with its entities is its own ticket.
    let ticket = match question.entities.is_empty() {
        true => Ticket::new(template(question, prepared)),
        false => Ticket::new(descriptor.cmd.clone()),
    };
    let info = FlightInfo::new()
        .try_with_schema(&answer_schema(prepared, question.statuses))
        .map_err(|error| not_written(&error))?
        .with_descriptor(descriptor)
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_app_metadata(needs(prepared).to_string());
    Ok(info)
}

/// What must come with the question, and which features the answer has.
fn needs(prepared: &Prepared) -> Value {
    let inputs: Vec<Value> = prepared.plan.inputs.iter().map(|input| {
        let (kind, required) = match input.kind {
            InputKind::JoinKey => ("join_key", true),
            InputKind::Request => ("request", !input.field.nullable),
        };
        json!({ "name": input.field.name, "type": input.field.dtype.to_string(), "kind": kind, "required": required })
    }).collect();
    let features: Vec<Value> = prepared
        .plan
        .outputs
        .iter()
        .map(|output| {
            json!({
                "name": output.field.name,
                "type": output.field.dtype.to_string(),
                "feature": format!("{}:{}", output.view, output.feature),
            })
        })
        .collect();
    json!({
        "version": prepared.applied.version,
        "schema_fingerprint": &*prepared.fingerprint,
        "inputs": inputs,
        "features": features,
    })
}

/// A ticket whose entities are to be filled in. As it stands it is answered with no rows.
fn template(question: &Question, prepared: &Prepared) -> String {
    let mut ticket = Map::new();
    match &question.selection {
        Selection::Service { name, full_feature_names } => {
            ticket.insert("service".to_owned(), json!(name));
            if let Some(full) = full_feature_names {
                ticket.insert("full_feature_names".to_owned(), json!(full));
            }
        }
        Selection::Features { refs, full_feature_names } => {
            ticket.insert("features".to_owned(), refs.iter().map(ToString::to_string).collect());
            ticket.insert("full_feature_names".to_owned(), json!(full_feature_names));
        }
    }
    if question.statuses {
        ticket.insert("statuses".to_owned(), json!(true));
    }
    if question.unreachable == WhenUnreachable::AnswerRest {
        ticket.insert("partial".to_owned(), json!(true));
    }
    if let Some(fingerprint) = &question.fingerprint {
        ticket.insert("schema_fingerprint".to_owned(), json!(fingerprint));
    }
    if let Some(as_of) = question.as_of.and_then(written_time) {
        ticket.insert("as_of".to_owned(), json!(as_of));
    }
    let entities = prepared.plan.inputs.iter().map(|input| (input.field.name.clone(), json!([])));
    ticket.insert("entities".to_owned(), Value::Object(entities.collect()));
    Value::Object(ticket).to_string()
}

/// The question that a descriptor must be for these calls.
pub(super) fn only_questions() -> flow::Error {
    flow::Error::Invalid("only services, views and lists of features can be described".to_owned())
}

fn not_written(error: &ArrowError) -> Status {
    refused(ErrorKind::Internal, &format!("a schema could not be written: {error}"))
}
