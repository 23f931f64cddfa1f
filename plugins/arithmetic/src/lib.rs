//! 50 columns scaled and clamped: little work on many columns, for benchmarks and for tests of the boundary.

use lockstep_plugin::{Failure, Outputs, Parameters, Refusal, Rows, Signature, Transform, Type};

/// Written out, because a fresh instance is bound in each call and would put them together in each.
#[rustfmt::skip]
const INPUTS: [&str; 50] = [
    "x_0", "x_1", "x_2", "x_3", "x_4", "x_5", "x_6", "x_7", "x_8", "x_9",
    "x_10", "x_11", "x_12", "x_13", "x_14", "x_15", "x_16", "x_17", "x_18", "x_19",
    "x_20", "x_21", "x_22", "x_23", "x_24", "x_25", "x_26", "x_27", "x_28", "x_29",
    "x_30", "x_31", "x_32", "x_33", "x_34", "x_35", "x_36", "x_37", "x_38", "x_39",
    "x_40", "x_41", "x_42", "x_43", "x_44", "x_45", "x_46", "x_47", "x_48", "x_49",
];
#[rustfmt::skip]
const OUTPUTS: [&str; 50] = [
    "y_0", "y_1", "y_2", "y_3", "y_4", "y_5", "y_6", "y_7", "y_8", "y_9",
    "y_10", "y_11", "y_12", "y_13", "y_14", "y_15", "y_16", "y_17", "y_18", "y_19",
    "y_20", "y_21", "y_22", "y_23", "y_24", "y_25", "y_26", "y_27", "y_28", "y_29",
    "y_30", "y_31", "y_32", "y_33", "y_34", "y_35", "y_36", "y_37", "y_38", "y_39",
    "y_40", "y_41", "y_42", "y_43", "y_44", "y_45", "y_46", "y_47", "y_48", "y_49",
];

struct Arithmetic;

impl Transform for Arithmetic {
    fn describe() -> Signature {
        let signature = Signature::new("arithmetic", "1.0.0").doc("y_i = clamp((x_i - 3.5) * 0.25, -5, 5).");
        INPUTS.iter().zip(OUTPUTS).fold(signature.handles_nulls(), |signature, (input, output)| {
            signature.feature(*input, Type::Float64).output(output, Type::Float64)
        })
    }

    fn bind(_: &Parameters) -> Result<Self, Refusal> {
        Ok(Self)
    }

    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
        for (column, name) in OUTPUTS.iter().enumerate() {
            let x = rows.float64s(column)?;
            outputs.map(name, x, |x: f64| ((x - 3.5) * 0.25).clamp(-5.0, 5.0))?;
        }
        Ok(())
    }
}

lockstep_plugin::export!(Arithmetic);
