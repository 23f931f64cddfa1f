//! What is told of two versions of the sample project.

use expect_test::{Expect, expect};

use super::*;
use crate::catalog::{Day, Defined, Deprecation};
use crate::plan::service_versions;

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn today() -> Day {
    day("2026-11-21")
}

/// The catalog after its services were applied, on top of those of `before`.
fn applied(mut catalog: Catalog, before: &[&Catalog]) -> Catalog {
    let kept: Vec<(String, String)> = before.iter().copied().chain([&catalog]).flat_map(shapes).collect();
    catalog.service_versions = service_versions(&kept).unwrap();
    catalog
}

fn edited(edits: &[(&str, &str)]) -> Catalog {
    let [base, views] = [base_file(), views_file()].map(|mut file| {
        for (from, to) in edits {
            file.text = file.text.replace(from, to);
        }
        file
    });
    taxi_from(&[base, views])
}

fn check_compare(old: &Catalog, new: &Catalog, expected: Expect) {
    let lines: Vec<String> = compare(old, new, today()).iter().map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn equal_definitions_have_no_differences() {
    check_compare(&taxi(), &taxi(), expect![""]);
}

#[test]
fn what_comes_and_goes_is_told() {
    check_compare(
        &Catalog::empty("taxi"),
        &taxi(),
        expect![[r#"
        added: entity area
        added: entity company
        added: source area_history
        added: source rides
        added: source trips
        added: feature view archive
        added: feature view area_stats
        added: derived view company_recency
        added: feature view company_stats
        added: derived view fare_bucket
        added: derived view fare_ratio
        added: feature service tip_model_v1"#]],
    );
    check_compare(
        &with(DEEPER),
        &taxi(),
        expect![[r#"
        removed: derived view at_hour
        removed: derived view bucket_again
        removed: derived view frozen
        removed: derived view once
        removed: derived view thrice
        removed: derived view twice"#]],
    );
}

#[test]
fn what_changes_is_told() {
    check_compare(
        &taxi(),
        &edited(&[
            ("ttl: 30d", "ttl: 7d\n    sync_every: 1d"),
            ("data/trips.parquet", "data/trips"),
            ("avg(fare)", "sum(fare)"),
            ("online: false", "online: true"),
            ("placement: sync", "placement: request"),
        ]),
        expect![[r#"
            values may change: source area_history: query, with the next sync (used by tip_model_v1)
            values may change: source trips: rows come from parquet data/trips.parquet → parquet data/trips (used by tip_model_v1)
            changed: feature view archive: now kept online
            values may change: feature view company_stats: ttl 30d → 7d (used by tip_model_v1)
            changed: feature view company_stats: sync_every none → 1d
            changed: derived view fare_bucket: placement sync → request, values stay (used by tip_model_v1)"#]],
    );
    check_compare(
        &taxi(),
        &edited(&[
            (
                "- {name: last_trip_at, type: timestamp}",
                "- {name: last_trip_at, type: timestamp}\n      - {name: fares, type: float64}",
            ),
            ("created_time: loaded_at", "created_time: last_trip_at"),
            ("name: last_trip_at, type: timestamp", "name: loaded_at, type: timestamp"),
            ("company_stats:last_trip_at", "company_stats:loaded_at"),
            ("name: fares,", "name: trip_count,"),
        ]),
        expect![[r#"
            values may change: source trips: created_time loaded_at → last_trip_at (used by tip_model_v1)
            incompatible: derived view company_recency: values change: input last_trip_at comes from elsewhere (used by tip_model_v1)
            incompatible: feature view company_stats: feature last_trip_at removed (used by tip_model_v1)
            changed: feature view company_stats: feature loaded_at added (timestamp)
            changed: feature view company_stats: feature trip_count added (float64)
            incompatible: feature service tip_model_v1: company_stats:last_trip_at removed
            changed: feature service tip_model_v1: company_stats:loaded_at added
            changed: feature service tip_model_v1: company_stats:trip_count added"#]],
    );
}

#[test]
fn what_hurts_someone_is_incompatible() {
    check_compare(
        &taxi(),
        &edited(&[
            ("name: area, type: int64", "name: area, type: int32"),
            ("{name: trip_count, type: int64}", "{name: trip_count, type: int32}"),
            (
                "'area_stats:avg_fare_30d', company_recency, fare_bucket",
                "company_recency, 'area_stats:avg_fare_30d', fare_ratio",
            ),
            ("plugin: bucket,", "plugin: bucket, parameters: {buckets: 9},"),
            (
                "left: 'company_stats:avg_fare', right: 'area_stats:avg_fare_30d'",
                "right: 'company_stats:avg_fare', left: 'area_stats:avg_fare_30d'",
            ),
        ]),
        expect![[r#"
            incompatible: entity area: join keys area: int64 → area: int32 (used by tip_model_v1)
            changed: feature view archive: feature trip_count int64 → int32
            incompatible: feature view area_stats: join keys area: int64 → area: int32 (used by tip_model_v1)
            incompatible: derived view fare_bucket: values change: parameters f548d08d6b4d → d634ea76d1b4 (used by tip_model_v1)
            incompatible: derived view fare_ratio: values change: input left comes from elsewhere
            incompatible: derived view fare_ratio: values change: input right comes from elsewhere
            incompatible: feature service tip_model_v1: fare_bucket:bucket removed
            changed: feature service tip_model_v1: fare_ratio:ratio added
            incompatible: feature service tip_model_v1: features in another order"#]],
    );
    let mut newer = taxi();
    let mut view = match &newer.views["company_recency"] {
        View::Derived(view) => DerivedView::clone(view),
        View::Feature(_) => unreachable!("company_recency is derived"),
    };
    let mut transform = Transform::clone(&view.transform);
    transform.signature.version = semver::Version::new(1, 1, 0);
    view.transform = Arc::new(transform);
    newer.views.insert("company_recency".to_owned(), View::Derived(Arc::new(view)));
    check_compare(
        &taxi(),
        &newer,
        expect![
            "incompatible: derived view company_recency: values change: version 1.0.0 → 1.1.0 (used by tip_model_v1)"
        ],
    );
}

#[test]
fn a_change_is_an_object_in_json() {
    let changes = compare(&Catalog::empty("taxi"), &taxi(), today());
    expect![[r#"{"change":"added","thing":"entity","name":"area","detail":""}"#]]
        .assert_eq(&serde_json::to_string(&changes[0]).unwrap());
}

#[test]
fn a_change_tells_who_uses_the_thing_and_lists_that_a_service_had_before() {
    let first = applied(taxi(), &[]);
    let second = applied(edited(&[("company_recency, fare_bucket]", "fare_bucket]")]), &[&first]);
    check_compare(
        &second,
        &edited(&[("company_recency, fare_bucket]", "fare_bucket]"), ("ttl: 30d", "ttl: 7d")]),
        expect!["values may change: feature view company_stats: ttl 30d → 7d (used by tip_model_v1, tip_model_v1@1)"],
    );
    // Only a list of before has company_recency: whoever asks for that list would get an error.
    let gone = "  - {name: company_recency, plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}}\n";
    let third = edited(&[("company_recency, fare_bucket]", "fare_bucket]"), (gone, "")]);
    check_compare(
        &second,
        &third,
        expect!["incompatible: derived view company_recency: removed (used by tip_model_v1@1)"],
    );
    // What cannot be asked for any more is no reason to keep anything else.
    let third = applied(third, &[&first, &second]);
    let retyped = edited(&[
        ("company_recency, fare_bucket]", "fare_bucket]"),
        (gone, ""),
        ("name: avg_fare_30d, type: float64", "name: avg_fare_30d, type: float32"),
        (
            "  - name: fare_ratio\n    plugin: ratio\n    inputs: {left: 'company_stats:avg_fare', right: 'area_stats:avg_fare_30d'}\n",
            "",
        ),
    ]);
    check_compare(
        &third,
        &retyped,
        expect![[r#"
            incompatible: feature view area_stats: feature avg_fare_30d float64 → float32 (used by tip_model_v1)
            removed: derived view fare_ratio
            changed: feature service tip_model_v1: version 2 → 3"#]],
    );
}

#[test]
fn what_breaks_someone_comes_with_a_way_out() {
    let mut newer = taxi();
    let View::Feature(view) = &newer.views["area_stats"] else { unreachable!("area_stats is of a source") };
    let float32 = "float32".parse().unwrap();
    let retyped = FeatureView { features: vec![Field::new("avg_fare_30d", float32)], ..FeatureView::clone(view) };
    newer.views.insert("area_stats".to_owned(), View::Feature(Arc::new(retyped)));
    newer.views.insert("area_stats@v4".to_owned(), taxi().views["area_stats"].clone());
    let changes = compare(&taxi(), &newer, today());
    expect![
        "leave area_stats as it was and define the change beside it (name: area_stats, version: 5), which is area_stats@v5"
    ]
    .assert_eq(&ways_out(&changes, &newer).join("\n"));
    assert_eq!(ways_out(&compare(&taxi(), &taxi(), today()), &taxi()), Vec::<String>::new());
}

#[test]
fn what_was_promised_stays_until_its_day_is_over() {
    let is_deprecated = |thing: Defined, remove_after: Option<&str>| {
        let mut catalog = applied(taxi(), &[]);
        let deprecation = Deprecation { since: day("2026-11-01"), remove_after: remove_after.map(day), instead: None };
        catalog.deprecations.insert(thing, deprecation);
        catalog
    };
    let kinds = |old: &Catalog, new: &Catalog, on: &str| -> Vec<String> {
        let changes = compare(old, new, day(on));
        changes.iter().filter(|change| change.thing != "feature service").map(ToString::to_string).collect()
    };
    let view = || Defined::View("company_recency".to_owned());
    let mut without = taxi();
    without.views.remove("company_recency");
    without.services.clear();
    for (old, on, expected) in [
        (
            is_deprecated(view(), Some("2027-02-01")),
            "2027-02-01",
            "refused: derived view company_recency: it is promised to stay through 2027-02-01; keep it until then, or apply an earlier remove_after first (used by tip_model_v1)",
        ),
        (
            is_deprecated(view(), Some("2027-02-01")),
            "2027-02-02",
            "removed: derived view company_recency (used by tip_model_v1)",
        ),
        (
            is_deprecated(view(), None),
            "2027-02-02",
            "incompatible: derived view company_recency: removed (used by tip_model_v1)",
        ),
    ] {
        assert_eq!(kinds(&old, &without, on), [expected]);
    }

    let feature = Defined::Feature(FeatureRef::new("company_stats", "avg_fare"));
    let less = edited(&[
        ("      - {name: avg_fare, type: float64, description: Mean fare of a day}\n", ""),
        ("'company_stats:avg_fare'", "'area_stats:avg_fare_30d'"),
        ("placement: sync", "placement: request"),
    ]);
    let old = is_deprecated(feature.clone(), Some("2027-02-01"));
    assert!(kinds(&old, &less, "2026-12-01").iter().any(|line| line.starts_with(
        "refused: feature view company_stats: feature avg_fare removed; it is promised to stay through 2027-02-01"
    )));
    assert!(kinds(&old, &less, "2027-03-01").iter().any(|line| {
        line.starts_with("changed: feature view company_stats: feature avg_fare removed (used by tip_model_v1)")
    }));

    let old = is_deprecated(Defined::Service("tip_model_v1".to_owned()), Some("2027-02-01"));
    let mut without = taxi();
    without.services.clear();
    let told = |old: &Catalog, on: &str| compare(old, &without, day(on))[0].to_string();
    assert_eq!(told(&applied(taxi(), &[]), "2026-12-01"), "incompatible: feature service tip_model_v1: removed");
    assert!(told(&old, "2026-12-01").starts_with("refused: feature service tip_model_v1: it is promised to stay"));
    assert_eq!(told(&old, "2027-03-01"), "removed: feature service tip_model_v1");
}

#[test]
fn a_deprecation_is_a_change_that_breaks_nobody() {
    let since = |text: &str| {
        let mut catalog = taxi();
        let deprecation = Deprecation { since: day(text), remove_after: Some(day("2027-02-01")), instead: None };
        catalog.deprecations.insert(Defined::View("area_stats".to_owned()), deprecation);
        catalog
    };
    check_compare(
        &taxi(),
        &since("2026-11-01"),
        expect!["changed: view area_stats: is deprecated since 2026-11-01 and may be removed after 2027-02-01"],
    );
    check_compare(&since("2026-11-01"), &taxi(), expect!["changed: view area_stats: is not deprecated any more"]);
    check_compare(&since("2026-11-01"), &since("2026-11-01"), expect![""]);
}
