//! The one integration binary: whole gateways over real sockets, and the rules of the source.

mod world;

mod arrow_bodies;
mod callers;

mod bad_input;
mod clients;
mod drain;
mod faults;
mod feast;
mod limits;
mod serve;
mod tidy;
