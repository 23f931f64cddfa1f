//! A batch becomes files of its table: one, or one in each partition that it has rows for. What makes it whole, and
//! stored once, are the names of the files; see [`super::names`].

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::encode::encode;
use super::files::{self, Files};
use super::names::{BatchFile, batch_file, batch_hash};
use super::partitions;
use super::place::{Created, Place, off_the_async_threads};
use crate::catalog::Partition;
use crate::limits;
use crate::offline::Error;

/// Adds `rows`, unless a batch of this id is there.
pub(super) async fn append(
    place: &Place,
    partitions: &[Partition],
    batch_id: &str,
    rows: &RecordBatch,
) -> Result<(), Error> {
    let batch = batch_hash(batch_id);
    let _alone = place.lock().await?;
    if is_there(&files::look(place).await?, place, &batch)? {
        return Ok(());
    }
    let files = encoded(place, partitions, Some(batch_id), rows).await?;
    for _ in 0..limits::TABLE_CHANGES_MAX {
        let there = files::look(place).await?;
        if is_there(&there, place, &batch)? {
            return Ok(());
        }
        let number = there.map_or(0, |files| files.next_number);
        if create(place, number, &batch, &files).await? {
            return Ok(());
        }
    }
    Err(place.write_failed("others are writing the same batch; try again"))
}

/// Whether the batch is in the table.
pub(super) fn is_there(files: &Option<Files>, place: &Place, batch: &str) -> Result<bool, Error> {
    let Some(files) = files else { return Ok(false) };
    if files.is_one_file {
        let detail = format!("{} is one file; only folders take new rows", place.shown(""));
        return Err(Error::NotWritable { source_name: place.source_name.clone(), detail });
    }
    Ok(files.batches.contains(batch))
}

/// The bytes of a file for each folder that `rows` belong to.
pub(super) async fn encoded(
    place: &Place,
    partitions: &[Partition],
    batch_id: Option<&str>,
    rows: &RecordBatch,
) -> Result<Vec<(String, Bytes)>, Error> {
    let (partitions, batch_id, rows) = (partitions.to_vec(), batch_id.map(str::to_owned), rows.clone());
    let encoding = off_the_async_threads(move || {
        let encode = |(folder, rows): (String, RecordBatch)| {
            Ok((folder, encode(&rows.schema(), [Ok(rows)], batch_id.as_deref())?))
        };
        Ok(partitions::split(&partitions, &rows).and_then(|folders| folders.into_iter().map(encode).collect()))
    });
    let encoded: Result<Vec<_>, String> = encoding.await.map_err(|error| place.write_failed(error.to_string()))?;
    encoded.map_err(|detail| place.write_failed(detail))
}

/// Writes the files of a batch under this number; false where somebody else is doing so.
async fn create(place: &Place, number: u64, batch: &str, files: &[(String, Bytes)]) -> Result<bool, Error> {
    let parts = files.len();
    for (part, (folder, bytes)) in (1..).zip(files) {
        let path = batch_file(folder, BatchFile { number, batch, part, parts });
        if place.create(&path, bytes.clone()).await? == Created::WasThere {
            return Ok(false);
        }
    }
    Ok(true)
}
