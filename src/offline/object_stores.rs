//! The buckets of object stores in which tables may lie: `s3://bucket/path` in a source, how to reach the bucket in
//! `lockstep.yaml`. Parquet and Delta tables share them.
//!
//! Nothing is looked up elsewhere: no environment, no file of another tool, no metadata service. A bucket that the
//! project does not name is refused, and requests without a login are not signed.
//!
//! Every request is bounded in time, and so are all the attempts at it together: a server that stops answering is an
//! error within twice the bucket's `timeout`.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::Error;
use crate::limits;
use crate::secret::Secret;

/// What begins the path of a table in an object store.
const SCHEME: &str = "s3://";

/// How to reach one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Amazon's own where there is none.
    pub endpoint: Option<String>,
    pub region: String,
    /// Requests are not signed without it.
    pub login: Option<BucketLogin>,
    pub allow_http: bool,
    /// Time for one request.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketLogin {
    pub access_key_id: String,
    pub secret_access_key: Secret,
}

/// The buckets of a project, ready to be asked. Nothing is connected before the first request.
pub struct ObjectStores {
    buckets: BTreeMap<String, Arc<dyn ObjectStore>>,
}

impl ObjectStores {
    pub fn new(buckets: &BTreeMap<String, Bucket>) -> Result<Self, Error> {
        let made = buckets.iter().map(|(name, bucket)| Ok((name.clone(), connect(name, bucket)?)));
        Ok(Self { buckets: made.collect::<Result<_, Error>>()? })
    }

    /// A project without buckets.
    pub fn none() -> Self {
        Self { buckets: BTreeMap::new() }
    }

    /// The bucket that a source lies in.
    pub(super) fn bucket(&self, source_name: &str, bucket: &str) -> Result<Arc<dyn ObjectStore>, Error> {
        self.buckets.get(bucket).cloned().ok_or_else(|| Error::Unreadable {
            source_name: source_name.to_owned(),
            detail: format!(
                "bucket {bucket} is not known; write object_stores: {{{bucket}: …}} in lockstep.yaml to say how to \
                 reach it"
            ),
        })
    }
}

impl fmt::Debug for ObjectStores {
    /// The stores themselves know their keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.buckets.keys()).finish()
    }
}

/// The bucket and the path within it of a table in an object store, `s3://bucket/path`; `None` of any other path.
pub(super) fn bucket_and_path(path: &str) -> Option<(&str, &str)> {
    let (bucket, path) = path.strip_prefix(SCHEME)?.split_once('/')?;
    Some((bucket, path.trim_matches('/')))
}

fn connect(name: &str, bucket: &Bucket) -> Result<Arc<dyn ObjectStore>, Error> {
    let client = ClientOptions::new()
        .with_allow_http(bucket.allow_http)
        .with_connect_timeout(limits::OBJECT_STORE_CONNECT_TIMEOUT.min(bucket.timeout))
        .with_timeout(bucket.timeout);
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(50), ..BackoffConfig::default() };
    // The time is looked at before each further attempt, so the last one may begin just before it is over.
    let retry = RetryConfig { max_retries: limits::OBJECT_STORE_RETRIES, retry_timeout: bucket.timeout, backoff };
    let mut store = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(&bucket.region)
        .with_client_options(client)
        .with_retry(retry)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_allow_http(bucket.allow_http);
    if let Some(endpoint) = &bucket.endpoint {
        store = store.with_endpoint(endpoint);
    }
    store = match &bucket.login {
        Some(login) => {
            store.with_access_key_id(&login.access_key_id).with_secret_access_key(login.secret_access_key.reveal())
        }
        None => store.with_skip_signature(true),
    };
    let made = store
        .build()
        .map_err(|error| Error::Unreachable { source_name: format!("in bucket {name}"), detail: error.to_string() })?;
    Ok(Arc::new(made))
}

/// A request that failed, and for which file; what readers inside of DataFusion answer, so that it is known outside.
#[derive(Debug, thiserror::Error)]
#[error("{file}")]
pub(super) struct RequestFailed {
    /// In the user's words.
    pub file: String,
    pub source_name: String,
    pub source: object_store::Error,
}

/// What stands at the root of `error` if that is a request to an object store; `file` is what was asked for, where the
/// error itself does not know.
pub(super) fn failed_request(source_name: &str, file: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(RequestFailed { file, source_name, source }) = error.downcast_ref() {
            return Some(failed(source_name, file, source));
        }
        if let Some(failed_here) = error.downcast_ref::<object_store::Error>() {
            return Some(failed(source_name, file, failed_here));
        }
        cause = error.source();
    }
    None
}

/// What a failed request to an object store means for the source that needed it. `what` is the file, or the bucket and
/// folder, in the user's words.
pub(super) fn failed(source_name: &str, what: &str, error: &object_store::Error) -> Error {
    use object_store::Error::{NotFound, Precondition};
    let source_name = source_name.to_owned();
    let text = reason(error);
    match error {
        // A bucket that is not there is found out by a request for something in it.
        _ if text.contains("NoSuchBucket") => {
            let detail = format!("{what}: there is no such bucket; correct the name, or make the bucket");
            Error::Unreadable { source_name, detail }
        }
        _ if is_refused(error, &text) => {
            let advice = "look at access_key_id and secret_access_key under object_stores in lockstep.yaml, and at what \
                          they are allowed to do";
            Error::Unreachable { source_name, detail: format!("{what}: access is refused ({text}); {advice}") }
        }
        NotFound { .. } => Error::Changed { source_name, detail: format!("{what} is gone") },
        Precondition { .. } => {
            let detail = format!("{what} was written anew while it was read; read it once more");
            Error::Changed { source_name, detail }
        }
        _ => Error::Unreachable { source_name, detail: format!("{what}: {text}") },
    }
}

/// Whether the store knows us and does not let us. A listing says so in its text only.
fn is_refused(error: &object_store::Error, text: &str) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    let codes = ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "NotSignedUp"];
    let says = |word: &&str| text.contains(*word);
    matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
        || codes.iter().any(says)
        || ["401 Unauthorized", "403 Forbidden"].iter().any(says)
}

/// The reason at the end of the chain of causes, without the addresses and counts before it; of an answer in XML, its
/// code and message.
fn reason(error: &(dyn StdError + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    let text = root.to_string();
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        (None, _) => text,
    }
}
