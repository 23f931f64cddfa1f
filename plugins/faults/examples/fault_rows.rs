//! Answers with more rows than it was given.

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let mut applied = faults::identity(&frame)?;
    if faults::is_mischief(&frame) {
        applied.frame[4] += 1;
    }
    Ok(applied)
}

faults::fault!(|| faults::describe("fault_rows"), faults::bind, apply);
