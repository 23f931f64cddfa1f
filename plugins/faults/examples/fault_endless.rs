//! Loops for ever.

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    while faults::is_mischief(std::hint::black_box(&frame)) {}
    faults::identity(&frame)
}

faults::fault!(|| faults::describe("fault_endless"), faults::bind, apply);
