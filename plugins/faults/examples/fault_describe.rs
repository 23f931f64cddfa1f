//! Describes itself in another way each time it is asked.

use std::sync::atomic::{AtomicU32, Ordering};

static ASKED: AtomicU32 = AtomicU32::new(0);

fn describe() -> faults::Descriptor {
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    faults::Descriptor { version: format!("1.0.{asked}"), ..faults::describe("fault_describe") }
}

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    faults::identity(&frame)
}

faults::fault!(describe, faults::bind, apply);
