//! Another build of a plugin beside the one that answers: a share of the live calls of a derived view is computed again
//! with it, off the way of the requests, and both answers are compared.
//!
//! A caller never waits for it and never sees it. What is to be compared waits in a short queue for one thread; while
//! that is busy, calls are dropped and counted. Both builds are run there, one after the other on the same columns, so
//! that what they cost can be compared too.
//!
//! # Why the answer of the live call is not taken
//! It is the same, because a transform is pure; and what it cost was measured among other work, with other rows.

mod tally;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use arc_swap::ArcSwap;
use arrow::array::ArrayRef;
use tracing::error;

use crate::catalog::{DerivedView, InputSource, TimeUse, Transform};
use crate::clock::Deadline;
use crate::limits::{SHADOW_QUEUE_MAX, SHADOW_ROWS_MAX, SHADOW_RUN_TIME_MAX};
use crate::transform::Transforms;

pub use self::tally::{Cost, Example, FeatureFound, Found};
use self::tally::{Ran, Tally};

/// The shadows of a running gateway, by view.
#[derive(Debug, Default)]
pub struct Shadows {
    any: AtomicBool,
    running: ArcSwap<BTreeMap<String, Arc<Shadow>>>,
    queue: Mutex<Option<SyncSender<Job>>>,
}

/// One derived view of which two builds are compared.
#[derive(Debug)]
pub struct Shadow {
    pair: Pair,
    share: f64,
    calls: AtomicU64,
    dropped: AtomicU64,
    tally: Mutex<Tally>,
}

/// The two transforms of a view, and which columns of one are those of the other.
#[derive(Clone, Debug)]
pub struct Pair {
    pub view: String,
    /// The one that answers.
    pub old: Arc<Transform>,
    pub new: Arc<Transform>,
    /// For each input column of the new one, as it is called, its place among those of the old one.
    inputs: Vec<usize>,
    /// By feature of the view: its name, and its place among the outputs of both.
    features: Vec<(String, usize, usize)>,
}

/// What is to be compared.
#[derive(Debug)]
struct Job {
    shadow: Arc<Shadow>,
    transforms: Arc<Transforms>,
    columns: Vec<ArrayRef>,
    rows: usize,
}

impl Pair {
    /// The view as it is answered, and as it would be with another build of its plugin; the error says why the two cannot
    /// be compared.
    pub fn new(old: &DerivedView, new: &DerivedView) -> Result<Self, String> {
        let time = |view: &DerivedView| view.transform.signature.time;
        if time(old) != time(new) || old.freeze_at_event_time != new.freeze_at_event_time {
            return Err(format!("only one of the two builds of {} reads as_of", old.name));
        }
        let first = usize::from(time(old) == TimeUse::AsOf);
        let mut inputs: Vec<usize> = (0..first).collect();
        for input in &new.inputs {
            let place = old
                .inputs
                .iter()
                .position(|known| known.from == input.from && known.column.dtype == input.column.dtype);
            let place = place.ok_or_else(|| {
                format!("the other build reads {}, which {} does not read now", read(&input.from), old.name)
            })?;
            inputs.push(first + place);
        }
        let mut features = Vec::with_capacity(old.features.len());
        for (place, feature) in old.features.iter().enumerate() {
            let other =
                new.features.iter().position(|known| known.name == feature.name && known.dtype == feature.dtype);
            let missing = || {
                format!(
                    "the other build has no output for feature {} ({}) of {}",
                    feature.name, feature.dtype, old.name
                )
            };
            features.push((feature.name.clone(), place, other.ok_or_else(missing)?));
        }
        let (view, old, new) = (old.name.clone(), Arc::clone(&old.transform), Arc::clone(&new.transform));
        Ok(Self { view, old, new, inputs, features })
    }

    /// The names of the columns that the old transform is called with.
    fn columns(&self) -> Vec<String> {
        let signature = &self.old.signature;
        let as_of = (signature.time == TimeUse::AsOf).then(|| "as_of".to_owned());
        as_of
            .into_iter()
            .chain(signature.features.iter().chain(&signature.request).map(|field| field.name.clone()))
            .collect()
    }
}

fn read(from: &InputSource) -> String {
    match from {
        InputSource::Feature { view, feature } => format!("{view}:{feature}"),
        InputSource::Request { field } => format!("request field {field}"),
    }
}

impl Shadows {
    /// Whether there is any; all that a request pays where there is none.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// These from now on. One that goes on as it was keeps what it has found.
    pub fn set(&self, wanted: Vec<(Pair, f64)>) {
        let before = self.running.load_full();
        let shadow = |(pair, share): (Pair, f64)| {
            let known = before.get(&pair.view).filter(|known| known.is_of(&pair, share));
            (pair.view.clone(), known.map_or_else(|| Arc::new(Shadow::new(pair, share)), Arc::clone))
        };
        let running: BTreeMap<String, Arc<Shadow>> = wanted.into_iter().map(shadow).collect();
        self.any.store(!running.is_empty(), Ordering::Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_empty() {
            // The thread ends when what waits is compared.
            *queue = None;
        } else if queue.is_none() {
            *queue = start();
        }
        self.running.store(Arc::new(running));
    }

    /// The shadow of a view, if this call of its transform is one of those that are to be compared.
    pub fn due(&self, view: &str, transform: &Transform) -> Option<Arc<Shadow>> {
        let running = self.running.load();
        let shadow = running.get(view).filter(|shadow| shadow.pair.old.digest == transform.digest)?;
        shadow.is_due().then(|| Arc::clone(shadow))
    }

    /// Has a call compared when there is time, or drops it. `columns` are those of the call, of which the first rows are
    /// taken.
    pub fn compare(&self, shadow: Arc<Shadow>, transforms: &Arc<Transforms>, columns: &[ArrayRef], rows: usize) {
        let rows = rows.min(SHADOW_ROWS_MAX);
        let columns = columns.iter().map(|column| column.slice(0, rows)).collect();
        let job = Job { shadow, transforms: Arc::clone(transforms), columns, rows };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match &*queue {
            Some(queue) => queue.try_send(job),
            None => Err(TrySendError::Disconnected(job)),
        };
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = sent {
            job.shadow.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was found so far, by view; with the examples if they are wanted, which have values of requests in them.
    pub fn found(&self, examples: bool) -> Vec<Found> {
        self.running.load().values().map(|shadow| shadow.found(examples)).collect()
    }
}

impl Shadow {
    fn new(pair: Pair, share: f64) -> Self {
        let tally = Tally::of(pair.features.iter().map(|(name, ..)| name.as_str()));
        Self { pair, share, calls: AtomicU64::new(0), dropped: AtomicU64::new(0), tally: Mutex::new(tally) }
    }

    fn is_of(&self, pair: &Pair, share: f64) -> bool {
        self.pair.old.digest == pair.old.digest
            && self.pair.new.digest == pair.new.digest
            && self.pair.inputs == pair.inputs
            && self.share.to_bits() == share.to_bits()
    }

    /// Of `n` calls, `n × share` are due, evenly spread.
    fn is_due(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let due_before = |calls: u64| (calls as f64 * self.share).floor();
        due_before(call + 1) > due_before(call)
    }

    fn found(&self, examples: bool) -> Found {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Found {
            view: self.pair.view.clone(),
            old: self.pair.old.component.to_string(),
            new: self.pair.new.component.to_string(),
            share: self.share,
            calls: self.calls.load(Ordering::Relaxed),
            compared: tally.calls,
            rows: tally.rows,
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: tally.failed,
            last_failure: tally.last_failure.clone(),
            old_cost: tally.old_cost,
            new_cost: tally.new_cost,
            features: tally.features.clone(),
            examples: if examples { tally.examples.iter().cloned().collect() } else { Vec::new() },
        }
    }
}

/// The thread that compares; none where the machine gives none, and then every call is dropped.
fn start() -> Option<SyncSender<Job>> {
    let (sender, receiver) = sync_channel(SHADOW_QUEUE_MAX);
    let thread = thread::Builder::new().name("shadow".to_owned()).spawn(move || compare_all(&receiver));
    thread
        .map(|_| sender)
        .inspect_err(|error| error!(%error, "there is no thread for shadows; nothing is compared"))
        .ok()
}

fn compare_all(jobs: &Receiver<Job>) {
    for Job { shadow, transforms, columns, rows } in jobs {
        let pair = &shadow.pair;
        let new_columns: Vec<ArrayRef> = pair.inputs.iter().map(|place| Arc::clone(&columns[*place])).collect();
        let run = |transform: &Transform, columns: &[ArrayRef]| {
            let begun = Instant::now();
            let applied = transforms.apply(transform, columns, rows, Deadline::after(SHADOW_RUN_TIME_MAX));
            applied.map(|applied| Ran { outputs: applied.rows, fuel: applied.fuel, took: begun.elapsed() })
        };
        // Whoever runs second finds the columns in the processor's caches, so they take turns.
        let new_first = shadow.tally.lock().unwrap_or_else(PoisonError::into_inner).calls.is_multiple_of(2);
        let (old, new) = match new_first {
            true => {
                let new = run(&pair.new, &new_columns);
                (run(&pair.old, &columns), new)
            }
            false => (run(&pair.old, &columns), run(&pair.new, &new_columns)),
        };
        // What the live call failed with was told to its caller.
        let Ok(old) = old else { continue };
        let names = pair.columns();
        let mut tally = shadow.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.add(&pair.features, &names, &columns, rows, &old, new.as_ref());
    }
}
