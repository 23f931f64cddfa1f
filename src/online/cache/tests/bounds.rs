//! The promise: no answer holds a row that was replaced more than `max_age` before the read began, whatever the change
//! feed does, and what was told or written through this store is never older than that.

use std::sync::Mutex;
use std::sync::atomic::AtomicI64;

use proptest::prelude::*;
use tokio::task::{JoinHandle, JoinSet};

use super::hooked::{Hooked, Stopped};
use super::*;

const AGE_MICROS: u64 = 1_000_000;

fn key(id: i64) -> Vec<u8> {
    keys(&[id]).get(0).to_vec()
}

fn keys(ids: &[i64]) -> KeyBatch {
    let rows: Vec<_> = ids.iter().map(|id| (Some(*id), 0, None, None)).collect();
    KeyBatch::encode(&plain_view("companies").join_keys, &lines(&rows).keys, ids.len())
}

/// The versions of some rows, 0 where there is none.
async fn versions(store: &dyn OnlineStore, ids: &[i64]) -> Vec<i64> {
    let (view, keys) = (plain_view("companies"), keys(ids));
    let stored = store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], soon()).await.unwrap().remove(0);
    (0..ids.len()).map(|row| if stored.present.value(row) { stored.event_time.value(row) } else { 0 }).collect()
}

async fn write_version(store: &dyn OnlineStore, id: i64, version: i64) {
    write(store, &plain_view("companies"), &lines(&[(Some(id), version, None, Some(version))])).await;
}

/// One key's past: by version, when the next one was there.
#[derive(Debug, Default)]
struct Past {
    replaced_at: Vec<u64>,
    /// The oldest version that a read beginning now may answer, by what was told and written here.
    floor: i64,
}

impl Past {
    fn newest(&self) -> i64 {
        self.replaced_at.len() as i64
    }
}

/// What happens in a random story. There are four keys.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Another process writes; the feed tells at once, or when `Tell` says so, or never.
    Foreign(usize, bool),
    Own(usize),
    Tell(prop::sample::Index),
    Begin(usize, usize),
    Look(prop::sample::Index),
    Give(prop::sample::Index),
    Fail(prop::sample::Index),
    Abort(prop::sample::Index),
    Pass(u64),
    Lost,
    Watching,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => (0..4_usize, any::<bool>()).prop_map(|(key, told)| Step::Foreign(key, told)),
        2 => (0..4_usize).prop_map(Step::Own),
        2 => index().prop_map(Step::Tell),
        8 => (0..4_usize, 0..4_usize).prop_map(|(one, other)| Step::Begin(one, other)),
        4 => index().prop_map(Step::Look),
        6 => index().prop_map(Step::Give),
        1 => index().prop_map(Step::Fail),
        1 => index().prop_map(Step::Abort),
        3 => (1..700_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Lost),
        1 => Just(Step::Watching),
    ];
    prop::collection::vec(step, 1..120)
}

/// A read under way: what it asks, when it began, and the oldest versions that it may answer.
struct Reading {
    ids: [i64; 2],
    began: u64,
    floors: [i64; 2],
    answer: JoinHandle<Result<Vec<StoredRows>, Error>>,
}

struct Story {
    inner: Arc<Hooked>,
    store: Arc<CachedStore>,
    clock: Steady,
    past: [Past; 4],
    /// Changes that the feed has not told yet: key and version.
    untold: Vec<(usize, i64)>,
    stopped: Vec<Stopped>,
    reading: Vec<Reading>,
    watching: bool,
    checked: usize,
    hits: usize,
}

impl Story {
    fn new() -> Self {
        let inner = Arc::new(Hooked::default());
        let (store, clock) = cached(Arc::clone(&inner) as _, &["companies"]);
        inner.listener().watching();
        inner.stop(true);
        Self {
            inner,
            store: Arc::new(store),
            clock,
            past: Default::default(),
            untold: Vec::new(),
            stopped: Vec::new(),
            reading: Vec::new(),
            watching: true,
            checked: 0,
            hits: 0,
        }
    }

    async fn run(&mut self, steps: Vec<Step>) -> Result<(), TestCaseError> {
        for step in steps {
            self.step(step).await;
            self.settle().await?;
        }
        // In the end every read is let go.
        while !self.reading.is_empty() {
            self.stopped.drain(..).for_each(Stopped::give);
            self.settle().await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Foreign(place, told) => {
                let version = self.past[place].newest() + 1;
                write_version(&self.inner.rows, place as i64, version).await;
                self.past[place].replaced_at.push(self.clock.now());
                self.untold.push((place, version));
                if told {
                    self.tell(self.untold.len() - 1);
                }
            }
            Step::Own(place) => {
                let version = self.past[place].newest() + 1;
                write_version(&*self.store, place as i64, version).await;
                self.past[place].replaced_at.push(self.clock.now());
                self.past[place].floor = version;
            }
            Step::Tell(at) if !self.untold.is_empty() => self.tell(at.index(self.untold.len())),
            Step::Begin(one, other) => self.begin([one, other]),
            Step::Look(at) if !self.stopped.is_empty() => {
                let place = at.index(self.stopped.len());
                self.stopped[place].look();
            }
            Step::Give(at) if !self.stopped.is_empty() => self.stopped.remove(at.index(self.stopped.len())).give(),
            Step::Fail(at) if !self.stopped.is_empty() => self.stopped.remove(at.index(self.stopped.len())).fail(),
            Step::Abort(at) if !self.reading.is_empty() => {
                self.reading[at.index(self.reading.len())].answer.abort();
            }
            Step::Pass(micros) => self.clock.pass(Duration::from_micros(micros)),
            Step::Lost => {
                self.inner.listener().lost();
                self.watching = false;
            }
            Step::Watching => {
                self.inner.listener().watching();
                self.watching = true;
                // Everything that was kept is forgotten, so what is read from now on is from now on.
                for past in &mut self.past {
                    past.floor = past.newest();
                }
            }
            Step::Tell(_) | Step::Look(_) | Step::Give(_) | Step::Fail(_) | Step::Abort(_) => {}
        }
    }

    fn tell(&mut self, at: usize) {
        let (place, version) = self.untold.remove(at);
        self.inner.listener().changed("companies", &key(place as i64));
        // Whatever was there when it was told, was there before every read that begins now.
        let past = &mut self.past[place];
        past.floor = past.floor.max(version).max(past.newest());
    }

    fn begin(&mut self, places: [usize; 2]) {
        let ids = places.map(|place| place as i64);
        let floor = |place: usize| {
            let past = &self.past[place];
            if self.watching { past.floor } else { past.newest() }
        };
        let store = Arc::clone(&self.store);
        let answer = tokio::spawn(async move {
            let (view, keys) = (plain_view("companies"), keys(&ids));
            store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], soon()).await
        });
        self.reading.push(Reading { ids, began: self.clock.now(), floors: places.map(floor), answer });
    }

    /// Lets every task run until it waits, and checks the answers that came.
    async fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..30 {
            tokio::task::yield_now().await;
        }
        while let Some(stopped) = self.inner.take_stopped() {
            self.stopped.push(stopped);
        }
        let mut place = 0;
        while place < self.reading.len() {
            if self.reading[place].answer.is_finished() {
                let reading = self.reading.swap_remove(place);
                self.check(reading).await?;
            } else {
                place += 1;
            }
        }
        Ok(())
    }

    async fn check(&mut self, reading: Reading) -> Result<(), TestCaseError> {
        // A read that was told to fail or that was aborted has nothing to check.
        let Ok(Ok(mut stored)) = reading.answer.await else { return Ok(()) };
        let stored = stored.remove(0);
        for (row, (id, floor)) in reading.ids.iter().zip(reading.floors).enumerate() {
            let version = if stored.present.value(row) { stored.event_time.value(row) } else { 0 };
            let past = &self.past[*id as usize];
            prop_assert!(version >= floor, "key {} at version {} although {} was known", id, version, floor);
            if let Some(replaced_at) = past.replaced_at.get(version as usize) {
                let oldest = reading.began.saturating_sub(AGE_MICROS);
                prop_assert!(
                    *replaced_at >= oldest,
                    "key {} at version {}, replaced {} µs before the read",
                    id,
                    version,
                    reading.began - replaced_at
                );
            }
            self.checked += 1;
        }
        self.hits = count(&self.store, "companies").hits as usize;
        Ok(())
    }
}

#[test]
fn no_story_of_reads_writes_changes_and_losses_gives_an_answer_that_is_too_old() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let seen = Mutex::new((0, 0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let result = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            let mut story = Story::new();
            story.run(steps).await?;
            let mut seen = seen.lock().unwrap();
            *seen = (seen.0 + story.checked, seen.1 + story.hits);
            Ok(())
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let (checked, hits) = seen.into_inner().unwrap();
    assert!(checked > 2_000 && hits > 200, "{checked} rows were checked, {hits} came from here");
}

/// What readers and writers of the crowd share.
struct Crowd {
    store: CachedStore,
    inner: Arc<Hooked>,
    clock: Steady,
    /// By key and version: when the next version was there.
    replaced_at: Vec<Mutex<Vec<u64>>>,
    told_late: Mutex<Vec<i64>>,
    oldest: AtomicI64,
}

/// A third of the changes is told at once, a third late, a third never.
#[test]
fn fifty_writers_and_readers_over_a_feed_that_drops_and_delays_see_nothing_too_old() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let inner = Arc::new(Hooked::default());
        let (store, clock) = cached(Arc::clone(&inner) as _, &["companies"]);
        inner.listener().watching();
        let replaced_at = std::iter::repeat_with(Mutex::default).take(50).collect();
        let (told_late, oldest) = (Mutex::default(), AtomicI64::new(0));
        let crowd = Arc::new(Crowd { store, inner, clock, replaced_at, told_late, oldest });
        let mut tasks = JoinSet::new();
        for id in 0..50 {
            tasks.spawn(write_often(Arc::clone(&crowd), id));
        }
        for reader in 0..50 {
            tasks.spawn(read_often(Arc::clone(&crowd), reader));
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let counts = count(&crowd.store, "companies");
        assert!(counts.hits > 5_000 && counts.misses > 1_000, "{counts:?}");
        let oldest = crowd.oldest.load(Ordering::SeqCst);
        assert!(oldest > AGE_MICROS as i64 / 2, "an answer was at most {oldest} µs old: the feed told too much");
    });
}

async fn write_often(crowd: Arc<Crowd>, id: i64) {
    for version in 1..=200 {
        write_version(&crowd.inner.rows, id, version).await;
        crowd.replaced_at[id as usize].lock().unwrap().push(crowd.clock.now());
        match (id + version) % 3 {
            0 => crowd.inner.listener().changed("companies", &key(id)),
            1 => crowd.told_late.lock().unwrap().push(id),
            _ => {}
        }
        if version % 10 == 0 {
            let late = std::mem::take(&mut *crowd.told_late.lock().unwrap());
            late.iter().for_each(|id| crowd.inner.listener().changed("companies", &key(*id)));
        }
        crowd.clock.pass(Duration::from_millis(2));
        tokio::task::yield_now().await;
    }
}

async fn read_often(crowd: Arc<Crowd>, reader: i64) {
    for turn in 0..300 {
        let ids = [(reader + turn) % 50, (reader * 7 + turn) % 50, turn % 50];
        let began = crowd.clock.now();
        for (id, version) in ids.iter().zip(versions(&crowd.store, &ids).await) {
            let replaced_at = crowd.replaced_at[*id as usize].lock().unwrap().get(version as usize).copied();
            // A version that has no successor yet, or whose successor has not been noted yet, is as new as can be.
            let age = replaced_at.map_or(0, |at| began.saturating_sub(at));
            assert!(age <= AGE_MICROS, "key {id}: version {version} was replaced {age} µs before the read");
            crowd.oldest.fetch_max(age as i64, Ordering::SeqCst);
        }
        tokio::task::yield_now().await;
    }
}
