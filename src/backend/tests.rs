//! The guard over time that stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::limits::{BACKEND_RETRIES_PER_SECOND, BREAKER_FAILURES_IN_A_ROW, BREAKER_PROBE_EVERY};

const MS: Duration = Duration::from_millis(1);
const TIME: Duration = Duration::from_millis(500);

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn backend() -> (Backend, Steady) {
    let clock = Steady::held();
    (Backend::new("sample", clock.clone()), clock)
}

/// A call that ends as told; whether it was made at all.
async fn call(backend: &Backend, outcome: Outcome) -> bool {
    match backend.admit(TIME, soon()).await {
        Ok(attempt) => {
            attempt.end(outcome);
            true
        }
        Err(_) => false,
    }
}

async fn fail_until_it_stops(backend: &Backend) {
    for _ in 0..BREAKER_FAILURES_IN_A_ROW {
        assert!(call(backend, Outcome::Failed).await);
    }
    assert!(!backend.counts().up);
}

#[tokio::test]
async fn calls_stop_after_failures_in_a_row_and_say_since_when() {
    let (backend, clock) = backend();
    for _ in 0..20 {
        for _ in 1..BREAKER_FAILURES_IN_A_ROW {
            call(&backend, Outcome::Failed).await;
        }
        call(&backend, Outcome::Answered).await;
        clock.pass(2 * BREAKER_PROBE_EVERY);
        assert!(backend.counts().up, "an answer between them begins a new row");
    }
    fail_until_it_stops(&backend).await;
    clock.pass(300 * MS);
    let refused = backend.admit(TIME, soon()).await.unwrap_err();
    assert_eq!(refused, Refused::Down { since: 300 * MS, again: 700 * MS });
    assert_eq!((backend.counts().refused, backend.counts().stopped), (1, 1));
}

#[tokio::test]
async fn calls_stop_when_half_of_the_last_second_fails() {
    let (backend, clock) = backend();
    for number in 0..18 {
        let outcome = if number % 2 == 0 { Outcome::Failed } else { Outcome::Answered };
        call(&backend, outcome).await;
        clock.pass(50 * MS);
    }
    assert!(backend.counts().up, "18 calls are too few to judge by a share");
    let (fast, clock) = self::backend();
    for number in 0..40 {
        let outcome = if number % 2 == 0 { Outcome::Failed } else { Outcome::Answered };
        call(&fast, outcome).await;
        clock.pass(10 * MS);
    }
    assert!(!fast.counts().up, "it stops within the second");
}

#[tokio::test]
async fn a_backend_that_fails_now_and_then_is_asked_on() {
    let (backend, clock) = backend();
    for number in 0..1_000 {
        let outcome = if number % 4 == 0 { Outcome::Failed } else { Outcome::Answered };
        assert!(call(&backend, outcome).await);
        clock.pass(7 * MS);
    }
    assert!(backend.counts().up);
}

#[tokio::test]
async fn one_call_a_second_looks_whether_it_is_back_and_the_first_answer_ends_it() {
    let (backend, clock) = backend();
    fail_until_it_stops(&backend).await;
    let mut probes = 0;
    for _ in 0..100 {
        clock.pass(100 * MS);
        for _ in 0..10 {
            probes += usize::from(call(&backend, Outcome::Failed).await);
        }
    }
    assert_eq!(probes, 10, "10 seconds, 10 probes");
    clock.pass(BREAKER_PROBE_EVERY);
    assert!(call(&backend, Outcome::Answered).await);
    assert!(backend.counts().up && call(&backend, Outcome::Answered).await);
}

#[tokio::test]
async fn a_probe_whose_caller_goes_away_is_followed_by_another() {
    let (backend, clock) = backend();
    fail_until_it_stops(&backend).await;
    clock.pass(BREAKER_PROBE_EVERY);
    drop(backend.admit(TIME, soon()).await.unwrap());
    assert!(backend.admit(TIME, soon()).await.is_err());
    clock.pass(BREAKER_PROBE_EVERY);
    assert!(call(&backend, Outcome::Answered).await && backend.counts().up);
}

#[tokio::test]
async fn calls_that_began_before_the_failure_change_nothing_after_it() {
    let (backend, clock) = backend();
    let mut old = Vec::new();
    for _ in 0..20 {
        old.push(backend.admit(TIME, soon()).await.unwrap());
    }
    fail_until_it_stops(&backend).await;
    old.pop().unwrap().end(Outcome::Answered);
    assert!(!backend.counts().up, "it was asked before");
    clock.pass(BREAKER_PROBE_EVERY);
    call(&backend, Outcome::Answered).await;
    for attempt in old {
        attempt.end(Outcome::Failed);
    }
    assert!(backend.counts().up, "they failed with the backend that was down then");
}

#[tokio::test]
async fn what_a_caller_does_wrong_or_in_a_hurry_says_nothing_of_the_backend() {
    let (backend, clock) = backend();
    for _ in 0..100 {
        let attempt = backend.admit(TIME, soon()).await.unwrap();
        clock.pass(49 * MS);
        assert!(!attempt.end(Outcome::Late), "49 ms are no time");
        call(&backend, Outcome::Answered).await;
    }
    assert!(backend.counts().up);
    for _ in 0..BREAKER_FAILURES_IN_A_ROW {
        let attempt = backend.admit(TIME, soon()).await.unwrap();
        clock.pass(50 * MS);
        assert!(attempt.end(Outcome::Late));
    }
    assert!(!backend.counts().up);
}

#[tokio::test]
async fn an_attempt_has_its_own_time_and_never_more_than_the_call() {
    let (backend, _) = backend();
    let attempt = backend.admit(TIME, soon()).await.unwrap();
    assert!(attempt.deadline().remaining() <= TIME);
    let attempt = backend.admit(TIME, Deadline::after(20 * MS)).await.unwrap();
    assert!(attempt.deadline().remaining() <= 20 * MS);
}

#[tokio::test]
async fn a_full_bulkhead_lets_some_wait_and_refuses_the_rest_at_once() {
    let clock = Steady::held();
    let backend = Arc::new(Backend::with_places("sample", clock, 2, 3));
    let held = [backend.admit(TIME, soon()).await.unwrap(), backend.admit(TIME, soon()).await.unwrap()];
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move { call(&backend, Outcome::Answered).await })
        })
        .collect();
    while backend.counts().waiting < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(backend.counts().in_flight, 2);
    assert_eq!(backend.admit(TIME, soon()).await.unwrap_err(), Refused::Full { under_way: 2 });
    drop(held);
    for waiting in waiting {
        assert!(waiting.await.unwrap());
    }
    assert_eq!((backend.counts().in_flight, backend.counts().waiting), (0, 0));
}

#[tokio::test]
async fn who_would_still_wait_at_its_deadline_is_refused_at_once() {
    let clock = Steady::held();
    let backend = Backend::with_places("sample", clock.clone(), 1, 100);
    for _ in 0..100 {
        let attempt = backend.admit(TIME, soon()).await.unwrap();
        clock.pass(Duration::from_secs(3_600));
        attempt.end(Outcome::Answered);
    }
    let _held = backend.admit(TIME, soon()).await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(backend.admit(TIME, soon()).await.unwrap_err(), Refused::Late);
    assert!(began.elapsed() < Duration::from_secs(30), "calls take an hour, the deadline is in a minute");
    assert_eq!(backend.counts().waiting, 0);
}

#[tokio::test]
async fn who_stops_waiting_leaves_the_queue() {
    let backend = Backend::with_places("sample", Steady::held(), 1, 1);
    let held = backend.admit(TIME, soon()).await.unwrap();
    for _ in 0..5 {
        let waited = backend.admit(TIME, Deadline::after(MS)).await;
        assert_eq!(waited.unwrap_err(), Refused::Late);
        assert_eq!(backend.counts().waiting, 0);
    }
    drop(held);
    assert!(call(&backend, Outcome::Answered).await);
}

/// Attempts that `calls` calls make in all when each attempt ends as `outcome` says and the calls come evenly.
async fn attempts(calls: u64, over: Duration, outcome: impl Fn(u64) -> Outcome) -> u64 {
    let (backend, clock) = backend();
    let mut attempts = 0;
    for _ in 0..calls {
        clock.pass(over / calls as u32);
        let mut under_way = backend.admit(TIME, soon()).await.ok();
        for _ in 0..2 {
            let Some(attempt) = under_way.take() else { break };
            attempts += 1;
            if attempt.end(outcome(attempts)) {
                under_way = backend.admit_again(TIME, soon()).await;
            }
        }
    }
    attempts
}

#[tokio::test]
async fn a_backend_gets_a_fifth_and_ten_a_second_more_calls_at_most_however_it_fails() {
    let seconds = 10;
    let over = Duration::from_secs(seconds);
    for calls in [1, 100, 1_000, 20_000] {
        let bound = calls * 12 / 10 + BACKEND_RETRIES_PER_SECOND * seconds;
        let all_fail = attempts(calls, over, |_| Outcome::Failed).await;
        assert!(all_fail <= bound, "{calls} calls made {all_fail} attempts");
        // Not so often that the breaker would hold them back.
        let some_fail = attempts(calls, over, |number| match number % 5 {
            1 | 3 => Outcome::Failed,
            _ => Outcome::Answered,
        });
        let some_fail = some_fail.await;
        assert!(some_fail <= bound, "{calls} calls made {some_fail} attempts");
        assert!(calls < 1_000 || some_fail > calls * 11 / 10, "{calls} calls made {some_fail} attempts: retries help");
    }
}

#[test]
fn the_budget_alone_holds_its_bound() {
    for calls_a_second in [1_u64, 10, 1_000, 50_000] {
        let budget = Budget::default();
        let (mut taken, seconds) = (0, 20);
        for call in 0..calls_a_second * seconds {
            budget.call();
            taken += u64::from(budget.take(call * 1_000_000 / calls_a_second));
        }
        let bound = calls_a_second * seconds / 5 + BACKEND_RETRIES_PER_SECOND * seconds;
        assert!(taken <= bound, "{taken} retries of {} calls", calls_a_second * seconds);
        assert!(taken * 10 > bound.min(calls_a_second * seconds) * 8, "{taken} retries: the budget can be spent");
    }
}

#[test]
fn of_many_threads_one_makes_the_probe() {
    let breaker = Arc::new(Breaker::default());
    for _ in 0..BREAKER_FAILURES_IN_A_ROW {
        let admission = breaker.admit(0).unwrap();
        breaker.failed(admission, 0);
    }
    let mut made = 0;
    for second in 1..=50_u64 {
        let probes = Arc::new(AtomicUsize::new(0));
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for micro in 0..50 {
                        if let Ok(probe) = breaker.admit(second * 1_000_000 + micro) {
                            probes.fetch_add(1, Ordering::SeqCst);
                            breaker.failed(probe, second * 1_000_000 + micro);
                        }
                    }
                });
            }
        });
        // A probe is due a second after the one before began, which may have been some microseconds past the second.
        assert!(probes.load(Ordering::SeqCst) <= 1, "second {second}");
        made += probes.load(Ordering::SeqCst);
    }
    assert!(made >= 25, "{made} probes in 50 seconds");
}

/// What happens to a breaker in a property.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Begin,
    /// Ends the attempt at this place among those under way.
    End(prop::sample::Index, bool),
    Cancel(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1..700_000_u64).prop_map(Step::Pass),
        4 => Just(Step::Begin),
        4 => (any::<prop::sample::Index>(), prop::bool::weighted(0.4)).prop_map(|(at, well)| Step::End(at, well)),
        1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Against the plainest account of the same rules: every ended call of the present age, with its time.
    #[test]
    fn the_breaker_keeps_its_rules_whatever_happens(steps in steps()) {
        let breaker = Breaker::default();
        let (mut now, mut under_way) = (1_000_000_u64, Vec::new());
        let mut ended: Vec<(u64, bool)> = Vec::new();
        let (mut in_a_row, mut age, mut last_probe) = (0, 0_u64, None::<u64>);
        for step in steps {
            let closed = breaker.is_closed();
            match step {
                Step::Pass(micros) => now += micros,
                Step::Begin => match breaker.admit(now) {
                    Ok(admission) if closed => under_way.push((admission, age)),
                    Ok(admission) => {
                        prop_assert!(last_probe.is_none_or(|last| now >= last + 1_000_000), "one probe a second");
                        last_probe = Some(now);
                        under_way.push((admission, age));
                    }
                    Err(Refused::Down { again, .. }) => {
                        prop_assert!(!closed, "a closed breaker refuses nothing");
                        prop_assert!(again > Duration::ZERO && again <= BREAKER_PROBE_EVERY, "the next one is near");
                    }
                    Err(other) => prop_assert!(false, "{other:?}"),
                },
                Step::Cancel(at) if !under_way.is_empty() => drop(under_way.remove(at.index(under_way.len()))),
                Step::End(at, well) if !under_way.is_empty() => {
                    let (admission, of_age) = under_way.remove(at.index(under_way.len()));
                    if well { breaker.answered(admission, now) } else { breaker.failed(admission, now) }
                    let counts = of_age == age;
                    if counts && closed {
                        ended.push((now, well));
                        in_a_row = if well { 0 } else { in_a_row + 1 };
                    }
                    match (closed, breaker.is_closed()) {
                        (true, false) => {
                            let window = |micros: u64| {
                                let last: Vec<bool> =
                                    ended.iter().filter(|(at, _)| at + micros > now).map(|(_, well)| *well).collect();
                                let failed = last.iter().filter(|well| !**well).count();
                                last.len() >= 20 && failed * 2 >= last.len()
                            };
                            // The window moves in tenths, so it is between nine and ten of them long.
                            let often = (900..=1_000).any(|ms| window(ms * 1_000));
                            prop_assert!(counts && !well && (in_a_row >= 5 || often), "it opened without a reason");
                            (age, last_probe) = (age + 1, Some(now));
                            (ended, in_a_row) = (Vec::new(), 0);
                        }
                        (false, true) => {
                            prop_assert!(counts && well, "only an answered probe closes it");
                            age += 1;
                        }
                        (true, true) => prop_assert!(in_a_row < 5, "it must be open"),
                        (false, false) => prop_assert!(!(counts && well), "an answered probe closes it"),
                    }
                }
                Step::Cancel(_) | Step::End(..) => {}
            }
        }
        // Wherever it ended up: once the backend is back, two seconds of calls close it.
        now += 1_000_000;
        if let Ok(admission) = breaker.admit(now) {
            breaker.answered(admission, now);
        }
        prop_assert!(breaker.is_closed());
    }
}
