//! Golden cases on disk: a folder of JSON files, and the Parquet files that they name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits::{GOLDEN_CASE_BYTES_MAX, GOLDEN_CASES_MAX};
use crate::offline;
use crate::transform::conformance::{Case, Recorded};

use super::{Error, read_rows};

/// Where the golden cases of a component are: `taxi_company.goldens/` beside `taxi_company.wasm`, or `goldens/`, the
/// folder of a plugin that is alone. Nothing if there are none.
pub fn goldens_beside(component: &Path) -> Option<PathBuf> {
    let folder = component.parent()?;
    let own = component.with_extension("goldens");
    let shared = folder.join("goldens");
    if own.is_dir() {
        return Some(own);
    }
    let is_alone = !case_files(&shared).ok()?.is_empty();
    is_alone.then_some(shared)
}

/// All cases of a folder, by name.
pub fn read_goldens(folder: &Path) -> Result<Vec<Case>, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::Golden { path, detail: source.to_string() }
    };
    let files = case_files(folder).map_err(unreadable(folder))?;
    if files.len() > GOLDEN_CASES_MAX {
        let detail = format!("it has {} cases, a plugin has at most {GOLDEN_CASES_MAX}", files.len());
        return Err(Error::Golden { path: folder.to_owned(), detail });
    }
    let case = |path: &PathBuf| {
        let bytes = fs::metadata(path).map_err(unreadable(path))?.len();
        if bytes > GOLDEN_CASE_BYTES_MAX as u64 {
            let detail = format!(
                "it has {bytes} bytes, a case has at most {GOLDEN_CASE_BYTES_MAX}; name a Parquet file for its inputs"
            );
            return Err(Error::Golden { path: path.clone(), detail });
        }
        let text = fs::read_to_string(path).map_err(unreadable(path))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut read = |file: &str| match Path::new(file).components().count() {
            1 => read_rows(&folder.join(file)).map_err(|error| crate::error::chain(&error)),
            _ => Err(format!("{file} is not a file in the folder of the case")),
        };
        Ok(Case::parse(&name, &text, &mut read)?)
    };
    files.iter().map(case).collect()
}

/// Writes a recorded case where it was read, and its outputs beside it if its inputs are in a file too.
pub fn write_golden(folder: &Path, recorded: &Recorded) -> Result<PathBuf, Error> {
    let path = folder.join(format!("{}.json", recorded.case.name));
    if let Some(file) = recorded.case.output_file() {
        let rows = &recorded.outputs;
        offline::write_parquet(&folder.join(file), rows.schema_ref(), std::slice::from_ref(rows), &[])?;
    }
    fs::write(&path, recorded.case.text())
        .map_err(|source| Error::Golden { path: path.clone(), detail: source.to_string() })?;
    Ok(path)
}

fn case_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
