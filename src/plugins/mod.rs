//! Plugins on their way from a team to a gateway: where they are, which bytes are meant, and who vouches for them.
//!
//! A place holds plugins by name and version: a folder, the same folder behind an HTTP address, or a registry of images
//! (OCI). [`fetch()`] takes one from its place, once: it is kept by its digest, pinned by that digest in `plugins.lock`,
//! and its signature is checked against the keys that the project trusts. Knows nothing of transforms: what a component
//! is and whether it may run is for the stage to say.
//!
//! Reading order: `fetch.rs` (a plugin arrives), `lock.rs` (which bytes), `signature.rs` (from whom), `kept.rs` (once),
//! then the places: `layout.rs` (files, shared by the first two), `folder.rs`, `url.rs`, `oci.rs`.
//!
//! # Why a digest and not a version
//! A version is what somebody called some bytes; the same name may mean other bytes tomorrow. What was tested, applied
//! and trained with are bytes. So a version only finds a plugin for the first time; from then on its digest is asked for.

mod fetch;
mod folder;
mod kept;
mod layout;
mod lock;
mod oci;
mod signature;
#[cfg(test)]
mod tests;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use semver::Version;

use crate::catalog::Digest;
use crate::document::Mistakes;
use crate::error::ErrorKind;
use crate::secret::Secret;

pub use fetch::{Fetched, fetch, fetch_anew, open, publish};
pub use kept::path as kept_path;
pub use lock::{Lock, Locked};
pub use signature::{PrivateKey, PublicKey, Signature, verify};

/// Where the plugins of a project are, and whom it trusts. All of it from `lockstep.yaml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The project's folder; folders in the lock file are relative to it.
    pub project: PathBuf,
    /// Where plugins are of which nothing else is said.
    pub usual: Place,
    /// What is said of single plugins, by name.
    pub from: BTreeMap<String, Chosen>,
    /// How to log in, by host and port as places write them.
    pub logins: BTreeMap<String, Login>,
    /// The keys that the project trusts, by the names it calls them.
    pub keys: BTreeMap<String, PublicKey>,
    /// Whether a plugin that none of them signed is refused.
    pub require_signature: bool,
    /// The file that pins plugins by their digests.
    pub lock: PathBuf,
    /// The folder for plugins that were fetched.
    pub cache: PathBuf,
}

/// What holds plugins by name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Folder(PathBuf),
    /// `https://…`, without a slash at its end.
    Url(String),
    /// A registry of images and a path in it, such as `ghcr.io/team/plugins`; each plugin is a repository below it.
    Oci(String),
}

/// What is said of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    pub place: Option<Place>,
    /// The newest where none is said.
    pub version: Option<Version>,
}

/// How to reach a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    pub user: Option<(String, Secret)>,
    /// Whether it may be asked without encryption. This machine always may.
    pub allow_http: bool,
}

/// A plugin as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    pub component: Vec<u8>,
    pub beside: Beside,
}

/// What travels beside a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The text of a `.sig` file.
    pub signature: Option<String>,
    /// A JSON object: golden cases by name.
    pub goldens: Option<String>,
    /// The report of its tests, as JSON.
    pub report: Option<String>,
}

/// A plugin that is to be published: its name and version are those that it says of itself.
#[derive(Clone, Debug)]
pub struct Release<'a> {
    pub name: &'a str,
    pub version: &'a Version,
    pub digest: Digest,
    pub bundle: &'a Bundle,
}

/// What has come of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it can be had now, as people write it.
    pub at: String,
    /// The same bytes were there already; what travels beside them was replaced.
    pub was_there: bool,
}

/// Holds plugins by name and version.
///
/// # Contract
/// - `fetch` gives the version that is asked for, else the newest; one that is not there is [`Error::NoPlugin`]. Nobody
///   has looked at the bytes yet, but there are not more of them than limits allow.
/// - `publish` never replaces a component by another one under the same version ([`Error::Exists`]). Should it break off,
///   either nothing can be fetched under the version, or all of it.
#[async_trait]
pub trait PluginPlace: fmt::Debug + Send + Sync {
    async fn fetch(&self, name: &str, version: Option<&Version>) -> Result<Bundle, Error>;
    async fn publish(&self, release: &Release<'_>) -> Result<Published, Error>;
}

impl Settings {
    /// Where the plugin is, and in which version it is wanted.
    pub fn chosen(&self, plugin: &str) -> (&Place, Option<&Version>) {
        let chosen = self.from.get(plugin);
        let place = chosen.and_then(|chosen| chosen.place.as_ref()).unwrap_or(&self.usual);
        (place, chosen.and_then(|chosen| chosen.version.as_ref()))
    }

    /// The place as the lock file names it: the same on every machine.
    pub fn place_text(&self, place: &Place) -> String {
        match place {
            Place::Folder(folder) => folder.strip_prefix(&self.project).unwrap_or(folder).display().to_string(),
            other => other.to_string(),
        }
    }
}

impl Place {
    /// A place as people write it on a command line: an address, `oci://…`, or else a folder.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        match text {
            _ if text.starts_with("http://") || text.starts_with("https://") => url::checked(text).map(Self::Url),
            _ if text.starts_with("oci://") => oci::checked(text).map(Self::Oci),
            "" => Err("a place is a folder, an https:// address or oci:// and a registry".to_owned()),
            _ => Ok(Self::Folder(folder.join(text))),
        }
    }

    pub fn url(text: &str) -> Result<Self, String> {
        url::checked(text).map(Self::Url)
    }

    pub fn oci(text: &str) -> Result<Self, String> {
        oci::checked(text).map(Self::Oci)
    }

    /// The host, if it would be asked without encryption and nobody has allowed that.
    pub fn unencrypted(&self, logins: &BTreeMap<String, Login>) -> Option<&str> {
        let host = self.host().filter(|host| !is_here(host))?;
        let is_plain = matches!(self, Self::Url(url) if url.starts_with("http://"));
        (is_plain && !logins.get(host).is_some_and(|login| login.allow_http)).then_some(host)
    }

    /// The host, with its port, that is asked; none for a folder.
    pub fn host(&self) -> Option<&str> {
        let rest = match self {
            Self::Folder(_) => return None,
            Self::Url(url) => url.split_once("://").map_or(url.as_str(), |(_, rest)| rest),
            Self::Oci(path) => path,
        };
        rest.split('/').next()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(to, "{}", folder.display()),
            Self::Url(url) => to.write_str(url),
            Self::Oci(path) => write!(to, "oci://{path}"),
        }
    }
}

/// Why a plugin did not arrive, or could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {plugin} in {place}; build it, or correct the name")]
    NoPlugin { plugin: String, place: String },
    #[error("there is no {plugin} {version} in {place}; publish it, or correct the version")]
    NoVersion { plugin: String, version: String, place: String },
    #[error("{place} cannot be reached: {detail}")]
    Unreachable { place: String, detail: String },
    #[error(
        "{place} does not let us in; write who we are to lockstep.yaml, plugin_logins: {{\"{host}\": {{username: …, password: …}}}}"
    )]
    Denied { place: String, host: String },
    #[error("{place} holds {what} of more than {max} bytes")]
    TooLarge { what: String, place: String, max: usize },
    #[error("{place} holds {what} that cannot be used: {detail}")]
    Unusable { what: String, place: String, detail: String },
    #[error("{text} is no place for plugins: {detail}")]
    NoPlace { text: String, detail: String },
    #[error("{place} can only be read; publish to the folder that is served there, or to a registry")]
    ReadOnly { place: String },
    #[error(
        "plugin {plugin} is not the one that plugins.lock pins: it pins sha256:{locked}, {place} has sha256:{found}; if the new one is meant, run lockstep plugin update {plugin}"
    )]
    DigestChanged { plugin: String, locked: Digest, found: Digest, place: String },
    #[error(
        "plugins.lock pins plugin {plugin} as {locked}, lockstep.yaml wants {wanted}; run lockstep plugin update {plugin}"
    )]
    ChoiceChanged { plugin: String, locked: String, wanted: String },
    #[error(
        "{place} has {version} already, with other bytes: sha256:{there}, these are sha256:{new}; a version never changes, so give these another version"
    )]
    Exists {
        /// With the plugin's name.
        version: String,
        place: String,
        there: String,
        new: Digest,
    },
    #[error(
        "plugin {plugin} is not signed, and lockstep.yaml says require_signature; have its team run lockstep plugin sign, and put the .sig file beside it"
    )]
    Unsigned { plugin: String },
    #[error(
        "plugin {plugin} is signed with the key {key}, which is none of plugin_keys in lockstep.yaml; add the key if you trust its owner"
    )]
    UnknownKey { plugin: String, key: String },
    #[error(
        "the signature of plugin {plugin} is wrong: {detail}; do not use the plugin before its team has explained that"
    )]
    WrongSignature { plugin: String, detail: String },
    #[error("{path} is no private key for plugins: {detail}; make one with lockstep plugin key new")]
    BadKey { path: PathBuf, detail: String },
    #[error(transparent)]
    Lock(#[from] Mistakes),
    #[error("{path} cannot be {doing}")]
    File { path: PathBuf, doing: &'static str, source: io::Error },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPlugin { .. } | Self::NoVersion { .. } => ErrorKind::NotFound,
            Self::Unreachable { .. } | Self::Denied { .. } => ErrorKind::Unavailable,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::NoPlace { .. }
            | Self::ReadOnly { .. }
            | Self::Unusable { .. }
            | Self::Unsigned { .. }
            | Self::UnknownKey { .. }
            | Self::WrongSignature { .. }
            | Self::BadKey { .. } => ErrorKind::Invalid,
            Self::DigestChanged { .. } | Self::ChoiceChanged { .. } | Self::Exists { .. } => ErrorKind::Conflict,
            Self::Lock(mistakes) => mistakes.kind(),
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            Self::File { .. } => ErrorKind::Unavailable,
        }
    }
}

/// The newest of some versions; one that is not finished (`2.0.0-rc.1`) only where there is no other.
fn newest(versions: impl Iterator<Item = Version>) -> Option<Version> {
    versions.max_by(|one, other| (one.pre.is_empty(), one).cmp(&(other.pre.is_empty(), other)))
}

/// Whether a host is this machine, which may be asked without encryption.
fn is_here(host: &str) -> bool {
    matches!(name_and_port(host).0, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether a host, with or without a port, is one that can be asked.
fn is_host(host: &str) -> bool {
    let (name, port) = name_and_port(host);
    let is_name = |name: &str| {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        // What ends in a number is an address of four numbers.
        let ends_in_number =
            name.rsplit('.').next().is_some_and(|last| last.starts_with(|is: char| is.is_ascii_digit()));
        !name.is_empty() && name.chars().all(letter) && (!ends_in_number || name.parse::<Ipv4Addr>().is_ok())
    };
    let is_number = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).map(|name| name.parse::<Ipv6Addr>());
    is_number.map_or_else(|| is_name(name), |number| number.is_ok())
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn name_and_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // The last colon of a number in brackets is within them.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Text, or why it is none.
fn text(bytes: Vec<u8>, what: &str, place: &dyn fmt::Display) -> Result<String, Error> {
    let (what, place) = (what.to_owned(), place.to_string());
    String::from_utf8(bytes).map_err(|_| Error::Unusable { what, place, detail: "it is not UTF-8 text".to_owned() })
}
