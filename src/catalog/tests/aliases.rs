//! Views that services read under other names.

use expect_test::expect;

use super::check_service;

#[test]
fn an_alias_names_a_view_its_join_keys_and_its_features() {
    check_service(
        "features: [{view: area_stat, as: pickup}, {view: area_stats, as: Pick}, {view: area_stats, as: company_stats}]",
        expect![[r#"
            2:34: feature service it names view area_stat, which is not defined; did you mean area_stats?
            2:81: feature service it: the name Pick must be snake_case (a–z, 0–9 and _, a letter first); write pick
            2:111: feature service it: company_stats is the name of a view; take another one"#]],
    );
    check_service(
        "features: [{view: area_stats, as: pickup, join_keys: {aria: pickup_area}, features: [fair]}, {view: area_stats, as: dropoff, join_keys: {area: event_time}}]",
        expect![[r#"
            2:76: feature service it: view area_stats has no join key aria; it has area; did you mean area?
            2:101: feature service it: view area_stats has no feature fair; it has avg_fare_30d
            2:159: feature service it: the column event_time for join key area has a reserved name, rows carry a column of that name already; name it otherwise"#]],
    );
}

#[test]
fn an_alias_stands_for_the_same_in_all_services() {
    check_service(
        "features: [{view: area_stats, as: one, join_keys: {area: pickup_area}}, {view: area_stats, as: one, join_keys: {area: dropoff_area}}]",
        expect![
            "2:111: feature service it: one stands for view area_stats with other join keys elsewhere; name one of the two otherwise"
        ],
    );
}
