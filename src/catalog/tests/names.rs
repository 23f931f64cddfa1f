//! Names, types of join keys, and reserved names.

use expect_test::expect;

use super::{check, check_more};

#[test]
fn names_must_be_snake_case() {
    check(
        "entities:
  - {name: bigCompany, join_keys: [{name: Key, type: string}]}
sources:
  - {name: trips-2, type: push, path: p, event_time: t}
feature_views:
  - {name: 2fast, entities: [company], source: rides, features: [{name: avg fare, type: int64}]}
feature_services:
  - {name: Ärger, features: [x]}
",
        expect![[r#"
            2:12: the name of entity bigCompany must be snake_case (a–z, 0–9 and _, a letter first); write big_company
            2:43: the name of join key Key must be snake_case (a–z, 0–9 and _, a letter first); write key
            4:12: the name of source trips-2 must be snake_case (a–z, 0–9 and _, a letter first); write trips_2
            6:12: the name of feature view 2fast must be snake_case (a–z, 0–9 and _, a letter first); write fast
            6:73: the name of feature avg fare must be snake_case (a–z, 0–9 and _, a letter first); write avg_fare
            8:12: the name of feature service Ärger must be snake_case (a–z, 0–9 and _, a letter first)
            8:30: feature service Ärger names view x, which is not defined"#]],
    );
    check(
        &format!("entities: [{{name: {}, join_keys: [{{name: k, type: int64}}]}}]", "n".repeat(129)),
        expect![
            "1:19: the name of entity nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn is longer than 128 bytes"
        ],
    );
}

#[test]
fn names_are_used_once_and_do_not_differ_only_by_case() {
    check_more(
        "entities: [{name: company, join_keys: [{name: c, type: string}, {name: c, type: string}]}]
sources: [{name: Trips, type: push, path: p, event_time: t}]
feature_views:
  - {name: fare_ratio, entities: [company], source: rides, features: [{name: a, type: int64}, {name: a, type: int64}]}
  - {name: company_stats, entities: [company], source: rides, features: [{name: a, type: int64}]}
feature_services: [{name: tip_model_v1, features: [area_stats]}]
",
        expect![[r#"
            1:19: entity company is defined twice, first at features/base.yaml:3
            1:72: join key c is defined twice, first at 1
            2:18: source Trips differs from source trips (features/base.yaml:6) only by case
            4:102: feature a is defined twice, first at 4
            5:12: feature view company_stats is defined twice, first at features/views.yaml:3
            6:27: feature service tip_model_v1 is defined twice, first at features/views.yaml:19
            features/views.yaml:15:11: derived view fare_ratio has the name of feature view fare_ratio (4)"#]],
    );
}

#[test]
fn join_keys_must_be_able_to_identify() {
    check(
        "entities:
  - {name: a, join_keys: [{name: k, type: float64}]}
  - {name: b, join_keys: [{name: k, type: list<int64>}]}
  - {name: c, join_keys: [{name: k, type: text}]}
",
        expect![[r#"
            2:43: join key k of entity a is float64, which cannot identify anything: two values that should be equal may not be; use bool, int32, int64, string, bytes, timestamp or date
            3:43: join key k of entity b is list<int64>, which cannot identify anything: two values that should be equal may not be; use bool, int32, int64, string, bytes, timestamp or date
            4:43: join key k of entity c: "text" is not a type; write bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or list<float32, 384>"#]],
    );
    check("entities: [{name: d, join_keys: []}]", expect!["1:33: join_keys of entity d must not be empty"]);
}

#[test]
fn unknown_types_and_broken_join_keys_are_told() {
    check(
        "entities:
  - {name: c, join_keys: [{name: k, type: text}, {name: event_time, type: timestamp}]}
feature_views:
  - {name: v, entities: [c], source: rides, features: [{name: f, type: 'list<list<int64>>'}]}
",
        expect![[r#"
            2:43: join key k of entity c: "text" is not a type; write bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or list<float32, 384>
            2:57: join key event_time has a reserved name, rows carry a column of that name already; name it otherwise
            4:72: feature f of feature view v: "list<list<int64>>" is not a type; write bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or list<float32, 384>"#]],
    );
}

#[test]
fn names_of_columns_that_rows_carry_already_are_reserved() {
    check(
        "feature_views:
  - name: v
    entities: [company]
    source: rides
    features:
      - {name: event_time, type: timestamp}
      - {name: created_time, type: timestamp}
      - {name: event_timestamp, type: timestamp}
      - {name: as_of, type: timestamp}
      - {name: lockstep_digest, type: string}
",
        expect![[r#"
            6:16: feature event_time has a reserved name, rows carry a column of that name already; name it otherwise
            7:16: feature created_time has a reserved name, rows carry a column of that name already; name it otherwise
            8:16: feature event_timestamp has a reserved name, rows carry a column of that name already; name it otherwise
            9:16: feature as_of has a reserved name, rows carry a column of that name already; name it otherwise
            10:16: feature lockstep_digest has a reserved name, lockstep_… is ours; name it otherwise"#]],
    );
}
