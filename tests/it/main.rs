//! The one integration binary: whole gateways over real sockets, and the rules of the source.

mod world;

mod serve;
mod tidy;
