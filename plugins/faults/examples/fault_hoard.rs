//! Takes memory until there is none.

fn apply(frame: Vec<u8>) -> Result<faults::Applied, faults::ApplyError> {
    let mut hoard = Vec::new();
    while faults::is_mischief(&frame) {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
    faults::identity(&frame)
}

faults::fault!(|| faults::describe("fault_hoard"), faults::bind, apply);
