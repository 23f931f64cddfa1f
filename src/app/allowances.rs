//! What plugins may use, read again while a gateway runs: SIGHUP has it read `plugin_limits` of `lockstep.yaml`.
//!
//! Calls that run end under the limits that they began with. A file with a mistake changes nothing.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::config;
use crate::error::chain;
use crate::transform::Transforms;

/// Waits for the signal, again and again, until it is dropped. The signal is taken from now on: one that nobody takes
/// ends the process.
pub(super) fn watch(folder: PathBuf, transforms: Arc<Transforms>) -> impl Future<Output = ()> + Send {
    let hangup = signal(SignalKind::hangup());
    async move {
        let mut hangup = match hangup {
            Ok(hangup) => hangup,
            Err(error) => {
                error!(%error, "SIGHUP cannot be listened to; plugin_limits are those of the start");
                return;
            }
        };
        while hangup.recv().await.is_some() {
            match config::read(&folder) {
                Ok(read) => {
                    transforms.set_limits(read.plugin_limits);
                    info!("plugin_limits are read again");
                }
                Err(error) => {
                    error!(error = %chain(&error), "plugin_limits stay as they are: lockstep.yaml cannot be read");
                }
            }
        }
    }
}
