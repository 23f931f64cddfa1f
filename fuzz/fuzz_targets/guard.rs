//! Whatever a client sends as an Arrow stream is refused, or becomes batches that hold what Arrow promises, within the
//! bounds of memory that the guard sets.
#![no_main]
#![allow(dead_code, unused_imports)]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/server/guard/mod.rs"]
mod guard;
mod limits;

fuzz_target!(
    init: {
        // A panic inside the decoder is caught by the guard; libFuzzer would end the process before it is. One outside of
        // it still ends the process.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| {
        let Ok(batches) = guard::read_stream(bytes) else { return };
        for column in batches.iter().flat_map(|batch| batch.columns()) {
            column.to_data().validate_full().expect("what came through holds what Arrow promises");
        }
    }
);
