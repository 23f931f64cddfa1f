//! What strangers and beginners send: every wrong request gets its status, its class and words that help, and the next
//! good request is answered as if nothing had been.

mod arrow_body;
mod bytes;
mod flight;
mod json;
mod labels;
