//! The function for one row. The macro writes the loop.

use arrow_udf::function;
use arrow_udf::types::StructType;

use crate::{Outputs, scaled};

#[function("arithmetic_by_rows( \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64, \
    float64, float64, float64, float64, float64, float64, float64, float64, float64, float64 \
) -> struct Outputs")]
#[rustfmt::skip]
fn row(
    x_0: Option<f64>, x_1: Option<f64>, x_2: Option<f64>, x_3: Option<f64>, x_4: Option<f64>,
    x_5: Option<f64>, x_6: Option<f64>, x_7: Option<f64>, x_8: Option<f64>, x_9: Option<f64>,
    x_10: Option<f64>, x_11: Option<f64>, x_12: Option<f64>, x_13: Option<f64>, x_14: Option<f64>,
    x_15: Option<f64>, x_16: Option<f64>, x_17: Option<f64>, x_18: Option<f64>, x_19: Option<f64>,
    x_20: Option<f64>, x_21: Option<f64>, x_22: Option<f64>, x_23: Option<f64>, x_24: Option<f64>,
    x_25: Option<f64>, x_26: Option<f64>, x_27: Option<f64>, x_28: Option<f64>, x_29: Option<f64>,
    x_30: Option<f64>, x_31: Option<f64>, x_32: Option<f64>, x_33: Option<f64>, x_34: Option<f64>,
    x_35: Option<f64>, x_36: Option<f64>, x_37: Option<f64>, x_38: Option<f64>, x_39: Option<f64>,
    x_40: Option<f64>, x_41: Option<f64>, x_42: Option<f64>, x_43: Option<f64>, x_44: Option<f64>,
    x_45: Option<f64>, x_46: Option<f64>, x_47: Option<f64>, x_48: Option<f64>, x_49: Option<f64>,
) -> Outputs {
    Outputs {
        y_0: x_0.map(scaled), y_1: x_1.map(scaled), y_2: x_2.map(scaled), y_3: x_3.map(scaled),
        y_4: x_4.map(scaled), y_5: x_5.map(scaled), y_6: x_6.map(scaled), y_7: x_7.map(scaled),
        y_8: x_8.map(scaled), y_9: x_9.map(scaled), y_10: x_10.map(scaled), y_11: x_11.map(scaled),
        y_12: x_12.map(scaled), y_13: x_13.map(scaled), y_14: x_14.map(scaled), y_15: x_15.map(scaled),
        y_16: x_16.map(scaled), y_17: x_17.map(scaled), y_18: x_18.map(scaled), y_19: x_19.map(scaled),
        y_20: x_20.map(scaled), y_21: x_21.map(scaled), y_22: x_22.map(scaled), y_23: x_23.map(scaled),
        y_24: x_24.map(scaled), y_25: x_25.map(scaled), y_26: x_26.map(scaled), y_27: x_27.map(scaled),
        y_28: x_28.map(scaled), y_29: x_29.map(scaled), y_30: x_30.map(scaled), y_31: x_31.map(scaled),
        y_32: x_32.map(scaled), y_33: x_33.map(scaled), y_34: x_34.map(scaled), y_35: x_35.map(scaled),
        y_36: x_36.map(scaled), y_37: x_37.map(scaled), y_38: x_38.map(scaled), y_39: x_39.map(scaled),
        y_40: x_40.map(scaled), y_41: x_41.map(scaled), y_42: x_42.map(scaled), y_43: x_43.map(scaled),
        y_44: x_44.map(scaled), y_45: x_45.map(scaled), y_46: x_46.map(scaled), y_47: x_47.map(scaled),
        y_48: x_48.map(scaled), y_49: x_49.map(scaled),
    }
}
