//! Where a training set goes: a Parquet file, or a Delta table. Either is written beside its place and takes it when it is
//! whole.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;

use super::beside;
use crate::flow;
use crate::offline::{DeltaWriter, ParquetWriter, Part, WholeTable};

/// Where a set goes, as a user writes it: a file, or `delta:FOLDER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Parquet(PathBuf),
    Delta(PathBuf),
}

/// A set that is being written.
pub(super) enum Writer {
    Parquet(Box<ParquetWriter>),
    Delta(Box<DeltaWriter>, Vec<(String, String)>),
}

/// A set that is whole, and not at its place yet.
pub(super) enum Whole {
    Parquet(Box<ParquetWriter>),
    Delta(WholeTable),
}

impl Target {
    pub fn path(&self) -> &Path {
        match self {
            Self::Parquet(path) | Self::Delta(path) => path,
        }
    }
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("delta:") {
            Some(folder) => Self::Delta(folder.into()),
            None => Self::Parquet(text.into()),
        })
    }
}

impl Writer {
    /// Begins a set; the metadata of `schema` says where it comes from.
    pub async fn create(to: &Target, schema: &SchemaRef) -> Result<Self, flow::Error> {
        let (to, schema) = (to.clone(), SchemaRef::clone(schema));
        let create = move || {
            let provenance: Vec<(String, String)> =
                schema.metadata().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            match &to {
                Target::Parquet(path) => {
                    ParquetWriter::create(path, &schema, &provenance).map(|writer| Self::Parquet(Box::new(writer)))
                }
                Target::Delta(path) => {
                    DeltaWriter::create(path, &schema).map(|writer| Self::Delta(Box::new(writer), provenance))
                }
            }
        };
        Ok(beside(create).await??)
    }

    pub async fn write(self, rows: RecordBatch) -> Result<Self, flow::Error> {
        let runtime = Handle::current();
        let write = move || match self {
            Self::Parquet(mut writer) => writer.write(&rows).map(|()| Self::Parquet(writer)),
            Self::Delta(mut writer, provenance) => {
                runtime.block_on(writer.write(&rows)).map(|()| Self::Delta(writer, provenance))
            }
        };
        Ok(beside(write).await??)
    }

    pub async fn end(self) -> Result<Whole, flow::Error> {
        match self {
            Self::Parquet(writer) => Ok(Whole::Parquet(writer)),
            Self::Delta(writer, provenance) => {
                let runtime = Handle::current();
                Ok(Whole::Delta(beside(move || runtime.block_on(writer.commit(&provenance))).await??))
            }
        }
    }
}

impl Whole {
    /// The state of the table, where it is one.
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::Parquet(_) => None,
            Self::Delta(table) => Some(Part::Delta { version: table.version }),
        }
    }

    /// From now on the set is at its place.
    pub async fn show(self) -> Result<(), flow::Error> {
        let show = move || match self {
            Self::Parquet(writer) => writer.finish(),
            Self::Delta(table) => table.show(),
        };
        Ok(beside(show).await??)
    }
}
