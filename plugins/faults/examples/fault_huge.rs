//! Answers with far more bytes than a frame may have.

const HUGE_BYTES: usize = 24 << 20;

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let mut applied = faults::identity(&frame)?;
    if faults::is_mischief(&frame) {
        applied.frame.resize(HUGE_BYTES, 0);
    }
    Ok(applied)
}

faults::fault!(|| faults::describe("fault_huge"), faults::bind, apply);
