//! What the misbehaving guests share: each reads `x`, gives `y = x`, and does its mischief in a call whose first `x` is 13.
//!
//! They are written against the bindings and not against the SDK, which would not let them.

pub use lockstep_plugin::bindings;
pub use lockstep_plugin::frame::{DESCRIPTOR_BYTES, HEADER_BYTES};
pub use lockstep_plugin::glue::{Applied, ApplyError, BindError, Binding, Bound, Descriptor};
use lockstep_plugin::{Column, Signature, Transform, Type};

/// The `x` at which a guest goes wrong.
pub const MISCHIEF: f64 = 13.0;

struct Identity;

impl Transform for Identity {
    fn describe() -> Signature {
        Signature::new("fault", "1.0.0").handles_nulls().feature("x", Type::Float64).output("y", Type::Float64)
    }
    fn bind(_: &lockstep_plugin::Parameters) -> Result<Self, lockstep_plugin::Refusal> {
        Ok(Self)
    }
    fn apply(
        &self,
        rows: &lockstep_plugin::Rows,
        outputs: &mut lockstep_plugin::Outputs,
    ) -> Result<(), lockstep_plugin::Failure> {
        let x = rows.float64s("x")?;
        outputs.float64s("y", |row| x.get(row))
    }
}

/// An honest description: `x: float64` in, `y: float64` out.
pub fn describe(name: &str) -> Descriptor {
    Descriptor { name: name.to_owned(), ..lockstep_plugin::glue::describe::<Identity>() }
}

/// An honest binding.
pub fn bind(binding: Binding) -> Result<Bound, BindError> {
    lockstep_plugin::glue::bind::<Identity>(binding)
}

/// The honest answer.
pub fn identity(frame: &[u8]) -> Result<Applied, ApplyError> {
    lockstep_plugin::glue::apply(frame)
}

/// The first value of `x`, whether null or not.
pub fn first(frame: &[u8]) -> f64 {
    let mut value = [0; 8];
    let start = HEADER_BYTES + DESCRIPTOR_BYTES;
    value.copy_from_slice(&frame[start..start + 8]);
    f64::from_le_bytes(value)
}

pub fn is_mischief(frame: &[u8]) -> bool {
    first(frame) == MISCHIEF
}

/// The columns of a guest that lies about them.
pub fn columns(name: &str, kind: Type) -> Vec<bindings::lockstep::transform::types::Field> {
    lockstep_plugin::glue::fields(&[Column { name: name.to_owned().into(), kind }])
}

/// One misbehaving plugin out of its three functions.
#[macro_export]
macro_rules! fault {
    ($describe:expr, $bind:expr, $apply:expr) => {
        struct Component;

        impl $crate::bindings::exports::lockstep::transform::transform::Guest for Component {
            fn describe() -> $crate::Descriptor {
                $describe()
            }
            fn bind(binding: $crate::Binding) -> Result<$crate::Bound, $crate::BindError> {
                $bind(binding)
            }
            fn apply(frame: Vec<u8>) -> Result<$crate::Applied, $crate::ApplyError> {
                $apply(frame)
            }
        }

        $crate::bindings::export_component!(Component with_types_in $crate::bindings);
    };
}
