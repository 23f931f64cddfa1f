//! A section of `lockstep.yaml` that is being checked. What several stores say in the same words (a secret or its file,
//! a timeout, the files of an encrypted connection) is checked here, and every mistake is told at its own key.
//!
//! A check never stops: it notes the mistake and gives back something of the right type. What is given where there are
//! mistakes is of no use, and nobody gets to see it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::TlsFile;
use crate::document::{Document, Mistake, duration_text, parse_duration, push_segment};
use crate::limits;
use crate::secret::Secret;
use crate::tls::{Tls, TlsClient};

/// Keys are named from here on, such as `host` or `feast/key_ttl`.
pub(super) struct Section<'a> {
    /// What paths are relative to.
    folder: &'a Path,
    document: &'a Document,
    /// Where the section stands.
    pointer: String,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Section<'a> {
    /// The document as a whole.
    pub fn whole(folder: &'a Path, document: &'a Document, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { folder, document, pointer: String::new(), mistakes }
    }

    /// The section under one key, whatever the key is made of.
    pub fn inner(&mut self, key: &str) -> Section<'_> {
        let mut pointer = self.pointer.clone();
        push_segment(&mut pointer, key);
        Section { folder: self.folder, document: self.document, pointer, mistakes: self.mistakes }
    }

    /// Something is wrong with the value of a key.
    pub fn refuse(&mut self, key: &str, text: impl Into<String>) {
        self.mistakes.push(self.document.mistake(&format!("{}/{key}", self.pointer), text));
    }

    /// Something is wrong with the section.
    pub fn refuse_all(&mut self, text: impl Into<String>) {
        self.mistakes.push(self.document.mistake(&self.pointer, text));
    }

    /// Something is wrong with the key that the section stands under.
    pub fn refuse_own_key(&mut self, text: impl Into<String>) {
        self.mistakes.push(self.document.key_mistake(&self.pointer, text));
    }

    /// A file or folder that must be named.
    pub fn path(&mut self, key: &str, path: &str) -> PathBuf {
        if path.trim().is_empty() {
            self.refuse(key, "a path must not be empty");
        }
        self.absolute(path)
    }

    /// Joining an absolute path gives that path.
    fn absolute(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    pub fn duration(&mut self, key: &str, text: &str) -> Option<Duration> {
        parse_duration(text).map_err(|wrong| self.refuse(key, wrong)).ok()
    }

    /// A duration of `max` at most; `too_long` says that, with `max` in words.
    pub fn duration_within(
        &mut self,
        key: &str,
        text: &str,
        max: Duration,
        too_long: impl FnOnce(String) -> String,
    ) -> Duration {
        let duration = self.duration(key, text).unwrap_or(max);
        if duration > max {
            self.refuse(key, too_long(duration_text(max)));
        }
        duration
    }

    pub fn timeout(&mut self, key: &str, text: &str, max: Duration) -> Duration {
        self.duration_within(key, text, max, |max| format!("{key} may be {max} at most"))
    }

    /// How many connections may be open at once.
    pub fn connections(&mut self, connections: u32, max: u32) -> usize {
        if connections == 0 || connections > max {
            self.refuse("connections", format!("connections may be 1 to {max}"));
        }
        connections as usize
    }

    /// The secret at `key`, as it is or from the file that `<key>_file` names, if there is one.
    pub fn secret(&mut self, key: &str, text: Option<&str>, file: Option<&str>) -> Option<Secret> {
        let file_key = format!("{key}_file");
        if text.is_some() && file.is_some() {
            self.refuse(&file_key, format!("there is a {key} already; leave {key} or {file_key} out"));
        }
        if text == Some("") {
            self.refuse(key, format!("a {key} must not be empty; leave it out where the server wants none"));
        }
        let Some(file) = file else { return text.map(Secret::new) };
        let secret = read_secret(&self.absolute(file)).unwrap_or_else(|wrong| {
            self.refuse(&file_key, wrong);
            Secret::new("")
        });
        Some(secret)
    }

    /// The key `tls`, where the connection is to be encrypted.
    pub fn tls(&mut self, tls: &TlsFile) -> Tls {
        let path = |path: &String| self.absolute(path);
        let authority = tls.ca.as_ref().map(path);
        let client = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some(TlsClient { certificate: path(certificate), key: path(key) }),
            (None, None) => None,
            _ => {
                self.refuse("tls", "certificate and key of tls belong together; write both or none");
                None
            }
        };
        Tls { authority, client }
    }
}

/// The secret in a file that holds nothing else; without the end of its line.
fn read_secret(path: &Path) -> Result<Secret, String> {
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
