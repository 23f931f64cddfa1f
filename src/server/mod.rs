//! The wires.

pub mod columns;
pub mod flight;
pub mod guard;
