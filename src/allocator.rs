//! How long freed memory stays with the process.
//!
//! Who joins, syncs or answers again takes the memory that was freed before. Given back at once it would have to be
//! fetched anew, page by page: on a virtual machine that was half of the time of a small training set.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

use crate::limits::FREED_MEMORY_KEPT;

/// `mi_option_purge_delay` of mimalloc 3, in milliseconds; the bindings have no name for it.
const PURGE_DELAY: mi_option_t = 15;

/// To be called once, at the start of a program whose allocator is mimalloc. `MIMALLOC_PURGE_DELAY` in the environment, in
/// milliseconds, stays above it.
pub fn keep_freed_memory() {
    let delay = c_long::try_from(FREED_MEMORY_KEPT.as_millis()).unwrap_or(c_long::MAX);
    // SAFETY: it stores a number, which other threads may read at any time.
    unsafe { mi_option_set_default(PURGE_DELAY, delay) };
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn what_is_set_is_the_option_that_was_a_second() {
        // SAFETY: it reads a number.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1_000);
        keep_freed_memory();
        assert_eq!(delay(), 30_000);
    }
}
