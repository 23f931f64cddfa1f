//! Drifts: the number of calls that the instance has served shows in every value, like a clock would.

use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let mut applied = faults::identity(&frame)?;
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let rows = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
    let start = faults::HEADER_BYTES + faults::DESCRIPTOR_BYTES;
    for place in applied.frame[start..].chunks_exact_mut(8).take(rows) {
        place.copy_from_slice(&f64::from(call).to_le_bytes());
    }
    Ok(applied)
}

faults::fault!(|| faults::describe("fault_drift"), faults::bind, apply);
