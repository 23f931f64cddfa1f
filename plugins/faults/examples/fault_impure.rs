//! Remembers: adds the number of rows it has seen so far to each value, so that a row depends on the calls before it.

use std::sync::atomic::{AtomicU32, Ordering};

static SEEN: AtomicU32 = AtomicU32::new(0);

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let mut applied = faults::identity(&frame)?;
    let rows = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let seen = SEEN.fetch_add(rows, Ordering::Relaxed);
    let start = faults::HEADER_BYTES + faults::DESCRIPTOR_BYTES;
    for place in applied.frame[start..].chunks_exact_mut(8).take(rows as usize) {
        let x = f64::from_le_bytes([place[0], place[1], place[2], place[3], place[4], place[5], place[6], place[7]]);
        place.copy_from_slice(&(x + f64::from(seen)).to_le_bytes());
    }
    Ok(applied)
}

faults::fault!(|| faults::describe("fault_impure"), faults::bind, apply);
