//! The kept rows of one view: entries, what makes one valid, and what is counted of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use moka::sync::Cache;

use super::Keeping;
use super::flight::{Flight, Flights};
use crate::clock::whole_micros;
use crate::limits::{HOT_CACHE_ROW_BYTES, HOT_CACHE_STRIPES};
use crate::online::OnlineView;
use crate::online::packed::RowSchema;

/// The bytes of a packed row, or that there is none.
pub(super) type Row = Option<Arc<[u8]>>;

#[derive(Debug)]
pub(super) struct CachedView {
    keeping: Keeping,
    max_age: u64,
    shape: ArcSwap<Shape>,
    entries: Cache<Box<[u8]>, Entry>,
    stripes: Box<[Mutex<Stripe>]>,
    era: AtomicU64,
    next_shape: AtomicU64,
    counters: Arc<Counters>,
}

/// A view as it is defined, and how its rows are packed here.
#[derive(Debug)]
pub(super) struct Shape {
    number: u64,
    pub view: Arc<OnlineView>,
    pub schema: Arc<RowSchema>,
    /// All of the view's features.
    pub columns: Vec<usize>,
}

/// Of what and from when an entry is, or a reader that looks for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    shape: u64,
    era: u64,
    /// When its read began, on the steady clock.
    began: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    moment: Moment,
    row: Row,
}

/// Keys that share a version; see the races in the header of the module above.
#[derive(Debug, Default)]
pub(super) struct Stripe {
    version: u64,
    flights: Flights,
}

/// What a look at one key found.
#[derive(Debug)]
pub(super) enum Looked {
    Kept(Row),
    /// Somebody is asking the store.
    Join(Flight),
    /// We are to ask; the version of the key before.
    Ask {
        version: u64,
    },
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    absent_hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    invalidations: AtomicU64,
}

/// What is counted of a view, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewCounts {
    /// Rows that were here.
    pub hits: u64,
    /// Rows of which it was known here that there are none.
    pub absent_hits: u64,
    /// Rows that were asked of the store, or of a caller who was asking it already.
    pub misses: u64,
    /// Entries that had to make room or grew too old.
    pub evictions: u64,
    /// Changes that were told.
    pub invalidations: u64,
    /// Entries, give or take those of the last moments.
    pub entries: u64,
}

impl CachedView {
    pub fn new(view: &Arc<OnlineView>, keeping: Keeping) -> Self {
        let counters = Arc::new(Counters::default());
        let evicted = Arc::clone(&counters);
        let entries = Cache::<Box<[u8]>, Entry>::builder()
            .max_capacity(keeping.rows)
            .weigher(|key, entry| {
                let bytes = key.len() + entry.row.as_ref().map_or(0, |row| row.len());
                u32::try_from(bytes.div_ceil(HOT_CACHE_ROW_BYTES).max(1)).unwrap_or(u32::MAX)
            })
            // Only frees memory: whether an entry may be used is for `Moment` to say.
            .time_to_live(keeping.max_age)
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    evicted.evictions.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        Self {
            keeping,
            max_age: whole_micros(keeping.max_age),
            shape: ArcSwap::from_pointee(Shape::of(view, 0)),
            entries,
            stripes: std::iter::repeat_with(Mutex::default).take(HOT_CACHE_STRIPES).collect(),
            era: AtomicU64::new(0),
            next_shape: AtomicU64::new(1),
            counters,
        }
    }

    /// The shape of the view as the caller knows it. Another one than before begins with nothing.
    pub fn shape_of(&self, view: &Arc<OnlineView>) -> Arc<Shape> {
        let shape = self.shape.load();
        if Arc::ptr_eq(&shape.view, view) || shape.view == *view {
            return Arc::clone(&shape);
        }
        let shape = Arc::new(Shape::of(view, self.next_shape.fetch_add(1, Ordering::Relaxed)));
        self.shape.store(Arc::clone(&shape));
        self.forget();
        shape
    }

    /// The moment of a read that begins now.
    pub fn moment(&self, shape: &Shape, began: u64) -> Moment {
        Moment { shape: shape.number, era: self.era.load(Ordering::Acquire), began }
    }

    /// What is kept under `key` and may be used by a read of this moment.
    pub fn find(&self, key: &[u8], now: Moment) -> Option<Row> {
        let entry = self.entries.get(key)?;
        self.holds(entry.moment, now).then_some(entry.row)
    }

    /// As `find`; and where nothing is kept, whose turn it is to ask.
    pub fn look(&self, key: &[u8], now: Moment, flight: impl FnOnce(u64) -> Flight) -> Looked {
        let mut stripe = self.stripe(key);
        // Who asked may have put it in before we got here.
        if let Some(row) = self.find(key, now) {
            return Looked::Kept(row);
        }
        let version = stripe.version;
        match stripe.flights.get(key) {
            Some(flight) if flight.version == version && self.holds(flight.moment, now) => Looked::Join(flight.clone()),
            _ => {
                stripe.flights.insert(key.into(), flight(version));
                Looked::Ask { version }
            }
        }
    }

    /// The asking read of `batch` is over. `row` is what it found, if it found out; it is kept if nothing has changed.
    pub fn land(&self, key: &[u8], version: u64, batch: u64, moment: Moment, row: Option<&Row>) {
        let mut stripe = self.stripe(key);
        if stripe.flights.get(key).is_some_and(|flight| flight.batch == batch) {
            stripe.flights.remove(key);
        }
        let Some(row) = row.filter(|row| row.is_some() || self.keeping.absent) else { return };
        if stripe.version == version && self.era.load(Ordering::Acquire) == moment.era {
            self.entries.insert(key.into(), Entry { moment, row: row.clone() });
        }
    }

    pub fn invalidate(&self, key: &[u8]) {
        let mut stripe = self.stripe(key);
        stripe.version += 1;
        self.entries.invalidate(key);
        self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing that is kept or being asked for may be used any more.
    pub fn forget(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
        self.entries.invalidate_all();
    }

    pub fn count(&self, hits: u64, absent_hits: u64, misses: u64) {
        for (counter, count) in
            [(&self.counters.hits, hits), (&self.counters.absent_hits, absent_hits), (&self.counters.misses, misses)]
        {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    pub fn counts(&self) -> ViewCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ViewCounts {
            hits: read(&self.counters.hits),
            absent_hits: read(&self.counters.absent_hits),
            misses: read(&self.counters.misses),
            evictions: read(&self.counters.evictions),
            invalidations: read(&self.counters.invalidations),
            entries: self.entries.entry_count(),
        }
    }

    /// Does what moka puts off, so that `counts` are exact.
    #[cfg(test)]
    pub fn run_pending_tasks(&self) {
        self.entries.run_pending_tasks();
    }

    fn holds(&self, kept: Moment, now: Moment) -> bool {
        kept.shape == now.shape && kept.era == now.era && now.began.saturating_sub(kept.began) <= self.max_age
    }

    fn stripe(&self, key: &[u8]) -> MutexGuard<'_, Stripe> {
        // FNV-1a: keys are short, and nothing is lost but time when many fall on one stripe.
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, step);
        let stripe = &self.stripes[(hash >> 32) as usize % HOT_CACHE_STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shape {
    fn of(view: &Arc<OnlineView>, number: u64) -> Self {
        let columns = (0..view.features.len()).collect();
        Self { number, view: Arc::clone(view), schema: Arc::new(RowSchema::of(view)), columns }
    }
}
