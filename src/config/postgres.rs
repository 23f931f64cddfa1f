//! What the keys of the PostgreSQL databases mean together, checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::file::{PostgresFile, PostgresTlsFile};
use super::password::Password;
use crate::catalog::snake_case_mistake;
use crate::document::{Document, Mistake, duration_text, parse_duration};
use crate::limits;
use crate::offline::postgres::{Settings, Tls, TlsClient};

/// The databases that are right; mistakes in the others are added.
pub(super) fn databases(
    folder: &Path,
    document: &Document,
    files: &BTreeMap<String, PostgresFile>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, Settings> {
    let mut databases = BTreeMap::new();
    for (name, file) in files {
        let pointer = format!("/postgres/{name}");
        if let Some(wrong) = snake_case_mistake(name) {
            mistakes.push(document.key_mistake(&pointer, format!("the name of a database {wrong}")));
        }
        let mut checking = Checking { folder, document, pointer, mistakes };
        databases.insert(name.clone(), checking.settings(name, file));
    }
    databases
}

struct Checking<'a> {
    folder: &'a Path,
    document: &'a Document,
    pointer: String,
    mistakes: &'a mut Vec<Mistake>,
}

impl Checking<'_> {
    fn refuse(&mut self, key: &str, text: impl Into<String>) {
        self.mistakes.push(self.document.mistake(&format!("{}/{key}", self.pointer), text));
    }

    fn settings(&mut self, name: &str, file: &PostgresFile) -> Settings {
        self.check_host(&file.host);
        if file.port == 0 {
            self.refuse("port", "port 0 is no port; PostgreSQL's own is 5432");
        }
        for (key, text) in [("database", &file.database), ("user", &file.user)] {
            if text.is_empty() || text.contains('\0') {
                self.refuse(key, format!("{key} must not be empty"));
            }
        }
        let password =
            Password { pointer: &self.pointer, text: file.password.as_deref(), file: file.password_file.as_deref() };
        let password = password.read(self.folder, self.document, self.mistakes);
        let max = limits::POSTGRES_CONNECTIONS_MAX;
        if file.connections == 0 || file.connections > max {
            self.refuse("connections", format!("connections may be 1 to {max}"));
        }
        Settings {
            name: name.to_owned(),
            host: file.host.clone(),
            port: file.port,
            database: file.database.clone(),
            user: file.user.clone(),
            password,
            tls: self.tls(&file.tls),
            connections: file.connections as usize,
            connect_timeout: self.timeout(
                "connect_timeout",
                &file.connect_timeout,
                limits::POSTGRES_CONNECT_TIMEOUT_MAX,
            ),
            statement_timeout: self.timeout(
                "statement_timeout",
                &file.statement_timeout,
                limits::POSTGRES_STATEMENT_TIMEOUT_MAX,
            ),
        }
    }

    fn check_host(&mut self, host: &str) {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:%".contains(letter);
        let is_socket = host.starts_with('/') && !host.contains('\0');
        if !is_socket && (host.is_empty() || !host.chars().all(is_plain)) {
            // Not the text itself: people put passwords into addresses.
            self.refuse(
                "host",
                "a host is a name or a number, such as db.example.com; port, database, user and password have keys of \
                 their own",
            );
        }
    }

    fn tls(&mut self, tls: &PostgresTlsFile) -> Option<Tls> {
        let PostgresTlsFile::On(tls) = tls else { return None };
        let path = |path: &String| self.folder.join(path);
        let client = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some(TlsClient { certificate: path(certificate), key: path(key) }),
            (None, None) => None,
            _ => {
                self.refuse("tls", "certificate and key of tls belong together; write both or none");
                None
            }
        };
        Some(Tls { authority: tls.ca.as_ref().map(|ca| self.folder.join(ca)), client })
    }

    fn timeout(&mut self, key: &str, text: &str, max: Duration) -> Duration {
        match parse_duration(text) {
            Ok(timeout) if timeout <= max => timeout,
            Ok(_) => {
                self.refuse(key, format!("{key} may be {} at most", duration_text(max)));
                max
            }
            Err(wrong) => {
                self.refuse(key, wrong);
                max
            }
        }
    }
}
