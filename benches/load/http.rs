//! One HTTP/1.1 connection, kept alive.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::question::{Case, Question, Wire};
use crate::Result;

#[derive(Debug)]
pub struct Http {
    connection: SendRequest<Full<Bytes>>,
    host: String,
    path: String,
    accept: &'static str,
}

impl Http {
    pub async fn connect(address: SocketAddr, case: &Case) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        let (path, accept) = match case.wire {
            Wire::HttpArrow => {
                (format!("/v1/services/{}/features", case.service.name()), "application/vnd.apache.arrow.stream")
            }
            _ => ("/get-online-features".to_owned(), "application/json"),
        };
        Ok(Self { connection, host: address.to_string(), path, accept })
    }

    /// The body of the answer.
    pub async fn ask(&mut self, question: &Question) -> Result<Bytes> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, self.accept)
            .body(Full::new(question.body.clone()))?;
        self.connection.ready().await?;
        let response = self.connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        match status.is_success() {
            true => Ok(body),
            false => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
        }
    }
}
