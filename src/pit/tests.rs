use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::batch::bytes;
use crate::cast;
use crate::catalog::{DType, Scalar};
use crate::offline::read_parquet;

const KEY: DType = DType::One(Scalar::Int64);

fn keys(values: &[Option<i64>]) -> Keys {
    Keys::of(&[Field::new("k", KEY)], &[Arc::new(Int64Array::from(values.to_vec()))], values.len())
}

/// The same keys as text, which takes the other way through the key numbers.
fn text_keys(values: &[Option<i64>]) -> Keys {
    let texts: StringArray = values.iter().map(|value| value.map(|value| format!("{value:0>9}"))).collect();
    Keys::of(&[Field::new("k", DType::One(Scalar::String))], &[Arc::new(texts)], values.len())
}

fn times(values: &[Option<i64>]) -> TimestampMicrosecondArray {
    timestamps(values.to_vec())
}

/// A feature row: key, event time, created time.
type FeatureRow = (Option<i64>, Option<i64>, Option<i64>);

/// A label: key, time, and by when rows were known where the join asks for that.
type Label = (Option<i64>, Option<i64>, i64);

/// The definition, word for word: for each label the number of its row.
fn by_definition(labels: &[Label], rows: &[FeatureRow], ttl: Option<i64>, as_known: bool) -> Vec<Option<usize>> {
    let of_label = |(key, time, known_at): &Label| {
        let (key, time) = ((*key)?, i128::from((*time)?));
        let matches = |(_, row): &(usize, &FeatureRow)| {
            row.0 == Some(key)
                && row.1.is_some_and(|event| {
                    let event = i128::from(event);
                    event <= time && ttl.is_none_or(|ttl| time - i128::from(ttl) <= event)
                })
                && (!as_known || row.2.is_none_or(|created| created <= *known_at))
        };
        let newest = rows.iter().enumerate().filter(matches).max_by_key(|(number, row)| (row.1, row.2, *number));
        newest.map(|(number, _)| number)
    };
    labels.iter().map(of_label).collect()
}

/// The same by [`PointInTime`], fed in batches of `batch_rows`; the one feature is the row's number.
fn by_join(
    labels: &[Label],
    rows: &[FeatureRow],
    (ttl, as_known): (Option<i64>, bool),
    batch_rows: usize,
    compact_at: usize,
    encode: fn(&[Option<i64>]) -> Keys,
) -> Vec<Option<usize>> {
    let label_keys: Vec<_> = labels.iter().map(|label| label.0).collect();
    let label_times = times(&labels.iter().map(|label| label.1).collect::<Vec<_>>());
    let known_at = times(&labels.iter().map(|label| Some(label.2)).collect::<Vec<_>>());
    let ttl = ttl.map(|ttl| Duration::from_micros(ttl as u64));
    let number = vec![Field::new("number", DType::One(Scalar::Int64))];
    let mut join = match as_known {
        true => PointInTime::as_known(number, &encode(&label_keys), &label_times, &known_at, ttl),
        false => PointInTime::new(number, &encode(&label_keys), &label_times, ttl),
    };
    join.compact_at = compact_at;
    for (batch, rows) in rows.chunks(batch_rows).enumerate() {
        let keys: Vec<_> = rows.iter().map(|row| row.0).collect();
        let event: Vec<_> = rows.iter().map(|row| row.1).collect();
        let created: Vec<_> = rows.iter().map(|row| row.2).collect();
        let first = (batch * batch_rows) as i64;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows.len() as i64));
        join.push(&encode(&keys), &times(&event), &times(&created), &[numbers]).expect("numbers are small");
    }
    let found = join.finish().expect("numbers are small");
    assert_eq!(found.present.len(), labels.len());
    let numbers = found.columns[0].as_primitive::<Int64Type>();
    let number = |label: usize| {
        let number = numbers.is_valid(label).then(|| numbers.value(label) as usize);
        assert_eq!(found.present.value(label), number.is_some());
        let event_time = found.event_time.is_valid(label).then(|| found.event_time.value(label));
        assert_eq!(event_time, number.and_then(|number| rows[number].1));
        number
    };
    (0..labels.len()).map(number).collect()
}

fn a_moment() -> impl Strategy<Value = i64> {
    a_time().prop_map(|time| time.unwrap_or(15))
}

fn a_time() -> impl Strategy<Value = Option<i64>> {
    let extremes = [i64::MIN, i64::MIN + 1, i64::MIN + 5, -1, 0, i64::MAX - 5, i64::MAX - 1, i64::MAX];
    prop_oneof![
        8 => (0..30_i64).prop_map(Some),
        1 => proptest::sample::select(extremes.to_vec()).prop_map(Some),
        1 => Just(None),
    ]
}

fn a_key() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![9 => (0..4_i64).prop_map(Some), 1 => Just(None)]
}

fn a_ttl() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        2 => Just(None),
        4 => (0..12_i64).prop_map(Some),
        1 => Just(Some(i64::MAX)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_join_is_its_definition(
        labels in proptest::collection::vec((a_key(), a_time(), a_moment()), 0..20),
        rows in proptest::collection::vec((a_key(), a_time(), a_time()), 0..60),
        ttl in a_ttl(),
        batch_rows in 1..70_usize,
        compact_at in prop_oneof![Just(0_usize), Just(200), Just(usize::MAX)],
        as_text in any::<bool>(),
        as_known in any::<bool>(),
    ) {
        let encode = if as_text { text_keys } else { keys };
        let wanted = by_definition(&labels, &rows, ttl, as_known);
        prop_assert_eq!(by_join(&labels, &rows, (ttl, as_known), batch_rows, compact_at, encode), wanted);
    }
}

#[test]
fn a_view_without_entities_is_one_row_of_history_for_every_label() {
    let no_keys = |rows| Keys::of(&[], &[], rows);
    let mut join = Join::new(&no_keys(2), &times(&[Some(5), Some(1)]), None);
    join.push(&no_keys(3), &times(&[Some(0), Some(2), Some(9)]), &times(&[None, None, None]), |_, _| true);
    let rows: Vec<_> = join.finish().into_iter().map(|found| found.map(|found| found.place.row)).collect();
    assert_eq!(rows, [Some(1), Some(0)]);
}

#[test]
fn rows_without_an_order_tie_to_the_larger_values_in_whatever_order_they_come() {
    let rows = [(3, Some(1)), (1, Some(9)), (3, None), (3, Some(2)), (2, Some(7))];
    let found = |order: &[usize], batch_rows: usize, by: Vec<usize>, as_known: bool| {
        let fields = vec![Field::new("a", KEY), Field::new("b", KEY)];
        let (key, time) = (keys(&[Some(1)]), times(&[Some(5)]));
        let join = match as_known {
            true => PointInTime::as_known(fields, &key, &time, &time, None),
            false => PointInTime::new(fields, &key, &time, None),
        };
        let mut join = join.keeping(0).breaking(Ties::LargerValues(by));
        for batch in order.chunks(batch_rows) {
            let a: ArrayRef = Arc::new(batch.iter().map(|row| Some(rows[*row].0)).collect::<Int64Array>());
            let b: ArrayRef = Arc::new(batch.iter().map(|row| rows[*row].1).collect::<Int64Array>());
            let (key, at, none) = (vec![Some(1); batch.len()], vec![Some(4); batch.len()], vec![None; batch.len()]);
            join.push(&keys(&key), &times(&at), &times(&none), &[a, b]).expect("small");
        }
        let found = join.finish().expect("small");
        let value = |column: usize| {
            let values = found.columns[column].as_primitive::<Int64Type>();
            values.is_valid(0).then(|| values.value(0))
        };
        (value(0), value(1))
    };
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 3, 0, 4, 1]] {
        for (batch_rows, as_known) in [(1, false), (2, false), (5, false), (1, true), (2, true), (5, true)] {
            let case = format!("{order:?} {batch_rows} {as_known}");
            assert_eq!(found(&order, batch_rows, vec![0, 1], as_known), (Some(3), Some(2)), "{case}");
            assert_eq!(found(&order, batch_rows, vec![1, 0], as_known), (Some(1), Some(9)), "{case}");
        }
    }
}

#[test]
fn batches_that_no_label_wants_are_let_go() {
    let labels = keys(&[Some(1), Some(2)]);
    let feature = vec![Field::new("x", KEY)];
    let mut join = PointInTime::new(feature, &labels, &times(&[Some(100), Some(100)]), Some(Duration::from_micros(50)));
    let mut push = |key, event| {
        let value: ArrayRef = Arc::new(Int64Array::from(vec![event]));
        join.push(&keys(&[Some(key)]), &times(&[Some(event)]), &times(&[None]), &[value]).expect("one number");
        (0..join.kept.next_number()).map(|batch| join.kept.columns(batch).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(push(1, 60), [true]);
    assert_eq!(push(3, 60), [true, false], "no label has this key");
    assert_eq!(push(1, 40), [true, false, false], "too old for every label");
    assert_eq!(push(1, 101), [true, false, false, false], "newer than every label");
    assert_eq!(push(1, 70), [false, false, false, false, true], "newer than the first");
    assert_eq!(join.kept_bytes(), bytes(&[Arc::new(Int64Array::from(vec![70])) as ArrayRef]));
}

#[test]
fn labels_that_know_of_much_or_little_keep_no_more_rows_than_there_are_labels() {
    // Rows are created late, and in another order than they happened; some labels know of nothing, some of everything.
    let labels: Vec<Label> = (0..60).map(|label| (Some(label % 3), Some(label * 700), label * 13 % 60 * 900)).collect();
    let row = |row: i64| (Some(row % 4), Some(row), (row % 5 != 0).then(|| row + row * 7_919 % 20_000));
    let rows: Vec<FeatureRow> = (0..40_000).map(row).collect();
    let wanted = by_definition(&labels, &rows, None, true);
    assert!(wanted.iter().flatten().count() > 40, "{wanted:?}");
    assert_eq!(by_join(&labels, &rows, (None, true), 512, usize::MAX, keys), wanted);

    let (key, at): (Vec<_>, Vec<_>) = labels.iter().map(|label| (label.0, label.1)).unzip();
    let known_at: Vec<_> = labels.iter().map(|label| Some(label.2)).collect();
    let mut join = KnownJoin::new(&keys(&key), &times(&at), &times(&known_at), None);
    for rows in rows.chunks(512) {
        let column = |value: fn(&FeatureRow) -> Option<i64>| rows.iter().map(value).collect::<Vec<_>>();
        join.push(&keys(&column(|row| row.0)), &times(&column(|row| row.1)), &times(&column(|row| row.2)));
    }
    assert!(join.is_full());
    join.let_go(|_, _| true);
    assert!(!join.is_full());
    assert!(join.wanted().count() <= labels.len());
}

#[test]
fn what_is_kept_stays_under_the_bound() {
    let labels: Vec<Option<i64>> = (0..10).map(Some).collect();
    let at = vec![Some(1_000_000); 10];
    let mut join = PointInTime::new(vec![Field::new("x", KEY)], &keys(&labels), &times(&at), None);
    join.compact_at = 4_096;
    for batch in 0..200_i64 {
        // Each batch has one row that a label wants, and many that none does.
        let row_keys: Vec<_> = (0..64).map(|row| Some(if row == 7 { batch % 10 } else { 1_000 + row })).collect();
        let event: Vec<_> = (0..64).map(|_| Some(batch)).collect();
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..64).map(|row| batch * 64 + row)));
        join.push(&keys(&row_keys), &times(&event), &times(&vec![None; 64]), &[values]).expect("numbers are small");
        assert!(join.kept_bytes() <= join.compact_at);
        join.compact_at = 4_096;
    }
    let found = join.finish().expect("numbers are small");
    let wanted: Vec<i64> = (190..200).map(|batch| batch * 64 + 7).collect();
    assert_eq!(found.columns[0].as_primitive::<Int64Type>().values().to_vec(), wanted);
}

/// The cases of Feast's own stores, on the file with which they were tried. The answers are those of its DuckDB store.
#[test]
fn the_edges_are_where_feast_has_them() {
    const DAY: &str = "2026-11-20T";
    let label = |driver: i64, time: &str| {
        let time = chrono::DateTime::parse_from_rfc3339(&format!("{DAY}{time}Z")).expect("a time");
        (Some(driver), Some(time.timestamp_micros()))
    };
    let cases = [
        ("the label at the very event time", label(1, "11:00:00"), Some(20)),
        ("equal event times, the later created one", label(1, "10:30:00"), Some(11)),
        ("created after the label, used all the same", label(1, "10:00:00"), Some(11)),
        ("the ttl to the second", label(2, "12:00:00"), Some(30)),
        ("a second more than the ttl", label(2, "12:00:01"), None),
        ("rows in the future only", label(2, "09:59:59"), None),
        ("a key that the source does not have", label(9, "11:00:00"), None),
        ("a full tie, the later row", label(3, "10:00:00"), Some(41)),
        ("the same label twice", label(3, "10:00:00"), Some(41)),
        ("a label without a key", (None, label(1, "11:00:00").1), None),
        ("a label without a time", (Some(1), None), None),
    ];
    let (keys_of, times_of): (Vec<_>, Vec<_>) = cases.iter().map(|(_, label, _)| *label).unzip();
    let ttl = Some(Duration::from_secs(2 * 3_600));
    let mut join = PointInTime::new(vec![Field::new("v", KEY)], &keys(&keys_of), &times(&times_of), ttl);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/feast/pit_d.parquet");
    for batch in read_parquet(&path).expect("the golden file is there").batches {
        let column = |name: &str, dtype| {
            cast::exactly(batch.column_by_name(name).expect("the column is there"), dtype).expect("it fits")
        };
        let event = column("event_timestamp", DType::TIMESTAMP);
        let created = column("created", DType::TIMESTAMP);
        let rows = Keys::of(&[Field::new("k", KEY)], &[column("driver_id", KEY)], batch.num_rows());
        join.push(&rows, event.as_primitive(), created.as_primitive(), &[column("v", KEY)]).expect("numbers are small");
    }
    let found = join.finish().expect("numbers are small");
    let values: Vec<Option<i64>> = found.columns[0].as_primitive::<Int64Type>().iter().collect();
    for ((case, _, wanted), value) in cases.iter().zip(values) {
        assert_eq!(value, *wanted, "{case}");
    }
}
