//! `sync`, `get`, `push`, `train` and `parity`, on the small shop.

use std::fs;

use expect_test::expect;
use lockstep::offline::read_parquet;
use serde_json::{Value, json};

use crate::command::{json_of, refused, run, succeed};
use crate::shop::{SHOP_AS_OF, shop, synced_shop, times, write};

#[test]
fn sync_takes_everything_or_what_is_new_or_a_range() {
    let folder = shop();
    let folder = folder.path();
    succeed(folder, &["apply"]);
    let counts = |words: &[&str]| {
        let synced = json_of(folder, &[&["sync"], words].concat());
        let count = |view: &Value, name: &str| view[name].as_u64().expect("a count");
        let views = synced.as_array().expect("a list").iter().map(|view| {
            let name = view["view"].as_str().expect("a name").to_owned();
            (name, count(view, "rows_read"), count(view, "rows_written"), count(view, "rows_without_key"))
        });
        views.collect::<Vec<_>>()
    };
    let orders = |read, written, without_key| ("customer_orders".to_owned(), read, written, without_key);
    let visits = ("customer_visits".to_owned(), 0, 0, 0);

    let range = ["customer_orders", "--from", "2024-01-10", "--until", "2024-01-15T00:00:00Z"];
    assert_eq!(counts(&range), [orders(2, 2, 0)]);
    assert_eq!(counts(&["customer_orders", "--from", "2024-01-16"]), [orders(3, 2, 1)]);
    assert_eq!(counts(&["--incremental"])[0], orders(4, 3, 1), "the day between the two ranges is not skipped");
    assert_eq!(counts(&["--incremental"]), [orders(0, 0, 0), visits.clone()]);
    let full = counts(&[]);
    assert_eq!((full[0].1, full[0].3, &full[1]), (5, 1, &visits));

    let ran = run(folder, &["sync", "--incremental", "--from", "2024-01-01"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let table = succeed(folder, &["sync", "customer_orders"]);
    assert!(table.starts_with("view ") && table.lines().count() == 3, "{table}");
}

#[test]
fn get_shows_values_statuses_and_times() {
    let folder = synced_shop();
    let folder = folder.path();
    let ask = |words: &[&str]| run(folder, &[&["get", "customer_model"], words, &["--as-of", SHOP_AS_OF]].concat());
    let known = ask(&["customer_id=1"]);
    expect![[r#"
        feature   value                  status      event time
        ───────────────────────────────────────────────────────────────────
        amount    20.0                   PRESENT     2024-01-20T00:00:00Z
        city      Köln                   PRESENT     2024-01-20T00:00:00Z
        paid_at   2024-01-20T00:00:00Z   PRESENT     2024-01-20T00:00:00Z
        pages     null                   NOT_FOUND
    "#]]
    .assert_eq(&known.stdout);
    assert!(known.stderr.contains("NOT_FOUND means"), "{}", known.stderr);

    let rows = json_of(folder, &["get", "customer_model", "customer_id=2", "--as-of", SHOP_AS_OF]);
    let row = |feature, value: Value, status, time: Value| json!({"feature": feature, "value": value, "status": status, "event_time": time});
    let at = json!("2024-01-15T00:00:00Z");
    let expected = json!([
        row("amount", json!("NaN"), "PRESENT", at.clone()),
        row("city", Value::Null, "NULL_VALUE", at.clone()),
        row("paid_at", at.clone(), "PRESENT", at),
        row("pages", Value::Null, "NOT_FOUND", Value::Null),
    ]);
    assert_eq!(rows, expected);

    let features = ["get", "customer_orders:city", "customer_orders:amount", "customer_id=1", "--as-of", "2024-01-21"];
    let rows = json_of(folder, &features);
    assert_eq!((&rows[0]["value"], &rows[1]["value"]), (&json!("Köln"), &json!(20.0)));

    let old = run(folder, &["get", "customer_orders:city", "customer_id=1"]);
    assert!(old.stdout.contains("OUTSIDE_MAX_AGE") && old.stderr.contains("--as-of asks about"), "{old:?}");
}

#[test]
fn get_says_what_it_was_asked_wrongly() {
    let folder = synced_shop();
    let folder = folder.path();
    let get = |words: &[&str]| refused(folder, &[&["get"], words].concat(), 2);
    expect!["customer is not asked for; this look-up takes customer_id"]
        .assert_eq(&get(&["customer_model", "customer=1"]));
    expect!["customer_id is missing; add customer_id=…"].assert_eq(&get(&["customer_model"]));
    expect![[r#"customer_id: "one" cannot be read as int64"#]].assert_eq(&get(&["customer_model", "customer_id=one"]));
    expect!["name a feature service, or features as view:feature"].assert_eq(&get(&["customer_id=1"]));
    expect!["customer_visits is a view, not a feature service; ask for its features: customer_visits:pages"]
        .assert_eq(&get(&["customer_visits", "customer_id=1"]));
    expect![[r#""city" is neither view:feature nor name=value"#]].assert_eq(&get(&[
        "customer_orders:amount",
        "city",
        "customer_id=1",
    ]));
    let message = refused(folder, &["get", "customer_orders:amuont", "customer_id=1"], 3);
    assert!(message.contains("feature view customer_orders has no feature amuont"), "{message}");
}

#[test]
fn what_is_pushed_can_be_got_and_goes_to_the_history_unless_told_otherwise() {
    let folder = synced_shop();
    let folder = folder.path();
    let pushed = json_of(folder, &["push", "visits", "visits.parquet"]);
    assert_eq!((&pushed["rows"], &pushed["rows_appended"]), (&json!(2), &json!(2)), "{pushed}");
    let pages = |folder| json_of(folder, &["get", "customer_visits:pages", "customer_id=1"])[0]["value"].clone();
    assert_eq!(pages(folder), json!(7));
    let told = succeed(folder, &["push", "visits", "visits.parquet", "--to", "online"]);
    assert!(told.starts_with("2 rows to customer_visits ("), "{told}");
    let entries = fs::read_dir(folder.join("data/visits")).expect("the history");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).count();
    assert_eq!(files, 1, "what went online only is not in the history");

    let other = synced_shop();
    succeed(other.path(), &["push", "visits", "visits.parquet", "--to", "offline"]);
    assert_eq!(pages(other.path()), Value::Null);
    succeed(other.path(), &["sync", "customer_visits"]);
    assert_eq!(pages(other.path()), json!(7));

    write(
        &folder.join("none.parquet"),
        vec![
            ("customer_id", std::sync::Arc::new(arrow::array::Int64Array::from(Vec::<i64>::new()))),
            ("pages", std::sync::Arc::new(arrow::array::Int64Array::from(Vec::<i64>::new()))),
            ("visited_at", times(&[])),
        ],
    );
    assert_eq!(json_of(folder, &["push", "visits", "none.parquet"])["rows"], json!(0));
}

#[test]
fn train_writes_what_was_known_at_each_label_with_its_provenance() {
    let folder = shop();
    let folder = folder.path();
    succeed(folder, &["apply"]);
    let words = ["train", "customer_model", "--labels", "labels.parquet", "--to"];
    let trained = json_of(folder, &[&words[..], &["set.parquet"]].concat());
    assert_eq!((&trained["rows"], &trained["columns"]), (&json!(4), &json!(7)), "{trained}");
    let set = read_parquet(&folder.join("set.parquet")).expect("a training set");
    assert_eq!(set.metadata["lockstep.service"], "customer_model");
    assert_eq!(set.metadata["lockstep.version"], "1");
    let cities = arrow::util::pretty::pretty_format_columns("city", &[set.batches[0]["city"].clone()]);
    expect![[r#"
        +--------+
        | city   |
        +--------+
        | Berlin |
        | Köln   |
        |        |
        |        |
        +--------+"#]]
    .assert_eq(&cities.expect("text").to_string());

    // The labels as of another of their times, and with the digests as a column.
    let more =
        ["later.parquet", "--time-column", "label_noted_at", "--known-at-column", "event_timestamp", "--digest-column"];
    assert!(succeed(folder, &[&words[..], &more].concat()).starts_with("4 rows × 8 columns in later.parquet"));
    let later = read_parquet(&folder.join("later.parquet")).expect("a training set");
    assert!(later.schema.column_with_name("lockstep_digest").is_some());
}

#[test]
fn parity_compares_and_its_exit_code_is_the_finding() {
    let folder = synced_shop();
    let folder = folder.path();
    succeed(folder, &["push", "visits", "visits.parquet"]);
    let told = succeed(folder, &["parity", "customer_model", "--sample", "3", "--as-of", SHOP_AS_OF]);
    assert!(
        told.starts_with("parity: 0 of 12 values differ (customer_model, 3 rows as of 2024-01-21T00:00:00Z"),
        "{told}"
    );
    let found = json_of(folder, &["parity"]);
    assert_eq!((&found[0]["differ"], &found[0]["service"]), (&json!(0), &json!("customer_model")));
    let as_of = found[0]["as_of"].as_str().expect("a time as text");
    assert!(chrono::DateTime::parse_from_rfc3339(as_of).is_ok(), "{as_of}");

    // The history is rewritten behind the online store's back, so training knows what serving does not.
    let bytes = fs::read(folder.join("visits.parquet")).expect("visits");
    fs::write(folder.join("data/visits/again.parquet"), bytes).expect("written");
    write(
        &folder.join("data/visits/later.parquet"),
        vec![
            ("customer_id", std::sync::Arc::new(arrow::array::Int64Array::from(vec![1]))),
            ("pages", std::sync::Arc::new(arrow::array::Int64Array::from(vec![8]))),
            ("visited_at", times(&["2024-01-20"])),
        ],
    );
    let words = ["parity", "customer_model", "--sample", "3", "--as-of", SHOP_AS_OF];
    let ran = run(folder, &words);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("customer_id=1  customer_visits__pages: served 7, trained 8"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nparity: 1 of 12 values differ"), "{}", ran.stdout);
}

#[test]
fn a_comparison_of_nothing_is_said_to_prove_nothing() {
    let folder = shop();
    succeed(folder.path(), &["apply"]);
    let ran = run(folder.path(), &["parity", "--as-of", "2020-01-01"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("every value of customer_model is null, which proves nothing"), "{}", ran.stderr);
}
