//! Describes `y` as float64 and binds it as string.

use lockstep_plugin::Type;

fn bind(binding: faults::Binding) -> Result<faults::Bound, faults::BindError> {
    let bound = faults::bind(binding)?;
    Ok(faults::Bound { outputs: faults::columns("y", Type::String), ..bound })
}

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    faults::identity(&frame)
}

faults::fault!(|| faults::describe("fault_signature"), bind, apply);
