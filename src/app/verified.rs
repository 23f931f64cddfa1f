//! Golden cases that came with a plugin are run on this machine before its first call, and it is kept that they held.
//!
//! The same bytes should give the same answers everywhere; whether they do is a matter of this machine's processor and of
//! the compiler. So a result is of this machine since it was started, of this engine and of these cases: whatever
//! changes, they run again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use super::Error;
use crate::catalog::Digest;
use crate::clock::{Clock, Micros};
use crate::limits::GOLDEN_CASES_MAX;
use crate::transform::Transforms;
use crate::transform::conformance::{Case, goldens};

/// Differs on each machine, and after each start of it.
const MACHINE: &str = "/proc/sys/kernel/random/boot_id";
/// Mismatches that a message tells.
const TOLD_MAX: usize = 3;

/// How a plugin stands to its golden cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub cases: usize,
    /// When they held on this machine; none of a plugin without cases.
    pub verified_at: Option<Micros>,
}

impl Standing {
    pub const NONE: Self = Self { cases: 0, verified_at: None };
}

/// Has the cases of a loaded plugin run, unless they held here before.
pub(super) fn verify(
    transforms: &Transforms,
    cache: &Path,
    plugin: &str,
    component: Digest,
    cases: &str,
) -> Result<Standing, Error> {
    let file = kept(cache, &transforms.engine_hash(), component, cases);
    if let Some(standing) = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(standing);
    }
    let cases = run(transforms, plugin, component, cases)?;
    let standing = Standing { cases, verified_at: Some(Clock::default().now()) };
    if let Err(error) = keep(&file, &standing) {
        warn!(file = %file.display(), "that golden cases held cannot be kept; they run again at the next start: {error}");
    }
    Ok(standing)
}

/// Runs the cases of a loaded plugin; how many there are. One that does not hold is an error that tells it.
pub(super) fn run(transforms: &Transforms, plugin: &str, component: Digest, cases: &str) -> Result<usize, Error> {
    let failed = |detail: String| Error::GoldenCases { plugin: plugin.to_owned(), detail };
    let texts: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(cases).map_err(|error| failed(format!("they are not cases by name: {error}")))?;
    if texts.len() > GOLDEN_CASES_MAX {
        return Err(failed(format!("there are {}, at most {GOLDEN_CASES_MAX} are run", texts.len())));
    }
    // A case travels alone, so it has its rows in itself.
    let mut no_file = |name: &str| -> Result<RecordBatch, String> {
        Err(format!("{name} does not travel with the plugin; write the rows into the case"))
    };
    let parsed = texts.iter().map(|(name, text)| Case::parse(name, text.get(), &mut no_file));
    let parsed = parsed.collect::<Result<Vec<Case>, _>>().map_err(|error| failed(error.to_string()))?;
    let report = goldens(transforms, plugin, component, &parsed).map_err(|error| failed(error.to_string()))?;
    if report.mismatches.is_empty() {
        return Ok(report.cases);
    }
    let told: Vec<String> = report.mismatches.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    let more = match report.mismatches.len() - told.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Err(Error::OtherHere { plugin: plugin.to_owned(), detail: told.join("; ") + &more })
}

fn kept(cache: &Path, engine: &str, component: Digest, cases: &str) -> PathBuf {
    // Where the system does not say which machine this is, it is at least this engine.
    let machine = fs::read_to_string(MACHINE).unwrap_or_default();
    let what = Digest::of(format!("{machine}\n{engine}\n{}", Digest::of(cases.as_bytes())).as_bytes());
    cache.join("goldens").join(format!("{component}-{}.json", what.short()))
}

fn keep(file: &Path, standing: &Standing) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec(standing)?)?;
    fs::rename(beside, file)
}
