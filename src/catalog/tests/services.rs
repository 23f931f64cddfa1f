//! Feature services.

use expect_test::expect;

use super::{check, check_more, check_service};

#[test]
fn services_name_features_that_exist_each_once() {
    check_service(
        "features: [company_stat, 'company_stats:avg_fair', 'company_stats:', 'a:b:c']",
        expect![[r#"
        2:27: feature service it names view company_stat, which is not defined; did you mean company_stats?
        2:41: feature service it: view company_stats has no feature avg_fair; it has avg_fare, last_trip_at; did you mean avg_fare?
        2:67: feature service it: "company_stats:" does not name a feature; write view:feature
        2:85: feature service it: "a:b:c" does not name a feature; write view:feature"#]],
    );
    check_service(
        "features: [company_stats, 'company_stats:avg_fare']",
        expect!["2:42: feature service it names company_stats:avg_fare twice"],
    );
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
    check_service(
        "features: [archive]",
        expect![
            "warning: features/test.yaml:2:26: feature service it can be used for training only, because feature view archive is not kept online"
        ],
    );
    let features: Vec<String> =
        (0..=crate::limits::SERVE_FEATURES_MAX).map(|index| format!("{{name: f{index}, type: int64}}")).collect();
    check(
        &format!(
            "feature_views: [{{name: v, entities: [company], source: rides, features: [{}]}}]
feature_services: [{{name: wide, features: [v]}}]
",
            features.join(", ")
        ),
        expect![
            "warning: features/test.yaml:2:43: feature service wide has 2001 features, requests are answered up to 2000"
        ],
    );
}
