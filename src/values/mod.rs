//! Values as JSON and as query text, to Arrow columns and back, without a tree of values in between: on the wires, and
//! in the golden cases of plugins.
//!
//! Knows types, not features: a column is decoded into the type that the plan (or the view) says it has, so the same
//! value means the same thing however it was written.
//!
//! # Why not `serde_json::Value`, or arrow-json
//! A tree costs an allocation per value, both ways, on the busiest path there is; arrow-json reads rows of objects and
//! knows neither Feast's rules (`"1001"` is an integer) nor a way to name the row and the value that is wrong.

mod build;
mod decode;
mod encode;
mod time;

pub use build::Refused;
pub use decode::{json_column, json_instant, json_length, text_column};
pub use encode::{Column, push_string};
pub use time::{instant, push_rfc3339};

/// How times that are written as numbers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Epoch seconds, as Feast has them: numbers in, numbers out.
    Seconds,
    /// Epoch microseconds where a number comes in; RFC 3339 text goes out.
    Micros,
}

#[cfg(test)]
mod tests;
