//! Panics.

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    assert!(!faults::is_mischief(&frame), "thirteen");
    faults::identity(&frame)
}

faults::fault!(|| faults::describe("fault_trap"), faults::bind, apply);
