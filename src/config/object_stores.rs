//! What the keys of a bucket mean together, checked.

use std::collections::BTreeMap;

use super::file::BucketFile;
use super::section::Section;
use crate::limits;
use crate::offline::{Bucket, BucketLogin};

/// The settings of each bucket. Where there are mistakes they are noted, and what is given is of no use.
pub(super) fn settings(mut section: Section<'_>, files: &BTreeMap<String, BucketFile>) -> BTreeMap<String, Bucket> {
    files.iter().map(|(name, file)| (name.clone(), bucket(section.inner(name), name, file))).collect()
}

fn bucket(mut section: Section<'_>, name: &str, file: &BucketFile) -> Bucket {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-_".contains(letter);
    if name.is_empty() || !name.chars().all(is_plain) {
        section.refuse_all("the name of a bucket is made of small letters, digits, dots and hyphens");
    }
    if file.region.trim().is_empty() {
        section.refuse("region", "a region must not be empty; leave it out where the store has none");
    }
    if let Some(endpoint) = &file.endpoint {
        check_endpoint(&mut section, endpoint, file.allow_http);
    }
    let too_long = |max| format!("a timeout may be 1ms to {max}");
    Bucket {
        endpoint: file.endpoint.as_ref().map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
        region: file.region.clone(),
        login: login(&mut section, file),
        allow_http: file.allow_http,
        timeout: section.duration_within("timeout", &file.timeout, limits::OBJECT_STORE_TIMEOUT_MAX, too_long),
    }
}

/// The text itself is not repeated: people put passwords into addresses.
fn check_endpoint(section: &mut Section<'_>, endpoint: &str, allow_http: bool) {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['@', '?', '#', ' ']) => {}
        _ => section.refuse(
            "endpoint",
            "an endpoint is https:// or http:// and a host, such as https://minio.example.com:9000; the login has \
             keys of its own",
        ),
    }
    if endpoint.starts_with("http://") && !allow_http {
        section
            .refuse("endpoint", "http:// sends data unencrypted; write https://, or allow_http: true if that is meant");
    }
}

fn login(section: &mut Section<'_>, file: &BucketFile) -> Option<BucketLogin> {
    let secret =
        section.secret("secret_access_key", file.secret_access_key.as_deref(), file.secret_access_key_file.as_deref());
    match (&file.access_key_id, secret) {
        (Some(id), Some(secret_access_key)) => Some(BucketLogin { access_key_id: id.clone(), secret_access_key }),
        (None, None) => None,
        (Some(_), None) => {
            section.refuse("access_key_id", "an access_key_id needs a secret_access_key or a secret_access_key_file");
            None
        }
        (None, Some(_)) => {
            section.refuse_all("a secret access key needs an access_key_id");
            None
        }
    }
}

#[cfg(test)]
mod tests;
