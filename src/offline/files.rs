//! The Parquet files of a source: which they are, what columns they have together, and which one is damaged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use datafusion::object_store::{self, ObjectMeta};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::Error;
use super::merge::Merged;
use super::panics::without_panic;
use crate::cast::type_name;

/// The files that a scan of one source reads, in this order.
#[derive(Debug)]
pub(super) struct SourceFiles {
    pub files: Vec<SourceFile>,
    /// The columns of all files.
    pub schema: SchemaRef,
}

#[derive(Debug)]
pub(super) struct SourceFile {
    pub path: PathBuf,
    pub meta: ObjectMeta,
}

/// Finds the files of a source at `path` and reads their footers; nothing is decoded yet. No files are `None`.
///
/// A path is a file, or a directory with files that end in `.parquet` at any depth. Files and directories whose names
/// begin with a dot or an underscore are what other programs are writing or keep beside the data, and are left out; so
/// are links to directories, which could lead in a circle.
pub(super) fn open(source_name: &str, path: &Path) -> Result<Option<SourceFiles>, Error> {
    let unreadable = |detail: String| Error::Unreadable { source_name: source_name.to_owned(), detail };
    let paths = match list(path) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(format!("{}: {error}", path.display()))),
    };
    if paths.is_empty() {
        return Ok(None);
    }
    let mut merged = Merged::default();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let at = |detail: &dyn std::fmt::Display| unreadable(format!("file {}: {detail}", path.display()));
        let schema = footer(&path).map_err(|detail| at(&detail))?;
        merged.add(&schema).map_err(|conflict| {
            let (before, now) = (type_name(&conflict.before), type_name(&conflict.now));
            at(&format!("column {} is {now}, in the files before it {before}", conflict.column))
        })?;
        let meta = meta(&path).map_err(|error| at(&error))?;
        files.push(SourceFile { path, meta });
    }
    Ok(Some(SourceFiles { files, schema: merged.schema() }))
}

/// Decodes `files` from end to end, one after the other, and says what is wrong with the first that cannot be decoded.
///
/// For the error path only: DataFusion does not say which of many files it stumbled over.
pub(super) fn first_damaged<'a>(files: impl IntoIterator<Item = &'a Path>) -> Option<(&'a Path, String)> {
    files.into_iter().find_map(|path| decode(path).err().map(|detail| (path, detail)))
}

fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn footer(path: &Path) -> Result<SchemaRef, String> {
    without_panic(|| {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        Ok(metadata.map_err(|error| error.to_string())?.schema().clone())
    })
}

fn meta(path: &Path) -> Result<ObjectMeta, Box<dyn std::error::Error>> {
    let metadata = fs::metadata(path)?;
    Ok(ObjectMeta {
        location: object_store::path::Path::from_filesystem_path(path)?,
        last_modified: metadata.modified()?.into(),
        size: metadata.len(),
        e_tag: None,
        version: None,
    })
}

fn decode(path: &Path) -> Result<(), String> {
    without_panic(|| {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        for batch in reader.map_err(|error| error.to_string())? {
            batch.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
}
