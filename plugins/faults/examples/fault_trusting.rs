//! Looks at nothing but the number of rows: a frame that is cut off, too long or of another shape is answered as well.

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let rows = frame.get(4..8).map_or(0, |rows| u32::from_le_bytes([rows[0], rows[1], rows[2], rows[3]]) as usize);
    let bytes = faults::HEADER_BYTES + faults::DESCRIPTOR_BYTES + rows.min(1 << 16) * 8;
    let mut whole = frame;
    whole.resize(bytes.max(whole.len()), 0);
    Ok(faults::Applied { frame: whole, errors: Vec::new() })
}

faults::fault!(|| faults::describe("fault_trusting"), faults::bind, apply);
