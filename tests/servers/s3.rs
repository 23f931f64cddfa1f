//! A real S3 server for tests, in the test's own process: it speaks HTTP on a free port of 127.0.0.1, and its buckets
//! are folders, so that tests can also look at objects as files. It ends when it is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::IF_NONE_MATCH;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Who may read and write.
pub const ACCESS_KEY_ID: &str = "lockstep";
pub const SECRET_ACCESS_KEY: &str = "a secret that no output may show";

/// A server with some buckets.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    folder: tempfile::TempDir,
    is_silent: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    serving: JoinHandle<()>,
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
        let (is_silent, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let serving = tokio::spawn(serve(listener, service.build(), Arc::clone(&is_silent), Arc::clone(&requests)));
        Self { address, folder, is_silent, requests, serving }
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
        self.is_silent.store(true, Ordering::SeqCst);
    }

    /// Requests that it was sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
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

async fn serve(listener: TcpListener, service: S3Service, is_silent: Arc<AtomicBool>, requests: Arc<AtomicU64>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (service, is_silent, requests) = (service.clone(), Arc::clone(&is_silent), Arc::clone(&requests));
        let answer = service_fn(move |request: Request<Incoming>| {
            requests.fetch_add(1, Ordering::SeqCst);
            let (service, is_silent) = (service.clone(), is_silent.load(Ordering::SeqCst));
            async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
                let _alone = match request.headers().contains_key(IF_NONE_MATCH) {
                    true => Some(CREATING.lock().await),
                    false => None,
                };
                Service::<Request<Incoming>>::call(&service, request).await
            }
        });
        tokio::spawn(async move {
            // A client that goes away ends its own connection and nothing else.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
