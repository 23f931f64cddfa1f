//! Looking features up: Feast's `POST /get-online-features`, and our own look-ups that a person can type.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::ArrayRef;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;

use super::super::{observe_answer, reply};
use super::answer::{Shape, respond};
use super::body::{self, Format, Name};
use super::question::{self, Given, Question, Wishes, ask};
use super::values::{Times, instant, json_instant};
use super::wire::FeaturesRequest;
use super::{Context, FINGERPRINT, compute};
use crate::catalog::Selection;
use crate::clock::{Deadline, Micros};
use crate::flow::serve::{Answer, Prepared, WhenUnreachable, prepare, serve};
use crate::gateway::Gateway;
use crate::limits::JSON_INLINE_BYTES_MAX;
use reply::Failure;

/// A query of a URL: names and values in the order in which they came.
pub type Parameters = Vec<(String, String)>;

/// `POST /get-online-features`
pub async fn get_online_features(
    State(context): State<Context>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    reply::feast(online_features(context.gateway, &parameters, request).await)
}

async fn online_features(
    gateway: Arc<Gateway>,
    parameters: &Parameters,
    request: Request,
) -> Result<Response, Failure> {
    // Other parameters mean nothing here; Feast's server leaves them aside too.
    let partial = parameters.iter().rfind(|(name, _)| name == "partial");
    let partial = partial.map(|(name, value)| truth(name, value)).transpose()?;
    let deadline = body::deadline(request.headers(), gateway.serve_deadline)?;
    let wishes = Wishes {
        unreachable: when_unreachable(partial),
        fingerprint: fingerprint(request.headers())?,
        ..Wishes::default()
    };
    let body = body::json(request, deadline).await?;
    let (small, asking) = (body.len() <= JSON_INLINE_BYTES_MAX, Arc::clone(&gateway));
    let (mut question, view_metadata) = compute(small, move || feast_question(&asking, &body, wishes)).await??;
    let echoed = std::mem::take(&mut question.echoed);
    let answer = answer(&gateway, question, deadline).await?;
    respond(answer, Shape::Feast { echoed, view_metadata }).await
}

fn feast_question(gateway: &Gateway, body: &[u8], wishes: Wishes) -> Result<(Question, bool), Failure> {
    let request: FeaturesRequest<'_> = body::parse(body)?;
    let features = request.features.as_deref().unwrap_or_default();
    // Feast's clients always send `false` when nobody asked for long names, so `false` says nothing.
    let full_feature_names = request.full_feature_names.filter(|full| *full);
    let selection = question::selection(request.feature_service.as_deref(), features, full_feature_names)?;
    let view_metadata = request.include_feature_view_version_metadata.unwrap_or(false);
    Ok((json_question(gateway, request, &selection, Times::Seconds, wishes)?, view_metadata))
}

/// What the body says goes before what stands `around` it, in parameters and headers.
fn json_question(
    gateway: &Gateway,
    request: FeaturesRequest<'_>,
    selection: &Selection,
    times: Times,
    around: Wishes,
) -> Result<Question, Failure> {
    let entities = request.entities.ok_or_else(|| Failure::missing_field("entities"))?;
    let as_of = match request.as_of {
        Some(json) => Some(json_instant(json.get(), Times::Micros).ok_or_else(|| wrong_as_of(json.get()))?),
        None => around.as_of,
    };
    let unreachable = request.partial.map_or(around.unreachable, |partial| when_unreachable(Some(partial)));
    let fingerprint = request.schema_fingerprint.map(Cow::into_owned).or(around.fingerprint);
    let wishes = Wishes { as_of, unreachable, fingerprint };
    let columns: Vec<_> = entities.0.into_iter().map(|(name, values)| (name, Given::Json(values))).collect();
    ask(gateway, selection, &columns, times, wishes)
}

/// `GET /v1/services/{service}/features?join_key=…`
pub async fn get_service_features(
    State(context): State<Context>,
    Name(service): Name,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    reply::own(typed_features(&context.gateway, Some(service), parameters, &headers).await)
}

/// `GET /v1/features?feature=view:feature&join_key=…`
pub async fn get_features(
    State(context): State<Context>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    reply::own(typed_features(&context.gateway, None, parameters, &headers).await)
}

async fn typed_features(
    gateway: &Gateway,
    service: Option<String>,
    parameters: Parameters,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let deadline = body::deadline(headers, gateway.serve_deadline)?;
    let typed = Typed::read(parameters, service.is_none())?;
    let selection = question::selection(service.as_deref(), &typed.features, typed.full_feature_names)?;
    let wishes = Wishes { fingerprint: fingerprint(headers)?, ..typed.wishes() };
    let columns: Vec<_> =
        typed.columns.into_iter().map(|(name, texts)| (Cow::from(name), Given::Text(texts))).collect();
    refuse_unknown(&prepare(gateway, &selection)?, &columns)?;
    let question = ask(gateway, &selection, &columns, Times::Micros, wishes)?;
    respond(answer(gateway, question, deadline).await?, shape(headers)).await
}

/// A person who types a name wrongly should not get an answer to another question.
fn refuse_unknown(prepared: &Prepared, columns: &[(Cow<'_, str>, Given<'_>)]) -> Result<(), Failure> {
    let inputs = || prepared.plan.inputs.iter().map(|input| input.field.name.as_str());
    let entities = &prepared.applied.catalog.entities;
    let is_join_key = |name: &str| entities.values().any(|entity| entity.join_keys.iter().any(|key| key.name == name));
    let known = |name: &str| inputs().any(|input| input == name) || is_join_key(name) || entities.contains_key(name);
    match columns.iter().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let inputs = inputs().collect::<Vec<_>>().join(", ");
            Err(Failure::invalid(format!("parameter {name} is not known; this question takes {inputs} and as_of")))
        }
    }
}

/// `POST /v1/services/{service}/features`, with JSON columns or an Arrow stream.
pub async fn post_service_features(
    State(context): State<Context>,
    Name(service): Name,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    reply::own(posted_features(context.gateway, service, parameters, request).await)
}

async fn posted_features(
    gateway: Arc<Gateway>,
    service: String,
    parameters: Parameters,
    request: Request,
) -> Result<Response, Failure> {
    let deadline = body::deadline(request.headers(), gateway.serve_deadline)?;
    let shape = shape(request.headers());
    let typed = Typed::read(parameters, false)?;
    if let Some((name, _)) = typed.columns.first() {
        return Err(Failure::invalid(format!("parameter {name} is not known; columns come in the body")));
    }
    let wishes = Wishes { fingerprint: fingerprint(request.headers())?, ..typed.wishes() };
    let (format, body) = body::json_or_arrow(request, deadline).await?;
    let (small, asking) = (body.len() <= JSON_INLINE_BYTES_MAX, Arc::clone(&gateway));
    let question =
        compute(small, move || posted_question(&asking, &service, (typed.full_feature_names, wishes), format, &body))
            .await??;
    respond(answer(&gateway, question, deadline).await?, shape).await
}

fn posted_question(
    gateway: &Gateway,
    service: &str,
    (full_feature_names, wishes): (Option<bool>, Wishes),
    format: Format,
    body: &Bytes,
) -> Result<Question, Failure> {
    match format {
        Format::Json => {
            let request: FeaturesRequest<'_> = body::parse(body)?;
            let full_feature_names = request.full_feature_names.or(full_feature_names);
            let selection = question::selection(Some(service), &[], full_feature_names)?;
            json_question(gateway, request, &selection, Times::Micros, wishes)
        }
        Format::ArrowStream => {
            let selection = question::selection(Some(service), &[], full_feature_names)?;
            let columns: Vec<_> = arrow_columns(body)?
                .into_iter()
                .map(|(name, column)| (Cow::from(name), Given::Arrow(column)))
                .collect();
            ask(gateway, &selection, &columns, Times::Micros, wishes)
        }
    }
}

/// The columns of all batches of an Arrow stream.
fn arrow_columns(body: &[u8]) -> Result<Vec<(String, ArrayRef)>, Failure> {
    let rows = body::arrow_rows(body)?;
    let schema = rows.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    Ok(names.zip(rows.columns().iter().cloned()).collect())
}

/// The parameters of a look-up, sorted into what they mean.
#[derive(Debug, Default)]
struct Typed {
    features: Vec<String>,
    /// The other parameters by name; one that was given once holds for every row.
    columns: Vec<(String, Vec<String>)>,
    full_feature_names: Option<bool>,
    as_of: Option<Micros>,
    partial: Option<bool>,
}

impl Typed {
    fn wishes(&self) -> Wishes {
        Wishes { as_of: self.as_of, unreachable: when_unreachable(self.partial), fingerprint: None }
    }

    fn read(parameters: Parameters, takes_features: bool) -> Result<Self, Failure> {
        let mut typed = Self::default();
        for (name, value) in parameters {
            match name.as_str() {
                "feature" if takes_features => typed.features.push(value),
                "as_of" => typed.as_of = Some(instant(&value, Times::Micros).ok_or_else(|| wrong_as_of(&value))?),
                "full_feature_names" => typed.full_feature_names = Some(truth(&name, &value)?),
                "partial" => typed.partial = Some(truth(&name, &value)?),
                _ => match typed.columns.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, texts)) => texts.push(value),
                    None => typed.columns.push((name, vec![value])),
                },
            }
        }
        let rows = typed.columns.iter().map(|(_, texts)| texts.len()).max().unwrap_or_default();
        for (_, texts) in typed.columns.iter_mut().filter(|(_, texts)| texts.len() == 1) {
            let only = texts[0].clone();
            texts.resize(rows, only);
        }
        Ok(typed)
    }
}

/// The fingerprint of the schema that the caller trained on, if it sends one.
fn fingerprint(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let text = |value: &HeaderValue| match value.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Failure::invalid(format!("header {FINGERPRINT} is not text"))),
    };
    headers.get(&FINGERPRINT).map(text).transpose()
}

fn truth(name: &str, value: &str) -> Result<bool, Failure> {
    value.parse().map_err(|_| Failure::invalid(format!("{name} is {value:?}; write true or false")))
}

fn when_unreachable(partial: Option<bool>) -> WhenUnreachable {
    if partial == Some(true) { WhenUnreachable::AnswerRest } else { WhenUnreachable::Fail }
}

fn wrong_as_of(text: &str) -> Failure {
    Failure::invalid(format!("as_of is {text}; write a time such as 2026-11-20T02:00:00Z, or epoch microseconds"))
}

fn shape(headers: &HeaderMap) -> Shape {
    if body::wants_arrow(headers) { Shape::Arrow } else { Shape::Readable }
}

async fn answer(gateway: &Gateway, question: Question, deadline: Deadline) -> Result<Answer, Failure> {
    let Question { prepared, inputs, rows, as_of, unreachable, echoed: _ } = question;
    let answer = serve(gateway, prepared, inputs, rows, as_of, unreachable, deadline).await?;
    observe_answer(&gateway.metrics, &answer);
    Ok(answer)
}
