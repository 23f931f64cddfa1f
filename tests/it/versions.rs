//! Versions of views side by side, lists of services that models keep, and what is going away.

use std::fs;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use lockstep::app::read_rows;
use lockstep::flow::parity::parity;
use lockstep::flow::sync::Range;
use serde_json::{Value, json};

use crate::command::{json_of, refused, run, succeed};
use crate::light::{DAY, Light, NOW, batch, floats, floats_of, served_floats, texts, times};
use crate::shop::{SHOP, SHOP_AS_OF, shop_of};

const DEFINITIONS: &str = "
entities:
  - {name: company, join_keys: [{name: company, type: string}]}
sources:
  - {name: rides, type: parquet, path: rides, event_time: at}
  - {name: rides_again, type: parquet, path: rides_again, event_time: at}
feature_views:
  - name: stats
    entities: [company]
    source: rides
    features: [{name: fare, type: float64}, {name: company_name, type: string}]
  - name: stats
    version: 2
    entities: [company]
    source: rides_again
    features: [{name: fare, type: float64}, {name: company_name, type: string}]
derived_views:
  - {name: identity, plugin: taxi_company, placement: sync, inputs: {company_name: 'stats:company_name'}}
  - {name: identity, version: 2, plugin: taxi_company, placement: sync, inputs: {company_name: 'stats@v2:company_name'}}
feature_services:
  - {name: first, features: [stats, identity]}
  - {name: second, features: [stats@v2, identity@v2]}
  - {name: both, features: [stats, stats@v2, identity, identity@v2], full_feature_names: true}
";

fn rides(names: &[&str], fares: &[f64]) -> RecordBatch {
    batch(&[
        ("company", texts(&["a", "b"])),
        ("company_name", texts(names)),
        ("fare", floats(fares)),
        ("at", times(&[NOW - DAY, NOW - DAY])),
    ])
}

#[tokio::test]
async fn two_versions_of_a_view_are_filled_served_and_trained_on_each_with_its_own_values() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides(&["Sun Taxi", "Flash Cab"], &[1.0, 2.0]));
    light.put("rides_again", &rides(&["Blue Cab", "Red Taxi"], &[10.0, 20.0]));
    let asked = ["stats:fare", "stats@v2:fare", "identity:company_clean", "identity@v2:company_clean"];
    let keys = batch(&[("company", texts(&["a", "b"]))]);

    // The new version is not filled yet: the old one is served as ever.
    light.sync("stats", Range::Full).await.expect("synced");
    let answer = light.serve(&asked, &keys, NOW).await.expect("served");
    assert_eq!(served_floats(&answer, 0), [Some(1.0), Some(2.0)]);
    assert_eq!(served_floats(&answer, 1), [None, None]);

    let synced = light.sync("stats@v2", Range::Full).await.expect("synced");
    assert_eq!((synced.view.as_str(), synced.derived_views), ("stats@v2", vec!["identity@v2".to_owned()]));
    let answer = light.serve(&asked, &keys, NOW).await.expect("served");
    assert_eq!(served_floats(&answer, 0), [Some(1.0), Some(2.0)]);
    assert_eq!(served_floats(&answer, 1), [Some(10.0), Some(20.0)]);
    let names = |column: usize| -> Vec<String> {
        answer.columns[column].values.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    };
    assert_ne!(names(2), names(3), "each version is computed from its own");

    let labels = batch(&[("company", texts(&["a", "b"])), ("event_timestamp", times(&[NOW, NOW]))]);
    let trained = light.train(&asked, &labels).await.expect("a training set");
    assert_eq!(floats_of(&trained, "stats__fare"), [Some(1.0), Some(2.0)]);
    assert_eq!(floats_of(&trained, "stats@v2__fare"), [Some(10.0), Some(20.0)]);
    for service in ["first", "second", "both"] {
        let compared = parity(&light.gateway, service, 2, Some(NOW)).await.expect("compared");
        assert_eq!((compared.differ, &compared.cells.len()), (0, &0), "{compared:?}");
        assert!(compared.not_null > 0, "{compared:?}");
    }
}

fn rewrite(folder: &Path, from: &str, to: &str) {
    let path = folder.join("features/features.yaml");
    let text = fs::read_to_string(&path).expect("definitions");
    assert!(text.contains(from), "{from} is not in the definitions");
    fs::write(path, text.replace(from, to)).expect("written");
}

#[test]
fn a_model_keeps_the_list_that_it_was_trained_on() {
    let folder = shop_of(SHOP);
    let folder = folder.path();
    succeed(folder, &["apply"]);
    succeed(folder, &["sync"]);
    let train = |service: &str, to: &str| {
        succeed(
            folder,
            &["train", service, "--labels", "labels.parquet", "--to", to, "--time-column", "event_timestamp"],
        );
        read_rows(&folder.join(to)).expect("a training set")
    };
    let columns = |rows: &RecordBatch| -> Vec<String> {
        rows.schema_ref().fields().iter().map(|field| field.name().clone()).collect()
    };
    let features = |name: &str| -> Vec<Value> {
        let rows = json_of(folder, &["get", name, "customer_id=1", "--as-of", SHOP_AS_OF]);
        rows.as_array().expect("rows").iter().map(|row| row["feature"].clone()).collect()
    };
    let first = train("customer_model", "first.parquet");
    let then = features("customer_model");

    rewrite(
        folder,
        "features: [customer_orders, customer_visits]}",
        "features: [customer_visits, 'customer_orders:city']}",
    );
    let message = refused(folder, &["apply"], 4);
    assert!(
        message.contains("incompatible: feature service customer_model: customer_orders:amount removed"),
        "{message}"
    );
    let applied = succeed(folder, &["apply", "--allow-incompatible"]);
    assert!(applied.contains("changed: feature service customer_model: version 1 → 2"), "{applied}");
    assert_eq!(features("customer_model"), [json!("pages"), json!("city")]);
    assert_eq!(features("customer_model@1"), then);
    let again = train("customer_model@1", "again.parquet");
    assert_eq!(columns(&again), columns(&first));
    assert_ne!(columns(&train("customer_model", "second.parquet")), columns(&first));
    let services = json_of(folder, &["services", "customer_model"]);
    let outline: Vec<(&Value, &Value)> =
        services.as_array().expect("lists").iter().map(|list| (&list["name"], &list["current"])).collect();
    let expected = [(json!("customer_model@1"), json!(false)), (json!("customer_model@2"), json!(true))];
    assert_eq!(outline, expected.iter().map(|(name, current)| (name, current)).collect::<Vec<_>>());

    // Its view loses a column that only the first list has: whom that breaks is told, and then it is over.
    rewrite(folder, "{name: amount, type: float64}, ", "");
    let planned = run(folder, &["plan"]);
    assert_eq!(planned.code, 1, "{planned:?}");
    let broken = "  incompatible: feature view customer_orders: feature amount removed (used by customer_model@1)\n";
    assert!(planned.stdout.contains(broken), "{planned:?}");
    let hint = "hint: leave customer_orders as it was and define the change beside it (name: customer_orders, version: 2), which is customer_orders@v2";
    assert!(planned.stdout.contains(hint), "{planned:?}");
    succeed(folder, &["apply", "--allow-incompatible"]);
    let message = refused(folder, &["get", "customer_model@1", "customer_id=1"], 4);
    assert_eq!(
        message,
        "customer_model@1 cannot be answered as it was: customer_orders:amount is gone; customer_model itself is version 2"
    );
    assert!(succeed(folder, &["services"]).contains("customer_orders:amount is gone"));
    refused(folder, &["services", "nonesuch"], 3);
}

#[test]
fn what_is_promised_is_not_removed_and_versions_replace_it() {
    let folder = shop_of(SHOP);
    let folder = folder.path();
    succeed(folder, &["apply"]);
    assert_eq!(succeed(folder, &["deprecations"]), "nothing is deprecated\n");
    let view =
        "    features: [{name: amount, type: float64}, {name: city, type: string}, {name: paid_at, type: timestamp}]\n";
    let second = format!(
        "{view}    deprecated: {{since: 2020-01-01, remove_after: 9999-12-31, use: customer_orders@v2}}
  - name: customer_orders
    version: 2
    entities: [customer]
    source: orders
    features: [{{name: amount, type: float64}}]
"
    );
    rewrite(folder, view, &second);
    let applied = succeed(folder, &["apply"]);
    assert!(applied.contains("added: feature view customer_orders@v2"), "{applied}");
    let warning = "feature service customer_model reads view customer_orders, which is deprecated since 2020-01-01 and may be removed after 9999-12-31; use customer_orders@v2";
    assert!(applied.contains(warning), "{applied}");
    let listed = json_of(folder, &["deprecations"]);
    let expected = json!([{
        "thing": "view", "name": "customer_orders", "since": "2020-01-01", "remove_after": "9999-12-31",
        "use": "customer_orders@v2", "state": "deprecated", "used_by": ["customer_model"],
    }]);
    assert_eq!(listed, expected);
    assert!(succeed(folder, &["deprecations"]).contains("customer_orders@v2"));
    let synced = succeed(folder, &["sync", "customer_orders@v2"]);
    assert!(synced.contains("customer_orders@v2"), "{synced}");
    assert_eq!(
        json_of(folder, &["get", "customer_orders@v2:amount", "customer_id=1", "--as-of", SHOP_AS_OF])[0]["value"],
        json!(20.0)
    );

    // The service moves to the new version; the old one stays, for those who ask for the list of before.
    rewrite(
        folder,
        "features: [customer_orders, customer_visits]}",
        "features: [customer_orders@v2, customer_visits]}",
    );
    succeed(folder, &["apply", "--allow-incompatible"]);
    let text = fs::read_to_string(folder.join("features/features.yaml")).expect("definitions");
    let start = text.find("  - name: customer_orders\n").expect("the first version");
    let end = text.find("  - name: customer_orders\n    version: 2").expect("the second version");
    fs::write(folder.join("features/features.yaml"), format!("{}{}", &text[..start], &text[end..])).expect("written");
    assert_eq!(run(folder, &["plan"]).code, 1);
    let message = refused(folder, &["apply", "--allow-incompatible"], 4);
    assert_eq!(
        message,
        "these changes break a promise:\nrefused: feature view customer_orders: it is promised to stay through 9999-12-31; keep it until then, or apply an earlier remove_after first (used by customer_model@1)"
    );
}
