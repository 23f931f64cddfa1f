use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use futures::{StreamExt, TryStreamExt, stream};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::batch::timestamps;
use crate::catalog::{DType, Scalar, arrow_schema};
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::space::Space;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"));

const NUMBER: DType = DType::One(Scalar::Int64);
const TEXT: DType = DType::One(Scalar::String);

/// A key of two columns, of which views use one, both or none.
type Key = (Option<i64>, Option<String>);

#[derive(Clone, Debug)]
struct Label {
    key: Key,
    time: Micros,
    /// By when rows were known, where a join asks for that.
    known_at: Micros,
}

#[derive(Clone, Debug)]
struct Row {
    key: Key,
    event: Micros,
    created: Option<Micros>,
}

/// Which of the two columns are join keys, and how old a row may be.
#[derive(Clone, Debug)]
struct Shape {
    number: bool,
    text: bool,
    ttl: Option<i64>,
}

fn key_fields(shape: &Shape) -> Vec<Field> {
    let fields = [(shape.number, Field::new("n", NUMBER)), (shape.text, Field::new("t", TEXT))];
    fields.into_iter().filter_map(|(used, field)| used.then_some(field)).collect()
}

fn key_columns(shape: &Shape, keys: &[&Key]) -> Vec<ArrayRef> {
    let numbers: ArrayRef = Arc::new(keys.iter().map(|key| key.0).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new(keys.iter().map(|key| key.1.clone()).collect::<StringArray>());
    let columns = [(shape.number, numbers), (shape.text, texts)];
    columns.into_iter().filter_map(|(used, column)| used.then_some(column)).collect()
}

/// The definition, word for word: the number of each label's row.
fn by_definition(labels: &[Label], rows: &[Row], shape: &Shape, as_known: bool) -> Vec<Option<usize>> {
    let same = |label: &Key, row: &Key| {
        let number = !shape.number || (label.0.is_some() && label.0 == row.0);
        number && (!shape.text || (label.1.is_some() && label.1 == row.1))
    };
    let of_label = |label: &Label| {
        let matches = |(_, row): &(usize, &Row)| {
            same(&label.key, &row.key)
                && row.event <= label.time
                && shape.ttl.is_none_or(|ttl| label.time.saturating_sub(ttl) <= row.event)
                && (!as_known || row.created.is_none_or(|created| created <= label.known_at))
        };
        let newest =
            rows.iter().enumerate().filter(matches).max_by_key(|(number, row)| (row.event, row.created, *number));
        newest.map(|(number, _)| number)
    };
    labels.iter().map(of_label).collect()
}

fn label_frame(labels: &[Label], batch_rows: usize) -> LabelFrame {
    let fields = [
        Field::new("id", NUMBER),
        Field::new("n", NUMBER),
        Field::new("t", TEXT),
        Field::new("time", DType::TIMESTAMP),
        Field::new("known_at", DType::TIMESTAMP),
    ];
    let schema = arrow_schema(&fields);
    let both = Shape { number: true, text: true, ttl: None };
    let batch = |(number, labels): (usize, &[Label])| {
        let first = (number * batch_rows) as i64;
        let keys: Vec<&Key> = labels.iter().map(|label| &label.key).collect();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values(first..first + labels.len() as i64))];
        columns.extend(key_columns(&both, &keys));
        columns.push(Arc::new(timestamps(labels.iter().map(|label| Some(label.time)).collect())));
        columns.push(Arc::new(timestamps(labels.iter().map(|label| Some(label.known_at)).collect())));
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns of their types"))
    };
    let batches: Vec<Result<RecordBatch, BoxError>> = labels.chunks(batch_rows).enumerate().map(batch).collect();
    LabelFrame { schema: Arc::clone(&schema), time: 3, known_at: None, rows: stream::iter(batches).boxed() }
}

/// A view whose features are the number of the row, and the same as text of changing length.
fn view(rows: &[Row], shape: &Shape, batch_rows: usize) -> (ViewJoin, History) {
    let features = vec![Field::new("number", NUMBER), Field::new("time", TEXT)];
    let mut fields = key_fields(shape);
    fields.extend(features.iter().cloned());
    fields.extend(["event_time", "created_time"].map(|name| Field::new(name, DType::TIMESTAMP)));
    let schema = arrow_schema(&fields);
    let batch = |(number, rows): (usize, &[Row])| {
        let first = number * batch_rows;
        let keys: Vec<&Key> = rows.iter().map(|row| &row.key).collect();
        let numbers = first..first + rows.len();
        let mut columns = key_columns(shape, &keys);
        columns.push(Arc::new(Int64Array::from_iter_values(numbers.clone().map(|number| number as i64))));
        columns.push(Arc::new(StringArray::from_iter_values(numbers.map(|number| "x".repeat(number % 40)))));
        columns.push(Arc::new(timestamps(rows.iter().map(|row| Some(row.event)).collect())));
        columns.push(Arc::new(timestamps(rows.iter().map(|row| row.created).collect())));
        RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns of their types")
    };
    let batches: Vec<RecordBatch> = rows.chunks(batch_rows).enumerate().map(batch).collect();
    let ttl = shape.ttl.map(|ttl| Duration::from_micros(ttl as u64));
    let label_keys = [(shape.number, 1), (shape.text, 2)];
    let label_keys = label_keys.into_iter().filter_map(|(used, column)| used.then_some(column)).collect();
    let name = format!("{shape:?}");
    let join = ViewJoin { name, join_keys: key_fields(shape), label_keys, features, ttl, ties: Ties::LaterRow };
    let open: Open = Arc::new(move |_| stream::iter(batches.clone().into_iter().map(Ok)).boxed());
    (join, History { schema, open })
}

/// The labels as they came out, what was found for them by view, and how much went to disk.
async fn joined(
    labels: LabelFrame,
    views: Vec<(ViewJoin, History)>,
    space: &Space,
) -> Result<(RecordBatch, Vec<RecordBatch>, u64), Error> {
    let schema = Arc::clone(&labels.schema);
    let found_schemas: Vec<SchemaRef> = views.iter().map(|(view, _)| found_schema(&view.features)).collect();
    let join = join(labels, views, space)?;
    let spilled = join.spilled_bytes();
    let batches: Vec<JoinedBatch> = join.batches.try_collect().await?;
    let labels: Vec<RecordBatch> =
        batches.iter().map(|batch| batch.labels.clone().with_schema(schema.clone()).expect("its schema")).collect();
    let labels = concat_batches(&schema, &labels).expect("one schema");
    let found = found_schemas.iter().enumerate().map(|(number, schema)| {
        let of_view: Vec<RecordBatch> = batches
            .iter()
            .map(|batch| {
                RecordBatch::try_new(schema.clone(), found::found_columns(&batch.found[number])).expect("its schema")
            })
            .collect();
        concat_batches(schema, &of_view).expect("one schema")
    });
    Ok((labels, found.collect(), spilled()))
}

fn numbers(found: &RecordBatch) -> Vec<Option<usize>> {
    use arrow::array::AsArray;
    let numbers = found.column(2).as_primitive::<Int64Type>();
    let present = found.column(0).as_boolean();
    (0..found.num_rows()).map(|row| present.value(row).then(|| numbers.value(row) as usize)).collect()
}

fn tiny(folder: &Path) -> Space {
    Space { memory_bytes: 8_192, spill: folder.to_owned(), spill_bytes_max: 1 << 30 }
}

fn a_key() -> impl Strategy<Value = Key> {
    let number = prop_oneof![9 => (0..5_i64).prop_map(Some), 1 => Just(None)];
    let text = prop_oneof![9 => prop::sample::select(vec!["", "a", "naïve 🚕"]).prop_map(|text| Some(text.to_owned())), 1 => Just(None)];
    (number, text)
}

fn a_time() -> impl Strategy<Value = Micros> {
    prop_oneof![9 => 0..40_i64, 1 => prop::sample::select(vec![i64::MIN, i64::MIN + 3, i64::MAX])]
}

fn a_label() -> impl Strategy<Value = Label> {
    (a_key(), a_time(), 0..4_i64).prop_map(|(key, time, known_at)| Label { key, time, known_at })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let created = prop_oneof![3 => (0..4_i64).prop_map(Some), 1 => Just(None)];
    let row = (a_key(), a_time(), created).prop_map(|(key, event, created)| Row { key, event, created });
    prop::collection::vec(row, 0..80)
}

fn a_shape() -> impl Strategy<Value = Shape> {
    let ttl = prop_oneof![1 => Just(None), 2 => (0..15_i64).prop_map(Some), 1 => Just(Some(i64::MAX))];
    (any::<bool>(), any::<bool>(), ttl).prop_map(|(number, text, ttl)| Shape { number, text, ttl })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_join_of_many_views_is_its_definition_in_memory_and_on_disk(
        labels in prop::collection::vec(a_label(), 0..150),
        views in prop::collection::vec((rows(), a_shape()), 0..4),
        label_batch in 1..160_usize,
        row_batch in 1..90_usize,
        as_known in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let inputs = || -> Vec<_> { views.iter().map(|(rows, shape)| view(rows, shape, row_batch)).collect() };
        let run = |space: &Space| {
            let frame = LabelFrame { known_at: as_known.then_some(4), ..label_frame(&labels, label_batch) };
            RUNTIME.block_on(joined(frame, inputs(), space)).expect("joined")
        };
        let (out, in_memory, spilled) = run(&Space::default());
        prop_assert_eq!(spilled, 0);
        prop_assert_eq!(out.num_rows(), labels.len());
        for ((rows, shape), found) in views.iter().zip(&in_memory) {
            prop_assert_eq!(numbers(found), by_definition(&labels, rows, shape, as_known), "{:?}", shape);
        }
        let (out_again, on_disk, spilled) = run(&tiny(folder.path()));
        prop_assert!(spilled > 0 || labels.len() < 100, "{} labels fit", labels.len());
        prop_assert_eq!(out_again, out, "the labels pass through, in order");
        prop_assert_eq!(on_disk, in_memory, "bit for bit");
    }
}

fn one_key(labels: usize) -> Vec<Label> {
    (0..labels as i64).map(|time| Label { key: (Some(7), None), time: time * 3, known_at: 0 }).collect()
}

fn one_key_rows(rows: usize) -> Vec<Row> {
    (0..rows as i64).map(|time| Row { key: (Some(7), None), event: time * 2, created: Some(time % 3) }).collect()
}

const BY_NUMBER: Shape = Shape { number: true, text: false, ttl: Some(1_000) };

#[tokio::test]
async fn labels_of_one_key_that_do_not_fit_are_joined_some_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (labels, rows) = (one_key(6_000), one_key_rows(9_000));
    let of = |space: Space| {
        let (frame, view) = (label_frame(&labels, 700), view(&rows, &BY_NUMBER, 512));
        async move { joined(frame, vec![view], &space).await.expect("joined") }
    };
    let (_, found, _) = of(Space::default()).await;
    assert_eq!(numbers(&found[0]), by_definition(&labels, &rows, &BY_NUMBER, false));
    let (_, on_disk, spilled) = of(tiny(folder.path())).await;
    assert_eq!(on_disk, found);
    assert!(spilled > 6_000 * 16, "{spilled}");
    let left = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 0, "what is put aside has no names, and goes with the join");
}

#[tokio::test]
async fn a_join_that_may_not_write_more_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let space = Space { spill_bytes_max: 40_000, ..tiny(folder.path()) };
    let (labels, rows) = (one_key(6_000), one_key_rows(9_000));
    let error =
        joined(label_frame(&labels, 700), vec![view(&rows, &BY_NUMBER, 512)], &space).await.expect_err("too much");
    assert!(matches!(error, Error::SpilledTooMuch { limit: 40_000 }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("a file");
    let error = joined(label_frame(&one_key(6_000), 700), vec![], &tiny(&file)).await.expect_err("no folder");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    assert!(matches!(error, Error::Spill { .. }));
}

#[tokio::test]
async fn an_error_of_a_history_comes_through_as_it_is() {
    #[derive(Debug, thiserror::Error)]
    #[error("the disk is on fire")]
    struct OnFire;
    let (join, mut history) = view(&one_key_rows(10), &BY_NUMBER, 5);
    let rows = Arc::clone(&history.open);
    history.open = Arc::new(move |wanted| {
        let fire: Result<RecordBatch, BoxError> = Err(Box::new(OnFire));
        rows(wanted).chain(stream::iter([fire])).boxed()
    });
    let error = joined(label_frame(&one_key(3), 2), vec![(join, history)], &Space::default()).await.expect_err("fire");
    let Error::Input(error) = error else { panic!("{error}") };
    assert!(error.is::<OnFire>());
}

#[tokio::test]
async fn a_history_is_asked_for_the_times_and_keys_that_labels_want() {
    let asked: Arc<std::sync::Mutex<Vec<Wanted>>> = Arc::default();
    let (join, mut history) = view(&one_key_rows(10), &BY_NUMBER, 5);
    let (rows, heard) = (Arc::clone(&history.open), Arc::clone(&asked));
    history.open = Arc::new(move |wanted| {
        heard.lock().expect("nobody panicked").push(wanted.clone());
        rows(wanted)
    });
    let labels: Vec<Label> =
        [5_000, 2_000, 3_000].map(|time| Label { key: (Some(7), None), time, known_at: 0 }).to_vec();
    joined(label_frame(&labels, 2), vec![(join.clone(), history.clone())], &Space::default()).await.expect("joined");
    let key: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let wanted = Wanted { from: Some(1_000), until: Some(5_000), keys: Some(vec![key]) };
    assert_eq!(asked.lock().expect("nobody panicked").as_slice(), std::slice::from_ref(&wanted));
    joined(label_frame(&[], 2), vec![(join, history)], &Space::default()).await.expect("joined");
    assert_eq!(asked.lock().expect("nobody panicked").len(), 1, "without labels nothing is read");
}
