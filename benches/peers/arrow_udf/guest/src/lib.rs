//! The function of `plugins/arithmetic` as an arrow-udf, in the two forms that its macro has: over whole columns, as ours
//! is written, and row by row, as its documentation writes functions.

mod rows;

use std::sync::Arc;

use arrow_arith::arity::unary;
use arrow_array::{ArrayRef, Float64Array, StructArray};
use arrow_udf::function;
use arrow_udf::types::StructType;

/// A function gives one array, so the 50 columns are the fields of a struct.
#[derive(StructType)]
#[rustfmt::skip]
struct Outputs {
    y_0: Option<f64>, y_1: Option<f64>, y_2: Option<f64>, y_3: Option<f64>, y_4: Option<f64>,
    y_5: Option<f64>, y_6: Option<f64>, y_7: Option<f64>, y_8: Option<f64>, y_9: Option<f64>,
    y_10: Option<f64>, y_11: Option<f64>, y_12: Option<f64>, y_13: Option<f64>, y_14: Option<f64>,
    y_15: Option<f64>, y_16: Option<f64>, y_17: Option<f64>, y_18: Option<f64>, y_19: Option<f64>,
    y_20: Option<f64>, y_21: Option<f64>, y_22: Option<f64>, y_23: Option<f64>, y_24: Option<f64>,
    y_25: Option<f64>, y_26: Option<f64>, y_27: Option<f64>, y_28: Option<f64>, y_29: Option<f64>,
    y_30: Option<f64>, y_31: Option<f64>, y_32: Option<f64>, y_33: Option<f64>, y_34: Option<f64>,
    y_35: Option<f64>, y_36: Option<f64>, y_37: Option<f64>, y_38: Option<f64>, y_39: Option<f64>,
    y_40: Option<f64>, y_41: Option<f64>, y_42: Option<f64>, y_43: Option<f64>, y_44: Option<f64>,
    y_45: Option<f64>, y_46: Option<f64>, y_47: Option<f64>, y_48: Option<f64>, y_49: Option<f64>,
}

#[function("arithmetic_by_columns( \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64 \
) -> struct Outputs", batch_fn = "columns")]
#[rustfmt::skip]
fn columns(
    x_0: &Float64Array, x_1: &Float64Array, x_2: &Float64Array, x_3: &Float64Array, x_4: &Float64Array,
    x_5: &Float64Array, x_6: &Float64Array, x_7: &Float64Array, x_8: &Float64Array, x_9: &Float64Array,
    x_10: &Float64Array, x_11: &Float64Array, x_12: &Float64Array, x_13: &Float64Array, x_14: &Float64Array,
    x_15: &Float64Array, x_16: &Float64Array, x_17: &Float64Array, x_18: &Float64Array, x_19: &Float64Array,
    x_20: &Float64Array, x_21: &Float64Array, x_22: &Float64Array, x_23: &Float64Array, x_24: &Float64Array,
    x_25: &Float64Array, x_26: &Float64Array, x_27: &Float64Array, x_28: &Float64Array, x_29: &Float64Array,
    x_30: &Float64Array, x_31: &Float64Array, x_32: &Float64Array, x_33: &Float64Array, x_34: &Float64Array,
    x_35: &Float64Array, x_36: &Float64Array, x_37: &Float64Array, x_38: &Float64Array, x_39: &Float64Array,
    x_40: &Float64Array, x_41: &Float64Array, x_42: &Float64Array, x_43: &Float64Array, x_44: &Float64Array,
    x_45: &Float64Array, x_46: &Float64Array, x_47: &Float64Array, x_48: &Float64Array, x_49: &Float64Array,
) -> StructArray {
    let inputs = [
        x_0, x_1, x_2, x_3, x_4, x_5, x_6, x_7, x_8, x_9,
        x_10, x_11, x_12, x_13, x_14, x_15, x_16, x_17, x_18, x_19,
        x_20, x_21, x_22, x_23, x_24, x_25, x_26, x_27, x_28, x_29,
        x_30, x_31, x_32, x_33, x_34, x_35, x_36, x_37, x_38, x_39,
        x_40, x_41, x_42, x_43, x_44, x_45, x_46, x_47, x_48, x_49,
    ];
    let outputs = inputs.map(|x| Arc::new(unary(x, scaled) as Float64Array) as ArrayRef);
    StructArray::new(Outputs::fields(), outputs.into(), None)
}

fn scaled(x: f64) -> f64 {
    ((x - 3.5) * 0.25).clamp(-5.0, 5.0)
}
