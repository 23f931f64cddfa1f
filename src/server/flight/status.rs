//! What a Flight client sees of a failure, and how long it is willing to wait.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::clock::Deadline;
use crate::error::{ErrorKind, chain, public};
use crate::flow;
use crate::limits::CALLER_DEADLINE_MAX;
use crate::server::guard;

/// gRPC clients refuse a response whose headers are longer than 8 KiB, and a message is percent-encoded into one.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// The status of a kind of failure, by the one table that all wires share.
pub(super) fn refused(kind: ErrorKind, message: &str) -> Status {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    Status::new(Code::from_i32(kind.codes().1), &message[..end])
}

/// The status of a request that cannot be answered as it is written.
pub(super) fn invalid(message: &str) -> Status {
    refused(ErrorKind::Invalid, message)
}

/// The status of a flow's error: what failed and everything that caused it.
pub(super) fn of_flow(error: flow::Error) -> Status {
    failed(error.kind(), &error)
}

pub(super) fn of_guard(error: guard::Error) -> Status {
    failed(error.kind(), &error)
}

/// What went wrong inside is for the log; everything else the caller may read.
fn failed(kind: ErrorKind, error: &(dyn std::error::Error + 'static)) -> Status {
    if matches!(kind, ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::PluginFault) {
        tracing::warn!(error = %chain(error), kind = kind.name(), "a request failed");
    }
    refused(kind, &public(kind, error))
}

/// The same status, saying which batch of a stream it is about. Batches are counted from 0.
pub(super) fn in_batch(number: usize, status: &Status) -> Status {
    Status::new(status.code(), format!("batch {number}: {}", status.message()))
}

/// When the answer is owed: what the caller says in `grpc-timeout`, and `longest` at most.
pub(super) fn deadline(metadata: &MetadataMap, longest: Duration) -> Deadline {
    Deadline::after(caller_timeout(metadata).map_or(longest, |timeout| timeout.min(longest)))
}

/// What the caller wants to wait at most, when it says so: up to eight digits and a unit.
pub(super) fn caller_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    Some(timeout.min(CALLER_DEADLINE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_timeout_is_read_in_every_unit() {
        let timeout = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            caller_timeout(&metadata)
        };
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("7S"), Some(Duration::from_secs(7)));
        assert_eq!(timeout("99999999H"), Some(CALLER_DEADLINE_MAX));
        assert_eq!((timeout("soon"), timeout("5"), timeout("123456789S"), timeout("+1é")), (None, None, None, None));
    }

    #[test]
    fn a_caller_may_wait_shorter_than_the_gateway_allows_but_not_longer() {
        let remaining = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline(&metadata, Duration::from_secs(5)).remaining()
        };
        assert!(remaining("10m") <= Duration::from_millis(10));
        assert!(remaining("1H") <= Duration::from_secs(5) && remaining("1H") > Duration::from_secs(4));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = invalid(&"é".repeat(5_000));
        assert_eq!(status.message().len(), MESSAGE_BYTES_MAX);
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
