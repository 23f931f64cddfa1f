//! The embedded store's one file: opened by one process at a time, checked for its format, and opened again after a
//! failed read or write.
//!
//! After any error of the file system redb refuses everything until the file has been opened again, reading included.
//! A full disk must not take serving down, so [`DatabaseFile::with`] does that by itself: what was committed is all
//! there, what was not is gone whole.

use std::fmt;
#[cfg(unix)]
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};

use crate::limits::EMBEDDED_CACHE_BYTES;
use crate::online::Error;

/// What the file as a whole says of itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
/// The version of the tables and of what is in them; the packed row has a version of its own. Since 2 there are
/// tombstones and the progress of streams; what is in a file of 1 has stayed as it was.
pub(super) const FORMAT: u64 = 2;
const FORMAT_BEFORE: u64 = 1;

pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

pub(super) struct DatabaseFile {
    path: PathBuf,
    opener: Opener,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// None while the file could not be opened again.
    database: Option<Database>,
    /// How often it was opened, by which a caller sees that someone else has done so already.
    opened: u64,
}

/// Why work on the database stopped.
#[derive(Debug)]
pub(super) enum Failure {
    /// For a reason of the store's own; the database is as it was.
    Store(Error),
    Database(redb::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DatabaseFile {
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, Box::new(open_file))
    }

    pub fn open_with(path: &Path, opener: Opener) -> Result<Self, Error> {
        let state = RwLock::new(State { database: None, opened: 0 });
        let file = Self { path: path.to_owned(), opener, state };
        file.open_again(0)?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is being opened again just now, which may take long.
    pub fn is_busy(&self) -> bool {
        self.state.try_read().is_err()
    }

    /// Does `work`, which must leave nothing behind when it fails. When the database was broken by someone else's
    /// failure, the file is opened again and `work` is done once more.
    pub fn with<T>(&self, work: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, Error> {
        let mut attempts_left = 1;
        loop {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let opened = state.opened;
            let error = match state.database.as_ref().map(&work) {
                Some(Ok(value)) => return Ok(value),
                Some(Err(Failure::Store(error))) => return Err(error),
                Some(Err(Failure::Database(error))) => error,
                None => redb::Error::PreviousIo,
            };
            drop(state);
            match error {
                redb::Error::PreviousIo | redb::Error::LockPoisoned(_) if attempts_left > 0 => {
                    self.open_again(opened)?;
                    attempts_left -= 1;
                }
                redb::Error::Io(_) => {
                    if let Err(error) = self.open_again(opened) {
                        tracing::warn!(path = %self.path.display(), %error, "the online store stays closed for now");
                    }
                    return Err(self.describe(error));
                }
                other => return Err(self.describe(other)),
            }
        }
    }

    /// Closes the database and opens it again, unless that was done since `opened` was read.
    fn open_again(&self, opened: u64) -> Result<(), Error> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.opened != opened && state.database.is_some() {
            return Ok(());
        }
        // Closed before it is opened: the file is locked while it is open.
        state.database = None;
        let database = (self.opener)(&self.path).map_err(|error| self.describe(error.into()))?;
        match self.check_format(&database) {
            Ok(()) => {}
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::Database(error)) => return Err(self.describe(error)),
        }
        state.database = Some(database);
        state.opened += 1;
        Ok(())
    }

    /// Marks a new file as ours, and refuses one that is not, or that a newer version has written.
    fn check_format(&self, database: &Database) -> Result<(), Failure> {
        let path = || self.path.display().to_string();
        let mark = || -> Result<(), Failure> {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
            Ok(transaction.commit()?)
        };
        let transaction = database.begin_read()?;
        match transaction.open_table(META) {
            Ok(meta) => match meta.get(META_FORMAT)?.map(|format| format.value()) {
                Some(FORMAT) => Ok(()),
                Some(FORMAT_BEFORE) => mark(),
                Some(format) if format > FORMAT => {
                    Err(Error::NewerFormat { path: path(), format, known: FORMAT }.into())
                }
                _ => Err(Error::DamagedFile { path: path(), detail: "it does not say its format".to_owned() }.into()),
            },
            Err(TableError::TableDoesNotExist(_)) if transaction.list_tables()?.next().is_none() => mark(),
            Err(TableError::TableDoesNotExist(_)) => {
                let detail = "it is a database, but not one of Lockstep".to_owned();
                Err(Error::DamagedFile { path: path(), detail }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same error in the user's words.
    fn describe(&self, error: redb::Error) -> Error {
        let path = self.path.display().to_string();
        match error {
            redb::Error::DatabaseAlreadyOpen => Error::InUse { path },
            redb::Error::Io(error) if is_full(error.kind()) => Error::Full { detail: format!("{path}: {error}") },
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Error::DamagedFile { path, detail: error.to_string() }
            }
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. } => Error::DamagedFile { path, detail: error.to_string() },
            other => Error::Store { doing: "reading or writing its file", detail: format!("{path}: {other}") },
        }
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    let is_new = !path.exists();
    let database = Database::builder().set_cache_size(EMBEDDED_CACHE_BYTES).create(path)?;
    if is_new {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_folder(folder).map_err(|error| DatabaseError::Storage(error.into()))?;
    }
    Ok(database)
}

/// A new file is durable only once the folder that names it is.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
