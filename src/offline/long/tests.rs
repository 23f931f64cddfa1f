//! Long rows that become wide ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array};
use expect_test::{Expect, expect};
use futures::TryStreamExt;

use super::*;
use crate::batch::record_batch;
use crate::catalog::{SourceKind, Stored};
use crate::offline::{KnownBy, MemoryTables, OfflineStore, StoredSources, write_parquet};
use crate::space::Space;

fn source(name: &str, kind: SourceKind) -> Source {
    Source {
        name: name.to_owned(),
        kind,
        event_time: "at".to_owned(),
        created_time: Some("made".to_owned()),
        description: String::new(),
    }
}

fn long() -> Long {
    Long {
        source: "readings".to_owned(),
        entity_type: Some(("kind".to_owned(), "company".to_owned())),
        entity: "id".to_owned(),
        join_key: "company".to_owned(),
        name_column: "name".to_owned(),
        value_column: Some("value".to_owned()),
        value_columns: vec![(DType::One(Scalar::Float64), "number".to_owned())],
    }
}

/// A long row: kind, id, feature, value as text, value as a number, event time, created time.
type Reading<'a> = (&'a str, Option<&'a str>, &'a str, Option<&'a str>, Option<f64>, Option<i64>, Option<i64>);

fn readings(rows: &[Reading<'_>]) -> RecordBatch {
    let text = |name: &str| Field::new(name, DType::One(Scalar::String));
    let fields = [
        text("kind"),
        text("id"),
        text("name"),
        text("value"),
        Field::new("number", DType::One(Scalar::Float64)),
        Field::new("at", DType::TIMESTAMP),
        Field::new("made", DType::TIMESTAMP),
        // A column that nobody reads.
        Field::new("host", DType::One(Scalar::Int64)),
    ];
    let texts =
        |of: fn(&Reading<'_>) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let columns: Vec<ArrayRef> = vec![
        texts(|row| Some(row.0.to_owned())),
        texts(|row| row.1.map(str::to_owned)),
        texts(|row| Some(row.2.to_owned())),
        texts(|row| row.3.map(str::to_owned)),
        Arc::new(rows.iter().map(|row| row.4).collect::<Float64Array>()),
        Arc::new(timestamps(rows.iter().map(|row| row.5).collect())),
        Arc::new(timestamps(rows.iter().map(|row| row.6).collect())),
        Arc::new(Int64Array::from(vec![7; rows.len()])),
    ];
    record_batch(&fields, columns, rows.len())
}

fn store(rows: &[Reading<'_>]) -> (StoredSources, Source) {
    let tables = Arc::new(MemoryTables::default());
    let below = source("readings", SourceKind::Stored(Stored::parquet("readings")));
    let wide = source("wide", SourceKind::Long(Box::new(long())));
    let store = StoredSources::new(vec![Arc::clone(&tables) as _]);
    store.define(BTreeMap::from([("readings".to_owned(), below), ("wide".to_owned(), wide.clone())]));
    for rows in rows.chunks(3) {
        tables.put("readings", readings(rows));
    }
    (store, wide)
}

fn asked() -> Vec<Field> {
    vec![
        Field::new("trips", DType::One(Scalar::Int64)),
        Field::new("company", DType::One(Scalar::String)),
        Field::new("fare", DType::One(Scalar::Float64)),
        Field::new("open", DType::One(Scalar::Bool)),
    ]
}

async fn scanned(store: &StoredSources, source: &Source, scan: &Scan) -> Result<String, Error> {
    let batches: Vec<RecordBatch> = store.scan(source, scan).await?.try_collect().await?;
    let row = |batch: &RecordBatch, row: usize| {
        let cells = batch.columns().iter().map(|column| cast::to_text(column, row));
        cells.map(|cell| cell.replace("1970-01-01T00:00:", "")).collect::<Vec<_>>().join(" ")
    };
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|number| row(batch, number)));
    Ok(rows.collect::<Vec<_>>().join("\n"))
}

async fn check(rows: &[Reading<'_>], scan: Scan, expected: Expect) {
    let (store, source) = store(rows);
    expected.assert_eq(&scanned(&store, &source, &scan).await.unwrap_or_else(|error| error.to_string()));
}

const S: i64 = 1_000_000;

#[tokio::test]
async fn rows_of_one_entity_and_time_become_one_row_with_the_asked_features() {
    let rows = [
        ("company", Some("b"), "trips", Some("3"), None, Some(S), Some(2 * S)),
        ("company", Some("a"), "fare", None, Some(1.5), Some(S), None),
        ("company", Some("a"), "trips", Some("7"), None, Some(2 * S), None),
        ("company", Some("a"), "open", Some("true"), None, Some(S), Some(3 * S)),
        ("area", Some("a"), "fare", None, Some(99.0), Some(S), None),
        ("company", Some("a"), "unasked", Some("not a number"), None, Some(5 * S), None),
        ("company", Some("a"), "fare", None, Some(2.5), None, None),
        ("company", None, "fare", None, Some(3.5), Some(S), None),
    ];
    check(
        &rows,
        Scan::of(asked()),
        expect![[r#"
            null null 3.5 null 01Z null
            null a 1.5 true 01Z 03Z
            7 a null null 02Z null
            3 b null null 01Z 02Z"#]],
    )
    .await;
}

#[tokio::test]
async fn of_two_values_of_one_moment_the_later_created_one_counts_and_then_the_later_one() {
    let fare = |number, created: Option<i64>| ("company", Some("a"), "fare", None, number, Some(S), created);
    let only = |fare| vec![asked().remove(1), Field::new("fare", fare)];
    let float = DType::One(Scalar::Float64);
    let rows = [fare(Some(1.0), Some(5 * S)), fare(Some(2.0), None), fare(Some(3.0), Some(4 * S))];
    check(&rows, Scan::of(only(float)), expect!["a 1.0 01Z 05Z"]).await;
    let rows: Vec<Reading<'_>> = (0..40).map(|step| fare(Some(f64::from(step)), Some(S))).collect();
    check(&rows, Scan::of(only(float)), expect!["a 39.0 01Z 01Z"]).await;
    let rows = [fare(Some(1.0), Some(S)), fare(None, Some(2 * S))];
    check(&rows, Scan::of(only(float)), expect!["a null 01Z 02Z"]).await;
}

#[tokio::test]
async fn a_scan_as_it_was_known_then_takes_the_value_of_then() {
    let fare = |number, created: i64| ("company", Some("a"), "fare", None, Some(number), Some(S), Some(created));
    let rows = [fare(1.0, 2 * S), fare(2.0, 5 * S)];
    let columns = vec![Field::new("fare", DType::One(Scalar::Float64))];
    let scan = Scan { known_at: Some(4 * S), ..Scan::of(columns.clone()) };
    check(&rows, scan, expect!["1.0 01Z 02Z"]).await;
    check(&rows, Scan { until: Some(0), ..Scan::of(columns) }, expect![""]).await;
}

#[tokio::test]
async fn text_that_is_not_of_the_type_is_refused_with_whose_it_is() {
    let trips = |text| ("company", Some("Sun Taxi"), "trips", Some(text), None, Some(S), None);
    check(
        &[trips("7"), trips("seven")],
        Scan::of(asked()),
        expect![[
            r#"column trips of source wide is string, which cannot be read as int64: "seven" of company=Sun Taxi is not one"#
        ]],
    )
    .await;
    let one = |name: &str, scalar| Scan::of(vec![Field::new(name, DType::One(scalar))]);
    check(
        &[trips("1.5")],
        one("trips", Scalar::Int32),
        expect![[
            r#"column trips of source wide is string, which cannot be read as int32: "1.5" of company=Sun Taxi is not one"#
        ]],
    )
    .await;
    check(
        &[trips("1e999")],
        one("trips", Scalar::Float32),
        expect![[
            r#"column trips of source wide is string, which cannot be read as float32: "1e999" of company=Sun Taxi is not one"#
        ]],
    )
    .await;
    check(&[trips("2016-12-31")], one("trips", Scalar::Date), expect!["2016-12-31 01Z null"]).await;
    check(&[trips("seven")], one("fare", Scalar::Float64), expect![""]).await;
}

#[tokio::test]
async fn many_rows_come_out_whole_however_they_are_cut() {
    let names = ["fare", "trips", "open"];
    let below = source("readings", SourceKind::Stored(Stored::parquet("readings")));
    let (store, source) = store(&[]);
    let entities: Vec<String> = (0..3_000).map(|entity| format!("c{entity:05}")).collect();
    let mut expected = 0;
    for name in names {
        let rows: Vec<Reading<'_>> = entities
            .iter()
            .flat_map(|entity| (0..8).map(move |time| (entity, time)))
            .map(|(entity, time)| {
                let text = match name {
                    "open" => Some("false"),
                    _ => Some("12"),
                };
                ("company", Some(entity.as_str()), name, text, Some(0.5), Some(time * S), None)
            })
            .collect();
        expected = rows.len();
        store.append(&below, name, &readings(&rows)).await.unwrap();
    }
    let batches: Vec<RecordBatch> = store.scan(&source, &Scan::of(asked())).await.unwrap().try_collect().await.unwrap();
    assert!(batches.len() > 1, "more than one batch");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), expected);
    for column in 0..4 {
        assert_eq!(batches.iter().map(|batch| batch.column(column).null_count()).sum::<usize>(), 0, "{column}");
    }
}

#[tokio::test]
async fn only_the_asked_features_and_their_columns_are_read() {
    let (store, source) = store(&[("company", Some("a"), "fare", None, Some(1.0), Some(S), None)]);
    let fare = Scan { from: Some(S), ..Scan::of(vec![Field::new("fare", DType::One(Scalar::Float64))]) };
    let plan = store.explain(&source, &fare).await.unwrap();
    assert!(plan.contains("fare") && !plan.contains("trips"), "{plan}");
    assert!(!plan.contains("host") && !plan.contains("lockstep_value_1"), "{plan}");
    let schema = store.schema(&source).await.unwrap();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["company", "at", "made"]);
}

#[tokio::test]
async fn a_query_over_a_long_source_is_sent_to_what_that_reads() {
    let (store, wide) = store(&[]);
    let query = source("query", SourceKind::Sql { query: "SELECT * FROM wide".to_owned() });
    let sources = [wide, query.clone()].map(|source| (source.name.clone(), source));
    store.define(BTreeMap::from(sources));
    let error = store.schema(&query).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the query of source query is wrong: source wide has columns only when features are asked for; read readings"
    );
}

#[tokio::test]
async fn a_snapshot_says_how_a_long_source_is_read_in_the_words_of_its_definition() {
    let (store, wide) = store(&[("company", Some("a"), "trips", Some("7"), None, Some(S), None)]);
    let snapshot = store.snapshot(&wide, KnownBy::Content).await.expect("a snapshot");
    let [(name, text)] = snapshot.queries.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!(name, "wide");
    expect![[r#"{"entity":{"column":"id","join_key":"company"},"entity_type":{"column":"kind","value":"company"},"name_column":"name","source":"readings","value_column":"value","value_columns":{"float64":"number"}}"#]].assert_eq(text);
}

/// The rows of many readings in a file, asked for by a scan that may take this.
async fn many_within(space: Space) -> Result<Vec<RecordBatch>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..60_000).map(|row| format!("{:05}", row * 7_919 % 60_000)).collect();
    let rows: Vec<Reading<'_>> = texts
        .iter()
        .map(|text| ("company", Some(text.as_str()), "trips", Some("12"), None, Some(S), None))
        .chain(texts.iter().map(|text| ("company", Some(text.as_str()), "fare", None, Some(0.5), Some(S), None)))
        .collect();
    let rows = readings(&rows);
    write_parquet(&folder.path().join("readings"), &rows.schema(), &[rows], &[]).unwrap();
    let store = StoredSources::of_files(folder.path().to_owned()).within(space);
    let below = source("readings", SourceKind::Stored(Stored::parquet("readings")));
    let wide = source("wide", SourceKind::Long(Box::new(long())));
    store.define(BTreeMap::from([("readings".to_owned(), below), ("wide".to_owned(), wide.clone())]));
    store.scan(&wide, &Scan::of(asked())).await?.try_collect().await
}

#[tokio::test]
async fn rows_that_do_not_fit_into_memory_are_put_aside_and_come_out_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let spill = folder.path().join("spill");
    let in_memory = many_within(Space { spill: spill.clone(), ..Space::default() }).await.unwrap();
    assert!(!spill.exists(), "nothing is put aside");
    let small = Space { memory_bytes: 8 << 20, spill: spill.clone(), spill_bytes_max: u64::MAX };
    let on_disk = many_within(small.clone()).await.unwrap();
    let whole = |batches: &[RecordBatch]| arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap();
    assert_eq!(whole(&on_disk), whole(&in_memory));
    assert_eq!(whole(&in_memory).num_rows(), 60_000);
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0, "they were put aside, and are gone");

    let error = many_within(Space { spill_bytes_max: 64 << 10, ..small.clone() }).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is not enough room to work on source wide: its rows do not fit into memory, and more than 64KiB would be \
         put aside; raise memory or spill_max under offline_store in lockstep.yaml"
    );
    std::fs::write(folder.path().join("file"), "no folder").unwrap();
    let error = many_within(Space { spill: folder.path().join("file"), ..small.clone() }).await.unwrap_err();
    assert!(error.to_string().contains("name another folder with spill under offline_store"), "{error}");
    let error = many_within(Space { memory_bytes: 100_000, ..small }).await.unwrap_err();
    assert!(error.to_string().ends_with("raise that"), "{error}");
}
