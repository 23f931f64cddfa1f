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
  - {name: d, type: parquet, path: 's3://bucket', event_time: t}
  - {name: e, type: parquet, path: '', event_time: t}
  - {name: f, type: push, path: data/f.parquet, event_time: t}
  - {name: g, type: push, path: data/rides/, event_time: t}
",
        expect![[r#"
            2:36: source a has the path /data/a.parquet, which leads out of the project's folder; write a path relative to it, without ..
            3:36: source b has the path data/../../b.parquet, which leads out of the project's folder; write a path relative to it, without ..
            4:33: source c has the path ../c, which leads out of the project's folder; write a path relative to it, without ..
            5:36: source d has the path s3://bucket; write s3://bucket/folder
            6:36: source e has an empty path
            7:33: source f keeps pushed rows in a folder, data/f.parquet is a file; write the folder
            8:33: push source g keeps its rows where rides does; give it a place of its own"#]],
    );
}

#[test]
fn a_postgres_table_has_a_database_and_a_name() {
    check(
        "sources:
  - {name: d, type: postgres, connection: warehouse, event_time: t}
",
        expect!["2:5: source d lacks the key table"],
    );
    check(
        "sources:
  - {name: a, type: push, event_time: t}
  - {name: b, type: push, path: b, postgres: {connection: warehouse, table: b}, event_time: t}
  - {name: c, type: push, postgres: {connection: warehouse, table: x.c}, event_time: t}
  - {name: d, type: push, postgres: {connection: warehouse, table: x.c}, event_time: t}
  - {name: e, type: push, postgres: {connection: elsewhere, table: x.c}, event_time: t}
  - {name: f, type: postgres, connection: warehouse, table: a.b.c, event_time: t}
  - {name: g, type: postgres, connection: '', table: b, event_time: t}
  - {name: h, type: postgres, connection: warehouse, table: 'public.', event_time: t}
",
        expect![[r#"
            2:5: source a keeps its rows in one place: write path (Parquet files), delta (a Delta table) or postgres (a PostgreSQL table)
            3:5: source b keeps its rows in one place: write path (Parquet files), delta (a Delta table) or postgres (a PostgreSQL table)
            5:37: push source d keeps its rows where c does; give it a place of its own
            7:61: source f has the table a.b.c; write schema.table or table, as the database writes them
            8:54: source g has an empty connection; write the name of a database under postgres in lockstep.yaml
            9:61: source h has the table public.; write schema.table or table, as the database writes them"#]],
    );
}

#[test]
fn sources_need_the_keys_of_their_type() {
    check(
        "sources:
  - {name: a, type: parquet, event_time: t}
  - {name: b, type: sql, query: select 1}
  - {name: c, type: sql, path: p, query: select 1, event_time: t}
  - {name: d, type: mysql, event_time: t}
  - {name: e, path: p, event_time: t}
",
        expect![[r#"
            2:5: source a lacks the key path
            3:5: source b lacks the key event_time
            4:26: source c has the unknown key path; it may have created_time, description, event_time, name, query, sensitive, type
            5:21: type of source d must be one of parquet, delta, postgres, sql, long, push, it is the text "mysql"
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
fn partitions_have_names_and_types_that_folders_can_have() {
    check(
        "sources:
  - {name: a, type: parquet, path: a, event_time: t, partitions: [{name: day, type: date, day_of: t}, {name: area, type: int64}]}
  - {name: b, type: parquet, path: 's3://lake/b', event_time: t, partitions: [{name: share, type: float64}, {name: x, type: number}]}
  - {name: c, type: push, path: c, event_time: t, partitions: [{name: hour, type: int64, day_of: t}, {name: hour, type: string}]}
  - {name: d, type: parquet, path: d, event_time: t, partitions: [{name: 'a/b', type: date, day_of: 'a/b'}]}
",
        expect![[r#"
            3:99: partition share of source b is float64; it can be date, string, int32, int64 or bool
            3:125: partition x of source b has a type that is none: "number" is not a type; write bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or list<float32, 384>
            4:83: partition hour of source c is int64; the day_of a column is a date
            4:109: partition hour of source c is there twice
            5:74: partition a/b of source d has a name that no folder can have
            5:101: partition a/b of source d is the day of itself; name the column with the times"#]],
    );
}

#[test]
fn a_delta_table_is_in_one_place_and_read_as_of_one_moment() {
    check(
        "sources:
  - {name: a, type: delta, path: data/a, event_time: t}
  - {name: b, type: delta, path: data/b, version: 3, event_time: t}
  - {name: c, type: delta, path: data/b, as_of: 2026-01-31T00:00:00Z, event_time: t}
  - {name: d, type: push, delta: data/d, event_time: t}
",
        expect!["fine"],
    );
    check(
        "sources:
  - {name: a, type: delta, path: ../a, event_time: t}
  - {name: b, type: delta, path: b, version: 3, as_of: 2026-01-31T00:00:00Z, event_time: t}
  - {name: c, type: delta, path: c, as_of: yesterday, event_time: t}
  - {name: d, type: delta, path: d, version: -1, event_time: t}
",
        expect!["5:46: version of source d is not allowed: -1 is less than the minimum of 0"],
    );
    check(
        "sources:
  - {name: a, type: delta, path: ../a, event_time: t}
  - {name: b, type: delta, path: b, version: 3, as_of: 2026-01-31T00:00:00Z, event_time: t}
  - {name: c, type: delta, path: c, as_of: yesterday, event_time: t}
  - {name: e, type: push, event_time: t}
  - {name: f, type: push, path: f, delta: f, event_time: t}
  - {name: g, type: push, delta: data/g, event_time: t}
  - {name: h, type: push, path: data/g/, event_time: t}
  - {name: i, type: push, delta: /i, event_time: t}
",
        expect![[r#"
            2:34: source a has the path ../a, which leads out of the project's folder; write a path relative to it, without ..
            3:56: as_of of source b: the version is given already; leave one of the two out
            4:44: as_of of source c: "yesterday" is not a time; write one like 2026-01-31T00:00:00Z
            5:5: source e keeps its rows in one place: write path (Parquet files), delta (a Delta table) or postgres (a PostgreSQL table)
            6:5: source f keeps its rows in one place: write path (Parquet files), delta (a Delta table) or postgres (a PostgreSQL table)
            8:33: push source h keeps its rows where g does; give it a place of its own
            9:34: source i has the path /i, which leads out of the project's folder; write a path relative to it, without .."#]],
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

const READINGS: &str = "sources: [{name: readings, type: parquet, path: r.parquet, event_time: t}]\n";

#[test]
fn a_long_source_reads_another_and_says_where_values_stand() {
    let check = |source: &str, expected: Expect| {
        let files = [file("base", READINGS), file("test", &format!("sources:\n  - {source}\n"))];
        expected.assert_eq(&answer(&files));
    };
    let long = |rest: &str| {
        format!(
            "{{name: wide, type: long, entity: {{column: id, join_key: company}}, name_column: n, event_time: t, {rest}}}"
        )
    };
    check(&long("source: readings, value_column: v"), expect!["fine"]);
    check(
        &long("source: reading, value_column: v"),
        expect!["2:110: source wide reads source reading, which is not defined; did you mean readings?"],
    );
    check(
        &long("source: wide, value_column: v"),
        expect!["2:110: source wide reads wide, which is long too; read what that one reads"],
    );
    check(
        &long("source: readings"),
        expect!["2:5: source wide does not say where values stand; name the column with value_column"],
    );
    check(
        &long("source: readings, value_columns: {float46: v}"),
        expect![[
            r#"2:136: value_columns of source wide: "float46" is not a type; write bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or list<float32, 384>"#
        ]],
    );
    check(
        "{name: wide, type: long, source: readings, name_column: n, value_column: v, event_time: t}",
        expect!["2:5: source wide lacks the key entity"],
    );
}

#[test]
fn features_of_a_long_source_have_types_that_its_values_can_have() {
    let definitions = "entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources:
  - {name: readings, type: parquet, path: r.parquet, event_time: t}
  - name: wide
    type: long
    source: readings
    entity: {column: id, join_key: company}
    name_column: n
    value_columns: {float64: number}
    event_time: t
feature_views:
  - name: v
    entities: [company]
    source: wide
    features: [{name: fare, type: float64}, {name: kind, type: string}]
";
    expect!["15:52: feature kind of feature view v: source wide has no column for values of type string"]
        .assert_eq(&answer(&[file("test", definitions)]));
    let parsed = definitions.replace("value_columns: {float64: number}", "value_column: value");
    expect!["fine"].assert_eq(&answer(&[file("test", &parsed)]));
    let lists = parsed.replace("type: string}]\n", "type: list<int64>}]\n");
    expect!["15:52: feature kind of feature view v: it is list<int64>; name the column with such values under value_columns of source wide"].assert_eq(&answer(&[file("test", &lists)]));
}
