//! Answers with a column of another type than it declared.

const INT64_TAG: u8 = 2;

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let mut applied = faults::identity(&frame)?;
    if faults::is_mischief(&frame) {
        applied.frame[faults::HEADER_BYTES] = INT64_TAG;
    }
    Ok(applied)
}

faults::fault!(|| faults::describe("fault_type"), faults::bind, apply);
