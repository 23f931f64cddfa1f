//! The project that `lockstep init` writes, used as a first reader uses it: apply, push, get, serve.

use std::fs;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array};
use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use crate::command::{Up, json_of, succeed};
use crate::shop::{times, write};
use crate::world::http;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_applies_takes_rows_and_serves_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = succeed(folder.path(), &["init", "mine"]);
    assert!(told.ends_with("next: lockstep -C mine apply\n"), "{told}");
    let folder = folder.path().join("mine");
    let config = folder.join("lockstep.yaml");
    let listen = "listen: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n";
    let text = fs::read_to_string(&config).expect("lockstep.yaml");
    fs::write(&config, format!("{text}{listen}")).expect("written");

    assert!(
        succeed(&folder, &["apply"]).ends_with("applied as version 1; a running gateway takes it up within a second\n")
    );
    write(
        &folder.join("orders.parquet"),
        vec![
            ("customer_id", Arc::new(Int64Array::from(vec![7, 7]))),
            ("last_order_amount", Arc::new(Float64Array::from(vec![12.5, 40.0]))),
            ("orders_total", Arc::new(Int64Array::from(vec![1, 2]))),
            ("event_time", times(&["2024-01-01", "2024-01-02"])),
        ],
    );
    assert!(succeed(&folder, &["push", "orders", "orders.parquet"]).starts_with("2 rows to customer_orders"));
    let asked = ["get", "customer_model_v1", "customer_id=7", "--as-of", "2024-01-03"];
    let got = json_of(&folder, &asked);
    assert_eq!((&got[0]["value"], &got[1]["value"]), (&json!(40.0), &json!(2)), "the newer row");

    let mut gateway = Up::start_quiet(&folder, &["serve"]);
    let told = gateway.wait_for("HTTP on http://").to_owned();
    let address = told.split("HTTP on http://").nth(1).and_then(|rest| rest.split_whitespace().next());
    let address = address.expect("an address").parse().expect("an address");
    let path = "/v1/services/customer_model_v1/features?customer_id=7&as_of=2024-01-03T00:00:00Z";
    let reply = http(address, Method::GET, path, &[], Bytes::new()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let row = &reply.json()["features"][0];
    assert_eq!((&row["last_order_amount"], &row["orders_total"]), (&json!(40.0), &json!(2)));
    assert_eq!(gateway.interrupt(), 0);
}
