//! Every stored source of a project, whatever kind of table it is, and the queries over them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;

use super::engine::{self, Opened, Tables as OpenedTables};
use super::sql::reading_order;
use super::tables::{NewRows, Table, Tables};
use super::{
    Error, KnownBy, Maintained, Maintenance, ObjectStores, OfflineStore, ParquetTables, Part, Rows, Scan, Snapshot,
};
use crate::catalog::{Source, SourceKind, Stored};
use crate::space::Space;

/// The offline store of a gateway. Tables are looked up at each scan, so what was added since the last one is read, and
/// a table that another source lacks troubles nobody who does not read it.
#[derive(Debug)]
pub struct StoredSources {
    tables: Vec<Arc<dyn Tables>>,
    /// What the sql sources may read.
    sources: ArcSwap<BTreeMap<String, Source>>,
    space: Space,
}

impl StoredSources {
    /// With these kinds of tables; a source of another kind is refused when it is read.
    pub fn new(tables: Vec<Arc<dyn Tables>>) -> Self {
        Self { tables, sources: ArcSwap::default(), space: Space::default() }
    }

    /// The same, and each scan takes no more than this to sort and group rows.
    #[must_use]
    pub fn within(self, space: Space) -> Self {
        Self { space, ..self }
    }

    /// Parquet files under `root` alone, in no bucket.
    pub fn of_files(root: PathBuf) -> Self {
        Self::new(vec![Arc::new(ParquetTables::new(root, Arc::new(ObjectStores::none())))])
    }

    /// From now on sql sources see these sources; scans under way go on with what they began with. To be called with
    /// each version of the definitions, also with those that are only being checked.
    pub fn define(&self, sources: BTreeMap<String, Source>) {
        self.sources.store(Arc::new(sources));
    }

    /// What in the query of a source looks into the future of its own rows, each as a sentence; of another source
    /// nothing does.
    pub async fn look_ahead(&self, source: &Source) -> Result<Vec<String>, Error> {
        match self.open(source, None).await? {
            Some(opened) => opened.look_ahead(),
            None => Ok(Vec::new()),
        }
    }

    async fn open(&self, source: &Source, at: Option<&Snapshot>) -> Result<Option<Opened>, Error> {
        let order = reading_order(source, &self.sources.load())?;
        let mut tables = OpenedTables::new();
        for read in &order {
            if let Some(stored) = read.kind.stored() {
                tables.insert(read.name.clone(), self.table(read, stored, at).await?);
            }
        }
        engine::open(order, tables, &self.space).await
    }

    async fn table(&self, source: &Source, stored: &Stored, at: Option<&Snapshot>) -> Result<Option<Table>, Error> {
        let part = match at {
            None => None,
            Some(at) => Some(at.part(&source.name)?),
        };
        if part == Some(&Part::Nothing) {
            return Ok(None);
        }
        let table = self.keeper(source, stored)?.open(&source.name, stored, part).await?;
        match (&table, &source.kind) {
            (None, SourceKind::Stored(stored)) => Err(no_table(source, stored)),
            _ => Ok(table),
        }
    }

    fn keeper(&self, source: &Source, stored: &Stored) -> Result<&dyn Tables, Error> {
        let keeper = self.tables.iter().find(|tables| tables.keeps(stored));
        keeper.map(AsRef::as_ref).ok_or_else(|| Error::not_kept(source))
    }

    /// Where rows of `source` can be written.
    fn writable<'a>(&self, source: &'a Source) -> Result<(&dyn Tables, &'a Stored), Error> {
        let stored = source.kind.stored().ok_or_else(|| Error::is_a_query(source))?;
        Ok((self.keeper(source, stored)?, stored))
    }
}

fn no_table(source: &Source, stored: &Stored) -> Error {
    Error::NoFile { source_name: source.name.clone(), path: place(stored) }
}

#[async_trait]
impl OfflineStore for StoredSources {
    fn define(&self, sources: BTreeMap<String, Source>) {
        Self::define(self, sources);
    }

    async fn schema(&self, source: &Source) -> Result<SchemaRef, Error> {
        let opened = self.open(source, None).await?;
        opened.map_or_else(|| Ok(Arc::new(Schema::empty())), |opened| opened.schema())
    }

    async fn scan(&self, source: &Source, scan: &Scan) -> Result<Rows, Error> {
        match self.open(source, scan.at.as_ref()).await? {
            Some(opened) => opened.scan(scan).await,
            None => Ok(engine::no_rows()),
        }
    }

    async fn snapshot(&self, source: &Source, files: KnownBy) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot { parts: Vec::new(), queries: Vec::new() };
        for read in reading_order(source, &self.sources.load())? {
            match &read.kind {
                SourceKind::Sql { query } => snapshot.queries.push((read.name.clone(), query.clone())),
                SourceKind::Long(long) => snapshot.queries.push((read.name.clone(), long.to_string())),
                SourceKind::Stored(stored) | SourceKind::Push { into: stored } => {
                    let part = self.keeper(&read, stored)?.snapshot(&read.name, stored, files).await?;
                    let part = match (part, &read.kind) {
                        (None, SourceKind::Stored(_)) => return Err(no_table(&read, stored)),
                        (part, _) => part.unwrap_or(Part::Nothing),
                    };
                    snapshot.parts.push((read.name.clone(), part));
                }
            }
        }
        Ok(snapshot)
    }

    async fn explain(&self, source: &Source, scan: &Scan) -> Result<String, Error> {
        match self.open(source, scan.at.as_ref()).await? {
            Some(opened) => opened.explain(scan).await,
            None => Ok("nothing was pushed yet, so nothing is read".to_owned()),
        }
    }

    async fn append(&self, source: &Source, batch_id: &str, rows: &RecordBatch) -> Result<(), Error> {
        let (tables, stored) = self.writable(source)?;
        tables.write(&source.name, stored, NewRows { batch_id, rows, keys: None }).await
    }

    async fn upsert(&self, source: &Source, batch_id: &str, keys: &[String], rows: &RecordBatch) -> Result<(), Error> {
        let (tables, stored) = self.writable(source)?;
        tables.write(&source.name, stored, NewRows { batch_id, rows, keys: Some(keys) }).await
    }

    async fn maintain(&self, source: &Source, what: Maintenance) -> Result<Maintained, Error> {
        let (tables, stored) = self.writable(source)?;
        tables.maintain(&source.name, stored, what).await
    }
}

/// Where the rows should be, as the definition says it.
fn place(stored: &Stored) -> String {
    match stored {
        Stored::Parquet { path, .. } | Stored::Delta { path, .. } => path.clone(),
        Stored::Postgres { .. } => stored.to_string(),
    }
}
