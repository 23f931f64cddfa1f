//! The one integration binary: whole gateways over real sockets, and the rules of the source.

mod command;
mod light;
mod world;

mod arrow_bodies;
mod callers;

mod parity;

mod serve;
mod sync;
mod ingest;
mod train;

mod bad_input;
mod clients;
mod drain;
mod faults;
mod feast;
mod limits;

mod tidy;
