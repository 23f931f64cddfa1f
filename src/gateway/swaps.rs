//! Versions in a running gateway: which came before the one that is on, why one is not taken up, and who asks for another
//! look at the registry.
//!
//! The looking itself is `app`'s; here is only what the wires may ask and show.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::{Applied, Gateway};
use crate::error::ErrorKind;
use crate::limits::{GENERATIONS_KEPT, SWAP_QUESTIONS_MAX};

/// What has been swapped so far.
#[derive(Debug, Default)]
pub struct Swaps {
    watcher: Mutex<Option<mpsc::Sender<Asked>>>,
    /// The versions before the one that is on, newest first, whole: their plugins stay compiled.
    kept: Mutex<VecDeque<Arc<Applied>>>,
    refused: ArcSwapOption<Refused>,
    done: AtomicU64,
}

/// Somebody who waits for a look at the registry.
pub type Asked = oneshot::Sender<Result<(), Error>>;

/// A version that is recorded and not taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub version: u64,
    pub why: String,
}

/// What the gateway serves with, and what keeps it from serving with something newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnNow {
    pub project: String,
    pub version: u64,
    /// Earlier versions whose plugins are compiled still, newest first: going back to their content takes no time.
    pub kept: Vec<u64>,
    /// Versions that were taken up since the process began.
    pub swaps: u64,
    /// The latest version, where it cannot be taken up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why a look at the registry brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("this process does not look for new versions")]
    NobodyLooks,
    #[error("version {} is not taken up, and the one before stays on: {}", .0.version, .0.why)]
    Refused(Refused),
    #[error("the registry cannot be read: {0}")]
    Registry(String),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NobodyLooks | Self::Registry(_) => ErrorKind::Unavailable,
            Self::Refused(_) => ErrorKind::Conflict,
        }
    }
}

impl Swaps {
    /// Where questions arrive; whoever takes this answers them.
    pub fn watch(&self) -> mpsc::Receiver<Asked> {
        let (sender, receiver) = mpsc::channel(SWAP_QUESTIONS_MAX);
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Has somebody look at the registry now, and waits until the latest version is on, or cannot be.
    pub async fn look_now(&self) -> Result<(), Error> {
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (answer, answered) = oneshot::channel();
        watcher.ok_or(Error::NobodyLooks)?.send(answer).await.map_err(|_| Error::NobodyLooks)?;
        answered.await.map_err(|_| Error::NobodyLooks)?
    }

    /// The latest version cannot be taken up; none once it can.
    pub fn refuse(&self, refused: Option<Refused>) {
        self.refused.store(refused.map(Arc::new));
    }

    pub fn refused(&self) -> Option<Refused> {
        self.refused.load().as_deref().cloned()
    }

    fn keep(&self, before: Arc<Applied>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front(before);
        kept.truncate(GENERATIONS_KEPT);
    }
}

impl Gateway {
    /// Puts another version in the place of the one that is on. Requests under way end with the version that they began
    /// with, and what only that one needed goes with the last of them.
    pub fn put(&self, applied: Applied) {
        self.offline.define(applied.catalog.sources.clone());
        let before = self.applied.swap(Arc::new(applied));
        self.swaps.keep(before);
        self.swaps.done.fetch_add(1, Ordering::Relaxed);
        self.swaps.refuse(None);
        self.transforms.drop_unused();
    }

    /// What the gateway serves with now.
    pub fn on_now(&self) -> OnNow {
        let applied = self.applied.load();
        let kept = self.swaps.kept.lock().unwrap_or_else(PoisonError::into_inner);
        OnNow {
            project: applied.catalog.project.clone(),
            version: applied.version,
            kept: kept.iter().map(|kept| kept.version).collect(),
            swaps: self.swaps.done.load(Ordering::Relaxed),
            refused: self.swaps.refused(),
        }
    }
}
