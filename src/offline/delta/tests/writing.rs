//! Batches, upserts, columns that come and columns that do not fit, and writers at once.

use arrow::array::{
    BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array, Int32Array, LargeStringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field as ArrowField, Float32Type, Int32Type};

use super::*;

fn keys() -> Vec<String> {
    vec!["k".to_owned(), "t".to_owned()]
}

/// Row `value` of [`rows`] with another `x`.
fn corrected(values: &[(i64, i64)]) -> RecordBatch {
    let rows = rows(values.iter().map(|(row, _)| *row));
    let x: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|(_, x)| *x)));
    batch(vec![("k", Arc::clone(rows.column(0))), ("x", x), ("t", Arc::clone(rows.column(2)))])
}

#[tokio::test]
async fn a_batch_is_known_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    for (id, value) in [("monday", 1), ("tuesday", 2), ("monday", 3)] {
        append(&store(folder.path()), id, [value]).await;
    }
    assert_eq!(read(&store(folder.path()), &trips()).await.expect("the scan works"), [1, 2]);
    assert_eq!(log(folder.path()).len(), 3, "one commit to make the table, one for each batch");
}

#[tokio::test]
async fn an_empty_batch_is_remembered_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", []).await;
    append(&store, "a", [1]).await;
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_all_land_and_no_batch_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let writes = (0..24_i64).map(|number| {
        let path = folder.path().to_owned();
        tokio::spawn(async move {
            // Each in a store of its own, as other processes would be; every batch comes twice.
            store(&path).append(&trips(), &format!("batch {}", number % 12), &rows([number % 12])).await
        })
    });
    for written in futures::future::join_all(writes).await {
        written.expect("no panic").expect("every batch is stored");
    }
    assert_eq!(read(&store(folder.path()), &trips()).await.expect("the scan works"), (0..12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_at_once_leave_one_row_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    append(&store(folder.path()), "first", 0..5).await;
    let writes = (0..6_i64).map(|number| {
        let path = folder.path().to_owned();
        tokio::spawn(async move {
            let rows = corrected(&[(3, 100 + number), (7, 200 + number)]);
            store(&path).upsert(&trips(), &format!("upsert {number}"), &keys(), &rows).await
        })
    });
    for written in futures::future::join_all(writes).await {
        written.expect("no panic").expect("every upsert is stored");
    }
    let values = read(&store(folder.path()), &trips()).await.expect("the scan works");
    assert_eq!(values.len(), 6, "{values:?}");
    assert_eq!(values[..4], [0, 1, 2, 4]);
    assert_eq!(values[5] - values[4], 100, "both rows are of the same upsert: {values:?}");
}

#[tokio::test]
async fn an_upsert_takes_the_place_of_rows_with_its_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let upsert = async |id: &str, rows: &RecordBatch| {
        store.upsert(&trips(), id, &keys(), rows).await.expect("the upsert is stored");
    };
    upsert("first", &corrected(&[(1, 1), (2, 2)])).await;
    append(&store, "more", 3..6).await;
    upsert("second", &corrected(&[(2, 20), (4, 30), (9, 90), (4, 40)])).await;
    upsert("second", &corrected(&[(1, 1_000)])).await;
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), [1, 3, 5, 20, 40, 90]);
}

#[tokio::test]
async fn a_null_is_a_key_like_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    for (id, x) in [("a", [1, 2]), ("b", [3, 4])] {
        let rows = batch(vec![
            ("k", Arc::new(StringArray::from(vec![None, Some("k")]))),
            ("x", Arc::new(Int64Array::from(x.to_vec()))),
            ("t", Arc::new(timestamps(vec![Some(5), Some(5)]))),
        ]);
        store.upsert(&trips(), id, &keys(), &rows).await.expect("the upsert is stored");
    }
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), [3, 4]);
}

#[tokio::test]
async fn a_new_column_is_null_in_the_rows_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    let wide = |value: i64, tip: f64| {
        let rows = rows([value]);
        let tips: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![tip]));
        let columns = rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let mut columns: Vec<(&str, ArrayRef)> =
            columns.iter().map(String::as_str).zip(rows.columns().iter().cloned()).collect();
        columns.insert(0, ("tip", tips));
        batch(columns)
    };
    store.append(&trips(), "b", &wide(2, 0.5)).await.expect("the column is added");
    append(&store, "c", [3]).await;
    let upserted = batch(vec![
        ("k", Arc::new(StringArray::from(vec!["k1"]))),
        ("rating", Arc::new(Int32Array::from(vec![5]))),
        ("t", Arc::new(timestamps(vec![Some(1_000)]))),
    ]);
    store.upsert(&trips(), "d", &keys(), &upserted).await.expect("the column is added");
    let schema = store.schema(&trips()).await.expect("a schema");
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["k", "x", "t", "tip", "rating"]);
    let wanted = Scan::of(vec![
        Field::new("k", DType::One(Scalar::String)),
        Field::new("x", DType::One(Scalar::Int64)),
        Field::new("tip", DType::One(Scalar::Float64)),
        Field::new("rating", DType::One(Scalar::Int32)),
    ]);
    let batches: Vec<RecordBatch> =
        store.scan(&trips(), &wanted).await.expect("a scan").try_collect().await.expect("the scan works");
    let mut found: Vec<String> = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cell = |column: usize| {
                let column = batch.column(column);
                arrow::util::display::array_value_to_string(column, row).expect("a value")
            };
            found.push(format!("{} {} {} {}", cell(0), cell(1), cell(2), cell(3)));
        }
    }
    found.sort();
    assert_eq!(found, ["k1   5", "k2 2 0.5 ", "k3 3  "]);
}

#[tokio::test]
async fn a_column_of_another_type_is_refused_by_name_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    let before = (log(folder.path()), data_files(folder.path()));
    let other = |x: ArrayRef| {
        let times = timestamps(vec![Some(5); x.len()]);
        batch(vec![("x", x), ("t", Arc::new(times))])
    };
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["one"]));
    let error = store.append(&trips(), "b", &other(texts)).await.expect_err("a number is no text").to_string();
    assert_eq!(
        error,
        "column x of source trips is string, which cannot be read as int64: a table's columns keep their types"
    );
    let huge: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let error = store.append(&trips(), "c", &other(huge)).await.expect_err("it does not fit").to_string();
    assert!(error.starts_with("column x of source trips is uint64"), "{error}");
    let upper = batch(vec![("X", Arc::new(BooleanArray::from(vec![true])))]);
    let error = store.append(&trips(), "d", &upper).await.expect_err("Delta cannot tell them apart").to_string();
    assert!(error.contains("column X differs from its column x only by case"), "{error}");
    assert_eq!((log(folder.path()), data_files(folder.path())), before);
}

#[tokio::test]
async fn columns_that_keep_their_values_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let item = Arc::new(ArrowField::new("item", DataType::Float32, true));
    let embedding = FixedSizeListArray::try_new(item, 2, Arc::new(Float32Array::from(vec![0.5, 1.5])), None);
    let first = batch(vec![
        ("k", Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("a")]))),
        ("x", Arc::new(UInt64Array::from(vec![7]))),
        ("e", Arc::new(embedding.expect("an embedding"))),
        ("t", Arc::new(arrow::array::TimestampNanosecondArray::from(vec![-1]))),
    ]);
    store.append(&trips(), "a", &first).await.expect("the batch is stored");
    let second = batch(vec![
        ("x", Arc::new(Int32Array::from(vec![8]))),
        ("k", Arc::new(LargeStringArray::from(vec!["b"]))),
        ("t", Arc::new(arrow::array::TimestampSecondArray::from(vec![2]))),
    ]);
    store.append(&trips(), "b", &second).await.expect("the batch is stored");
    assert_eq!(read(&store, &trips()).await.expect("the scan works"), [7, 8]);
    let wanted = Scan { until: Some(0), ..Scan::of(vec![Field::new("e", DType::Embedding(2))]) };
    let rows: Vec<RecordBatch> =
        store.scan(&trips(), &wanted).await.expect("a scan").try_collect().await.expect("the scan works");
    let embedding = rows[0].column(0).as_fixed_size_list().value(0);
    assert_eq!(embedding.as_primitive::<Float32Type>().values(), &[0.5, 1.5]);
}

#[tokio::test]
async fn a_name_with_anything_in_it_is_a_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let odd = source_of("odd", SourceKind::Push { into: delta("data/a b#ü?+") });
    for (id, x) in [("a", 1), ("b", 2)] {
        let rows = batch(vec![
            ("Größe in cm", Arc::new(Int64Array::from(vec![x]))),
            ("x", Arc::new(Int64Array::from(vec![x]))),
            ("t", Arc::new(timestamps(vec![Some(7)]))),
        ]);
        let keys = ["Größe in cm".to_owned(), "t".to_owned()];
        store.upsert(&odd, id, &keys, &rows).await.expect("the rows are stored");
    }
    assert_eq!(read(&store, &odd).await.expect("the scan works"), [1, 2]);
    assert!(folder.path().join("data/a b#ü?+/_delta_log").is_dir());
    let escaped = source_of("escaped", SourceKind::Push { into: delta("a%20b") });
    let error = store.append(&escaped, "a", &rows([1])).await.expect_err("readers differ about it").to_string();
    assert!(error.ends_with("a%20b cannot be the folder of a Delta table; use a name without %"), "{error}");
}

#[tokio::test]
async fn a_query_reads_delta_tables_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", 0..10).await;
    let query = "SELECT x + 1 AS x, t FROM trips WHERE k IN ('k3', 'k4')".to_owned();
    let asked = source_of("asked", SourceKind::Sql { query });
    store.define([trips(), asked.clone()].map(|source| (source.name.clone(), source)).into());
    assert_eq!(read(&store, &asked).await.expect("the scan works"), [4, 5]);
}

#[tokio::test]
async fn a_time_that_the_log_cannot_say_is_refused_by_name_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    append(&store, "a", [1]).await;
    let before = (log(folder.path()), data_files(folder.path()));
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let times = |time: i64| Arc::new(timestamps(vec![Some(time)])) as ArrayRef;
    let day = |day: i32| Arc::new(arrow::array::Date32Array::from(vec![day])) as ArrayRef;
    // The last microsecond before the year 1 and the first one after 9999; the year 262144; the ends of the numbers.
    for time in [-62_135_596_800_000_001, 253_402_300_800_000_000, 8_210_298_412_800_000_000, i64::MAX, i64::MIN] {
        for rows in [
            batch(vec![("x", Arc::clone(&one)), ("t", times(time))]),
            batch(vec![("x", Arc::clone(&one)), ("t", times(5)), ("made", times(time))]),
        ] {
            let column = rows.schema().field(rows.num_columns() - 1).name().clone();
            let wanted = format!(
                "rows cannot be added to source trips: column {column} has a time before the year 1 or after the year \
                 9999, which a Delta table cannot hold"
            );
            let error = store.append(&trips(), "b", &rows).await.expect_err("it cannot be said");
            assert_eq!(error.to_string(), wanted, "{time}");
            let error = store.upsert(&trips(), "c", &["t".to_owned()], &rows).await.expect_err("it cannot be said");
            assert_eq!(error.to_string(), wanted, "{time}");
        }
    }
    for out in [i32::MIN, -719_163, 2_932_897, i32::MAX] {
        let rows = batch(vec![("x", Arc::clone(&one)), ("t", times(5)), ("day", day(out))]);
        let error = store.append(&trips(), "b", &rows).await.expect_err("it cannot be said").to_string();
        assert!(error.contains("column day has a time before the year 1"), "{out}: {error}");
    }
    assert_eq!((log(folder.path()), data_files(folder.path())), before);
    let last = batch(vec![("x", Arc::clone(&one)), ("t", times(5)), ("day", day(2_932_896))]);
    store.append(&trips(), "last", &last).await.expect("the last day of 9999");
    assert_eq!(read(&store, &trips()).await.expect("a scan"), [1, 1]);
}

#[tokio::test]
async fn numbers_that_are_none_are_what_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, 5e-324];
    // Each in a file of its own, so that the log has it as the first and the last of one.
    for (number, value) in (0..).zip(odd) {
        let rows = batch(vec![
            ("f", Arc::new(arrow::array::Float64Array::from(vec![value]))),
            ("t", Arc::new(timestamps(vec![Some(number)]))),
        ]);
        store.append(&trips(), &number.to_string(), &rows).await.expect("the batch is stored");
    }
    let wanted = Scan::of(vec![Field::new("f", DType::One(Scalar::Float64))]);
    for (number, value) in (0..).zip(odd) {
        let wanted = Scan { from: Some(number), until: Some(number), ..wanted.clone() };
        let rows: Vec<RecordBatch> =
            store.scan(&trips(), &wanted).await.expect("a scan").try_collect().await.expect("the scan works");
        let found = rows[0].column(0).as_primitive::<arrow::datatypes::Float64Type>().value(0);
        assert!(found.to_bits() == value.to_bits() || found.is_nan() && value.is_nan(), "{value}: {found}");
    }
}
