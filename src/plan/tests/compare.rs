//! What is told of two versions of the sample project.

use expect_test::{Expect, expect};

use super::*;

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
    let lines: Vec<String> = compare(old, new).iter().map(ToString::to_string).collect();
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
            changed: source area_history: query; values may change with the next sync
            changed: source trips: rows come from parquet data/trips.parquet → parquet data/trips
            changed: feature view archive: now kept online
            changed: feature view company_stats: ttl 30d → 7d
            changed: feature view company_stats: sync_every none → 1d
            changed: derived view fare_bucket: placement sync → request, values stay"#]],
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
            changed: source trips: created_time loaded_at → last_trip_at
            incompatible: derived view company_recency: values change: input last_trip_at comes from elsewhere
            incompatible: feature view company_stats: feature last_trip_at removed, which feature service tip_model_v1 reads
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
            incompatible: entity area: join keys area: int64 → area: int32
            changed: feature view archive: feature trip_count int64 → int32
            incompatible: feature view area_stats: join keys area: int64 → area: int32
            incompatible: derived view fare_bucket: values change: parameters f548d08d6b4d → d634ea76d1b4
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
        expect!["incompatible: derived view company_recency: values change: version 1.0.0 → 1.1.0"],
    );
}

#[test]
fn a_change_is_an_object_in_json() {
    let changes = compare(&Catalog::empty("taxi"), &taxi());
    expect![[r#"{"change":"added","thing":"entity","name":"area","detail":""}"#]]
        .assert_eq(&serde_json::to_string(&changes[0]).unwrap());
}
