//! Sources, their paths and times.

use expect_test::{Expect, expect};

use super::{answer, check, file};

#[test]
fn sources_stay_in_the_projects_folder() {
    check(
        "sources:
  - {name: a, type: parquet, path: /data/a.parquet, event_time: t}
  - {name: b, type: parquet, path: data/../../b.parquet, event_time: t}
  - {name: c, type: push, path: ../c, event_time: t}
  - {name: d, type: parquet, path: 's3://bucket/d', event_time: t}
  - {name: e, type: parquet, path: '', event_time: t}
  - {name: f, type: push, path: data/f.parquet, event_time: t}
  - {name: g, type: push, path: data/rides/, event_time: t}
",
        expect![[r#"
            2:36: source a has the path /data/a.parquet, which leads out of the project's folder; write a path relative to it, without ..
            3:36: source b has the path data/../../b.parquet, which leads out of the project's folder; write a path relative to it, without ..
            4:33: source c has the path ../c, which leads out of the project's folder; write a path relative to it, without ..
            5:36: source d has the path s3://bucket/d; only files in the project's folder can be read so far
            6:36: source e has an empty path
            7:33: source f keeps pushed rows in a folder, data/f.parquet is a file; write the folder
            8:33: push source g keeps its rows where rides does; give it a place of its own"#]],
    );
}

#[test]
fn sources_need_the_keys_of_their_type() {
    check(
        "sources:
  - {name: a, type: parquet, event_time: t}
  - {name: b, type: sql, query: select 1}
  - {name: c, type: sql, path: p, query: select 1, event_time: t}
  - {name: d, type: postgres, event_time: t}
  - {name: e, path: p, event_time: t}
",
        expect![[r#"
            2:5: source a lacks the key path
            3:5: source b lacks the key event_time
            4:26: source c has the unknown key path; it may have created_time, description, event_time, name, query, type
            5:21: type of source d must be one of parquet, sql, push, it is the text "postgres"
            6:5: source e lacks the key type"#]],
    );
    check(
        "sources:
  - {name: a, type: sql, query: '  ', event_time: t}
  - {name: b, type: push, path: p, event_time: t, created_time: t}
  - {name: c, type: push, path: q, event_time: ''}
",
        expect![[r#"
            2:33: source a has an empty query
            3:65: created_time of source b is its event_time; leave created_time out
            4:48: source c has an empty event_time; name the column that says when a row became true"#]],
    );
}

#[test]
fn the_times_of_a_source_must_be_columns_of_it() {
    let files = |source: &str| [file("test", &format!("sources:\n  - {source}\n"))];
    let check = |source: &str, expected: Expect| expected.assert_eq(&answer(&files(source)));
    check(
        "{name: trips, type: parquet, path: p, event_time: trip_begin}",
        expect![
            "2:55: event_time: source trips has no column trip_begin; it has company, area, trip_start, loaded_at, avg_fare, last_trip_at, trip_count, note"
        ],
    );
    check(
        "{name: trips, type: parquet, path: p, event_time: note, created_time: trip_start}",
        expect!["2:55: event_time: column note of source trips is Utf8, it must be a timestamp or a date"],
    );
    check(
        "{name: area_history, type: sql, query: q, event_time: area}",
        expect!["2:59: event_time: column area of source area_history is Int64, it must be a timestamp or a date"],
    );
    check(
        "{name: area_history, type: sql, query: q, event_time: event_time}",
        expect!["2:59: event_time: source area_history has no column event_time; it has area, day, avg_fare_30d"],
    );
    check(
        "{name: gone, type: parquet, path: data/gone.parquet, event_time: t}",
        expect!["2:5: source gone has no file at data/gone.parquet"],
    );
}
