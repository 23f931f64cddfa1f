//! What definitions may say, and how each mistake in them is told.

use expect_test::{Expect, expect, expect_file};

use super::sample::{base_file, bind, columns, taxi, taxi_from, views_file};
use super::*;

fn file(path: &str, text: &str) -> DefinitionFile {
    DefinitionFile { path: format!("features/{path}.yaml"), text: text.to_owned() }
}

fn answer(files: &[DefinitionFile]) -> String {
    match Definitions::parse("taxi", files).and_then(|files| build(&files, &bind, &columns)) {
        Ok((_, warnings)) if warnings.is_empty() => "fine".to_owned(),
        Ok((_, warnings)) => {
            warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>().join("\n")
        }
        Err(mistakes) => mistakes.to_string().replace("features/test.yaml:", ""),
    }
}

/// `text` beside the sample's entities and sources.
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&answer(&[base_file(), file("test", text)]));
}

/// `text` beside the whole sample.
fn check_more(text: &str, expected: Expect) {
    expected.assert_eq(&answer(&[base_file(), views_file(), file("test", text)]));
}

fn check_derived(view: &str, expected: Expect) {
    check_more(&format!("derived_views:\n  - {{name: it, {view}}}\n"), expected);
}

fn check_service(service: &str, expected: Expect) {
    check_more(&format!("feature_services:\n  - {{name: it, {service}}}\n"), expected);
}

#[test]
fn the_sample_is_fine() {
    check_more("", expect!["fine"]);
    let catalog = taxi();
    assert_eq!(catalog.views.len(), 6);
    assert_eq!(catalog.services["tip_model_v1"].features.len(), 6);
    assert_eq!(catalog.feature_descriptions.len(), 1);
}

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
            8:12: the name of feature service Ärger must be snake_case (a–z, 0–9 and _, a letter first); write rger
            8:30: feature service Ärger names view x, which is not defined"#]],
    );
    check(&format!("entities: [{{name: {}, join_keys: [{{name: k, type: int64}}]}}]", "n".repeat(129)), expect!["1:19: the name of entity nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn is longer than 128 bytes"]);
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
            1:19: entity company has the name of entity company (features/base.yaml:3)
            1:72: join key c has the name of join key c (1)
            2:18: source Trips differs from source trips (features/base.yaml:6) only by case
            4:102: feature a has the name of feature a (4)
            5:12: feature view company_stats has the name of feature view company_stats (features/views.yaml:3)
            6:27: feature service tip_model_v1 has the name of feature service tip_model_v1 (features/views.yaml:19)
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
  - {name: d, join_keys: []}
",
        expect!["5:26: join_keys of entity d must not be empty"],
    );
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
            8:33: push source g keeps its rows in the folder of rides; give it another"#]],
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
    check("{name: trips, type: parquet, path: p, event_time: trip_begin}", expect!["2:55: event_time: source trips has no column trip_begin; it has company, area, trip_start, loaded_at, avg_fare, last_trip_at, trip_count, note"]);
    check("{name: trips, type: parquet, path: p, event_time: note, created_time: trip_start}", expect!["2:55: event_time: column note of source trips is Utf8, it must be a timestamp or a date"]);
    check("{name: area_history, type: sql, query: q, event_time: area}", expect!["2:59: event_time: column area of source area_history is Int64, it must be a timestamp or a date"]);
    check("{name: area_history, type: sql, query: q, event_time: event_time}", expect!["2:59: event_time: source area_history has no column event_time; it has area, day, avg_fare_30d"]);
    check("{name: gone, type: parquet, path: data/gone.parquet, event_time: t}", expect!["2:5: source gone has no file at data/gone.parquet"]);
}

#[test]
fn views_name_what_is_defined() {
    check(
        "feature_views:
  - {name: v, entities: [compny, area, area], source: trps, features: [{name: f, type: int64}]}
  - {name: w, entities: [], source: nothing_like_it, features: []}
",
        expect!["3:64: features of feature view w must not be empty"],
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
        expect!["1:41: source bad has the path /x, which leads out of the project's folder; write a path relative to it, without .."],
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
  - {name: w, entities: [company], source: rides, ttl: 30x, sync_every: 0h, features: [{name: f, type: int64}]}
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
        expect!["warning: features/test.yaml:2:56: feature view v is synced every 1h, but its values are served for 90m only: one late sync and they are gone; let ttl be 2h at least"],
    );
}

#[test]
fn a_plugin_must_be_there_and_take_the_parameters() {
    check_derived("plugin: nothing", expect!["2:24: derived view it: there is no plugin nothing"]);
    check_derived("plugin: bucket, parameters: {size: 3}, inputs: {value: 'company_stats:avg_fare'}", expect!["2:24: derived view it: plugin bucket has no parameter size"]);
    check_derived("plugin: bucket, parameters: {buckets: [3]}, inputs: {value: 'company_stats:avg_fare'}", expect!["2:54: buckets of parameters of derived view it must be empty or true or false or a whole number or a number or text, it is a list"]);
}

#[test]
fn every_input_of_a_plugin_has_one_origin() {
    check_derived(
        "plugin: ratio, inputs: {left: 'company_stats:avg_fare', rigth: 'area_stats:avg_fare_30d'}",
        expect![[r#"
            2:39: plugin ratio needs the input right, derived view it does not say where it comes from; add it to inputs as right: "view:feature"
            2:72: inputs of derived view it: plugin ratio has no such input rigth; it has left, right; did you mean right?"#]],
    );
    check_derived(
        "plugin: hour_fare, inputs: {value: 'company_stats:avg_fare', hour: 'company_stats:avg_fare'}",
        expect!["2:77: inputs of derived view it: plugin hour_fare has no such input hour; it belongs under request"],
    );
    check_derived("plugin: bucket, inputs: {value: 'company_stats:avg_fare'}, request: {hour: h}", expect!["2:85: request of derived view it: plugin bucket has no such input hour; it has none there"]);
    check_derived("plugin: bucket, inputs: {value: company_stats}", expect![[r#"2:48: input value of derived view it: "company_stats" does not name a feature; write view:feature"#]]);
    check_derived("plugin: bucket, inputs: {value: 'company_stat:avg_fare'}", expect!["2:48: input value of derived view it reads view company_stat, which is not defined; did you mean company_stats?"]);
    check_derived("plugin: bucket, inputs: {value: 'company_stats:avg_fares'}", expect!["2:48: input value of derived view it: view company_stats has no feature avg_fares; it has avg_fare, last_trip_at; did you mean avg_fare?"]);
}

#[test]
fn an_input_has_exactly_the_type_of_the_plugins_column() {
    check_derived("plugin: bucket, inputs: {value: 'company_stats:last_trip_at'}", expect!["2:48: input value of derived view it must be float64, but company_stats:last_trip_at is timestamp"]);
    check_derived("plugin: strict, inputs: {value: 'company_stats:avg_fare'}", expect!["2:48: input value of derived view it may not be null, but company_stats:avg_fare is null where nothing is stored; plugin strict must declare the input nullable, or leave nulls to the host (propagate)"]);
}

#[test]
fn request_fields_are_named_and_typed_once() {
    let with =
        |request: &str| format!("plugin: hour_fare, inputs: {{value: 'company_stats:avg_fare'}}, request: {request}");
    check_derived(&with("{hour: trip_hour, minute: trip_hour}"), expect!["fine"]);
    check_derived(&with("{hour: Hour, minute: as_of}"), expect![[r#"
        2:94: request field Hour of derived view it must be snake_case (a–z, 0–9 and _, a letter first); write hour
        2:108: request field as_of of derived view it has a reserved name, rows carry a column of that name already; name it otherwise"#]]);
    check_derived(&with("{houer: hour}"), expect!["2:88: request of derived view it: plugin hour_fare has no such input houer; it has hour, minute; did you mean hour?"]);
}

#[test]
fn outputs_are_selected_and_renamed() {
    let input = "plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}";
    check_derived(
        &format!("{input}, features: [is_recent, {{output: days_since_last_trip, name: days}}]"),
        expect!["fine"],
    );
    check_derived(&format!("{input}, features: [is_recnt]"), expect!["2:98: derived view it: plugin recency has no output is_recnt; it has days_since_last_trip, is_recent; did you mean is_recent?"]);
    check_derived(&format!("{input}, features: [is_recent, {{output: is_recent, name: again}}]"), expect!["2:109: derived view it takes output is_recent of plugin recency twice"]);
    check_derived(&format!("{input}, features: [{{output: is_recent, name: company}}]"), expect!["2:97: feature company of derived view it has the name of a join key; name it otherwise: {output: …, name: …}"]);
    check_derived(
        &format!("{input}, features: [{{output: is_recent, name: a}}, {{output: days_since_last_trip, name: a}}]"),
        expect!["2:128: feature a has the name of feature a (2)"],
    );
    check_derived(&format!("{input}, features: []"), expect!["2:97: features of derived view it must not be empty"]);
    check_derived("plugin: shadow, inputs: {value: 'company_stats:avg_fare'}", expect!["2:5: feature company of derived view it has the name of a join key; name it otherwise: {output: …, name: …}"]);
}

#[test]
fn features_keep_the_order_of_the_transforms_outputs() {
    let text = "derived_views:
  - name: it
    plugin: recency
    inputs: {last_trip_at: 'company_stats:last_trip_at'}
    features: [is_recent, {output: days_since_last_trip, name: days}]
";
    let catalog = taxi_from(&[base_file(), views_file(), file("test", text)]);
    let names: Vec<_> = catalog.views["it"].features().iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["days", "is_recent"]);
}

#[test]
fn derived_views_do_not_read_themselves() {
    check_more(
        "derived_views:
  - {name: a, plugin: identity, inputs: {value: 'b:value_again'}}
  - {name: c, plugin: identity, inputs: {value: 'a:value_again'}}
  - {name: b, plugin: identity, inputs: {value: 'c:value_again'}}
  - {name: me, plugin: identity, inputs: {value: 'me:value_again'}}
  - {name: above, plugin: identity, inputs: {value: 'a:value_again'}}
",
        expect![[r#"
            2:41: derived views read one another in a circle: a → b → c → a
            5:42: derived views read one another in a circle: me → me"#]],
    );
}

#[test]
fn chains_of_derived_views_are_bounded() {
    let mut text = "derived_views:\n".to_owned();
    for level in 0..=crate::limits::DERIVED_DEPTH_MAX {
        let below =
            if level == 0 { "company_stats:avg_fare".to_owned() } else { format!("d{}:value_again", level - 1) };
        text.push_str(&format!("  - {{name: d{level}, plugin: identity, inputs: {{value: '{below}'}}}}\n"));
    }
    check_more(&text, expect!["34:43: derived view d32 reads a chain of 32 derived views, at most 32 are computed"]);
}

#[test]
fn a_view_is_placed_at_sync_only_if_its_values_stay_true() {
    check_derived(
        "placement: sync, plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}",
        expect!["2:27: derived view it cannot be placed at sync: plugin recency uses the time asked about, and a stored value would be stale at the request; place it at request, or set freeze_at_event_time: true to compute it as of the row's event time"],
    );
    check_derived(
        "placement: sync, freeze_at_event_time: true, plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}",
        expect!["fine"],
    );
    check_derived("placement: sync, plugin: hour_fare, inputs: {value: 'company_stats:avg_fare'}", expect![[r#"
        2:27: derived view it cannot be placed at sync: it reads the request field hour, which nobody knows before the request; place it at request
        2:27: derived view it cannot be placed at sync: it reads the request field minute, which nobody knows before the request; place it at request"#]]);
    check_derived("placement: sync, plugin: identity, inputs: {value: 'fare_ratio:ratio'}", expect![[r#"
        2:27: derived view it cannot be placed at sync: it reads 2 feature views (company_stats, area_stats); a value stored when one of them changes would be stale when another does; place it at request
        2:27: derived view it cannot be placed at sync: it reads derived view fare_ratio, which is placed at request; place fare_ratio at sync too, or it at request"#]]);
    check_derived(
        "placement: sync, plugin: ratio, inputs: {left: 'company_stats:avg_fare', right: 'area_stats:avg_fare_30d'}",
        expect!["2:27: derived view it cannot be placed at sync: it reads 2 feature views (company_stats, area_stats); a value stored when one of them changes would be stale when another does; place it at request"],
    );
    check_derived("placement: sync, plugin: company_name", expect![[r#"
        2:27: derived view it cannot be placed at sync: it reads no feature view, so no sync would ever compute it; place it at request
        2:27: derived view it cannot be placed at sync: it reads the request field company, which nobody knows before the request; place it at request"#]]);
    check_derived("placement: snyc, plugin: company_name", expect![[r#"2:27: placement of derived view it must be one of request, sync, it is the text "snyc"; did you mean sync?"#]]);
}

#[test]
fn what_a_synced_view_reads_is_synced_and_online_too() {
    check_more(
        "derived_views:
  - {name: at_hour, plugin: hour_fare, inputs: {value: 'company_stats:avg_fare'}}
  - {name: above, plugin: identity, inputs: {value: 'at_hour:fare_at_hour'}}
  - {name: a, placement: sync, plugin: identity, inputs: {value: 'at_hour:fare_at_hour'}}
  - {name: b, placement: sync, plugin: identity, inputs: {value: 'above:value_again'}}
feature_views:
  - {name: cold, entities: [company], source: rides, online: false, features: [{name: f, type: float64}]}
",
        expect![[r#"
            4:26: derived view a cannot be placed at sync: it reads derived view at_hour, which reads the request field hour; place a at request
            5:26: derived view b cannot be placed at sync: it reads derived view above, which reads the request field hour through at_hour; place b at request"#]],
    );
    check_more(
        "feature_views:
  - {name: cold, entities: [company], source: rides, online: false, features: [{name: f, type: float64}]}
derived_views:
  - {name: a, placement: sync, plugin: identity, inputs: {value: 'cold:f'}}
",
        expect!["4:26: derived view a cannot be placed at sync: feature view cold is not kept online; set online: true there, or place this view at request"],
    );
    check_more(
        "derived_views:
  - {name: below, placement: sync, plugin: identity, inputs: {value: 'company_stats:avg_fare'}}
  - {name: a, placement: sync, plugin: ratio, inputs: {left: 'below:value_again', right: 'company_stats:avg_fare'}}
",
        expect!["fine"],
    );
}

#[test]
fn time_is_frozen_only_at_the_event_time_of_one_view() {
    check_derived(
        "freeze_at_event_time: true, plugin: ratio, inputs: {left: 'company_stats:avg_fare', right: 'area_stats:avg_fare_30d'}",
        expect!["2:38: freeze_at_event_time of derived view it: it takes the event time of the one feature view that is read, but it reads 2 feature views (company_stats, area_stats)"],
    );
    check_derived("freeze_at_event_time: true, plugin: company_name", expect!["2:38: freeze_at_event_time of derived view it: it takes the event time of the one feature view that is read, but it reads none"]);
    check_derived("freeze_at_event_time: true, plugin: bucket, inputs: {value: 'company_stats:avg_fare'}", expect!["warning: features/test.yaml:2:38: freeze_at_event_time of derived view it changes nothing: plugin bucket does not use the time; leave it out"]);
}

#[test]
fn services_name_features_that_exist_each_once() {
    check_service("features: [company_stat, 'company_stats:avg_fair', 'company_stats:', 'a:b:c']", expect![[r#"
        2:27: feature service it names view company_stat, which is not defined; did you mean company_stats?
        2:41: feature service it: view company_stats has no feature avg_fair; it has avg_fare, last_trip_at; did you mean avg_fare?
        2:67: feature service it: "company_stats:" does not name a feature; write view:feature
        2:85: feature service it: "a:b:c" does not name a feature; write view:feature"#]]);
    check_service("features: [company_stats, 'company_stats:avg_fare']", expect!["2:42: feature service it names company_stats:avg_fare twice"]);
    check_service("features: []", expect!["2:26: features of feature service it must not be empty"]);
}

#[test]
fn the_columns_of_a_service_have_different_names() {
    check_more(
        "feature_views: [{name: v, entities: [area], source: rides, features: [{name: avg_fare, type: int64}, {name: company, type: int64}]}]
feature_services:
  - {name: s, features: ['company_stats:avg_fare', v]}
  - {name: t, features: ['company_stats:avg_fare', v], full_feature_names: true}
",
        expect![[r#"
            3:25: feature service s: company_stats:avg_fare and v:avg_fare would both be called avg_fare; set full_feature_names: true, which names them view__feature
            3:25: feature service s: v:company would have the name of the join key company; set full_feature_names: true, which names them view__feature"#]],
    );
    check_more(
        "feature_views:
  - {name: a, entities: [area], source: rides, features: [{name: b__c, type: int64}]}
  - {name: a__b, entities: [area], source: rides, features: [{name: c, type: int64}]}
feature_services:
  - {name: s, features: [a, a__b], full_feature_names: true}
",
        expect!["5:25: feature service s: a:b__c and a__b:c would both be called a__b__c; rename one of them"],
    );
}

#[test]
fn what_comes_with_a_request_has_one_type_in_a_service() {
    check_more(
        "entities: [{name: zone, join_keys: [{name: area, type: string}]}, {name: hour, join_keys: [{name: hour, type: int64}]}]
feature_views:
  - {name: zone_stats, entities: [zone], source: rides, features: [{name: f, type: int64}]}
  - {name: hour_stats, entities: [hour], source: rides, features: [{name: g, type: int64}]}
derived_views:
  - {name: at_hour, plugin: hour_fare, inputs: {value: 'company_stats:avg_fare'}}
  - {name: in_words, plugin: hour_text}
  - {name: name_length, plugin: company_name}
feature_services:
  - {name: keys, features: [zone_stats, area_stats]}
  - {name: fields, features: [at_hour, in_words]}
  - {name: both, features: [hour_stats, in_words]}
  - {name: good, features: [company_stats, name_length]}
",
        expect![[r#"
            10:28: feature service keys: area is int64 as join key of feature view area_stats and string as join key of feature view zone_stats; rename one of them
            11:30: feature service fields: hour is int32 as request field of derived view at_hour and string as request field of derived view in_words; name another field under request
            12:28: feature service both: hour is int64 as join key of feature view hour_stats and string as request field of derived view in_words; name another field under request"#]],
    );
}

#[test]
fn a_service_that_cannot_be_served_is_a_warning() {
    check_service("features: [archive]", expect!["warning: features/test.yaml:2:26: feature service it can be used for training only, because feature view archive is not kept online"]);
    let features: Vec<String> =
        (0..=crate::limits::SERVE_FEATURES_MAX).map(|index| format!("{{name: f{index}, type: int64}}")).collect();
    check(
        &format!(
            "feature_views: [{{name: v, entities: [company], source: rides, features: [{}]}}]
feature_services: [{{name: wide, features: [v]}}]
",
            features.join(", ")
        ),
        expect!["warning: features/test.yaml:2:43: feature service wide has 2001 features, requests are answered up to 2000"],
    );
}

#[test]
fn mistakes_of_all_files_come_at_once_in_order() {
    let files = [
        base_file(),
        file("b", "entities: [{name: B, join_keys: [{name: k, type: int64}]}]"),
        file("a", "entities: [{name: A, join_keys: [{name: k, type: int64}]}]"),
    ];
    expect![[r#"
        features/a.yaml:1:19: the name of entity A must be snake_case (a–z, 0–9 and _, a letter first); write a
        features/b.yaml:1:19: the name of entity B must be snake_case (a–z, 0–9 and _, a letter first); write b"#]].assert_eq(&answer(&files));
    let files = [file("b", "entitys: []"), file("a", "entities: [")];
    expect![[r#"
        features/a.yaml:2:1: this cannot be read as YAML: while parsing a node, did not find expected node content
        features/b.yaml:1:1: the file has the unknown key entitys; did you mean entities?"#]].assert_eq(&answer(&files));
}

#[test]
fn definitions_tell_their_plugins_and_sources_before_they_are_built() {
    let definitions = Definitions::parse("taxi", &[base_file(), views_file()]).unwrap();
    assert_eq!(definitions.plugins().into_iter().collect::<Vec<_>>(), ["bucket", "ratio", "recency"]);
    let names: Vec<_> = definitions.sources().into_iter().map(|source| source.name).collect();
    assert_eq!(names, ["trips", "area_history", "rides"]);
}

#[test]
fn the_hash_is_of_the_content() {
    let hash = taxi().hash();
    assert_eq!(hash, taxi_from(&[views_file(), base_file()]).hash(), "the order of files");
    let commented = DefinitionFile { text: format!("# A comment\n{}", views_file().text), ..views_file() };
    assert_eq!(hash, taxi_from(&[base_file(), commented]).hash(), "a comment");
    for (from, to) in [
        ("ttl: 30d", "ttl: 31d"),
        ("Mean fare of a day", "Mean fare"),
        ("placement: sync", "placement: request"),
        ("plugin: bucket", "plugin: bucket, parameters: {buckets: 3}"),
        ("[company_stats, ", "["),
        ("online: false", "online: true"),
    ] {
        let text = views_file().text.replace(from, to);
        assert_ne!(text, views_file().text);
        let changed = taxi_from(&[base_file(), DefinitionFile { text, ..views_file() }]);
        assert_ne!(hash, changed.hash(), "{from} → {to}");
    }
    expect!["ce0a534cd4bd7eb925a938fbb222537676bbc252c146e666453ada17e5f8b5fa"].assert_eq(&hash.to_string());
}

#[test]
fn a_view_reaches_through_derived_views() {
    let text = "derived_views:
  - {name: at_hour, plugin: hour_fare, inputs: {value: 'fare_ratio:ratio'}, request: {minute: m}}
";
    let catalog = taxi_from(&[base_file(), views_file(), file("test", text)]);
    let reach = catalog.reach("at_hour");
    let views: Vec<_> = reach.feature_views.iter().map(|view| view.name.as_str()).collect();
    let fields: Vec<_> = reach.request.iter().map(|(field, _)| field.name.as_str()).collect();
    assert_eq!((views, fields), (vec!["company_stats", "area_stats"], vec!["hour", "m"]));
}

#[test]
fn the_schema_is_stable() {
    let schema = serde_json::to_string_pretty(&schema()).unwrap();
    expect_file!["./schema.json"].assert_eq(&format!("{schema}\n"));
}
