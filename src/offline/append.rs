//! A pushed batch becomes one Parquet file in the folder of its push source.
//!
//! The file is called `<number>-<batch>.parquet`: numbers grow, so files by path are files by age, and the second part
//! stands for the batch id, so a batch that is sent again is found to be there, also after a restart.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use arrow::array::RecordBatch;
use sha2::{Digest, Sha256};

use super::Error;
use super::file::write_parquet;

/// Held, by the operating system, by whoever is adding to the folder; several gateways may share one.
const LOCK_FILE: &str = ".lockstep-append.lock";
const NUMBER_DIGITS: usize = 12;

/// Adds `rows` to the folder of a push source, unless a batch of this id is there. Blocks.
pub(super) fn append(source_name: &str, folder: &Path, batch_id: &str, rows: &RecordBatch) -> Result<(), Error> {
    let failed = |detail: String| Error::Write { source_name: source_name.to_owned(), detail };
    let at_folder = |error: io::Error| failed(format!("folder {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(at_folder)?;
    let lock = File::create(folder.join(LOCK_FILE)).map_err(at_folder)?;
    lock.lock().map_err(at_folder)?;
    let batch = hex::encode(&Sha256::digest(batch_id.as_bytes())[..16]);
    let Some(number) = next_number(folder, &batch).map_err(at_folder)? else { return Ok(()) };
    let path = folder.join(format!("{number:0NUMBER_DIGITS$}-{batch}.parquet"));
    let metadata = [("lockstep.batch_id".to_owned(), batch_id.to_owned())];
    write_parquet(&path, &rows.schema(), std::slice::from_ref(rows), &metadata)
        .map_err(|error| failed(error.to_string()))
}

/// The number after the largest one, or nothing when the batch is in the folder already.
fn next_number(folder: &Path, batch: &str) -> io::Result<Option<u64>> {
    let mut next = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some((number, known)) = name.to_str().and_then(parts) else { continue };
        if known == batch {
            return Ok(None);
        }
        next = next.max(number + 1);
    }
    Ok(Some(next))
}

/// The number and the batch of a file that was written here.
fn parts(name: &str) -> Option<(u64, &str)> {
    let (number, batch) = name.strip_suffix(".parquet")?.split_once('-')?;
    let ours = number.len() == NUMBER_DIGITS && number.bytes().all(|digit| digit.is_ascii_digit());
    if ours { Some((number.parse().ok()?, batch)) } else { None }
}
