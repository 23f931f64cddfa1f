//! Views that services read under other names.

use expect_test::expect;

use super::check_service;

#[test]
fn an_alias_names_a_view_its_join_keys_and_its_features() {
    check_service(
        "features: [{view: area_stat, as: pickup}, {view: area_stats, as: Pick}, {view: area_stats, as: company_stats}]",
        expect![[r#""#]],
    );
    check_service(
        "features: [{view: area_stats, as: pickup, join_keys: {aria: pickup_area}, features: [fair]}, {view: area_stats, as: dropoff, join_keys: {area: event_time}}]",
        expect![[r#""#]],
    );
}

#[test]
fn an_alias_stands_for_the_same_in_all_services() {
    check_service(
        "features: [{view: area_stats, as: one, join_keys: {area: pickup_area}}, {view: area_stats, as: one, join_keys: {area: dropoff_area}}]",
        expect![[r#""#]],
    );
}
