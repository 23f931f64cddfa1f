//! A password of a store, as it is or from a file of its own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::document::{Document, Mistake};
use crate::limits;
use crate::secret::Secret;

/// The keys `password` and `password_file` of the mapping at `pointer`.
pub(super) struct Password<'a> {
    pub pointer: &'a str,
    pub text: Option<&'a str>,
    pub file: Option<&'a str>,
}

impl Password<'_> {
    /// The password, if there is one. Where there are mistakes they are added, and what is given is of no use.
    pub fn read(&self, folder: &Path, document: &Document, mistakes: &mut Vec<Mistake>) -> Option<Secret> {
        let mut refuse = |key: &str, text: String| {
            mistakes.push(document.mistake(&format!("{}/{key}", self.pointer), text));
        };
        if self.text.is_some() && self.file.is_some() {
            refuse("password_file", "there is a password already; leave password or password_file out".to_owned());
        }
        if self.text == Some("") {
            refuse("password", "a password must not be empty; leave it out where the server wants none".to_owned());
        }
        let Some(file) = self.file else { return self.text.map(Secret::new) };
        let path = folder.join(file);
        let mut text = String::new();
        let max = limits::PASSWORD_FILE_BYTES_MAX as u64;
        match File::open(&path).and_then(|file| file.take(max + 1).read_to_string(&mut text)) {
            Err(error) => refuse("password_file", format!("{} cannot be read: {error}", path.display())),
            Ok(_) if text.len() as u64 > max => {
                refuse("password_file", format!("{} is too long for a password", path.display()));
            }
            Ok(_) if text.trim_end_matches(['\r', '\n']).is_empty() => {
                refuse("password_file", format!("{} is empty", path.display()));
            }
            Ok(_) => {}
        }
        Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }
}
