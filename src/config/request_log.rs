//! `request_log` in `lockstep.yaml`: which of the served requests are logged, and where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::section::Section;
use crate::limits;
use crate::request_log::Settings;

/// Which requests are logged, and where.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestLogFile {
    /// The part of the requests that is logged: above 0, up to 1.
    #[serde(default = "log_share")]
    pub share: f64,
    /// The folder of the log's files.
    #[serde(default = "log_folder")]
    pub folder: String,
    /// What all of them may take, in MiB; the oldest make room.
    #[serde(default = "log_mib")]
    pub max_mib: u64,
    /// Whether requests that read sensitive views are logged too.
    #[serde(default)]
    pub sensitive: bool,
}

fn log_share() -> f64 {
    0.01
}

fn log_folder() -> String {
    ".lockstep/requests".to_owned()
}

fn log_mib() -> u64 {
    1_024
}

pub(super) fn settings(mut section: Section<'_>, file: &RequestLogFile) -> Settings {
    if !(file.share > 0.0 && file.share <= 1.0) {
        section.refuse("share", "a share is above 0 and 1 at most, such as 0.01; leave request_log out to log nothing");
    }
    let folder = section.path("folder", &file.folder);
    let least = limits::REQUEST_LOG_BYTES_MIN;
    let bytes = file.max_mib.checked_mul(1 << 20).filter(|bytes| *bytes >= least);
    if bytes.is_none() {
        section.refuse("max_mib", format!("a request log needs {} MiB at least", least >> 20));
    }
    let (share, bytes_max, sensitive) = (file.share, bytes.unwrap_or(least), file.sensitive);
    Settings { share, folder, bytes_max, sensitive }
}
