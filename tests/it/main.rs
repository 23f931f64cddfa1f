//! The one integration binary: whole gateways over real sockets, and the rules of the source.

mod command;
mod light;
mod world;

mod parity;

mod ingest;
mod serve;
mod sync;
mod train;

mod tidy;
