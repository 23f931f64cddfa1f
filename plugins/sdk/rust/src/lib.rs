//! Write a Lockstep transform: typed columns in, typed columns out.
//!
//! ```ignore
//! lockstep_plugin::transform! {
//!     name: "double",
//!     version: "1.0.0",
//!     doc: "Twice as much.",
//!
//!     fn double(x: f64) -> Doubled { y: f64 } {
//!         Doubled { y: x * 2.0 }
//!     }
//! }
//! ```
//!
//! That is [`transform!`]: a function of one row. Where columns are many, come from a loop, or share work over all rows,
//! implement [`Transform`] and [`export!`] it:
//!
//! ```ignore
//! struct Double;
//!
//! impl Transform for Double {
//!     fn describe() -> Signature {
//!         Signature::new("double", "1.0.0").feature("x", Type::Float64).output("y", Type::Float64)
//!     }
//!     fn bind(_: &Parameters) -> Result<Self, Refusal> {
//!         Ok(Self)
//!     }
//!     fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
//!         let x = rows.float64s("x")?;
//!         outputs.float64s("y", |row| Some(x.get(row)? * 2.0))
//!     }
//! }
//!
//! lockstep_plugin::export!(Double);
//! ```
//!
//! A transform is a pure, row-wise function: row `i` of every output depends on row `i` of the inputs, on the
//! parameters and on nothing else. There is no clock and no randomness to be had: a component that imports either is
//! refused by the gateway. A transform that needs the time says `.as_of()` and reads the column `as_of`.
//!
//! Reading order: [`Transform`], `signature.rs`, `rows.rs`, `outputs.rs`, `function.rs` (the macro), then `frame.rs` (the
//! bytes), `glue.rs` and `memory.rs`.

pub mod frame;
#[doc(hidden)]
pub mod function;
#[doc(hidden)]
pub mod glue;
#[cfg(target_family = "wasm")]
mod memory;
mod outputs;
mod rows;
mod signature;
#[cfg(test)]
mod tests;

pub use function::{Date, Refuse, Timestamp};
pub use outputs::Outputs;
pub use rows::{BoolLists, Bools, Embeddings, Fixed, FixedValue, Items, Lists, Pick, Rows, Texts};
pub use signature::{Column, Parameters, Refusal, Signature, Type, Value};

/// What the WIT world generates; `export!` needs it to be public.
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit/transform.wit",
        world: "transform-plugin",
        pub_export_macro: true,
        export_macro_name: "export_component",
    });
}

/// A pure, row-wise function from columns to columns, with its parameters filled in.
pub trait Transform: Sized + 'static {
    /// What the transform is called, what it reads and what it gives. Always the same answer.
    fn describe() -> Signature;

    /// The transform with these parameters. Everything that `apply` may know is put into `self` here.
    fn bind(parameters: &Parameters) -> Result<Self, Refusal>;

    /// Computes the outputs, in the order in which `describe` declares them.
    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure>;
}

/// Why a whole call failed; one row that cannot be computed is [`Outputs::refuse`]d instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The frame is not what was agreed on.
    BadFrame(String),
    Failed(String),
}

/// Makes the component's exports out of a [`Transform`].
#[macro_export]
macro_rules! export {
    ($transform:ty) => {
        struct Component;

        impl $crate::bindings::exports::lockstep::transform::transform::Guest for Component {
            fn describe() -> $crate::glue::Descriptor {
                $crate::glue::describe::<$transform>()
            }

            fn bind(binding: $crate::glue::Binding) -> Result<$crate::glue::Bound, $crate::glue::BindError> {
                $crate::glue::bind::<$transform>(binding)
            }

            fn apply(frame: Vec<u8>) -> Result<$crate::glue::Applied, $crate::glue::ApplyError> {
                $crate::glue::apply(&frame)
            }
        }

        $crate::bindings::export_component!(Component with_types_in $crate::bindings);
    };
}
