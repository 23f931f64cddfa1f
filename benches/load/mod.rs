//! Load from outside: a gateway in a process of its own, requests at times that are fixed beforehand, and answers that
//! are compared with what was written.
//!
//! # Why all of it on one thread that never sleeps
//! The timer of an async runtime counts milliseconds. Here a loop looks at the clock between two looks at the sockets, so
//! a request leaves within microseconds of its time, and the generator takes one CPU and not a bit of the other. Where the
//! store has the same CPU, each turn of the loop lets it go first.
//!
//! # Why answers are kept and compared afterwards
//! Reading a JSON answer of 5,000 values takes longer than sending the next request may be late. So the bodies of a run
//! are kept, every one of them is read and compared when the run is over, and one wrong value fails the benchmark.

mod arrivals;
mod check;
mod dataset;
mod flight;
mod gateway;
mod http;
mod question;

pub use arrivals::{Answer, LANES, Run, Target, ask_each, open_loop, saturate, saturate_over};
pub use check::{batches, compare_all, compare_columns};
pub use dataset::{Dataset, Fixture};
pub use flight::kind;
pub use gateway::Gateway;
pub use http::Http;
pub use question::{Case, Keys, Plan, Service, Speaker, Wire};
