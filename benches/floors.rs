//! The floors of the protocols: servers that answer the same bytes to every request, in a process of their own.
//!
//! What they cost, no server of the same libraries can cost less. `tables floor http FILE` answers with the file's bytes
//! over HTTP/1.1, `tables floor flight FILE` with the Flight messages in the file; both say their address first.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Status, Streaming};

use crate::Result;
use crate::load::{Target, kind};
use crate::measure::generator;

pub const COMMAND: &str = "floor";

/// A running floor; it ends with this value.
#[derive(Debug)]
pub struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    /// Over HTTP, with this body.
    pub fn http(folder: &Path, body: &[u8], cpu: &str) -> Result<Self> {
        Self::start("http", folder, body, cpu)
    }

    /// Over Flight, with this schema and these batches.
    pub fn flight(folder: &Path, messages: &[FlightData], cpu: &str) -> Result<Self> {
        let bytes: Vec<u8> = messages.iter().flat_map(Message::encode_length_delimited_to_vec).collect();
        Self::start("flight", folder, &bytes, cpu)
    }

    pub fn target(&self) -> Target {
        Target { http: self.address, flight: self.address, server: vec![self.child.id()], store: Vec::new() }
    }

    fn start(protocol: &str, folder: &Path, answer: &[u8], cpu: &str) -> Result<Self> {
        let file = tempfile::NamedTempFile::new_in(folder)?;
        std::fs::write(file.path(), answer)?;
        let mut child = Command::new("taskset")
            .args(["-c", cpu])
            .arg(std::env::current_exe()?)
            .args([COMMAND, protocol])
            .arg(file.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("the floor has no output")?).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| format!("the floor of {protocol} said {line:?}"))?;
        Ok(Self { child, address })
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `http FILE` or `flight FILE`, until the process is ended.
pub fn serve(arguments: &[String]) -> Result<()> {
    let [protocol, file] = arguments else { return Err("the floor wants a protocol and a file".into()) };
    let answer = std::fs::read(file)?;
    generator()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        match protocol.as_str() {
            "http" => serve_http(listener, Bytes::from(answer)).await,
            _ => serve_flight(listener, &answer).await,
        }
    })
}

async fn serve_http(listener: TcpListener, body: Bytes) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let body = body.clone();
            async move {
                // The question is read as a whole, as a server must.
                let _ = request.into_body().collect().await;
                let mut response = Response::new(Full::new(body));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn serve_flight(listener: TcpListener, mut bytes: &[u8]) -> Result<()> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        messages.push(FlightData::decode_length_delimited(&mut bytes)?);
    }
    let service = FlightServiceServer::new(Constant(messages.into())).max_decoding_message_size(16 << 20);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(Server::builder().add_service(service).serve_with_incoming(incoming).await?)
}

/// The schema first, then the batches of one answer.
#[derive(Clone, Debug)]
struct Constant(Arc<[FlightData]>);

type Answers<T> = BoxStream<'static, std::result::Result<T, Status>>;
type Answered<T> = std::result::Result<tonic::Response<T>, Status>;

fn refused<T>() -> Answered<T> {
    Err(Status::unimplemented("the floor answers DoGet and DoExchange only"))
}

#[tonic::async_trait]
impl FlightService for Constant {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_get(&self, _: tonic::Request<Ticket>) -> Answered<Self::DoGetStream> {
        let messages: Vec<_> = self.0.iter().cloned().map(Ok).collect();
        Ok(tonic::Response::new(stream::iter(messages).boxed()))
    }

    async fn do_exchange(&self, request: tonic::Request<Streaming<FlightData>>) -> Answered<Self::DoExchangeStream> {
        let answer = Arc::clone(&self.0);
        let answers = request.into_inner().flat_map(move |question| {
            let is_opening =
                question.as_ref().is_ok_and(|question| kind(question) == arrow::ipc::MessageHeader::Schema);
            let wanted = if is_opening { 0..1 } else { 1..answer.len() };
            stream::iter(answer[wanted].iter().cloned().map(Ok).collect::<Vec<_>>())
        });
        Ok(tonic::Response::new(answers.boxed()))
    }

    async fn handshake(&self, _: tonic::Request<Streaming<HandshakeRequest>>) -> Answered<Self::HandshakeStream> {
        refused()
    }

    async fn list_flights(&self, _: tonic::Request<Criteria>) -> Answered<Self::ListFlightsStream> {
        refused()
    }

    async fn get_flight_info(&self, _: tonic::Request<FlightDescriptor>) -> Answered<FlightInfo> {
        refused()
    }

    async fn poll_flight_info(&self, _: tonic::Request<FlightDescriptor>) -> Answered<PollInfo> {
        refused()
    }

    async fn get_schema(&self, _: tonic::Request<FlightDescriptor>) -> Answered<SchemaResult> {
        refused()
    }

    async fn do_put(&self, _: tonic::Request<Streaming<FlightData>>) -> Answered<Self::DoPutStream> {
        refused()
    }

    async fn do_action(&self, _: tonic::Request<Action>) -> Answered<Self::DoActionStream> {
        refused()
    }

    async fn list_actions(&self, _: tonic::Request<Empty>) -> Answered<Self::ListActionsStream> {
        refused()
    }
}
