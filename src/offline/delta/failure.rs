//! What the crate says went wrong, as errors of the port.

use std::error::Error as StdError;
use std::io;

use datafusion::object_store;
use deltalake::DeltaTableError;
use deltalake::kernel::transaction::{CommitConflictError, TransactionError};

use super::super::Error;
use super::files::Overtaken;
use super::place::Place;

/// Reading the log or the files of a table failed.
pub(super) fn read(place: &Place, error: DeltaTableError) -> Error {
    outage(place, &error).unwrap_or_else(|| {
        let detail = match &error {
            DeltaTableError::NotATable(_) => format!("{} has a log without a whole version in it", place.path),
            other => format!("{}: {}", place.path, words(other)),
        };
        Error::Unreadable { source_name: place.name.clone(), detail }
    })
}

/// Writing to a table failed.
pub(super) fn write(place: &Place, error: DeltaTableError) -> Error {
    let source_name = place.name.clone();
    if let Some(outage) = outage(place, &error) {
        return outage;
    }
    match &error {
        DeltaTableError::Transaction { source: TransactionError::DeltaTableAppendOnly } => {
            Error::NotWritable { source_name, detail: format!("{} takes new rows only (delta.appendOnly)", place.path) }
        }
        DeltaTableError::Transaction { source: TransactionError::UnsupportedTableFeatures(features) } => {
            let features: Vec<String> = features.iter().map(ToString::to_string).collect();
            Error::NotWritable { source_name, detail: format!("{} needs {}", place.path, features.join(", ")) }
        }
        other => Error::Write { source_name, detail: format!("{}: {}", place.path, words(other)) },
    }
}

/// Whether somebody else's commit came in between, so that the same can be tried again on what is there now.
pub(super) fn is_conflict(error: &DeltaTableError) -> bool {
    let commit = |error: &TransactionError| match error {
        TransactionError::VersionAlreadyExists(_) | TransactionError::MaxCommitAttempts(_) => true,
        TransactionError::CommitConflict(conflict) => matches!(
            conflict,
            CommitConflictError::ConcurrentAppend
                | CommitConflictError::ConcurrentDeleteRead
                | CommitConflictError::ConcurrentDeleteDelete
                | CommitConflictError::MetadataChanged
                | CommitConflictError::ConcurrentTransaction
                | CommitConflictError::ProtocolChanged(_)
        ),
        _ => false,
    };
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } if commit(source) => true,
        other => causes(other).any(|cause| cause.is::<Overtaken>()),
    }
}

/// A full disk, or a store that does not answer or does not let us in.
fn outage(place: &Place, error: &DeltaTableError) -> Option<Error> {
    let full = |cause: &(dyn StdError + 'static)| {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(StorageFull | QuotaExceeded | FileTooLarge))
    };
    // Where the crate made text of a cause, the text is all there is.
    if causes(error).any(full)
        || ["No space left on device", "File too large"].iter().any(|full| error.to_string().contains(full))
    {
        return Some(Error::NoRoom {
            source_name: place.name.clone(),
            detail: format!("the disk of {} is full", place.path),
        });
    }
    let unreachable = |cause: &(dyn StdError + 'static)| {
        use object_store::Error::{Generic, PermissionDenied, Unauthenticated};
        matches!(
            cause.downcast_ref::<object_store::Error>(),
            Some(Generic { .. } | PermissionDenied { .. } | Unauthenticated { .. })
        )
    };
    if place.folder().is_some() {
        return None;
    }
    let reason = match causes(error).find(|cause| unreachable(*cause)) {
        Some(cause) => innermost(cause),
        // Of what went wrong with the log the crate hands on the text alone.
        None => words(error).split_once("Error interacting with object store: Generic ")?.1.to_owned(),
    };
    Some(Error::Unreachable { source_name: place.name.clone(), detail: format!("{}: {reason}", place.path) })
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The crate's message, without the names of its layers and without a trace.
pub(super) fn words(error: &DeltaTableError) -> String {
    let text = error.to_string();
    let text = text.split("\n\nbacktrace: ").next().unwrap_or(&text);
    let layers =
        ["Kernel error: ", "Kernel: ", "Generic DeltaTable error: ", "Generic error: ", "Generic delta kernel error: "];
    let mut text = text.trim_end_matches('.');
    while let Some(inner) = layers.iter().find_map(|layer| text.strip_prefix(layer)) {
        text = inner;
    }
    text.to_owned()
}
