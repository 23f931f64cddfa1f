//! Versions of views, and what is deprecated.

use expect_test::expect;

use super::*;

const SECOND: &str = "feature_views:
  - {name: company_stats, version: 2, entities: [company], source: trips, features: [{name: trip_count, type: int64}]}
  - {name: company_recency, version: 2, entities: [company], source: trips, features: [{name: trip_count, type: int64}]}
derived_views:
  - {name: fare_bucket, version: 1, plugin: bucket, inputs: {value: 'company_stats@v1:avg_fare'}}
";

#[test]
fn a_version_is_a_view_of_its_own() {
    let text = SECOND.replace("fare_bucket, version: 1", "fare_bucket, version: 3");
    let more = file("test", &text);
    let catalog = taxi_from(&[base_file(), views_file(), more]);
    let names: Vec<_> = catalog.views.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "archive",
            "area_stats",
            "company_recency",
            "company_recency@v2",
            "company_stats",
            "company_stats@v2",
            "fare_bucket",
            "fare_bucket@v3",
            "fare_ratio"
        ]
    );
    assert_eq!(catalog.views["company_stats@v2"].name(), "company_stats@v2");
    assert_eq!(catalog.reach("fare_bucket@v3").feature_views[0].name, "company_stats");
    for (asked, found) in [
        ("company_stats", Some("company_stats")),
        ("company_stats@v1", Some("company_stats")),
        ("company_stats@v2", Some("company_stats@v2")),
        ("company_stats@latest", Some("company_stats@v2")),
        ("area_stats@latest", Some("area_stats")),
        ("company_stats@v3", None),
        ("company_stat@latest", None),
    ] {
        assert_eq!(catalog.view(asked).map(View::name), found, "{asked}");
    }
}

#[test]
fn a_version_is_defined_once_and_named_by_its_number() {
    check_more(SECOND, expect!["5:12: derived view fare_bucket is defined twice, first at features/views.yaml:14"]);
    check_more(
        "feature_views:
  - {name: company_stats@v2, entities: [company], source: trips, features: [{name: trip_count, type: int64}]}
  - {name: Stats, version: 2, entities: [company], source: trips, features: [{name: trip_count, type: int64}]}
feature_services:
  - {name: it, features: [company_stats@latest, 'company_stats@v7:avg_fare']}
",
        expect![[r#"
            2:12: the name of feature view company_stats@v2 has a version in it; write name: company_stats and version: 2
            3:12: the name of feature view Stats@v2 must be snake_case (a–z, 0–9 and _, a letter first); write stats
            5:27: feature service it: company_stats@latest is another view after each apply; name a version, such as company_stats@v2
            5:49: feature service it names view company_stats@v7, which is not defined; did you mean company_stats?"#]],
    );
    check_more(
        "feature_views: [{name: it, version: 0, entities: [company], source: trips, features: [{name: trip_count, type: int64}]}]",
        expect!["1:37: version of feature view it is not allowed: 0 is less than the minimum of 1"],
    );
}

#[test]
fn what_is_deprecated_has_days_and_something_to_use_in_its_place() {
    check_more(
        "feature_views:
  - name: old
    entities: [company]
    source: trips
    features:
      - {name: trip_count, type: int64, deprecated: {since: 2026-11-1}}
      - {name: avg_fare, type: float64, deprecated: {since: 2026-11-01, use: 'company_stats:avg_fair'}}
    deprecated: {since: 2026-11-01, remove_after: 2026-10-01, use: old}
derived_views:
  - name: ratio
    plugin: bucket
    inputs: {value: 'old:avg_fare'}
    features: [{output: bucket, name: bucket, deprecated: {since: soon, remove_after: later}}]
feature_services:
  - {name: it, features: [ratio], deprecated: {since: 2026-11-01, use: nothing}}
",
        expect![[r#"
            6:61: since of deprecated feature old:trip_count: "2026-11-1" is not a day; write it as 2026-11-30
            7:78: use of deprecated feature old:avg_fare: feature company_stats:avg_fair is not defined
            8:51: remove_after of deprecated view old: 2026-10-01 is before 2026-11-01, the day since which it is deprecated
            8:68: use of deprecated view old: old is what is deprecated; name what replaces it
            13:67: since of deprecated feature ratio:bucket: "soon" is not a day; write it as 2026-11-30
            13:87: remove_after of deprecated feature ratio:bucket: "later" is not a day; write it as 2026-11-30"#]],
    );
    check_more(
        "feature_services: [{name: it, features: [company_stats], deprecated: {since: 2026-11-01, use: nothing}}]",
        expect!["1:95: use of deprecated feature service it: feature service nothing is not defined"],
    );
    check_more(
        "feature_services: [{name: it, features: [company_stats], deprecated: {since: 2026-11-01, until: 2027-01-01}}]",
        expect![
            "1:90: deprecated of feature service it has the unknown key until; it may have remove_after, since, use"
        ],
    );
}

#[test]
fn whoever_reads_something_deprecated_is_warned_unless_he_is_deprecated_too() {
    let text = "feature_views:
  - name: old
    entities: [company]
    source: trips
    features: [{name: trip_count, type: int64}, {name: fares, type: float64, deprecated: {since: 2026-11-01}}]
    deprecated: {since: 2026-11-01, remove_after: 2027-02-01, use: company_stats}
derived_views:
  - {name: once, plugin: bucket, inputs: {value: 'old:fares'}, features: [{output: bucket, name: once}]}
feature_services:
  - {name: it, features: ['old:trip_count']}
  - {name: other, features: ['old:trip_count'], deprecated: {since: 2026-12-01}}
";
    let text = text.replace("fares, type", "avg_fare, type").replace("old:fares", "old:avg_fare");
    check_more(
        &text,
        expect![[r#"
            warning: features/test.yaml:8:42: derived view once reads feature old:avg_fare, which is deprecated since 2026-11-01
            warning: features/test.yaml:8:42: derived view once reads view old, which is deprecated since 2026-11-01 and may be removed after 2027-02-01; use company_stats
            warning: features/test.yaml:10:26: feature service it reads view old, which is deprecated since 2026-11-01 and may be removed after 2027-02-01; use company_stats"#]],
    );
    let catalog = taxi_from(&[base_file(), views_file(), file("test", &text)]);
    assert_eq!(catalog.deprecations.len(), 3);
    let without = text.replace(", deprecated: {since: 2026-12-01}", "");
    let without = taxi_from(&[base_file(), views_file(), file("test", &without)]);
    assert_ne!(catalog.hash(), without.hash(), "a deprecation is a definition");
}
