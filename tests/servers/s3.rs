//! A real S3 server for tests, in the test's own process: it speaks HTTP on a free port of 127.0.0.1, and its buckets
//! are folders, so that tests can also look at objects as files. It ends when it is dropped.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, BoxStream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::IF_NONE_MATCH;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Who may read and write.
pub const ACCESS_KEY_ID: &str = "lockstep";
pub const SECRET_ACCESS_KEY: &str = "a secret that no output may show";

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// It is taken, and never answered.
    Silence,
    /// It is not done: this status, with this code in the body.
    Refused(u16, &'static str),
    /// Half of the answer comes; then the connection is closed.
    CutOff,
    /// Half of the answer comes; then nothing more.
    Stalled,
    /// It is done, and the connection is closed in place of an answer.
    Unanswered,
}

/// The requests that something goes wrong with.
#[derive(Clone, Copy, Debug)]
pub enum Requests {
    All,
    /// Of the bytes of objects.
    Reads,
    /// That write objects.
    Writes,
    /// That write to the logs of Delta tables.
    Commits,
}

/// A server with some buckets.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    folder: tempfile::TempDir,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    requests: AtomicU64,
    /// What goes wrong, with which requests, and with how many of them.
    failing: Mutex<Option<(Failure, Requests, u64)>>,
}

impl S3 {
    pub async fn start(buckets: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the buckets");
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).expect("a bucket");
        }
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a folder that is there"));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State::default());
        let serving = tokio::spawn(serve(listener, service.build(), Arc::clone(&state)));
        Self { address, folder, state, serving }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder in which the objects of a bucket lie as files.
    pub fn bucket(&self, bucket: &str) -> PathBuf {
        self.folder.path().join(bucket)
    }

    /// From now on it takes requests and answers none.
    pub fn fall_silent(&self) {
        self.fail(Failure::Silence, Requests::All, u64::MAX);
    }

    /// From now on this goes wrong, so many times.
    pub fn fail(&self, failure: Failure, with: Requests, times: u64) {
        *self.state.failing.lock().unwrap_or_else(PoisonError::into_inner) = Some((failure, with, times));
    }

    /// From now on nothing goes wrong.
    pub fn recover(&self) {
        *self.state.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Requests that it was sent so far.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Two requests to create one object at once would both find that it is not there: this server looks first and writes
/// then, where real stores do both in one step. So they come one after the other here.
static CREATING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

type Broken = Box<dyn StdError + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Broken>>;

async fn serve(listener: TcpListener, service: S3Service, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (service, state) = (service.clone(), Arc::clone(&state));
        let answer = service_fn(move |request: Request<Incoming>| {
            state.requests.fetch_add(1, Ordering::SeqCst);
            answer(service.clone(), state.failure_of(&request), request)
        });
        tokio::spawn(async move {
            // A client that goes away ends its own connection and nothing else.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

impl State {
    fn failure_of(&self, request: &Request<Incoming>) -> Option<Failure> {
        let is_listing = request.uri().query().is_some_and(|query| query.contains("list-type"));
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let (failure, with, times) = failing.as_mut()?;
        let is_meant = match with {
            Requests::All => true,
            Requests::Reads => request.method() == Method::GET && !is_listing,
            Requests::Writes => request.method() == Method::PUT,
            Requests::Commits => request.method() == Method::PUT && request.uri().path().contains("/_delta_log/"),
        };
        if !is_meant || *times == 0 {
            return None;
        }
        *times -= 1;
        Some(*failure)
    }
}

async fn answer(service: S3Service, failure: Option<Failure>, request: Request<Incoming>) -> Result<Answer, Broken> {
    match failure {
        Some(Failure::Silence) => std::future::pending::<()>().await,
        Some(Failure::Refused(status, code)) => {
            let body = format!("<Error><Code>{code}</Code><Message>Try again later.</Message></Error>");
            let body = Full::from(body).map_err(|never: Infallible| match never {}).boxed_unsync();
            return Ok(Response::builder().status(status).body(body)?);
        }
        _ => {}
    }
    let _alone = match request.headers().contains_key(IF_NONE_MATCH) {
        true => Some(CREATING.lock().await),
        false => None,
    };
    let answered = Service::<Request<Incoming>>::call(&service, request).await;
    let answered = answered.map_err(|error| format!("{error:?}"))?;
    let rest: BoxStream<'static, Result<Frame<Bytes>, Broken>> = match failure {
        Some(Failure::Unanswered) => return Err("the connection is closed".into()),
        Some(Failure::CutOff) => stream::iter([Err("the connection is closed".into())]).boxed(),
        Some(Failure::Stalled) => stream::pending().boxed(),
        _ => return Ok(answered.map(BodyExt::boxed_unsync)),
    };
    let (head, body) = answered.into_parts();
    let whole = BodyExt::collect(body).await?.to_bytes();
    let half = stream::iter([Ok(Frame::data(whole.slice(..whole.len() / 2)))]);
    Ok(Response::from_parts(head, StreamBody::new(half.chain(rest)).boxed_unsync()))
}
