//! Compiled plugins on disk, so that a start does not compile again.
//!
//! A file is named by the component's digest and by a hash of everything that the compiled code depends on: wasmtime's
//! version, its settings, the machine's features. It begins with the SHA-256 of the rest; a file that does not fit, in
//! whatever way, is a file that is not there.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use tracing::warn;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::catalog::Digest;

const CHECKSUM_BYTES: usize = 32;
/// Of the files of compiled components; others in the folder are not ours to drop.
const EXTENSION: &str = "cwasm";

/// The compiled component, if the cache has it undamaged.
pub fn find(folder: &Path, engine: &Engine, digest: Digest) -> Option<Component> {
    if !is_ours_alone(folder) {
        return None;
    }
    let path = file(folder, engine, digest);
    let bytes = fs::read(&path).ok()?;
    let (checksum, compiled) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    if Sha256::digest(compiled)[..] != *checksum {
        warn!(%digest, "a compiled plugin in the cache is damaged; compiling it again");
        return None;
    }
    // SAFETY: wasmtime asks that these bytes come from its own `serialize`. The folder belongs to this user and nobody
    // else can write to it, only `keep` writes such files, and the checksum shows that this one is as it was written.
    let component = unsafe { Component::deserialize(engine, compiled) };
    touch(&path);
    component.map_err(|error| warn!(%digest, "a compiled plugin in the cache is not for this engine: {error}")).ok()
}

/// Keeps a compiled component, and drops those that were not used for longest until all have `bytes_max` together. A
/// cache that cannot be written to costs time at the next start and nothing else.
pub fn keep(folder: &Path, engine: &Engine, digest: Digest, compiled: &[u8], bytes_max: u64) {
    let kept = try_keep(folder, engine, digest, compiled).and_then(|kept| make_room(folder, &kept, bytes_max));
    if let Err(error) = kept {
        warn!(folder = %folder.display(), "a compiled plugin cannot be cached: {error}");
    }
}

fn try_keep(folder: &Path, engine: &Engine, digest: Digest, compiled: &[u8]) -> io::Result<PathBuf> {
    create_private(folder)?;
    if !is_ours_alone(folder) {
        return Err(io::Error::other("others can write to this folder; only its owner may"));
    }
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(&Sha256::digest(compiled))?;
    temporary.write_all(compiled)?;
    let path = file(folder, engine, digest);
    temporary.persist(&path).map_err(|error| error.error)?;
    Ok(path)
}

/// Drops the files that were not used for longest; never the one that was just kept.
fn make_room(folder: &Path, kept: &Path, bytes_max: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Another process may have dropped it meanwhile.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if path.extension().is_some_and(|extension| extension == EXTENSION) && path != kept {
            files.push((metadata.modified()?, metadata.len(), path));
        }
    }
    files.sort();
    let mut bytes = fs::metadata(kept)?.len() + files.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
    for (_, file_bytes, path) in files {
        if bytes <= bytes_max {
            break;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => bytes -= file_bytes,
        }
    }
    Ok(())
}

/// A file that is used is young again, so that it stays.
fn touch(path: &Path) {
    // A cache that only can be read is as good a cache; then nothing in it gets old either.
    let _ = fs::File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

fn file(folder: &Path, engine: &Engine, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}-{}.{EXTENSION}", engine_hash(engine)))
}

/// A hash of everything that compiled code depends on beside its component.
pub fn engine_hash(engine: &Engine) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex::encode(&hasher.0.finalize()[..8])
}

#[cfg(unix)]
pub fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
pub fn create_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Whether nobody but the owner can put files here: compiled code is run as it is.
#[cfg(unix)]
pub fn is_ours_alone(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & WRITABLE_BY_OTHERS == 0)
}

#[cfg(not(unix))]
pub fn is_ours_alone(folder: &Path) -> bool {
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
