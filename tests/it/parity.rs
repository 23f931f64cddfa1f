//! The heart: a feature is the same, bit for bit, whichever way it took.

mod case;
mod drift;

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array, make_comparator};
use arrow::compute::{SortOptions, filter_record_batch, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use lockstep::cast::to_text;
use lockstep::clock::Micros;
use lockstep::flow::ingest::PushTo;
use lockstep::flow::parity::parity;
use lockstep::flow::serve::{Answer, Status};
use lockstep::flow::sync::Range;
use lockstep::online::OnlineStore;
use lockstep::online::embedded::EmbeddedStore;
use lockstep::online::memory::MemoryStore;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use self::case::{Case, Placements, Project, SourcesAre, case};
use crate::light::{History, Light, NOW, batch, stage};
use crate::world::{TAXI_AS_OF, World};

/// What the cases went through; a property over nothing but nulls would hold as well.
#[derive(Debug, Default)]
struct Seen {
    stored_values: usize,
    derived_values: usize,
    derived_at_sync: usize,
    outside_ttl: usize,
}

/// The features as they came out of one way.
struct Outcome {
    way: &'static str,
    columns: Vec<ArrayRef>,
}

#[test]
fn sync_ingest_request_time_and_training_give_the_same_bits() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
    };
    let (cases, seed) = (number("LOCKSTEP_PARITY_CASES", 64), number("LOCKSTEP_PARITY_SEED", 20_161_231));
    let config = Config {
        cases: cases as u32,
        failure_persistence: None,
        max_shrink_iters: 600,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let seen = RefCell::new(Seen::default());
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let checked = runtime.block_on(check(&case, &mut seen.borrow_mut()));
        checked.map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => {
            let project = case.definitions(SourcesAre::Parquet, Placements::AsDrawn);
            panic!("{reason}\nLOCKSTEP_PARITY_SEED={seed}\n{}\n{}", project.text, shown(&case));
        }
        Err(abort) => panic!("{abort}"),
    }
    let seen = seen.into_inner();
    println!("seed {seed}: {cases} cases, {seen:?}");
    let enough = cases as usize;
    assert!(seen.stored_values > 10 * enough && seen.derived_values > 2 * enough, "{seen:?}");
    assert!(seen.derived_at_sync > enough / 4 && seen.outside_ttl > enough / 4, "{seen:?}");
}

/// One case: a project whose sources are synced and the same one whose sources are pushed to, at two moments.
async fn check(case: &Case, seen: &mut Seen) -> Result<(), String> {
    let as_drawn = case.definitions(SourcesAre::Parquet, Placements::AsDrawn);
    let all_at_request = case.definitions(SourcesAre::Parquet, Placements::AllAtRequest);
    let pushed = case.definitions(SourcesAre::Pushed, Placements::AsDrawn);
    seen.derived_at_sync += as_drawn.at_sync.len();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let synced = gateway(case, &as_drawn, &folder.path().join("synced.db")).await;
    let ingested = gateway(case, &pushed, &folder.path().join("ingested.db")).await;
    for view in 0..case.views() {
        put_in_batches(&synced, case, view);
    }

    let mut before: Option<Outcome> = None;
    let mut pushed_until = None;
    for as_of in [NOW, case.later()] {
        for view in 0..case.views() {
            sync_view(&synced, view, as_of).await?;
            push_rows(&ingested, case, view, pushed_until, as_of).await?;
        }
        pushed_until = Some(as_of);

        let reference = train("sync + train", &synced, &as_drawn, case, as_of).await?;
        let answer = serve(&synced, &as_drawn, case, as_of).await?;
        check_states(&answer, case, as_of, seen)?;
        same(&reference, &outcome("sync + serve", &answer), case, &as_drawn)?;
        same(&reference, &outcome("ingest + serve", &serve(&ingested, &pushed, case, as_of).await?), case, &as_drawn)?;
        same(&reference, &train("ingest + train", &ingested, &pushed, case, as_of).await?, case, &as_drawn)?;

        synced.apply(&all_at_request.text);
        let at_request = serve(&synced, &all_at_request, case, as_of).await?;
        same(&reference, &outcome("all placed at request + serve", &at_request), case, &as_drawn)?;
        let trained = train("all placed at request + train", &synced, &all_at_request, case, as_of).await?;
        same(&reference, &trained, case, &as_drawn)?;
        synced.apply(&as_drawn.text);

        if let Some(before) = before.replace(reference) {
            let again = train("train, asked again later about the same moment", &ingested, &pushed, case, NOW).await?;
            same(&before, &again, case, &as_drawn)?;
        }
    }
    Ok(())
}

async fn gateway(case: &Case, project: &Project, path: &std::path::Path) -> Light {
    let online: Arc<dyn OnlineStore> = match case.embedded {
        true => Arc::new(EmbeddedStore::open(path).expect("an embedded store")),
        false => Arc::new(MemoryStore::default()),
    };
    let history = if case.in_files { History::in_files() } else { History::in_memory() };
    Light::over(stage(), &project.text, online, history).await
}

fn put_in_batches(light: &Light, case: &Case, view: usize) {
    let rows = case.rows(view);
    let source = format!("source_{view}");
    light.put(&source, &rows.slice(0, 0));
    for from in (0..rows.num_rows()).step_by(case.rows_per_batch(view)) {
        light.put(&source, &rows.slice(from, case.rows_per_batch(view).min(rows.num_rows() - from)));
    }
}

async fn sync_view(light: &Light, view: usize, now: Micros) -> Result<(), String> {
    light.gateway.clock.set(now);
    light.sync(&format!("view_{view}"), Range::Full).await.map_err(|error| format!("sync: {error:?}"))?;
    Ok(())
}

/// Pushes the rows after `from` up to `until` that a gateway takes: those with keys and a time.
async fn push_rows(light: &Light, case: &Case, view: usize, from: Option<Micros>, until: Micros) -> Result<(), String> {
    light.gateway.clock.set(until);
    let rows = case.rows(view);
    let at = rows.column_by_name("at").expect("a time").as_primitive::<TimestampMicrosecondType>();
    let keys = case.join_keys(view).len();
    let is_pushed = |row: usize| {
        at.is_valid(row)
            && at.value(row) <= until
            && from.is_none_or(|from| at.value(row) > from)
            && (0..keys).all(|key| rows.column(key).is_valid(row))
    };
    let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_pushed(row))).collect();
    let rows = filter_record_batch(&rows, &mask).expect("a mask of that length");
    for from in (0..rows.num_rows()).step_by(case.rows_per_batch(view)) {
        let part = rows.slice(from, case.rows_per_batch(view).min(rows.num_rows() - from));
        let pushed = light.push(&format!("source_{view}"), &part, PushTo::OnlineAndOffline).await;
        pushed.map_err(|error| format!("push: {error:?}"))?;
    }
    Ok(())
}

fn references(project: &Project) -> Vec<&str> {
    project.features.iter().map(String::as_str).collect()
}

async fn serve(light: &Light, project: &Project, case: &Case, as_of: Micros) -> Result<Answer, String> {
    let answer = light.serve(&references(project), &case.questions(), as_of).await;
    answer.map_err(|error| format!("serve: {error:?}"))
}

fn outcome(way: &'static str, answer: &Answer) -> Outcome {
    Outcome { way, columns: answer.columns.iter().map(|column| Arc::clone(&column.values)).collect() }
}

async fn train(
    way: &'static str,
    light: &Light,
    project: &Project,
    case: &Case,
    as_of: Micros,
) -> Result<Outcome, String> {
    let questions = case.questions();
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (field, column) in questions.schema_ref().fields().iter().zip(questions.columns()) {
        columns.push((field.name(), Arc::clone(column)));
    }
    columns.push(("event_timestamp", crate::light::times(&vec![as_of; questions.num_rows()])));
    let set = light.train(&references(project), &batch(&columns)).await;
    let set = set.map_err(|error| format!("{way}: {error:?}"))?;
    let column = |feature: &String| Arc::clone(set.column_by_name(&feature.replace(':', "__")).expect("the feature"));
    Ok(Outcome { way, columns: project.features.iter().map(column).collect() })
}

/// The same bits: −0.0 is not 0.0, and a NaN equals only itself.
fn same(one: &Outcome, other: &Outcome, case: &Case, project: &Project) -> Result<(), String> {
    for ((feature, one_column), other_column) in project.features.iter().zip(&one.columns).zip(&other.columns) {
        if one_column.data_type() != other_column.data_type() {
            return Err(format!("{feature} is {} and {}", one_column.data_type(), other_column.data_type()));
        }
        let order = make_comparator(one_column.as_ref(), other_column.as_ref(), SortOptions::default());
        let order = order.map_err(|error| error.to_string())?;
        if let Some(row) = (0..one_column.len()).find(|row| !order(*row, *row).is_eq()) {
            let question: Vec<String> = case.questions().columns().iter().map(|column| to_text(column, row)).collect();
            return Err(format!(
                "{feature} of question {row} ({}) is {} by {} and {} by {}",
                question.join(", "),
                to_text(one_column, row),
                one.way,
                to_text(other_column, row),
                other.way,
            ));
        }
    }
    Ok(())
}

/// Every cell's state goes with its value, and those of stored features are what a plain search of the rows finds.
fn check_states(answer: &Answer, case: &Case, as_of: Micros, seen: &mut Seen) -> Result<(), String> {
    for (output, column) in answer.prepared.plan.outputs.iter().zip(&answer.columns) {
        let view = output.view.strip_prefix("view_").map(|number| number.parse::<usize>().expect("a number"));
        for row in 0..answer.rows {
            let (status, is_value) = (column.status(row), column.values.is_valid(row));
            let at = || format!("{}:{} of question {row} as of {as_of}", output.view, output.feature);
            if (status == Status::Present) != is_value {
                return Err(format!("{} is {status:?}, and its value is {}", at(), to_text(&column.values, row)));
            }
            match view {
                Some(_) => seen.stored_values += usize::from(is_value),
                None => seen.derived_values += usize::from(is_value),
            }
            seen.outside_ttl += usize::from(status == Status::OutsideMaxAge);
            let Some(view) = view else { continue };
            let expected = newest(case, view, row, as_of);
            let is_right = match (expected, column.rows.status[row]) {
                (None, Status::NotFound) => true,
                (Some((age, _)), Status::OutsideMaxAge) => case.ttl(view).is_some_and(|ttl| age > i128::from(ttl)),
                (Some((age, found)), Status::Present) => {
                    let rows = case.rows(view);
                    let stored = rows.column_by_name(&output.feature).expect("the feature");
                    let order = make_comparator(stored.as_ref(), column.values.as_ref(), SortOptions::default());
                    case.ttl(view).is_none_or(|ttl| age <= i128::from(ttl))
                        && order.expect("columns of one type")(found, row).is_eq()
                }
                _ => false,
            };
            if !is_right {
                let found = expected.map(|(age, found)| format!("row {found} of its source, {age} µs old"));
                return Err(format!("{} is {status:?}, a search finds {found:?}", at()));
            }
        }
    }
    Ok(())
}

/// The newest row of the asked key that is true at `as_of`, and how old it is. A search from end to end.
fn newest(case: &Case, view: usize, question: usize, as_of: Micros) -> Option<(i128, usize)> {
    let (rows, questions) = (case.rows(view), case.questions());
    let at = rows.column_by_name("at").expect("a time").as_primitive::<TimestampMicrosecondType>();
    let made = rows.column_by_name("made").map(|column| column.as_primitive::<TimestampMicrosecondType>());
    let is_asked = |row: usize| {
        case.join_keys(view).iter().enumerate().all(|(key, (name, _))| {
            let (stored, asked) = (rows.column(key), questions.column_by_name(name).expect("a key"));
            let order = make_comparator(stored.as_ref(), asked.as_ref(), SortOptions::default());
            stored.is_valid(row) && order.expect("columns of one type")(row, question).is_eq()
        })
    };
    let moment = |row: usize| {
        let made = made.filter(|made| made.is_valid(row)).map(|made| made.value(row));
        (at.value(row), made, row)
    };
    let visible = (0..rows.num_rows()).filter(|row| at.is_valid(*row) && at.value(*row) <= as_of && is_asked(*row));
    let found = visible.max_by_key(|row| moment(*row))?;
    Some((i128::from(as_of) - i128::from(at.value(found)), found))
}

/// The rows of a failing case, as text.
fn shown(case: &Case) -> String {
    let table = |name: &str, rows: &RecordBatch| {
        let names: Vec<&str> = rows.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        let line = |row: usize| {
            let cells: Vec<String> = rows.columns().iter().map(|column| to_text(column, row)).collect();
            format!("  {}\n", cells.join(" | "))
        };
        let lines: String = (0..rows.num_rows()).map(line).collect();
        format!("{name}: {}\n{lines}", names.join(" | "))
    };
    let mut text =
        format!("as of {NOW} and {}, in files: {}, embedded: {}\n", case.later(), case.in_files, case.embedded);
    for view in 0..case.views() {
        text += &table(&format!("source_{view}"), &case.rows(view));
    }
    text + &table("questions", &case.questions())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_taxi_example_is_the_same_served_and_trained() {
    let world = World::taxi().await;
    let compared = parity(&world.gateway, "tip_model_v1", 2_000, None).await.expect("compared");
    assert_eq!(compared.differ, 0, "{:#?}", compared.cells);
    assert!(compared.not_null > 5_000, "{} of {} values are not null", compared.not_null, compared.values);
    let as_of = chrono::DateTime::parse_from_rfc3339(TAXI_AS_OF).expect("a time").timestamp_micros();
    let compared = parity(&world.gateway, "tip_model_v1", 2_000, Some(as_of)).await.expect("compared");
    assert_eq!(compared.differ, 0, "{:#?}", compared.cells);
}

#[tokio::test]
async fn rows_served_in_any_order_and_twice_are_the_rows_asked_for() {
    let case = {
        let config = Config { failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default() };
        let mut runner = TestRunner::new(config);
        case().new_tree(&mut runner).expect("a case").current()
    };
    let project = case.definitions(SourcesAre::Parquet, Placements::AsDrawn);
    let light = Light::of(&project.text).await;
    for view in 0..case.views() {
        put_in_batches(&light, &case, view);
        sync_view(&light, view, NOW).await.expect("synced");
    }
    let questions = case.questions();
    let order = UInt64Array::from_iter_values((0..questions.num_rows() as u64).rev().chain(0..1));
    let turned = take_record_batch(&questions, &order).expect("rows that are there");
    let straight = light.serve(&references(&project), &questions, NOW).await.expect("served");
    let answer = light.serve(&references(&project), &turned, NOW).await.expect("served");
    assert_eq!(answer.rows, questions.num_rows() + 1);
    for (one, other) in straight.columns.iter().zip(&answer.columns) {
        let order_of = make_comparator(&one.values, &other.values, SortOptions::default()).expect("one type");
        for (row, asked) in order.values().iter().enumerate() {
            assert!(order_of(*asked as usize, row).is_eq());
        }
    }
}
