//! Derived views, their plugins, inputs and outputs.

use expect_test::expect;

use super::{base_file, check_derived, check_more, file, taxi_from, views_file};

#[test]
fn a_plugin_must_be_there_and_take_the_parameters() {
    check_derived("plugin: nothing", expect!["2:24: derived view it: there is no plugin nothing"]);
    check_derived(
        "plugin: bucket, parameters: {size: 3}, inputs: {value: 'company_stats:avg_fare'}",
        expect!["2:24: derived view it: plugin bucket has no parameter size"],
    );
    check_derived(
        "plugin: bucket, parameters: {buckets: [3]}, inputs: {value: 'company_stats:avg_fare'}",
        expect![
            "2:54: buckets of parameters of derived view it must be empty, true or false, a number or text, it is a list"
        ],
    );
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
    check_derived(
        "plugin: bucket, inputs: {value: 'company_stats:avg_fare'}, request: {hour: h}",
        expect!["2:85: request of derived view it: plugin bucket has no such input hour; it has none there"],
    );
    check_derived(
        "plugin: bucket, inputs: {value: company_stats}",
        expect![[
            r#"2:48: input value of derived view it: "company_stats" does not name a feature; write view:feature"#
        ]],
    );
    check_derived(
        "plugin: bucket, inputs: {value: 'company_stat:avg_fare'}",
        expect![
            "2:48: input value of derived view it reads view company_stat, which is not defined; did you mean company_stats?"
        ],
    );
    check_derived(
        "plugin: bucket, inputs: {value: 'company_stats:avg_fares'}",
        expect![
            "2:48: input value of derived view it: view company_stats has no feature avg_fares; it has avg_fare, last_trip_at; did you mean avg_fare?"
        ],
    );
}

#[test]
fn an_input_has_exactly_the_type_of_the_plugins_column() {
    check_derived(
        "plugin: bucket, inputs: {value: 'company_stats:last_trip_at'}",
        expect!["2:48: input value of derived view it must be float64, but company_stats:last_trip_at is timestamp"],
    );
    check_derived(
        "plugin: strict, inputs: {value: 'company_stats:avg_fare'}",
        expect![
            "2:48: input value of derived view it may not be null, but company_stats:avg_fare is null where nothing is stored; plugin strict must declare the input nullable, or leave nulls to the host (propagate)"
        ],
    );
}

#[test]
fn request_fields_are_named_and_typed_once() {
    let with =
        |request: &str| format!("plugin: hour_fare, inputs: {{value: 'company_stats:avg_fare'}}, request: {request}");
    check_derived(&with("{hour: trip_hour, minute: trip_hour}"), expect!["fine"]);
    check_derived(
        &with("{hour: Hour, minute: as_of}"),
        expect![[r#"
        2:94: request field Hour of derived view it must be snake_case (a–z, 0–9 and _, a letter first); write hour
        2:108: request field as_of of derived view it has a reserved name, rows carry a column of that name already; name it otherwise"#]],
    );
    check_derived(
        &with("{houer: hour}"),
        expect![
            "2:88: request of derived view it: plugin hour_fare has no such input houer; it has hour, minute; did you mean hour?"
        ],
    );
}

#[test]
fn outputs_are_selected_and_renamed() {
    let input = "plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}";
    check_derived(
        &format!("{input}, features: [is_recent, {{output: days_since_last_trip, name: days}}]"),
        expect!["fine"],
    );
    check_derived(
        &format!("{input}, features: [is_recnt]"),
        expect![
            "2:98: derived view it: plugin recency has no output is_recnt; it has days_since_last_trip, is_recent; did you mean is_recent?"
        ],
    );
    check_derived(
        &format!("{input}, features: [is_recent, {{output: is_recent, name: again}}]"),
        expect!["2:109: derived view it takes output is_recent of plugin recency twice"],
    );
    check_derived(
        &format!("{input}, features: [{{output: is_recent, name: company}}]"),
        expect![
            "2:97: feature company of derived view it has the name of a join key; name it otherwise: {output: …, name: …}"
        ],
    );
    check_derived(
        &format!("{input}, features: [{{output: is_recent, name: a}}, {{output: days_since_last_trip, name: a}}]"),
        expect!["2:128: feature a is defined twice, first at 2"],
    );
    check_derived(&format!("{input}, features: []"), expect!["2:97: features of derived view it must not be empty"]);
    check_derived(
        "plugin: shadow, inputs: {value: 'company_stats:avg_fare'}",
        expect![
            "2:5: feature company of derived view it has the name of a join key; name it otherwise: {output: …, name: …}"
        ],
    );
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
