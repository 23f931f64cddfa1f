//! Lockstep, a feature gateway.

pub mod batch;
pub mod cast;
pub mod catalog;
pub mod clock;
pub mod error;
pub mod events;
pub mod flow;
pub mod gateway;
pub mod limits;
pub mod metrics;
pub mod offline;
pub mod online;
pub mod pit;
pub mod plan;
pub mod registry;
pub mod server;
pub mod transform;
