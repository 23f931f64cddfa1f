//! What the keys of the PostgreSQL databases mean together, checked.

use std::collections::BTreeMap;

use super::file::{PostgresFile, PostgresTlsFile};
use super::section::Section;
use crate::catalog::snake_case_mistake;
use crate::limits;
use crate::offline::postgres::Settings;

/// The settings of each database. Where there are mistakes they are noted, and what is given is of no use.
pub(super) fn databases(
    mut section: Section<'_>,
    files: &BTreeMap<String, PostgresFile>,
) -> BTreeMap<String, Settings> {
    files.iter().map(|(name, file)| (name.clone(), settings(section.inner(name), name, file))).collect()
}

fn settings(mut section: Section<'_>, name: &str, file: &PostgresFile) -> Settings {
    if let Some(wrong) = snake_case_mistake(name) {
        section.refuse_own_key(format!("the name of a database {wrong}"));
    }
    check_host(&mut section, &file.host);
    if file.port == 0 {
        section.refuse("port", "port 0 is no port; PostgreSQL's own is 5432");
    }
    for (key, text) in [("database", &file.database), ("user", &file.user)] {
        if text.is_empty() || text.contains('\0') {
            section.refuse(key, format!("{key} must not be empty"));
        }
    }
    let statement_timeout_max = limits::POSTGRES_STATEMENT_TIMEOUT_MAX;
    Settings {
        name: name.to_owned(),
        host: file.host.clone(),
        port: file.port,
        database: file.database.clone(),
        user: file.user.clone(),
        password: section.secret("password", file.password.as_deref(), file.password_file.as_deref()),
        tls: match &file.tls {
            PostgresTlsFile::Off(_) => None,
            PostgresTlsFile::On(tls) => Some(section.tls(tls)),
        },
        connections: section.connections(file.connections, limits::POSTGRES_CONNECTIONS_MAX),
        connect_timeout: section.timeout(
            "connect_timeout",
            &file.connect_timeout,
            limits::POSTGRES_CONNECT_TIMEOUT_MAX,
        ),
        statement_timeout: section.timeout("statement_timeout", &file.statement_timeout, statement_timeout_max),
    }
}

fn check_host(section: &mut Section<'_>, host: &str) {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:%".contains(letter);
    let is_socket = host.starts_with('/') && !host.contains('\0');
    if !is_socket && (host.is_empty() || !host.chars().all(is_plain)) {
        // Not the text itself: people put passwords into addresses.
        section.refuse(
            "host",
            "a host is a name or a number, such as db.example.com; port, database, user and password have keys of \
             their own",
        );
    }
}
