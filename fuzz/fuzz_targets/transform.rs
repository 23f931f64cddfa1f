//! The part of the transform stage that the target `frame` is about, under the name that it has there.

#[path = "../../src/transform/frame/mod.rs"]
pub mod frame;
