//! The one integration binary: whole gateways over real sockets, and the rules of the source.

mod world;

mod command;
mod shop;

mod cli;
mod cli_data;
mod cli_project;
mod minimal;
mod quickstart;
mod serve;
mod tidy;
