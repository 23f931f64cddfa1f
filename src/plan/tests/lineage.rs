//! Where features of the sample project come from.

use expect_test::{Expect, expect};

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
    check(
        "bucket_again",
        "value_again",
        expect![[r#"
        {
          "feature": {
            "view": "bucket_again",
            "feature": "value_again",
            "type": "float64",
            "from": {
              "transform": {
                "plugin": "identity",
                "version": "1.0.0",
                "digest": "343ec6ae37de98034621ebdd4ea3dc3a2be52e72edeb5dae52e2772e6d4ba7e1",
                "component": "689f6a627384c7dcb2dcc1487e540223e77bdf9dcd0d8be8a326eda65b0ce9a4",
                "output": "value_again",
                "inputs": [
                  {
                    "input": "value",
                    "feature": "at_hour:fare_at_hour"
                  }
                ]
              }
            }
          },
          "upstream": [
            {
              "view": "at_hour",
              "feature": "fare_at_hour",
              "type": "float64",
              "from": {
                "transform": {
                  "plugin": "hour_fare",
                  "version": "1.0.0",
                  "digest": "85698773a80129bf60fd971163fbc92fc6058fffee64dca5ee15674a8f55d519",
                  "component": "bc6e44e77a64f1e517ace98f652234fe5c6be5f35b6d555702d2f2dde91f46d8",
                  "output": "fare_at_hour",
                  "inputs": [
                    {
                      "input": "value",
                      "feature": "fare_ratio:ratio"
                    },
                    {
                      "input": "hour",
                      "request_field": "hour"
                    },
                    {
                      "input": "minute",
                      "request_field": "minute_of_day"
                    }
                  ]
                }
              }
            },
            {
              "view": "fare_ratio",
              "feature": "ratio",
              "type": "float64",
              "from": {
                "transform": {
                  "plugin": "ratio",
                  "version": "1.0.0",
                  "digest": "59f2ec0c79f3f89ba8234c64cc225882d6b44c5489cb8b859841c3113323d916",
                  "component": "2f04a79ef13b95c1f6a2ebb41fd14762468c9ea28a8c07dec25849ce2187963a",
                  "output": "ratio",
                  "inputs": [
                    {
                      "input": "left",
                      "feature": "company_stats:avg_fare"
                    },
                    {
                      "input": "right",
                      "feature": "area_stats:avg_fare_30d"
                    }
                  ]
                }
              }
            },
            {
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
            {
              "view": "area_stats",
              "feature": "avg_fare_30d",
              "type": "float64",
              "from": {
                "source": {
                  "source": "area_history"
                }
              }
            }
          ],
          "sources": [
            {
              "name": "area_history",
              "type": "sql",
              "query": "select area, day, avg(fare) as avg_fare_30d from trips group by area, day"
            },
            {
              "name": "trips",
              "type": "parquet",
              "path": "data/trips.parquet"
            }
          ],
          "services": []
        }"#]],
    );
    check("company_stats", "nothing", expect!["null"]);
    check("nothing", "avg_fare", expect!["null"]);
}
