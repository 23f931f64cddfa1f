//! A function with every type among its arguments and answers, over the vector that has them all.

use std::path::PathBuf;

use lockstep_plugin::function::Computed;
use lockstep_plugin::glue::{self, Binding};
use lockstep_plugin::{Date, FixedValue, Items, Timestamp};

fn all<'a, T: FixedValue + 'a>(items: Option<Items<'a, T>>) -> Option<Vec<T>> {
    items.map(|items| items.iter().collect())
}

lockstep_plugin::transform! {
    name: "mirror", version: "1.0.0", doc: "Every type, in and out.",
    fn mirror(
        bits: Option<bool>, int32: Option<i32>, int64: Option<i64>, float32: Option<f32>, float64: Option<f64>,
        string: Option<&str>, bytes: Option<&[u8]>, timestamp: Option<Timestamp>, date: Option<Date>,
        embedding: Option<[f32; 3]>, bools: Option<Vec<bool>>, int32s: Option<Items<i32>>,
        int64s: Option<Items<i64>>, float32s: Option<Items<f32>>, float64s: Option<Items<f64>>,
        timestamps: Option<Items<Timestamp>>,
    ) -> Mirror {
        bits: Option<bool>, int32: Option<i32>, int64: Option<i64>, float32: Option<f32>, float64: Option<f64>,
        string: Option<String>, bytes: Option<Vec<u8>>, timestamp: Option<Timestamp>, date: Option<Date>,
        embedding: Option<[f32; 3]>, bools: Option<Vec<bool>>, int32s: Option<Vec<i32>>,
        int64s: Option<Vec<i64>>, float32s: Option<Vec<f32>>, float64s: Option<Vec<f64>>,
        timestamps: Option<Vec<Timestamp>>,
    } {
        Mirror {
            bits, int32, int64, float32, float64, timestamp, date, embedding, bools,
            string: string.map(str::to_owned), bytes: bytes.map(<[u8]>::to_vec),
            int32s: all(int32s), int64s: all(int64s), float32s: all(float32s), float64s: all(float64s),
            timestamps: all(timestamps),
        }
    }
}

#[test]
fn a_function_reads_and_writes_every_type() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../wit/vectors");
    let frame = std::fs::read(folder.join("all-types.frame")).unwrap();
    let outputs = glue::describe::<<Mirror as Computed>::By>().outputs.into_iter().map(|field| field.name).collect();
    let bound = glue::bind::<<Mirror as Computed>::By>(Binding { params: Vec::new(), outputs }).unwrap();
    let tags: Vec<u8> = bound.inputs.iter().map(|field| field.dtype as u8).collect();
    assert_eq!(tags, (0..16).collect::<Vec<u8>>());
    let applied = glue::apply(&frame).unwrap();
    assert!(applied.frame == frame);
    assert_eq!(applied.errors.len(), 0);
}
