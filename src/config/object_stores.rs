//! What the keys of a bucket mean together, checked.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::BucketFile;
use super::secret;
use crate::document::{Document, Mistake, duration_text, parse_duration, push_segment};
use crate::limits;
use crate::offline::{Bucket, BucketLogin};
use crate::secret::Secret;

/// The settings of each bucket. Where there are mistakes they are added, and what is given is of no use.
pub(super) fn settings(
    folder: &Path,
    document: &Document,
    files: &BTreeMap<String, BucketFile>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, Bucket> {
    let one = |(name, file): (&String, &BucketFile)| {
        let mut pointer = "/object_stores".to_owned();
        push_segment(&mut pointer, name);
        let bucket = Checking { folder, document, pointer, mistakes }.bucket(name, file);
        (name.clone(), bucket)
    };
    files.iter().map(one).collect()
}

struct Checking<'a> {
    folder: &'a Path,
    document: &'a Document,
    /// Where the bucket stands.
    pointer: String,
    mistakes: &'a mut Vec<Mistake>,
}

impl Checking<'_> {
    fn refuse(&mut self, key: &str, text: impl Into<String>) {
        self.mistakes.push(self.document.mistake(&format!("{}{key}", self.pointer), text));
    }

    fn bucket(&mut self, name: &str, file: &BucketFile) -> Bucket {
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-_".contains(letter);
        if name.is_empty() || !name.chars().all(is_plain) {
            self.refuse("", "the name of a bucket is made of small letters, digits, dots and hyphens");
        }
        if file.region.trim().is_empty() {
            self.refuse("/region", "a region must not be empty; leave it out where the store has none");
        }
        if let Some(endpoint) = &file.endpoint {
            self.check_endpoint(endpoint, file.allow_http);
        }
        Bucket {
            endpoint: file.endpoint.as_ref().map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            region: file.region.clone(),
            login: self.login(file),
            allow_http: file.allow_http,
            timeout: self.timeout(&file.timeout),
        }
    }

    /// The text itself is not repeated: people put passwords into addresses.
    fn check_endpoint(&mut self, endpoint: &str, allow_http: bool) {
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        match host {
            Some(host) if !host.is_empty() && !host.contains(['@', '?', '#', ' ']) => {}
            _ => self.refuse(
                "/endpoint",
                "an endpoint is https:// or http:// and a host, such as https://minio.example.com:9000; the login has \
                 keys of its own",
            ),
        }
        if endpoint.starts_with("http://") && !allow_http {
            self.refuse(
                "/endpoint",
                "http:// sends data unencrypted; write https://, or allow_http: true if that is meant",
            );
        }
    }

    fn login(&mut self, file: &BucketFile) -> Option<BucketLogin> {
        if file.secret_access_key.is_some() && file.secret_access_key_file.is_some() {
            let text = "there is a secret already; leave secret_access_key or secret_access_key_file out";
            self.refuse("/secret_access_key_file", text);
        }
        let secret = match (&file.secret_access_key, &file.secret_access_key_file) {
            (Some(secret), _) if secret.is_empty() => {
                self.refuse("/secret_access_key", "a secret_access_key must not be empty");
                Some(Secret::new(""))
            }
            (Some(secret), _) => Some(Secret::new(secret)),
            (None, Some(path)) => Some(secret::from_file(&self.folder.join(path)).unwrap_or_else(|wrong| {
                self.refuse("/secret_access_key_file", wrong);
                Secret::new("")
            })),
            (None, None) => None,
        };
        match (&file.access_key_id, secret) {
            (Some(id), Some(secret_access_key)) => Some(BucketLogin { access_key_id: id.clone(), secret_access_key }),
            (None, None) => None,
            (Some(_), None) => {
                self.refuse("/access_key_id", "an access_key_id needs a secret_access_key or a secret_access_key_file");
                None
            }
            (None, Some(_)) => {
                self.refuse("", "a secret access key needs an access_key_id");
                None
            }
        }
    }

    fn timeout(&mut self, text: &str) -> std::time::Duration {
        let max = limits::OBJECT_STORE_TIMEOUT_MAX;
        match parse_duration(text) {
            Ok(timeout) if timeout <= max && !timeout.is_zero() => timeout,
            Ok(_) => {
                self.refuse("/timeout", format!("a timeout may be 1ms to {}", duration_text(max)));
                max
            }
            Err(wrong) => {
                self.refuse("/timeout", wrong);
                max
            }
        }
    }
}

#[cfg(test)]
mod tests;
