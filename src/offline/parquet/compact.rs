//! Compaction: runs of small files that follow each other in one folder become one file with the same rows in the same
//! order, in the place of the first of them.
//!
//! A run ends where the columns or their types differ, so that no value is changed. A run is read and written in memory,
//! and is at most about as large as the file that comes of it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::encode::encode;
use super::files::{self, Live};
use super::footers::Footers;
use super::names::folder_of;
use super::open::{self, DataFile};
use super::place::{Created, Place, off_the_async_threads};
use super::replace::{self, Change};
use crate::clock::Micros;
use crate::limits;
use crate::offline::{Error, Maintained};

/// Makes few large files of many small ones.
pub(super) async fn compact(place: &Place, footers: &Footers, now: Micros) -> Result<Maintained, Error> {
    for attempt in 0..limits::TABLE_CHANGES_MAX {
        let Some(files) = files::look(place).await? else { return Ok(Maintained::default()) };
        if files.is_one_file {
            return Ok(maintained(&files.live, 0, 0, &[]));
        }
        // What folders say does not change, so it does not matter here.
        let found = files.live.iter().map(|live| live.found.clone()).collect();
        let opened = open::open(place, &[], footers, found).await?;
        let mut change = Change::default();
        let mut bytes_added = 0;
        let mut is_new = true;
        for run in runs(&files.live, &opened) {
            let members = &files.live[run.clone()];
            let bytes = joined(place, &opened[run]).await?;
            let first = &members[0];
            let path = replace::new_path(&files, &first.found.path, attempt, now);
            bytes_added += bytes.len() as u64;
            is_new &= place.create(&path, bytes).await? == Created::New;
            change.added.push((path, first.stands_at.clone()));
            change.replaced.extend_from_slice(members);
        }
        let done = maintained(&files.live, change.added.len(), bytes_added, &change.replaced);
        if change.added.is_empty() || is_new && replace::commit(place, &files, &change, now).await? {
            return Ok(done);
        }
    }
    Err(place.write_failed("other programs keep changing the table; try again later"))
}

fn maintained(live: &[Live], added: usize, bytes_added: u64, replaced: &[Live]) -> Maintained {
    let bytes = |files: &[Live]| files.iter().map(|live| live.found.meta.size).sum::<u64>();
    Maintained {
        files_before: live.len() as u64,
        files_after: (live.len() - replaced.len() + added) as u64,
        bytes_before: bytes(live),
        bytes_after: bytes(live) - bytes(replaced) + bytes_added,
    }
}

/// The runs of files, each of two or more, that become one.
fn runs(live: &[Live], opened: &[DataFile]) -> Vec<std::ops::Range<usize>> {
    let is_small = |at: usize| live[at].found.meta.size < limits::COMPACTED_FILE_BYTES / 2;
    let fit = |first: usize, at: usize| {
        folder_of(&live[first].found.path) == folder_of(&live[at].found.path)
            && same_columns(&opened[first].footer.schema, &opened[at].footer.schema)
    };
    let mut runs = Vec::new();
    let mut first = 0;
    while first < live.len() {
        let mut end = first + 1;
        let mut bytes = live[first].found.meta.size;
        while end < live.len() && is_small(first) && is_small(end) && fit(first, end) {
            bytes += live[end].found.meta.size;
            if bytes > limits::COMPACTED_FILE_BYTES {
                break;
            }
            end += 1;
        }
        if end - first > 1 {
            runs.push(first..end);
        }
        first = end;
    }
    runs
}

/// Whether the files of both can be joined without changing a value.
fn same_columns(one: &SchemaRef, other: &SchemaRef) -> bool {
    let same =
        |(one, other): (&Arc<Field>, &Arc<Field>)| one.name() == other.name() && one.data_type() == other.data_type();
    one.fields().len() == other.fields().len() && one.fields().iter().zip(other.fields()).all(same)
}

/// All rows of `files`, one file after the other, as one file.
async fn joined(place: &Place, files: &[DataFile]) -> Result<Bytes, Error> {
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        contents.push(read(place, file).await?);
    }
    let fields = files[0].footer.schema.fields().iter();
    let nullable = fields.map(|field| Field::new(field.name(), field.data_type().clone(), true));
    let schema: SchemaRef = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
    let encoding = off_the_async_threads(move || {
        let of = Arc::clone(&schema);
        let batches = contents.into_iter().flat_map(move |bytes| decode(bytes, Arc::clone(&of)));
        Ok(encode(&schema, batches, None))
    });
    let encoded = encoding.await.map_err(|error| place.write_failed(error.to_string()))?;
    encoded.map_err(|detail| place.unreadable(detail))
}

/// The bytes of a file that is to be rewritten.
pub(super) async fn read(place: &Place, file: &DataFile) -> Result<Bytes, Error> {
    let path = &file.found.path;
    let bytes = place.read(path).await?;
    bytes.ok_or_else(|| Error::Changed {
        source_name: place.source_name.clone(),
        detail: format!("file {} is gone", place.shown(path)),
    })
}

/// The rows of a file, under `schema`, which has its columns and types. Blocks.
pub(super) fn decode(bytes: Bytes, schema: SchemaRef) -> Box<dyn Iterator<Item = Result<RecordBatch, String>>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(limits::SCAN_BATCH_ROWS).build());
    match reader {
        Err(error) => Box::new(std::iter::once(Err(error.to_string()))),
        Ok(reader) => Box::new(reader.map(move |batch| {
            let batch = batch.map_err(|error| error.to_string())?;
            let columns = batch.columns().to_vec();
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options).map_err(|error| error.to_string())
        })),
    }
}
