//! Every metric of the gateway, in one struct. Labels come from closed sets, never from a request.

/// The counters and histograms, and the registry that prints them.
#[derive(Debug, Default)]
pub struct Metrics {}
