//! The one integration binary: whole gateways over real sockets, the command line, and the rules of the source.

mod arrow_bodies;
mod callers;
mod command;
mod shop;
mod world;

mod bad_input;
mod cli;
mod cli_data;
mod cli_project;
mod clients;
mod drain;
mod faults;
mod feast;
mod limits;
mod minimal;
mod quickstart;
mod serve;
mod tidy;
