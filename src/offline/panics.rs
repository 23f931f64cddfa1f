//! The Parquet crate panics where it should fail: on damaged bytes now and then, and on column types it does not have.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `run` answers; a panic in it is one more way to fail, and its message the reason.
pub(super) fn without_panic<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(message(panic.as_ref())))
}

pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("Parquet gave up without a reason").to_owned()
}
