//! Versions of views and services, fingerprints, and what is deprecated.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::catalog::{
    DType, Day, Defined, Deprecation, Entity, FeatureService, FeatureView, Field, Scalar, Source, SourceKind, Stored,
};

const SECOND: &str = "feature_views:
  - {name: company_stats, version: 2, entities: [company], source: trips, features: [{name: avg_fare, type: float64}]}
  - {name: company_stats, version: 10, entities: [company], source: trips, features: [{name: trip_count, type: int64}]}
derived_views:
  - {name: fare_bucket, version: 2, plugin: bucket, inputs: {value: 'company_stats@v2:avg_fare'}, placement: sync}
feature_services:
  - {name: tip_model_v2, features: ['company_stats@v1:avg_fare', 'company_stats@v2', fare_bucket@v2], full_feature_names: true}
";

/// The catalog after its services were applied, on top of those of `before`.
fn applied(mut catalog: Catalog, before: &[&Catalog]) -> Catalog {
    let kept: Vec<(String, String)> = before.iter().copied().chain([&catalog]).flat_map(shapes).collect();
    catalog.service_versions = service_versions(&kept).unwrap();
    catalog
}

/// The sample with another list of the service.
fn listing(features: &str) -> Catalog {
    let mut views = views_file();
    let list = "[company_stats, 'area_stats:avg_fare_30d', company_recency, fare_bucket]";
    assert!(views.text.contains(list));
    views.text = views.text.replace(list, features);
    taxi_from(&[base_file(), views])
}

fn names(plan: &FeaturePlan) -> Vec<&str> {
    plan.outputs.iter().map(|output| output.field.name.as_str()).collect()
}

#[test]
fn versions_of_a_view_are_views_beside_each_other() {
    let catalog = with(SECOND);
    check_serving(
        &catalog,
        &service("tip_model_v2"),
        expect![[r#"
            input JoinKey company: string
            read company_stats (company_stats) ["avg_fare"] by [0]
            read company_stats@v2 (company_stats@v2) ["avg_fare"] by [0]
            read fare_bucket@v2 (company_stats@v2) ["bucket"] by [0]
            output company_stats__avg_fare: float64 = Stored { read: 0, column: 0 }
            output company_stats@v2__avg_fare: float64 = Stored { read: 1, column: 0 }
            output fare_bucket@v2__bucket: int64 = Stored { read: 2, column: 0 }
        "#]],
    );
    check_storing(
        &catalog,
        "company_stats@v2",
        expect![[r#"
            store company_stats@v2 None
            derive fare_bucket@v2 from [Stored { read: 0, column: 0 }] as of Unused, needs [0]
            store fare_bucket@v2 ["bucket"] true
        "#]],
    );
}

#[test]
fn a_question_may_name_the_first_version_and_the_newest() {
    let catalog = with(SECOND);
    let asked = |names_: &[&str]| {
        serving(&catalog, &features(names_, true))
            .map(|plan| names(&plan).into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(
        asked(&["company_stats@v1:avg_fare", "company_stats:avg_fare"]),
        Ok(vec!["company_stats__avg_fare".to_owned()]),
        "one feature under two names is answered once"
    );
    // 10 is newer than 2, though not in the alphabet.
    assert_eq!(asked(&["company_stats@latest:trip_count"]), Ok(vec!["company_stats@v10__trip_count".to_owned()]));
    assert_eq!(asked(&["area_stats@latest:avg_fare_30d"]), Ok(vec!["area_stats__avg_fare_30d".to_owned()]));
    let unknown = asked(&["company_stats@v3:avg_fare"]).unwrap_err();
    expect!["feature view company_stats@v3 does not exist in project taxi"].assert_eq(&unknown.to_string());
    assert!(asked(&["nothing@latest:avg_fare"]).is_err());
}

#[test]
fn a_list_that_a_service_had_is_answered_as_it_was() {
    let first = applied(taxi(), &[]);
    let second = applied(listing("['company_stats:last_trip_at', 'area_stats:avg_fare_30d']"), &[&first]);
    let plan = serving(&second, &service("tip_model_v1@1")).unwrap();
    assert_eq!(names(&plan), names(&serving(&first, &service("tip_model_v1")).unwrap()));
    assert_eq!((plan.service.as_deref(), plan.service_version), (Some("tip_model_v1"), Some(1)));
    for name in ["tip_model_v1", "tip_model_v1@2"] {
        let plan = training(&second, &service(name)).unwrap();
        assert_eq!((names(&plan), plan.service_version), (vec!["last_trip_at", "avg_fare_30d"], Some(2)), "{name}");
    }
    // A list that comes back has its number again.
    let third = applied(taxi(), &[&first, &second]);
    assert_eq!((third.service_version("tip_model_v1"), third.service_versions["tip_model_v1"].len()), (Some(1), 2));
}

#[test]
fn a_list_that_cannot_be_answered_as_it_was_is_refused_with_what_changed() {
    let first = applied(taxi(), &[]);
    let mut views = views_file();
    views.text = views.text.replace("{name: avg_fare_30d, type: float64}", "{name: avg_fare_30d, type: float32}");
    views.text = views.text.replace("company_recency, fare_bucket]", "fare_bucket]");
    let gone = "  - {name: company_recency, plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}}\n";
    let ratio = "  - name: fare_ratio\n    plugin: ratio\n    inputs: {left: 'company_stats:avg_fare', right: 'area_stats:avg_fare_30d'}\n";
    views.text = views.text.replace(gone, "").replace(ratio, "");
    let second = applied(taxi_from(&[base_file(), views]), &[&first]);
    let check = |name: &str, expected: Expect| {
        expected.assert_eq(&serving(&second, &service(name)).unwrap_err().to_string());
    };
    check(
        "tip_model_v1@1",
        expect![
            "tip_model_v1@1 cannot be answered as it was: area_stats:avg_fare_30d is float32 now and was float64, company_recency:days_since_last_trip is gone, company_recency:is_recent is gone; tip_model_v1 itself is version 2"
        ],
    );
    check("tip_model_v1@3", expect!["feature service tip_model_v1 has no version 3; it has 1 to 2"]);
    check("tip_model_v1@0", expect!["tip_model_v1@0 is no version of a feature service; write it as my_model@3"]);
    check("tip_model_v1@v1", expect!["tip_model_v1@v1 is no version of a feature service; write it as my_model@3"]);
    check("tip_model@1", expect!["feature service tip_model does not exist in project taxi"]);
    let none = serving(&taxi(), &service("tip_model_v1@1")).unwrap_err().to_string();
    expect!["feature service tip_model_v1 has no version 1; none is recorded"].assert_eq(&none);
}

#[test]
fn damaged_records_of_services_are_told() {
    for text in [
        "",
        "{}",
        r#"{"full_feature_names": false, "features": [{"view": "v", "feature": "f", "type": "text"}]}"#,
        r#"{"full_feature_names": false, "features": [{"view": "v", "feature": "f", "type": "int64", "recipe": "ab"}]}"#,
    ] {
        let wrong = service_versions(&[("tips".to_owned(), text.to_owned())]).unwrap_err();
        assert!(wrong.starts_with("tips: "), "{wrong}");
    }
}

#[test]
fn a_fingerprint_is_of_names_types_order_and_computation() {
    let plan = |catalog: &Catalog| serving(catalog, &service("tip_model_v1")).unwrap();
    let is = fingerprint(&plan(&taxi()));
    expect!["6853c87d2c6e"].assert_eq(&is.short());
    let with_views = |edits: &[(&str, &str)]| {
        let mut views = views_file();
        for (from, to) in edits {
            assert!(views.text.contains(from), "{from}");
            views.text = views.text.replace(from, to);
        }
        fingerprint(&plan(&taxi_from(&[base_file(), views])))
    };
    // Where it is computed, how long it is served and what is said of it make no other columns.
    assert_eq!(is, with_views(&[("placement: sync", "placement: request"), ("ttl: 30d", "ttl: 7d"), ("Mean", "Mode")]));
    for edits in [
        &[("'area_stats:avg_fare_30d', company_recency", "company_recency, 'area_stats:avg_fare_30d'")][..],
        &[("company_recency, fare_bucket]", "company_recency]")],
        &[("plugin: bucket,", "plugin: bucket, parameters: {buckets: 9},")],
        &[("{name: tip_model_v1,", "{name: tip_model_v1, full_feature_names: true,")],
    ] {
        assert_ne!(is, with_views(edits), "{edits:?}");
    }
    // What is under a derived view counts, however deep.
    let deep = |more: &str| {
        let text = format!("{DEEPER}\nfeature_services: [{{name: deep, features: ['bucket_again:value_again']}}]");
        let text = text.replace("inputs: {value: 'fare_ratio:ratio'}", more);
        fingerprint(&training(&with(&text), &service("deep")).unwrap())
    };
    assert_ne!(deep("inputs: {value: 'fare_ratio:ratio'}"), deep("inputs: {value: 'company_stats:avg_fare'}"));
}

#[test]
fn another_fingerprint_is_refused_with_the_columns_that_differ() {
    let first = applied(taxi(), &[]);
    let sent = fingerprint(&serving(&first, &service("tip_model_v1")).unwrap()).to_string();
    let check = |catalog: &Catalog, name: &str, sent: &str, expected: Expect| {
        let plan = serving(catalog, &service(name)).unwrap();
        let checked = check_fingerprint(catalog, &plan, sent);
        expected.assert_eq(&checked.map_or_else(|error| error.to_string(), |()| "fine".to_owned()));
    };
    let second = applied(listing("[fare_bucket, fare_ratio, 'company_stats:avg_fare']"), &[&first]);
    check(&first, "tip_model_v1", &sent, expect!["fine"]);
    check(&first, "tip_model_v1", &sent.to_uppercase(), expect!["fine"]);
    check(&second, "tip_model_v1@1", &sent, expect!["fine"]);
    check(
        &second,
        "tip_model_v1",
        &sent,
        expect![
            "the answer would not have the schema with the fingerprint that was sent (6853c87d2c6e…): that was tip_model_v1@1, and since then last_trip_at went, avg_fare_30d went, days_since_last_trip went, is_recent went, ratio came; tip_model_v1@1 has the columns of then"
        ],
    );
    let mut views = views_file();
    views.text = views.text.replace("plugin: bucket,", "plugin: bucket, parameters: {buckets: 9},");
    let other = applied(taxi_from(&[base_file(), views]), &[&first]);
    check(
        &other,
        "tip_model_v1",
        &sent,
        expect![
            "the answer would not have the schema with the fingerprint that was sent (6853c87d2c6e…): that was tip_model_v1@1, and since then bucket came to be computed otherwise"
        ],
    );
    let moved = applied(listing("['area_stats:avg_fare_30d', company_stats, company_recency, fare_bucket]"), &[&first]);
    check(
        &moved,
        "tip_model_v1",
        &sent,
        expect![
            "the answer would not have the schema with the fingerprint that was sent (6853c87d2c6e…): that was tip_model_v1@1, and since then the columns were put in another order; tip_model_v1@1 has the columns of then"
        ],
    );
    check(
        &first,
        "tip_model_v1",
        &"0".repeat(64),
        expect![
            "the answer would not have the schema with the fingerprint that was sent (000000000000…): it has 6853c87d2c6e…, and what the other had is not recorded"
        ],
    );
    check(
        &first,
        "tip_model_v1",
        "6853c87d2c6e",
        expect![[
            r#""6853c87d2c6e" is no schema fingerprint; it is the 64 hex digits that came with the training set"#
        ]],
    );
}

#[test]
fn what_is_deprecated_is_listed_with_its_day_and_its_users() {
    let day = |text: &str| text.parse::<Day>().unwrap();
    let first = applied(taxi(), &[]);
    let mut catalog = applied(listing("['area_stats:avg_fare_30d', fare_bucket]"), &[&first]);
    let deprecation = |remove_after: Option<&str>, instead: Option<&str>| Deprecation {
        since: day("2026-11-01"),
        remove_after: remove_after.map(day),
        instead: instead.map(str::to_owned),
    };
    let last_trip_at = Defined::Feature(FeatureRef::new("company_stats", "last_trip_at"));
    catalog.deprecations.insert(last_trip_at, deprecation(Some("2027-02-01"), None));
    catalog.deprecations.insert(Defined::View("area_stats".to_owned()), deprecation(None, Some("company_stats")));
    catalog.deprecations.insert(Defined::Service("tip_model_v1".to_owned()), deprecation(None, None));
    let listed = |today: &str| {
        let listed = deprecations(&catalog, day(today));
        listed.iter().map(|one| serde_json::to_string(one).unwrap()).collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        {"thing":"view","name":"area_stats","since":"2026-11-01","use":"company_stats","state":"deprecated","used_by":["tip_model_v1","tip_model_v1@1"]}
        {"thing":"feature","name":"company_stats:last_trip_at","since":"2026-11-01","remove_after":"2027-02-01","state":"deprecated","used_by":["tip_model_v1@1"]}
        {"thing":"feature service","name":"tip_model_v1","since":"2026-11-01","state":"deprecated","used_by":[]}"#]]
    .assert_eq(&listed("2027-02-01"));
    assert_eq!(listed("2026-10-31").matches("announced").count(), 3);
    assert_eq!(listed("2027-02-02").matches("removable").count(), 1);

    let told = |name: &str| {
        let plan = serving(&catalog, &service(name)).unwrap();
        notices(&catalog, &plan).iter().map(|notice| notice.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told("tip_model_v1"), ["area_stats", "tip_model_v1"]);
    assert_eq!(told("tip_model_v1@1"), ["area_stats", "company_stats:last_trip_at", "tip_model_v1"]);
    let asked = serving(&catalog, &features(&["company_stats:avg_fare"], false)).unwrap();
    assert!(notices(&catalog, &asked).is_empty());
    let lineage = lineage(&catalog, "company_stats", "last_trip_at").unwrap();
    expect![[r#"
        company_stats:last_trip_at timestamp from source trips; is deprecated since 2026-11-01 and may be removed after 2027-02-01
        source trips (parquet) data/trips.parquet
        used by tip_model_v1@1"#]]
    .assert_eq(&lineage.to_string());
}

/// One applied version: the type of each feature of the one view, none where it is not there, and the service's list.
type Version = (Vec<Option<bool>>, Vec<usize>, bool);

fn catalog_of((types, list, full_feature_names): &Version) -> Catalog {
    let dtype = |is_float: bool| DType::One(if is_float { Scalar::Float64 } else { Scalar::Int64 });
    let key = Field::new("company", DType::One(Scalar::String));
    let features: Vec<Field> = types
        .iter()
        .enumerate()
        .filter_map(|(number, kind)| Some(Field::new(format!("f{number}"), dtype((*kind)?))))
        .collect();
    let mut listed: Vec<FeatureRef> = Vec::new();
    for pick in list {
        let feature = FeatureRef::new("v", &features[pick % features.len()].name);
        if !listed.contains(&feature) {
            listed.push(feature);
        }
    }
    let mut catalog = Catalog::empty("test");
    let name = || "v".to_owned();
    let entity = Entity { name: name(), join_keys: vec![key.clone()], description: String::new() };
    catalog.entities.insert(name(), entity);
    let source = Source {
        name: name(),
        kind: SourceKind::Stored(Stored::parquet("v")),
        event_time: "at".to_owned(),
        created_time: None,
        description: String::new(),
    };
    catalog.sources.insert(name(), source);
    let view = FeatureView {
        name: name(),
        entities: vec![name()],
        join_keys: vec![key],
        source: name(),
        features,
        ttl: None,
        online: true,
        sync_every: None,
        description: String::new(),
        expectations: Vec::new(),
        quarantine: None,
    };
    catalog.views.insert(name(), View::Feature(Arc::new(view)));
    let service = FeatureService {
        name: "s".to_owned(),
        features: listed,
        full_feature_names: *full_feature_names,
        split: None,
        description: String::new(),
    };
    catalog.services.insert("s".to_owned(), service);
    catalog
}

fn version() -> impl Strategy<Value = Version> {
    let types = prop::collection::vec(prop::option::of(any::<bool>()), 4);
    let types = types.prop_filter("a view has features", |types| types.iter().any(Option::is_some));
    (types, prop::collection::vec(0..4_usize, 1..5), any::<bool>())
}

proptest! {
    #[test]
    fn the_columns_of_a_numbered_list_never_change_under_later_edits(
        versions in prop::collection::vec(version(), 1..12),
    ) {
        let mut kept: Vec<(String, String)> = Vec::new();
        let mut known: BTreeMap<u32, (Vec<Field>, Digest)> = BTreeMap::new();
        for version in &versions {
            let mut catalog = catalog_of(version);
            // The registry gives each text once, where it was applied first.
            kept.extend(shapes(&catalog).into_iter().filter(|shape| !kept.contains(shape)).collect::<Vec<_>>());
            catalog.service_versions = service_versions(&kept).unwrap();
            let fields = |plan: &FeaturePlan| plan.outputs.iter().map(|output| output.field.clone()).collect::<Vec<_>>();
            let now = serving(&catalog, &service("s")).unwrap();
            let number = now.service_version.expect("it was just recorded");
            let first = known.entry(number).or_insert_with(|| (fields(&now), fingerprint(&now)));
            prop_assert_eq!(&*first, &(fields(&now), fingerprint(&now)));
            prop_assert_eq!(known.len(), catalog.service_versions["s"].len(), "numbers have no gaps");
            for (number, (columns, print)) in &known {
                for plan in [serving, training] {
                    match plan(&catalog, &service(&format!("s@{number}"))) {
                        Ok(plan) => {
                            prop_assert_eq!(&fields(&plan), columns);
                            prop_assert_eq!(&fingerprint(&plan), print);
                        }
                        Err(Error::ServiceVersionGone { .. }) => {
                            let there = &catalog.views["v"];
                            let is_whole = columns.iter().all(|column| there.features().iter().any(|feature| {
                                column.name.ends_with(&feature.name) && feature.dtype == column.dtype
                            }));
                            prop_assert!(!is_whole, "it is refused although everything is there");
                        }
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                }
            }
        }
    }
}
