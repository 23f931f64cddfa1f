//! Keeps what it allocates: every call leaves some MiB behind.

const KEPT_BYTES: usize = 5 << 20;

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    std::mem::forget(std::hint::black_box(vec![1_u8; KEPT_BYTES]));
    faults::identity(&frame)
}

faults::fault!(|| faults::describe("fault_leak"), faults::bind, apply);
