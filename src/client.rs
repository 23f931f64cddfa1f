//! The smallest clients of our own wires: `quickstart` asks its gateway through real sockets with them.

use std::net::SocketAddr;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow_flight::Ticket;
use arrow_flight::client::FlightClient;
use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::transport::Channel;

/// `GET http://address/path`, the body as text.
pub async fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    ask(Method::GET, address, path).await
}

/// `POST http://address/path` without a body; the answer's body as text.
pub async fn post(address: SocketAddr, path: &str) -> Result<String, String> {
    ask(Method::POST, address, path).await
}

async fn ask(method: Method, address: SocketAddr, path: &str) -> Result<String, String> {
    let request = Request::builder().method(method).uri(format!("http://{address}{path}")).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("{path}: {error}"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.request(request).await.map_err(|error| format!("HTTP on {address}: {error}"))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| format!("HTTP on {address}: {error}"))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{path} was answered with {status}: {text}")) }
}

/// One `DoGet`, all of its batches as one.
pub async fn flight_get(address: SocketAddr, ticket: &str) -> Result<RecordBatch, String> {
    let failed = |error: &dyn std::error::Error| format!("Flight on {address}: {error}");
    let endpoint = Channel::from_shared(format!("http://{address}")).map_err(|error| failed(&error))?;
    let channel = endpoint.connect().await.map_err(|error| failed(&error))?;
    let mut client = FlightClient::new(channel);
    let stream = client.do_get(Ticket::new(ticket.to_owned())).await.map_err(|error| failed(&error))?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| failed(&error))?;
    let schema =
        batches.first().map(RecordBatch::schema).ok_or_else(|| format!("Flight on {address}: no batch came"))?;
    concat_batches(&schema, &batches).map_err(|error| failed(&error))
}
