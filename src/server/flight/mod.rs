//! The Arrow Flight wire: features, training sets and pushes as record batches.
//!
//! | call | asks with | gets |
//! |---|---|---|
//! | `DoGet` | `{"service": "tips", "entities": {"company": ["a", "b"]}, "as_of": "2016-12-31T00:00:00Z"}` | one row of features for each entity; `"statuses": true` adds `<feature>__status` |
//! | | `{"features": ["view:feature"], "entities": …, "full_feature_names": true}` | the same without a service |
//! | | `{"training": "<id>"}` | the training set of uploaded labels, once |
//! | | `{"train": {"service": "tips", "labels": "label_source"}}` | the training set of a source's rows |
//! | `DoExchange` | `{"service": "tips"}`, then batches of entities | one batch of features for each, in order |
//! | | `{"train": {"service": "tips", "time_column": "at", "digest_column": true}}`, then labels | the training set |
//! | | `{"transform": {"view": "trip_quote", "keep_columns": true}}`, then rows | the rows with the view's features |
//! | `DoPut` | `{"train": …}`, then labels | the ticket `{"training": "<id>"}` |
//! | | `{"push": "rides", "to": "online"}` or the path `push/rides`, then rows | counts, for each batch |
//! | | `{"set": "company_stats"}` or the path `online/company_stats`, then rows | counts, for each batch |
//! | `GetFlightInfo`, `GetSchema` | the path `services/tips` or `views/rides`, or a question as JSON | columns, needed inputs, a ticket to fill in |
//!
//! The wire decides nothing: it decodes, calls one of the flows, and encodes. What strangers send passes the
//! [`guard`](super::guard) first. It knows stores only as flows do.
//!
//! # Why not a SQL dialect
//! A model server asks the same question for other entities a thousand times a second. A question is therefore a small
//! JSON document that can be written by hand and planned once.

mod actions;
mod command;
mod frames;
mod incoming;
mod info;
mod online;
mod push;
mod read;
mod status;
#[cfg(test)]
mod tests;
mod training;
mod transform;
mod uploads;

use std::sync::Arc;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use self::command::{Command, Question};
use self::incoming::Incoming;
use self::status::{caller_timeout, deadline, invalid, of_flow};
use self::uploads::Uploads;
use crate::clock::Deadline;
use crate::flow::transform::Bindings;
use crate::gateway::Gateway;
use crate::limits::{ARROW_MESSAGE_BYTES_MAX, FLIGHT_MESSAGE_BYTES_MAX};

type Outgoing<T> = Result<Response<BoxStream<'static, Result<T, Status>>>, Status>;

/// The Flight service, to be served by an accept loop that speaks HTTP/2.
pub fn routes(gateway: Arc<Gateway>) -> axum::Router {
    let service = FlightServiceServer::new(Flight { gateway, uploads: Arc::default(), bindings: Arc::default() })
        .max_decoding_message_size(FLIGHT_MESSAGE_BYTES_MAX)
        // One row can be longer than the message we aim at; what decoders of ours accept is sent.
        .max_encoding_message_size(ARROW_MESSAGE_BYTES_MAX as usize);
    Routes::new(service).into_axum_router()
}

#[derive(Debug)]
struct Flight {
    gateway: Arc<Gateway>,
    uploads: Arc<Uploads>,
    bindings: Arc<Bindings>,
}

impl Flight {
    fn command(&self, descriptor: &FlightDescriptor) -> Result<Command, Status> {
        let applied = self.gateway.applied.load();
        Command::of_descriptor(descriptor, |view| info::view_features(&applied.catalog, view)).map_err(of_flow)
    }

    fn question(&self, descriptor: &FlightDescriptor) -> Result<Question, Status> {
        match self.command(descriptor)? {
            Command::Read(question) => Ok(question),
            _ => Err(of_flow(info::only_questions())),
        }
    }
}

/// The deadline of a call that has none unless its caller sets one.
fn whole_deadline(metadata: &MetadataMap) -> Option<Deadline> {
    caller_timeout(metadata).map(Deadline::after)
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_get(&self, request: Request<Ticket>) -> Outgoing<FlightData> {
        let metadata = request.metadata();
        let messages = match Command::parse(&request.get_ref().ticket).map_err(of_flow)? {
            Command::Read(question) => {
                read::get(&self.gateway, &question, deadline(metadata, self.gateway.serve_deadline)).await?
            }
            Command::Fetch { upload } => {
                training::fetch(&self.gateway, &self.uploads, &upload, whole_deadline(metadata)).await?
            }
            Command::Train(training) => training::of_source(&self.gateway, training, whole_deadline(metadata)).await?,
            Command::Push { .. } => return Err(invalid("rows come with a push; use DoPut")),
            Command::Set { .. } => return Err(invalid("rows come with a set; use DoPut")),
            Command::Transform(_) => return Err(invalid("rows come with a transform; use DoExchange")),
        };
        Ok(Response::new(messages))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Outgoing<FlightData> {
        let deadline = whole_deadline(request.metadata());
        let (descriptor, incoming) = Incoming::open(request.into_inner()).await?;
        let gateway = Arc::clone(&self.gateway);
        match self.command(&descriptor)? {
            Command::Read(question) => Ok(Response::new(read::exchange(gateway, question, incoming, deadline)?)),
            Command::Train(training) => {
                let uploads = Arc::clone(&self.uploads);
                let set = training::exchange(gateway, uploads, training, incoming, deadline);
                Ok(Response::new(stream::once(set).try_flatten().boxed()))
            }
            Command::Transform(asked) => {
                Ok(Response::new(transform::exchange(gateway, &self.bindings, asked, incoming, deadline).await?))
            }
            Command::Fetch { .. } => Err(invalid("an upload is fetched with DoGet")),
            Command::Push { .. } => Err(invalid("rows are pushed with DoPut")),
            Command::Set { .. } => Err(invalid("rows are set with DoPut")),
        }
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Outgoing<PutResult> {
        let deadline = whole_deadline(request.metadata());
        let (descriptor, incoming) = Incoming::open(request.into_inner()).await?;
        match self.command(&descriptor)? {
            Command::Push { source, to } => {
                let gateway = Arc::clone(&self.gateway);
                Ok(Response::new(push::push(gateway, source, to, incoming, deadline)))
            }
            Command::Set { view, event_time } => {
                let gateway = Arc::clone(&self.gateway);
                Ok(Response::new(online::put(gateway, view, event_time, incoming, deadline)))
            }
            Command::Train(training) => {
                let ticket = training::upload(Arc::clone(&self.uploads), training, incoming);
                Ok(Response::new(stream::once(ticket).boxed()))
            }
            Command::Transform(_) => Err(invalid("a transform answers rows with rows; use DoExchange")),
            Command::Read(_) | Command::Fetch { .. } => {
                Err(invalid("DoPut takes {\"push\": source}, {\"set\": view} or {\"train\": {\"service\": name}}"))
            }
        }
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Outgoing<FlightInfo> {
        let infos = info::list(&self.gateway, &request.get_ref().expression)?;
        Ok(Response::new(stream::iter(infos.into_iter().map(Ok)).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let descriptor = request.into_inner();
        let question = self.question(&descriptor)?;
        Ok(Response::new(info::info(&self.gateway, descriptor, &question)?))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let question = self.question(request.get_ref())?;
        Ok(Response::new(info::schema(&self.gateway, &question)?))
    }

    async fn do_action(&self, request: Request<Action>) -> Outgoing<arrow_flight::Result> {
        let deadline = whole_deadline(request.metadata());
        let done = actions::act(&self.gateway, request.get_ref(), deadline).await?;
        Ok(Response::new(stream::once(async { Ok(done) }).boxed()))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Outgoing<ActionType> {
        Ok(Response::new(stream::iter(actions::list().map(Ok)).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Outgoing<HandshakeResponse> {
        Err(Status::unimplemented("there is no handshake; call without one"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("answers are not prepared ahead; call GetFlightInfo"))
    }
}
