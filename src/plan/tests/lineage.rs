//! Where features of the sample project come from.

use expect_test::{Expect, expect, expect_file};

use super::*;

#[test]
fn lineage_leads_from_a_feature_to_its_sources_and_services() {
    let check = |view: &str, feature: &str, expected: Expect| {
        expected.assert_eq(&serde_json::to_string_pretty(&lineage(&with(DEEPER), view, feature)).unwrap());
    };
    check(
        "company_stats",
        "avg_fare",
        expect![[r#"
        {
          "feature": {
            "view": "company_stats",
            "feature": "avg_fare",
            "type": "float64",
            "description": "Mean fare of a day",
            "from": {
              "source": {
                "source": "trips"
              }
            }
          },
          "upstream": [],
          "sources": [
            {
              "name": "trips",
              "type": "parquet",
              "path": "data/trips.parquet"
            }
          ],
          "services": [
            "tip_model_v1"
          ]
        }"#]],
    );
    check("company_stats", "nothing", expect!["null"]);
    check("nothing", "avg_fare", expect!["null"]);
}

#[test]
fn lineage_leads_through_derived_views() {
    let lineage = serde_json::to_string_pretty(&lineage(&with(DEEPER), "bucket_again", "value_again")).unwrap();
    expect_file!["./lineage.json"].assert_eq(&format!("{lineage}\n"));
}
