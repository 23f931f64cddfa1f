//! 50 columns scaled and clamped: little work on many columns, for benchmarks and for tests of the boundary.

use lockstep_plugin::{Failure, Outputs, Parameters, Refusal, Rows, Signature, Transform, Type};

const COLUMNS: usize = 50;

struct Arithmetic {
    outputs: Vec<String>,
}

impl Transform for Arithmetic {
    fn describe() -> Signature {
        let signature = Signature::new("arithmetic", "1.0.0").doc("y_i = clamp((x_i - 3.5) * 0.25, -5, 5).");
        (0..COLUMNS).fold(signature.handles_nulls(), |signature, column| {
            signature.feature(format!("x_{column}"), Type::Float64).output(format!("y_{column}"), Type::Float64)
        })
    }

    fn bind(_: &Parameters) -> Result<Self, Refusal> {
        Ok(Self { outputs: (0..COLUMNS).map(|column| format!("y_{column}")).collect() })
    }

    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
        for (column, name) in self.outputs.iter().enumerate() {
            let x = rows.float64s(column)?;
            outputs.float64s(name, |row| Some(((x.get(row)? - 3.5) * 0.25).clamp(-5.0, 5.0)))?;
        }
        Ok(())
    }
}

lockstep_plugin::export!(Arithmetic);
