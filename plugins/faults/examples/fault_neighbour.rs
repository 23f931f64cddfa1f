//! Not row-wise: each row but the first of a call is answered with the value of the row before it.

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let mut applied = faults::identity(&frame)?;
    let rows = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
    let start = faults::HEADER_BYTES + faults::DESCRIPTOR_BYTES;
    let values = start..start + rows.saturating_sub(1) * 8;
    if rows > 1 {
        applied.frame.copy_within(values, start + 8);
    }
    Ok(applied)
}

faults::fault!(|| faults::describe("fault_neighbour"), faults::bind, apply);
