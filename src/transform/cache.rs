//! Compiled plugins on disk, so that a start does not compile again.
//!
//! A file is named by the component's digest and by a hash of everything that the compiled code depends on: wasmtime's
//! version, its settings, the machine's features. It begins with the SHA-256 of the rest; a file that does not fit, in
//! whatever way, is a file that is not there.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tracing::warn;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::catalog::Digest;

const CHECKSUM_BYTES: usize = 32;

/// The compiled component, if the cache has it undamaged.
pub fn find(folder: &Path, engine: &Engine, digest: Digest) -> Option<Component> {
    if !is_ours_alone(folder) {
        return None;
    }
    let bytes = fs::read(file(folder, engine, digest)).ok()?;
    let (checksum, compiled) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    if Sha256::digest(compiled)[..] != *checksum {
        warn!(%digest, "a compiled plugin in the cache is damaged; compiling it again");
        return None;
    }
    // SAFETY: wasmtime asks that these bytes come from its own `serialize`. The folder belongs to this user and nobody
    // else can write to it, only `keep` writes such files, and the checksum shows that this one is as it was written.
    let component = unsafe { Component::deserialize(engine, compiled) };
    component.map_err(|error| warn!(%digest, "a compiled plugin in the cache is not for this engine: {error}")).ok()
}

/// Keeps a compiled component. A cache that cannot be written to costs time at the next start and nothing else.
pub fn keep(folder: &Path, engine: &Engine, digest: Digest, component: &Component) {
    if let Err(error) = try_keep(folder, engine, digest, component) {
        warn!(folder = %folder.display(), "a compiled plugin cannot be cached: {error}");
    }
}

fn try_keep(folder: &Path, engine: &Engine, digest: Digest, component: &Component) -> io::Result<()> {
    create_private(folder)?;
    if !is_ours_alone(folder) {
        return Err(io::Error::other("others can write to this folder; only its owner may"));
    }
    let compiled = component.serialize().map_err(|error| io::Error::other(error.to_string()))?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(&Sha256::digest(&compiled))?;
    temporary.write_all(&compiled)?;
    temporary.persist(file(folder, engine, digest)).map_err(|error| error.error)?;
    Ok(())
}

fn file(folder: &Path, engine: &Engine, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}-{}.cwasm", engine_hash(engine)))
}

/// What compiled code depends on besides the component: wasmtime, the processor, and how the engine is set.
pub fn engine_hash(engine: &Engine) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex::encode(&hasher.0.finalize()[..8])
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Whether nobody but the owner can put files here: compiled code is run as it is.
#[cfg(unix)]
fn is_ours_alone(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & WRITABLE_BY_OTHERS == 0)
}

#[cfg(not(unix))]
fn is_ours_alone(folder: &Path) -> bool {
    folder.is_dir()
}

/// SHA-256 behind std's interface, because std's own hasher may change between releases of Rust.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash: [u8; 32] = self.0.clone().finalize().into();
        hash.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}
