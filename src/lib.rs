//! Lockstep is a feature gateway: HTTP and Arrow Flight in front, an online and an offline store behind, and in the
//! middle one kind of code, a WebAssembly transform. The same bytes run when features are synced, when an event is
//! ingested, when a request is answered and when a training set is made, so a feature cannot differ between training
//! and serving; [`flow::parity`] proves that it does not.
//!
//! ```text
//!             read                                  THE SHARED STAGE             write
//!   serve     request ── plan ── online.read ───────┐              ┌── answer (HTTP JSON or Arrow, Flight)
//!   sync      run ────── plan ── offline.scan ──────┤              ├── online.write
//!   ingest    push ───── plan ── cast ──────────────┼─ transform ──┼── offline.append, then online.write
//!   train     labels ─── plan ── pit(offline.scan) ─┘   (WASM)     └── Parquet file and manifest / Flight stream
//! ```
//!
//! # Reading order
//! 1. [`flow`]: the four ways of a row, one function each. Everything else is what they call.
//! 2. [`plan`]: a question becomes steps. Serving and training share the plan; who answers its reads differs.
//! 3. [`transform`]: the shared stage, and the only place where a plugin runs. [`shadow`]: another build beside it.
//! 4. [`online`], [`offline`], [`events`]: the ports, each with its contract, its adapters and its conformance suite.
//!    [`pit`]: the point-in-time join. [`plugins`]: how transforms arrive. [`manifest`]: what a training set was made of;
//!    [`training`]: sets as files. [`request_log`]: what was served and of what. [`statistics`] of columns, and
//!    [`quality`]: rows against what is expected of them.
//! 5. [`catalog`] (what is defined), [`document`] (YAML with places), [`config`], [`registry`] (what was applied).
//! 6. [`server`]: the wires. [`app`] puts the parts together. [`cli`]: one file a command. [`toolchain`]: from a plugin's
//!    source to a component, for authors.
//!
//! # Invariants
//! - A flow names no adapter, a server names no port, an adapter names no other adapter.
//! - `plan`, the kernel of `pit`, `catalog` and `batch` do no IO and have no `async`.
//! - Only `transform` names wasmtime, only `offline` and `pit` name DataFusion, only `server` (and the quickstart's
//!   `client`) names axum, tonic and arrow-flight.
//! - Time comes from [`clock`], limits from [`limits`], casts from [`cast`], JSON values from [`values`], failures have
//!   an [`error::ErrorKind`].
//!
//! `tests/it/tidy.rs` holds these by reading the source.

pub mod flow;
pub mod gateway;
pub mod plan;
pub mod transform;
pub mod plugins;
pub mod shadow;
pub mod pit;
pub mod request_log;
pub mod quality;
pub mod statistics;
pub mod manifest;
pub mod training;
pub mod online;
pub mod offline;
pub mod events;
pub mod catalog;
pub mod document;
pub mod config;
pub mod registry;
pub mod server;
pub mod client;
pub mod app;
pub mod cli;
pub mod toolchain;
pub mod allocator;
pub mod backend;
pub mod batch;
pub mod cast;
pub mod clock;
pub mod error;
pub mod limits;
pub mod metrics;
pub mod secret;
pub mod space;
pub mod telemetry;
pub mod tls;
pub mod values;
