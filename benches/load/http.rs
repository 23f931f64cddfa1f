//! One HTTP/1.1 connection, kept alive: one write for a request, and as few reads as the kernel allows for an answer.
//!
//! # Why not a client library
//! The generator shares its CPU with the store, and what it uses there the measured latency pays for.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::question::{Case, Question, Wire};
use crate::Result;

/// Room for an answer's head, and for a small answer as a whole.
const READ_BYTES: usize = 16 << 10;

#[derive(Debug)]
pub struct Http {
    stream: TcpStream,
    /// A request up to the number of bytes of its body.
    head: Vec<u8>,
    request: Vec<u8>,
    received: BytesMut,
}

/// The first line and the headers of an answer.
#[derive(Debug)]
struct Head {
    status: u16,
    /// Where the body begins.
    length: usize,
    body_bytes: usize,
}

impl Http {
    pub async fn connect(address: SocketAddr, case: &Case) -> Result<Self> {
        let (path, accept) = match case.plan.wire {
            Wire::HttpArrow => {
                let path = format!("/v1/services/{}/features", case.plan.service_name());
                (path, "application/vnd.apache.arrow.stream")
            }
            _ => ("/get-online-features".to_owned(), "application/json"),
        };
        Self::open(address, &path, accept, None).await
    }

    /// A connection for POSTs to `path`, to be answered within so many milliseconds.
    pub async fn open(address: SocketAddr, path: &str, accept: &str, deadline_ms: Option<u64>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let deadline = deadline_ms.map(|millis| format!("x-request-deadline-ms: {millis}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\naccept: {accept}\r\n\
             {deadline}content-length: "
        );
        Ok(Self { stream, head: head.into_bytes(), request: Vec::new(), received: BytesMut::new() })
    }

    /// The body of the answer.
    pub async fn ask(&mut self, question: &Question) -> Result<Bytes> {
        let (status, body) = self.post(&question.body).await?;
        match status {
            200 => Ok(body),
            _ => Err(format!("HTTP {status}: {}", String::from_utf8_lossy(&body)).into()),
        }
    }

    /// The status and the body of the answer; an error only if the connection is of no use any more.
    pub async fn post(&mut self, body: &[u8]) -> Result<(u16, Bytes)> {
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        self.request.extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).await?;

        let head = loop {
            self.read(READ_BYTES).await?;
            if let Some(head) = Head::parse(&self.received)? {
                break head;
            }
        };
        let end = head.length + head.body_bytes;
        while self.received.len() < end {
            self.read(end - self.received.len()).await?;
        }
        let mut answer = self.received.split_to(end);
        Ok((head.status, answer.split_off(head.length).freeze()))
    }

    async fn read(&mut self, room: usize) -> Result<()> {
        self.received.reserve(room);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err("the server has closed the connection".into()),
            _ => Ok(()),
        }
    }
}

impl Head {
    /// None while it is not complete.
    fn parse(received: &[u8]) -> Result<Option<Self>> {
        let Some(length) = received.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&received[..length])?;
        let (first, headers) = text.split_once("\r\n").unwrap_or((text, ""));
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body_bytes = headers.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let body_bytes = body_bytes.ok_or_else(|| format!("the answer does not say how long it is: {text}"))?;
        Ok(Some(Self { status: status.ok_or("the answer has no status")?, length: length + 4, body_bytes }))
    }
}
