//! The one integration binary: whole gateways over real sockets, the command line, and the rules of the source.

mod command;
mod light;
mod shop;
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
mod faulty;
mod feast;
mod hot_cache;
mod limits;
mod unreachable;

mod quickstart;
mod minimal;
mod cli;
mod cli_project;
mod cli_data;

mod tidy;
