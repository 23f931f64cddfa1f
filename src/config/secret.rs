//! Secrets that stand in a file of their own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::limits;
use crate::secret::Secret;

/// The secret in a file that holds nothing else; without the end of its line.
pub(super) fn from_file(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    let max = limits::PASSWORD_FILE_BYTES_MAX as u64;
    let file = File::open(path).and_then(|file| file.take(max + 1).read_to_string(&mut text));
    file.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if text.len() as u64 > max {
        Err(format!("{} is too long for a password", path.display()))
    } else if secret.is_empty() {
        Err(format!("{} is empty", path.display()))
    } else {
        Ok(Secret::new(secret))
    }
}
