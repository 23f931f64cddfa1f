//! Hears from Redis which rows change, whoever changes them: client tracking in broadcast mode.
//!
//! Each primary gets a connection of its own, on which it tells the names of changed keys. The listener is told that
//! it can rely on this once all primaries do, and that it cannot as soon as one of these connections ends, does not
//! answer, or turns out to be to a server that is no primary any more.
//!
//! <https://redis.io/docs/latest/develop/reference/client-side-caching/>
//!
//! # How late a change may be heard
//! As long as Redis takes to send it. A primary that joins a cluster, or takes over without the old connection ending,
//! is noticed within [`limits::REDIS_WATCH_INTERVAL`], and everything remembered until then is forgotten.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use futures::future::try_join_all;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::Rows;
use super::failure::{Failure, Outage};
use super::link::{Link, Primary, pause};
use super::settings::Address;
use crate::clock::Deadline;
use crate::limits;
use crate::online::{ChangeListener, OnlineView};

/// Runs until the listener is gone.
pub(super) async fn watch(
    link: Arc<Link>,
    rows: Arc<dyn Rows>,
    views: Vec<Arc<OnlineView>>,
    listener: Weak<dyn ChangeListener>,
) {
    let prefixes = rows.key_prefixes(&views);
    let mut failed = 0;
    while listener.strong_count() > 0 {
        let ears = Arc::new(Ears {
            rows: Arc::clone(&rows),
            listener: listener.clone(),
            open: Mutex::new(true),
            ended: Notify::new(),
        });
        match listen(&link, &prefixes, &ears).await {
            Ok(connections) => {
                ears.begin();
                let began = Instant::now();
                let failure = until_lost(&link, &connections, &ears).await;
                ears.close();
                failed = if began.elapsed() > limits::REDIS_WATCH_INTERVAL { 0 } else { failed + 1 };
                if let Some(failure) = failure {
                    tracing::warn!(why = %failure.into_error("listening for changes"), "changes in Redis may be missed");
                }
            }
            Err(failure) => {
                ears.close();
                if failed == 0 {
                    let why = failure.into_error("beginning to listen for changes");
                    tracing::warn!(%why, "changes in Redis are not heard yet");
                }
                failed += 1;
            }
        }
        sleep_until(Deadline::after(pause(failed)).instant().into()).await;
    }
}

/// What one generation of connections hears with.
struct Ears {
    rows: Arc<dyn Rows>,
    listener: Weak<dyn ChangeListener>,
    /// Closed ears say nothing: what an old connection says last must not undo what a new one has begun.
    open: Mutex<bool>,
    ended: Notify,
}

type Connections = Vec<(Address, MultiplexedConnection)>;

async fn listen(link: &Arc<Link>, prefixes: &[Vec<u8>], ears: &Arc<Ears>) -> Result<Connections, Failure> {
    let server = link.server();
    let deadline = Deadline::after(server.connect_timeout + server.response_timeout);
    // Nothing else asks where there is no traffic.
    let primaries = link.primaries_now(deadline).await?;
    try_join_all(primaries.iter().map(|primary| listen_to(primary, prefixes, ears, deadline))).await
}

async fn listen_to(
    primary: &Primary,
    prefixes: &[Vec<u8>],
    ears: &Arc<Ears>,
    deadline: Deadline,
) -> Result<(Address, MultiplexedConnection), Failure> {
    let hears = Arc::clone(ears);
    let pushes = move |push: PushInfo| {
        hears.hear(&push);
        Ok::<(), SendError>(())
    };
    let mut connection = primary.open_with_pushes(pushes).await?;
    let mut command = redis::cmd("CLIENT");
    command.arg("TRACKING").arg("ON").arg("BCAST");
    for prefix in prefixes {
        command.arg("PREFIX").arg(prefix.as_slice());
    }
    ask(primary.address(), &mut connection, &command, deadline).await?;
    is_primary(primary.address(), connection.clone(), deadline).await?;
    Ok((primary.address().clone(), connection))
}

/// Waits until something may be missed; why, if it is worth telling.
async fn until_lost(link: &Link, connections: &Connections, ears: &Ears) -> Option<Failure> {
    let heard: BTreeSet<&Address> = connections.iter().map(|(address, _)| address).collect();
    let mut ticks = interval(limits::REDIS_WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ears.ended.notified() => {
                let (address, _) = connections.first()?;
                return Some(Failure::unreachable(address, Outage::Broken, "the connection for changes ended"));
            }
            _ = ticks.tick() => {}
        }
        if ears.listener.strong_count() == 0 {
            return None;
        }
        let deadline = Deadline::after(link.server().response_timeout);
        let primaries = match link.primaries_now(deadline).await {
            Ok(primaries) => primaries,
            Err(failure) => return Some(failure),
        };
        if primaries.iter().map(Primary::address).collect::<BTreeSet<_>>() != heard {
            return Some(Failure::Setup { detail: "the primaries are not the same any more".to_owned() });
        }
        let still = connections.iter().map(|(address, connection)| is_primary(address, connection.clone(), deadline));
        if let Err(failure) = try_join_all(still).await {
            return Some(failure);
        }
    }
}

async fn is_primary(
    address: &Address,
    mut connection: MultiplexedConnection,
    deadline: Deadline,
) -> Result<(), Failure> {
    match ask(address, &mut connection, &redis::cmd("ROLE"), deadline).await {
        Ok(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"slave".to_vec())) => {
            Err(Failure::ReadOnly { server: address.clone() })
        }
        Ok(_) | Err(Failure::NotAllowed { .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

async fn ask(
    address: &Address,
    connection: &mut MultiplexedConnection,
    command: &redis::Cmd,
    deadline: Deadline,
) -> Result<Value, Failure> {
    let asked = connection.send_packed_command(command);
    match tokio::time::timeout_at(deadline.instant().into(), asked).await {
        Err(_) => Err(Failure::unreachable(address, Outage::Silent, "no answer on the connection for changes")),
        Ok(Err(error)) => Err(Failure::of_connection(address, Outage::Broken, &error)),
        Ok(Ok(Value::ServerError(error))) => Err(Failure::of_reply(address, &error)),
        Ok(Ok(value)) => Ok(value),
    }
}

impl Ears {
    fn begin(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed already if a connection ended while others were still being made.
        if let (true, Some(listener)) = (*open, self.listener.upgrade()) {
            listener.watching();
        }
    }

    /// Nothing is heard from here on.
    fn close(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *open)
            && let Some(listener) = self.listener.upgrade()
        {
            listener.lost();
        }
    }

    /// Called where replies are read, so that a change is told before any answer that is read after it.
    fn hear(&self, push: &PushInfo) {
        if push.kind == PushKind::Disconnection {
            self.close();
            // There is always a permit for whoever waits next, so this cannot come too early.
            self.ended.notify_one();
            return;
        }
        if push.kind != PushKind::Invalidate {
            return;
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (true, Some(listener)) = (*open, self.listener.upgrade()) else { return };
        let forget = || {
            listener.lost();
            listener.watching();
        };
        let Some(Value::Array(keys)) = push.data.first() else {
            // The whole database was emptied.
            return forget();
        };
        for key in keys {
            let Value::BulkString(key) = key else { continue };
            match self.rows.row_of(key) {
                Some((view, key)) => listener.changed(view, key),
                None => return forget(),
            }
        }
    }
}
