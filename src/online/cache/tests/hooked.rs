//! A store of one view whose reads stop where a test wants them to, and whose changes a test tells or does not tell.

use std::collections::VecDeque;
use std::sync::{Mutex, Weak};

use tokio::sync::oneshot;

use super::*;
use crate::batch::StoredRows;
use crate::online::{Cursor, RowPage};

/// A read that has arrived: it looks at the rows when told, and gives its answer when told.
#[derive(Debug)]
pub(super) struct Stopped {
    look: Option<oneshot::Sender<()>>,
    give: Option<oneshot::Sender<Result<(), Error>>>,
}

#[derive(Debug, Default)]
pub(super) struct Hooked {
    pub rows: MemoryStore,
    stop: AtomicBool,
    stopped: Mutex<VecDeque<Stopped>>,
    listener: Mutex<Option<Weak<dyn ChangeListener>>>,
    pub reads: std::sync::atomic::AtomicUsize,
}

impl Stopped {
    pub fn look(&mut self) {
        let _ = self.look.take().map(|look| look.send(()));
    }

    pub fn give(mut self) {
        self.look();
        let _ = self.give.take().map(|give| give.send(Ok(())));
    }

    pub fn fail(mut self) {
        self.look();
        let failed = Error::Store { doing: "testing", detail: "told to".to_owned() };
        let _ = self.give.take().map(|give| give.send(Err(failed)));
    }
}

impl Hooked {
    /// Reads stop from now on, or go through.
    pub fn stop(&self, stop: bool) {
        self.stop.store(stop, Ordering::SeqCst);
    }

    pub fn take_stopped(&self) -> Option<Stopped> {
        self.stopped.lock().unwrap().pop_front()
    }

    /// Waits for a read to arrive.
    pub async fn arrival(&self) -> Stopped {
        let arrives = async {
            loop {
                match self.take_stopped() {
                    Some(stopped) => return stopped,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), arrives).await.expect("a read arrives")
    }

    pub fn listener(&self) -> Arc<dyn ChangeListener> {
        self.listener.lock().unwrap().as_ref().and_then(Weak::upgrade).expect("it is watched")
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl OnlineStore for Hooked {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if !self.stop.load(Ordering::SeqCst) {
            return self.rows.read(reads, deadline).await;
        }
        let ((look, looks), (give, gives)) = (oneshot::channel(), oneshot::channel());
        self.stopped.lock().unwrap().push_back(Stopped { look: Some(look), give: Some(give) });
        looks.await.expect("a test tells every read to look");
        let answer = self.rows.read(reads, deadline).await;
        gives.await.expect("a test tells every read to answer")?;
        answer
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        self.rows.write(view, rows, deadline).await
    }

    async fn progress(&self, _: &Arc<OnlineView>, _: &str, _: u32, _: Deadline) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        self.rows.health(deadline).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.rows.statistics(views, deadline).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        self.rows.scan(view, cursor, deadline).await
    }

    fn watch(&self, _: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        *self.listener.lock().unwrap() = Some(listener);
    }
}
