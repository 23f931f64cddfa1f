//! Where derived views may be computed.

use expect_test::expect;

use super::{check_derived, check_more};

#[test]
fn a_view_is_placed_at_sync_only_if_its_values_stay_true() {
    check_derived(
        "placement: sync, plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}",
        expect![
            "2:27: derived view it cannot be placed at sync: plugin recency uses the time asked about, and a stored value would be stale at the request; place it at request, or set freeze_at_event_time: true to compute it as of the row's event time"
        ],
    );
    check_derived(
        "placement: sync, freeze_at_event_time: true, plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}",
        expect!["fine"],
    );
    check_derived(
        "placement: sync, plugin: hour_fare, inputs: {value: 'company_stats:avg_fare'}",
        expect![[r#"
        2:27: derived view it cannot be placed at sync: it reads the request field hour, which nobody knows before the request; place it at request
        2:27: derived view it cannot be placed at sync: it reads the request field minute, which nobody knows before the request; place it at request"#]],
    );
    check_derived(
        "placement: sync, plugin: identity, inputs: {value: 'fare_ratio:ratio'}",
        expect![
            "2:27: derived view it cannot be placed at sync: it reads 2 feature views (company_stats, area_stats); a value stored when one of them changes would be stale when another does; place it at request"
        ],
    );
    check_derived(
        "placement: sync, plugin: ratio, inputs: {left: 'company_stats:avg_fare', right: 'area_stats:avg_fare_30d'}",
        expect![
            "2:27: derived view it cannot be placed at sync: it reads 2 feature views (company_stats, area_stats); a value stored when one of them changes would be stale when another does; place it at request"
        ],
    );
    check_derived(
        "placement: sync, plugin: company_name",
        expect![[r#"
        2:27: derived view it cannot be placed at sync: it reads no feature view, so no sync would ever compute it; place it at request
        2:27: derived view it cannot be placed at sync: it reads the request field company, which nobody knows before the request; place it at request"#]],
    );
    check_derived(
        "placement: snyc, plugin: company_name",
        expect![[
            r#"2:27: placement of derived view it must be one of request, sync, it is the text "snyc"; did you mean sync?"#
        ]],
    );
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
        expect![
            "4:26: derived view a cannot be placed at sync: feature view cold is not kept online; set online: true there, or place this view at request"
        ],
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
        expect![
            "2:38: freeze_at_event_time of derived view it: it takes the event time of the one feature view that is read, but it reads 2 feature views (company_stats, area_stats)"
        ],
    );
    check_derived(
        "freeze_at_event_time: true, plugin: company_name",
        expect![
            "2:38: freeze_at_event_time of derived view it: it takes the event time of the one feature view that is read, but it reads none"
        ],
    );
    check_derived(
        "freeze_at_event_time: true, plugin: bucket, inputs: {value: 'company_stats:avg_fare'}",
        expect![
            "warning: features/test.yaml:2:38: freeze_at_event_time of derived view it changes nothing: plugin bucket does not use the time; leave it out"
        ],
    );
}
