//! Golden frames: what the committed components answered when they were recorded, byte for byte.
//!
//! `LOCKSTEP_RECORD=1` records them again; `LOCKSTEP_PLUGINS_DIR` names other builds of the components to check.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::transform::frame::{self, Column};

const BYTES_MAX: usize = 8 << 20;

/// Input columns by plugin: ordinary rows, then the edges.
fn inputs(plugin: &str) -> Vec<Vec<Value>> {
    let floats = || vec![json!(1.5), json!(-2.25), json!("-0"), json!("NaN"), json!("inf"), json!(1e300), Value::Null];
    match plugin {
        "taxi_company" => vec![vec![
            json!("2733 - 74600 Benny Jona"),
            json!("Benny  Jona, Inc."),
            json!("Taxi Affiliation Services"),
            json!(""),
            Value::Null,
            json!("Ünïted Täxi Co."),
            json!("🚕 - 12 Cab"),
        ]],
        "taxi_recency" => vec![
            vec![json!(1_700_000_000_000_000_i64), json!(0), json!(i64::MAX), json!(1_000_000), json!(7)],
            vec![json!(1_699_000_000_000_000_i64), json!(0), json!(i64::MIN), json!(2_000_000), Value::Null],
        ],
        "taxi_quote" => vec![
            vec![json!(250.5), Value::Null, json!(10), json!(0.0), json!("NaN"), json!(99), json!(1)],
            vec![json!(80.25), json!(3), json!(0), Value::Null, json!(4), json!(9), json!(1)],
            vec![json!(8), json!(0), json!(23), Value::Null, json!(12), json!(24), json!(17)],
            vec![
                json!("Credit Card"),
                json!("Cash"),
                Value::Null,
                json!(""),
                json!("CREDIT CARD"),
                json!("x"),
                json!("y"),
            ],
            vec![json!(3.5), json!(1.25), json!(0), Value::Null, json!(2), json!(7), json!("inf")],
        ],
        "haversine" => vec![
            vec![json!(41.88), json!(0), json!(90), json!("NaN"), Value::Null],
            vec![json!(-87.63), json!(0), json!(0), json!(1), json!(2)],
            vec![json!(41.98), json!(0), json!(-90), json!(1), json!(2)],
            vec![json!(-87.9), json!(180), json!(0), json!(1), json!(2)],
        ],
        _ => (0..50)
            .map(|column| {
                let mut values = floats();
                values.rotate_left(column % 7);
                values.push(json!(column));
                values
            })
            .collect(),
    }
}

fn written(columns: &[Column], rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(columns, rows.columns(), 0..rows.num_rows(), BYTES_MAX, &mut bytes).unwrap();
    bytes
}

#[test]
fn components_answer_as_they_did_when_they_were_recorded() {
    let goldens = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/goldens");
    let is_recording = std::env::var_os("LOCKSTEP_RECORD").is_some();
    let stage = stage(Settings { compare_one_in: 1, ..settings() });
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote", "arithmetic", "haversine"] {
        let transform = bound(&stage, plugin, &[]);
        let columns = |fields: &[crate::catalog::Field]| -> Vec<Column> {
            fields.iter().map(|field| Column::new(field.clone()).unwrap()).collect()
        };
        let inputs_read = columns(&crate::transform::signature::input_fields(&transform.signature));
        let rows = batch(&transform, &inputs(plugin));
        let answer = stage.apply(&transform, rows.columns(), rows.num_rows(), soon()).unwrap().rows;
        let (asked, answered) = (written(&inputs_read, &rows), written(&columns(&transform.outputs), &answer));

        let folder = goldens.join(plugin);
        if is_recording {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("in.frame"), &asked).unwrap();
            std::fs::write(folder.join("out.frame"), &answered).unwrap();
        }
        assert!(std::fs::read(folder.join("in.frame")).unwrap() == asked, "{plugin}: other inputs than recorded");
        assert!(std::fs::read(folder.join("out.frame")).unwrap() == answered, "{plugin} answers differently");
    }
}
