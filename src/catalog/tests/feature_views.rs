//! Feature views, their columns and spans of time.

use expect_test::expect;

use super::check;

#[test]
fn views_name_what_is_defined() {
    check(
        "feature_views:
  - {name: v, entities: [compny, area, area], source: trps, features: [{name: f, type: int64}]}
  - {name: w, entities: [], source: nothing_like_it, features: [{name: f, type: int64}]}
",
        expect![[r#"
            2:26: feature view v names entity compny, which is not defined; did you mean company?
            2:40: feature view v names entity area twice
            2:55: feature view v reads source trps, which is not defined; did you mean trips?
            3:37: feature view w reads source nothing_like_it, which is not defined"#]],
    );
    check(
        "feature_views: [{name: w, entities: [], source: rides, features: []}]",
        expect!["1:66: features of feature view w must not be empty"],
    );
}

#[test]
fn what_refers_to_something_broken_is_not_blamed() {
    check(
        "sources: [{name: bad, type: push, path: /x, event_time: t}]
feature_views: [{name: v, entities: [company], source: bad, features: [{name: f, type: float64}]}]
derived_views: [{name: d, plugin: bucket, inputs: {value: 'v:f'}}]
feature_services: [{name: s, features: [v, 'd:bucket']}]
",
        expect![
            "1:41: source bad has the path /x, which leads out of the project's folder; write a path relative to it, without .."
        ],
    );
}

#[test]
fn features_do_not_have_the_names_of_keys_and_times() {
    check(
        "feature_views:
  - name: v
    entities: [company]
    source: trips
    features:
      - {name: company, type: string}
      - {name: trip_start, type: timestamp}
      - {name: loaded_at, type: timestamp}
",
        expect![[r#"
            6:16: feature company of feature view v has the name of a join key; the answer has that column already
            7:16: feature trip_start of feature view v: it is the event_time of source trips, which every row carries already; give that column a second name, for example in an SQL source
            8:16: feature loaded_at of feature view v: it is the created_time of source trips, which every row carries already; give that column a second name, for example in an SQL source"#]],
    );
}

#[test]
fn a_column_that_is_pushed_has_one_type_for_all_views() {
    check(
        "sources: [{name: meters, type: push, path: data/meters, event_time: at}]
feature_views:
  - {name: v, entities: [company], source: meters, features: [{name: f, type: int64}]}
  - {name: w, entities: [company], source: meters, features: [{name: f, type: string}]}
",
        expect![
            "4:79: feature f of feature view w is string, but feature view v reads the same column of push source meters as int64"
        ],
    );
}

#[test]
fn columns_must_be_there_and_readable() {
    check(
        "feature_views:
  - name: v
    entities: [company, area]
    source: trips
    features:
      - {name: avg_far, type: float64}
      - {name: note, type: int64}
      - {name: trip_count, type: string}
      - {name: avg_fare, type: timestamp}
      - {name: last_trip_at, type: date}
  - {name: w, entities: [company], source: area_history, features: [{name: avg_fare_30d, type: 'list<float32, 3>'}]}
",
        expect![[r#"
            6:16: feature avg_far of feature view v: source trips has no column avg_far; it has company, area, trip_start, loaded_at, avg_fare, last_trip_at, trip_count, note; did you mean avg_fare?
            7:16: feature note of feature view v: column note of source trips is Utf8, which cannot be read as int64
            8:16: feature trip_count of feature view v: column trip_count of source trips is Int64, which cannot be read as string
            9:16: feature avg_fare of feature view v: column avg_fare of source trips is Float64, which cannot be read as timestamp
            11:25: join key company of feature view w: source area_history has no column company; it has area, day, avg_fare_30d
            11:76: feature avg_fare_30d of feature view w: column avg_fare_30d of source area_history is Float32, which cannot be read as list<float32, 3>"#]],
    );
}

#[test]
fn entities_of_one_view_agree_on_their_join_keys() {
    check(
        "entities: [{name: zone, join_keys: [{name: area, type: string}]}]
feature_views: [{name: v, entities: [area, zone], source: rides, features: [{name: f, type: int64}]}]
",
        expect!["2:44: the entities of feature view v have a join key area of two types, int64 and string; rename one"],
    );
}

#[test]
fn spans_of_time_are_read() {
    check(
        "feature_views:
  - {name: v, entities: [company], source: rides, ttl: 30, features: [{name: f, type: int64}]}
",
        expect!["2:56: ttl of feature view v must be text, it is the number 30; put it in quotes"],
    );
    check(
        "feature_views:
  - {name: w, entities: [company], source: rides, ttl: 30x, sync_every: 0h, features: [{name: f, type: int64}]}
",
        expect![[r#"
            2:56: ttl of feature view w: "30x" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d
            2:73: sync_every of feature view w: "0h" is no time at all; leave the key out to have no bound"#]],
    );
}

#[test]
fn a_ttl_that_one_late_sync_outlives_is_a_warning() {
    check(
        "feature_views:
  - {name: v, entities: [company], source: rides, ttl: 90m, sync_every: 1h, features: [{name: f, type: int64}]}
  - {name: w, entities: [company], source: rides, ttl: 2h, sync_every: 1h, features: [{name: f, type: int64}]}
",
        expect![
            "warning: features/test.yaml:2:56: feature view v is synced every 1h, but its values are served for 90m only: one late sync and they are gone; let ttl be 2h at least"
        ],
    );
}
