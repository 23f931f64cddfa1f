//! Logs are read: their files, and the requests in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};

use super::record::{FORM, FORM_KEY, SELECTION_KEY, VERSION_KEY, read_selection, schema, stored_rows};
use super::writer::log_files;
use crate::batch::StoredRows;
use crate::catalog::Selection;
use crate::offline::{self, ParquetRows};
use crate::plan::FeaturePlan;

/// One file of a log: requests of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFile {
    pub path: PathBuf,
    /// The version of the definitions that answered.
    pub version: u64,
    pub selection: Selection,
    /// How the answers were made: the service, the schema's fingerprint, the digest behind each derived view.
    pub provenance: BTreeMap<String, String>,
}

/// Rows of a log in the parts that a plan knows.
#[derive(Debug)]
pub struct Logged {
    /// All columns.
    pub rows: RecordBatch,
    pub inputs: Vec<ArrayRef>,
    pub stored: Vec<StoredRows>,
    pub as_of: ArrayRef,
    /// By output.
    pub served: Vec<ArrayRef>,
}

/// The files of a log, oldest first; `path` is its folder, or one of its files.
pub fn files(path: &Path) -> Result<Vec<LogFile>, offline::Error> {
    let unreadable = |error: std::io::Error| offline::Error::UnreadableFile {
        path: path.display().to_string(),
        detail: error.to_string(),
    };
    let paths = match path.is_dir() {
        true => log_files(path).map_err(unreadable)?.into_iter().map(|(path, _)| path).collect(),
        false => vec![path.to_owned()],
    };
    paths.into_iter().map(LogFile::open).collect()
}

impl LogFile {
    fn open(path: PathBuf) -> Result<Self, offline::Error> {
        let mut provenance = ParquetRows::open(&path)?.metadata;
        let not_one = |detail: String| offline::Error::UnreadableFile { path: path.display().to_string(), detail };
        match provenance.get(FORM_KEY).map(String::as_str) {
            Some(FORM) => {}
            Some(other) => {
                return Err(not_one(format!("it is a request log of form {other}; this version reads form {FORM}")));
            }
            None => return Err(not_one("it is no request log".to_owned())),
        }
        let version = provenance.get(VERSION_KEY).and_then(|version| version.parse().ok());
        let selection = provenance.get(SELECTION_KEY).and_then(|text| read_selection(text));
        let (Some(version), Some(selection)) = (version, selection) else {
            return Err(not_one("its metadata does not say what was asked".to_owned()));
        };
        for key in [FORM_KEY, VERSION_KEY, SELECTION_KEY] {
            provenance.remove(key);
        }
        Ok(Self { path, version, selection, provenance })
    }

    /// Its rows, a batch at a time, if they have the columns that `plan` says.
    pub fn rows<'a>(
        &self,
        plan: &'a FeaturePlan,
    ) -> Result<impl Iterator<Item = Result<Logged, offline::Error>> + use<'a>, offline::Error> {
        let rows = ParquetRows::open(&self.path)?;
        let wanted = schema(plan);
        let names = |schema: &arrow::datatypes::Schema| -> Vec<_> {
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        if names(&rows.schema) != names(&wanted) {
            let detail = "its columns are not those of the definitions that it names".to_owned();
            return Err(offline::Error::UnreadableFile { path: self.path.display().to_string(), detail });
        }
        Ok(rows.map(move |batch| Ok(Logged::of(plan, batch?))))
    }
}

impl Logged {
    /// `rows` have the columns of the plan's log.
    fn of(plan: &FeaturePlan, rows: RecordBatch) -> Self {
        let mut next = 4;
        let inputs = rows.columns()[next..next + plan.inputs.len()].to_vec();
        next += plan.inputs.len();
        let mut stored = Vec::with_capacity(plan.reads.len());
        for read in &plan.reads {
            stored.push(stored_rows(&rows, next, read.columns.len()));
            next += 2 + read.columns.len();
        }
        let served = rows.columns()[next..].to_vec();
        Self { inputs, stored, as_of: rows.column(3).clone(), served, rows }
    }
}
