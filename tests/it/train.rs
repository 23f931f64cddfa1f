//! Training sets: one row per label, with what was true at its time.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int32Array, RecordBatch, StringArray, StringDictionaryBuilder,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::Int32Type;
use futures::TryStreamExt;
use lockstep::app::read_rows;
use lockstep::catalog::Selection;
use lockstep::clock::Micros;
use lockstep::error::ErrorKind;
use lockstep::flow::Error;
use lockstep::flow::train::{DIGEST_COLUMN, Labels, Options, TrainingSet, train};
use lockstep::offline::read_parquet;
use lockstep::pit::Space;
use lockstep::training::write_training_set;

use crate::light::{DAY, HOUR, Light, NOW, SECOND, batch, floats, floats_of, integers, selection, texts, times};

const DEFINITIONS: &str = "
entities:
  - {name: company, join_keys: [{name: company, type: string}]}
  - {name: area, join_keys: [{name: area, type: int64}]}
sources:
  - {name: rides, type: parquet, path: rides, event_time: at, created_time: made}
  - {name: areas, type: parquet, path: areas, event_time: at}
feature_views:
  - {name: stats, entities: [company], source: rides, features: [{name: fare, type: float64}]}
  - {name: fresh, entities: [company], source: rides, ttl: 1h, features: [{name: fare, type: float64}]}
  - {name: area_stats, entities: [area], source: areas, features: [{name: fare, type: float64}, {name: miles, type: float64}]}
derived_views:
  - name: quote
    plugin: taxi_quote
    inputs: {area_fare_30d: 'area_stats:fare', area_miles_30d: 'area_stats:miles'}
    features: [expected_fare, is_rush_hour]
feature_services:
  - {name: model, features: ['stats:fare', quote]}
";

async fn light() -> Light {
    let light = Light::of(DEFINITIONS).await;
    light.put(
        "rides",
        &batch(&[
            ("company", texts(&["a", "a", "a", "b", "b"])),
            ("fare", floats(&[1.0, 2.0, 3.0, 4.0, 5.0])),
            ("at", times(&[NOW - DAY, NOW - HOUR, NOW, NOW, NOW])),
            ("made", times(&[NOW, NOW, NOW, NOW + 1, NOW])),
        ]),
    );
    light.put(
        "areas",
        &batch(&[
            ("area", integers(&[8, 9])),
            ("fare", floats(&[10.0, 20.0])),
            ("miles", floats(&[5.0, 0.0])),
            ("at", times(&[NOW - DAY, NOW - DAY])),
        ]),
    );
    light
}

fn labels(companies: &[&str], at: &[Micros]) -> RecordBatch {
    batch(&[("company", texts(companies)), ("event_timestamp", times(at))])
}

/// The whole set at once.
async fn made(light: &Light, selection: &Selection, labels: Labels, options: Options) -> Result<RecordBatch, Error> {
    train(&light.gateway, selection, labels, options).await?.collect().await
}

fn model() -> Selection {
    Selection::Service { name: "model".to_owned(), full_feature_names: None }
}

#[tokio::test]
async fn there_is_one_row_a_label_in_order_and_every_other_column_passes_through() {
    let light = light().await;
    let companies = ["b", "a", "zz", "a", "a", "a"];
    let at = [NOW, NOW, NOW, NOW - HOUR, NOW - HOUR - 1, NOW];
    let tips: Vec<Option<&str>> = vec![Some("x"), None, Some(""), Some("naïve 🚕"), None, Some("y")];
    let labels = batch(&[
        ("tip", Arc::new(StringArray::from(tips.clone())) as ArrayRef),
        ("company", texts(&companies)),
        ("event_timestamp", times(&at)),
        ("weight", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5, 6]))),
    ]);
    let set = light.train(&["stats:fare"], &labels).await.expect("trained");
    let names: Vec<String> = set.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["tip", "company", "event_timestamp", "weight", "stats__fare"]);
    let expected = [Some(4.0), Some(3.0), None, Some(2.0), Some(1.0), Some(3.0)];
    assert_eq!(floats_of(&set, "stats__fare"), expected);
    assert_eq!(set.columns()[..4], labels.columns()[..], "untouched, nulls included");
}

#[tokio::test]
async fn both_ends_of_the_ttl_are_inside() {
    let light = light().await;
    let ages = [0, 1, HOUR - 1, HOUR, HOUR + 1, -1];
    let at: Vec<Micros> = ages.iter().map(|age| NOW + age).collect();
    let set = light.train(&["fresh:fare"], &labels(&["b"; 6], &at)).await.expect("trained");
    assert_eq!(floats_of(&set, "fresh__fare"), [Some(4.0), Some(4.0), Some(4.0), Some(4.0), None, None]);
}

#[tokio::test]
async fn labels_before_all_history_and_null_keys_find_nothing() {
    let light = light().await;
    let companies: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
    let rows = batch(&[("company", companies), ("event_timestamp", times(&[NOW - 2 * DAY, NOW, Micros::MIN]))]);
    let set = light.train(&["stats:fare"], &rows).await.expect("trained");
    assert_eq!(floats_of(&set, "stats__fare"), [None, None, None]);
}

#[tokio::test]
async fn no_labels_make_an_empty_set_of_the_same_columns() {
    let light = light().await;
    let rows = batch(&[("company", texts::<&str>(&[])), ("area", integers(&[])), ("event_timestamp", times(&[]))]);
    let options = Options { digest_column: true, ..Options::default() };
    let set = made(&light, &model(), Labels::of(rows, None), options).await.expect("trained");
    let names: Vec<String> = set.schema().fields().iter().map(|field| field.name().clone()).collect();
    let features = ["company", "area", "event_timestamp", "fare", "expected_fare", "is_rush_hour", DIGEST_COLUMN];
    assert_eq!((names.iter().map(String::as_str).collect::<Vec<_>>(), set.num_rows()), (features.to_vec(), 0));
}

#[tokio::test]
async fn a_time_of_any_unit_and_zone_is_the_same_moment() {
    let light = light().await;
    let second = NOW / SECOND;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("seconds", Arc::new(TimestampSecondArray::from(vec![second; 2]))),
        ("milliseconds, naive", Arc::new(TimestampMillisecondArray::from(vec![second * 1_000; 2]))),
        ("microseconds, naive", Arc::new(TimestampMicrosecondArray::from(vec![NOW; 2]))),
        ("microseconds in Chicago", {
            Arc::new(TimestampMicrosecondArray::from(vec![NOW; 2]).with_timezone("America/Chicago"))
        }),
        ("microseconds at +05:30", { Arc::new(TimestampMicrosecondArray::from(vec![NOW; 2]).with_timezone("+05:30")) }),
        ("nanoseconds", Arc::new(TimestampNanosecondArray::from(vec![NOW * 1_000 + 999; 2]).with_timezone("UTC"))),
    ];
    for (what, at) in columns {
        let rows = batch(&[("company", texts(&["a", "b"])), ("event_timestamp", at)]);
        let set = light.train(&["stats:fare"], &rows).await.expect(what);
        assert_eq!(floats_of(&set, "stats__fare"), [Some(3.0), Some(4.0)], "{what}");
        assert_eq!(set.column(1), rows.column(1), "{what}: the label's own column is as it came");
    }
    let before: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![NOW * 1_000 - 1]));
    let rows = batch(&[("company", texts(&["a"])), ("event_timestamp", before)]);
    let set = light.train(&["stats:fare"], &rows).await.expect("trained");
    assert_eq!(floats_of(&set, "stats__fare"), [Some(2.0)], "a nanosecond before is before");
}

#[tokio::test]
async fn a_key_of_another_encoding_is_the_same_key() {
    let light = light().await;
    let mut companies = StringDictionaryBuilder::<Int32Type>::new();
    companies.append_value("a");
    companies.append_null();
    let rows = batch(&[
        ("company", Arc::new(companies.finish())),
        ("area", Arc::new(Int32Array::from(vec![8, 9]))),
        ("event_timestamp", times(&[NOW, NOW])),
        ("planned_miles", Arc::new(Int32Array::from(vec![3, 3]))),
    ]);
    let set = light.train(&["stats:fare", "quote:expected_fare"], &rows).await.expect("trained");
    assert_eq!(floats_of(&set, "stats__fare"), [Some(3.0), None]);
    assert_eq!(floats_of(&set, "quote__expected_fare"), [Some(6.0), Some(10.0)]);
}

#[tokio::test]
async fn the_time_of_a_label_is_found_or_named() {
    let light = light().await;
    let at = times(&[NOW]);
    let company = texts(&["a"]);
    let selection = selection(&["stats:fare"]);
    let ask = async |columns: &[(&str, ArrayRef)], time_column: Option<&str>| {
        let labels = Labels::of(batch(columns), time_column.map(str::to_owned));
        made(&light, &selection, labels, Options::default()).await
    };
    let company = |more: &[(&'static str, ArrayRef)]| {
        let mut columns = vec![("company", Arc::clone(&company))];
        columns.extend(more.iter().cloned());
        columns
    };
    let only = ask(&company(&[("trip_start", at.clone())]), None).await.expect("the only timestamp");
    assert_eq!(floats_of(&only, "stats__fare"), [Some(3.0)]);
    let two = company(&[("trip_start", at.clone()), ("trip_end", times(&[NOW - HOUR]))]);
    let named = ask(&two, Some("trip_end")).await.expect("the named one");
    assert_eq!(floats_of(&named, "stats__fare"), [Some(2.0)]);
    let usual = company(&[("event_timestamp", times(&[NOW - DAY])), ("trip_end", at.clone())]);
    let usual = ask(&usual, None).await.expect("the one that is called so");
    assert_eq!(floats_of(&usual, "stats__fare"), [Some(1.0)]);

    let sentence = "the label frame has no column \"event_timestamp\" with the time of each label; name it event_timestamp, or say which one it is";
    for columns in [two, company(&[])] {
        let error = ask(&columns, None).await.expect_err("which one?");
        assert_eq!((error.to_string().as_str(), error.kind()), (sentence, ErrorKind::Invalid));
    }
    let error = ask(&company(&[("trip_start", at)]), Some("start")).await.expect_err("not there");
    assert!(error.to_string().starts_with("the label frame has no column \"start\""), "{error}");
    let text = company(&[("event_timestamp", texts(&["2016-12-31"]))]);
    let error = ask(&text, None).await.expect_err("text");
    assert!(matches!(&error, Error::WrongType { column, is, .. } if column == "event_timestamp" && is == "string"));
    let null: ArrayRef = Arc::new(lockstep::batch::timestamps(vec![None]));
    let error = ask(&company(&[("event_timestamp", null)]), None).await.expect_err("null");
    assert_eq!(error.to_string(), "row 0 of the labels has no event_timestamp; every label needs its time");
    let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX]));
    let far = company(&[("event_timestamp", far)]).into_iter().map(|(name, column)| match name {
        "company" => (name, texts(&["a", "a"])),
        _ => (name, column),
    });
    let error = ask(&far.collect::<Vec<_>>(), None).await.expect_err("out of range");
    assert!(error.to_string().contains("event_timestamp") && error.to_string().contains("row 1"), "{error}");
    let date: ArrayRef = Arc::new(Date32Array::from(vec![(NOW / DAY) as i32 + 1]));
    let date = ask(&company(&[("event_timestamp", date)]), None).await.expect("a date is its midnight");
    assert_eq!(floats_of(&date, "stats__fare"), [Some(3.0)]);
}

#[tokio::test]
async fn what_a_label_frame_lacks_is_told() {
    let light = light().await;
    let rows = batch(&[("event_timestamp", times(&[NOW]))]);
    let error = light.train(&["stats:fare"], &rows).await.expect_err("no key");
    assert_eq!(error.to_string(), "column company is missing; it holds a join key");
    let rows = batch(&[("company", floats(&[1.0])), ("event_timestamp", times(&[NOW]))]);
    let error = light.train(&["stats:fare"], &rows).await.expect_err("another type");
    assert!(error.to_string().starts_with("column company is float64, it must be string"), "{error}");
}

#[tokio::test]
async fn a_feature_with_the_name_of_a_label_column_is_refused() {
    let light = light().await;
    let rows = batch(&[
        ("company", texts(&["a"])),
        ("area", integers(&[8])),
        ("fare", floats(&[9.0])),
        ("event_timestamp", times(&[NOW])),
    ]);
    let ask = async |selection: Selection, rows: RecordBatch, options: Options| {
        made(&light, &selection, Labels::of(rows, None), options).await
    };
    let error = ask(model(), rows.clone(), Options::default()).await.expect_err("two columns of one name");
    let sentence = "the label frame already has a column fare; rename it, or ask with full_feature_names";
    assert_eq!((error.to_string().as_str(), error.kind()), (sentence, ErrorKind::Invalid));
    let full = Selection::Service { name: "model".to_owned(), full_feature_names: Some(true) };
    let digests = Options { digest_column: true, ..Options::default() };
    let set = ask(full.clone(), rows, digests.clone()).await.expect("trained");
    assert_eq!(floats_of(&set, "stats__fare"), [Some(3.0)]);

    let made_before = set.project(&[0, 1, 3, set.num_columns() - 1]).expect("columns that are there");
    let error = ask(full, made_before, digests).await.expect_err("two columns of one name");
    assert_eq!(
        error.to_string(),
        "the label frame already has a column lockstep_digest; rename it, or leave the digests out"
    );
}

#[tokio::test]
async fn a_training_set_says_what_made_it() {
    let light = light().await;
    let rows = batch(&[
        ("company", texts(&["a", "b"])),
        ("area", integers(&[8, 9])),
        ("hour", Arc::new(Int32Array::from(vec![8, 99]))),
        ("event_timestamp", times(&[NOW, NOW])),
    ]);
    let options = Options { digest_column: true, ..Options::default() };
    let set = made(&light, &model(), Labels::of(rows.clone(), None), options.clone()).await.expect("trained");
    let catalog = &light.gateway.applied.load().catalog;
    let digest = catalog.derived_views().next().expect("the quote").transform.digest.to_string();

    let digests = set.column_by_name(DIGEST_COLUMN).expect("the digests");
    let made_with = digests.as_dictionary::<Int32Type>().downcast_dict::<StringArray>().expect("text");
    assert!(made_with.into_iter().all(|text| text == Some(format!("quote={digest}").as_str())));
    let rush = set.column_by_name("is_rush_hour").expect("a feature").as_boolean();
    assert_eq!((rush.value(0), rush.is_null(1)), (true, true), "a row that the plugin refuses is null");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("training.parquet");
    let set = train(&light.gateway, &model(), Labels::of(rows, None), options).await.expect("trained");
    write_training_set(&path, set).await.expect("written");
    let metadata = read_parquet(&path).expect("read").metadata;
    let said: Vec<(&str, &str)> = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let plan = lockstep::plan::training(catalog, &model()).expect("a plan");
    let fingerprint = lockstep::plan::fingerprint(&plan).to_string();
    let expected = [
        ("lockstep.digest.quote", digest.as_str()),
        ("lockstep.schema_fingerprint", fingerprint.as_str()),
        ("lockstep.service", "model"),
        ("lockstep.version", "1"),
    ];
    assert_eq!(said, expected);
    let read = read_rows(&path).expect("read");
    assert_eq!((read.num_rows(), floats_of(&read, "fare")), (2, vec![Some(3.0), Some(4.0)]));
}

#[tokio::test]
async fn a_set_as_of_an_earlier_time_lacks_what_was_written_since() {
    let light = light().await;
    let ask = async |known_at: Option<Micros>| {
        let options = Options { known_at, ..Options::default() };
        let labels = Labels::of(labels(&["a", "b"], &[NOW, NOW]), None);
        let set = made(&light, &selection(&["stats:fare"]), labels, options).await.expect("trained");
        floats_of(&set, "stats__fare")
    };
    assert_eq!(ask(None).await, [Some(3.0), Some(4.0)]);
    assert_eq!(ask(Some(NOW + 1)).await, [Some(3.0), Some(4.0)], "the end is inclusive");
    assert_eq!(ask(Some(NOW)).await, [Some(3.0), Some(5.0)], "the row that was created later was not known");
    assert_eq!(ask(Some(NOW - 1)).await, [None, None]);
}

#[tokio::test]
async fn each_label_may_say_itself_what_was_known() {
    let light = light().await;
    let ask = async |known_at: &[Micros], options: Options| {
        let rows = known_at.len();
        let labels = batch(&[
            ("company", texts(&vec!["b"; rows])),
            ("event_timestamp", times(&vec![NOW; rows])),
            ("scored_at", times(known_at)),
        ]);
        let options = Options { known_at_column: Some("scored_at".to_owned()), ..options };
        let set = made(&light, &selection(&["stats:fare"]), Labels::of(labels, None), options).await.expect("trained");
        (floats_of(&set, "stats__fare"), set.num_columns())
    };
    let (fares, columns) = ask(&[NOW + 1, NOW, NOW - 1, NOW + DAY], Options::default()).await;
    assert_eq!(fares, [Some(4.0), Some(5.0), None, Some(4.0)], "the end is inclusive");
    assert_eq!(columns, 4, "the column comes back once");
    let both = Options { known_at: Some(NOW), ..Options::default() };
    assert_eq!(ask(&[NOW + 1, NOW, NOW - 1], both).await.0, [Some(5.0), Some(5.0), None], "the earlier of both holds");
}

#[tokio::test]
async fn a_label_that_does_not_say_what_was_known_is_named() {
    let light = light().await;
    let ask = async |column: &str| {
        let null: ArrayRef = Arc::new(lockstep::batch::timestamps(vec![Some(NOW), None]));
        let columns = [("company", texts(&["a", "a"])), ("event_timestamp", times(&[NOW, NOW])), ("scored_at", null)];
        let options = Options { known_at_column: Some(column.to_owned()), ..Options::default() };
        let labels = Labels::of(batch(&columns), Some("event_timestamp".to_owned()));
        made(&light, &selection(&["stats:fare"]), labels, options).await.expect_err("refused").to_string()
    };
    assert_eq!(ask("scored_at").await, "row 1 of the labels has no scored_at; every label needs its time");
    let missing = "column scored is missing; it holds the time by which rows were known, for each label";
    assert_eq!(ask("scored").await, missing);
    assert!(ask("company").await.contains("company"));
}

#[tokio::test]
async fn a_set_that_does_not_fit_into_memory_is_the_same_and_says_what_it_put_aside() {
    let mut light = light().await;
    let companies: Vec<&str> = (0..30_000).map(|label| ["a", "b", "zz"][label % 3]).collect();
    let at: Vec<Micros> = (0..30_000).map(|label| NOW - (label % 40) * HOUR).collect();
    let rows = labels(&companies, &at);
    let features = ["stats:fare", "fresh:fare"];
    let in_memory = light.train(&features, &rows).await.expect("trained");
    assert!(light.gateway.metrics.encode().contains("lockstep_join_spilled_bytes_total 0\n"));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let spill = folder.path().join("spill");
    light.gateway.join_space = Space { memory_bytes: 200_000, spill: spill.clone(), ..Space::default() };
    let set = train(&light.gateway, &selection(&features), Labels::of(rows, None), Options::default()).await;
    let TrainingSet { schema, batches, spilled_bytes, .. } = set.expect("trained");
    let batches: Vec<RecordBatch> = batches.try_collect().await.expect("trained");
    let on_disk = arrow::compute::concat_batches(&schema, &batches).expect("one schema");
    assert_eq!(on_disk, in_memory);
    assert!(spilled_bytes() > 200_000, "{}", spilled_bytes());
    let counted = format!("lockstep_join_spilled_bytes_total {}\n", spilled_bytes());
    assert!(light.gateway.metrics.encode().contains(&counted), "{counted}");
    assert_eq!(std::fs::read_dir(spill).expect("the folder").count(), 0);
}

#[tokio::test]
async fn labels_of_one_key_at_many_times_do_not_disturb_one_another() {
    let light = light().await;
    let mut at: Vec<Micros> = (0..2_000).map(|label| NOW - 2 * DAY + label * 97 * SECOND).collect();
    at.reverse();
    let set = light.train(&["stats:fare"], &labels(&vec!["a"; at.len()], &at)).await.expect("trained");
    let expected: Vec<Option<f64>> = at
        .iter()
        .map(|at| match *at {
            at if at >= NOW => Some(3.0),
            at if at >= NOW - HOUR => Some(2.0),
            at if at >= NOW - DAY => Some(1.0),
            _ => None,
        })
        .collect();
    assert_eq!(floats_of(&set, "stats__fare"), expected);
}
