//! Who vouches for a plugin: ed25519 over its digest, in a text file of four lines beside the component.
//!
//! ```text
//! lockstep plugin signature 1
//! digest sha256:460d7d2b7282124e5f167b01c508c53bf1db54062a01efe9739600d860f195a1
//! key ed25519:iPZ7uJ…=
//! signature 2Vbq…=
//! ```
//!
//! The signed bytes are the first two lines, each with its line feed. The key is there to be recognised, not to be
//! believed: only the project's own list says which keys count.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::Error;
use crate::catalog::Digest;
use crate::limits::PLUGIN_KEY_FILE_BYTES_MAX;
use crate::secret::Secret;

const HEAD: &str = "lockstep plugin signature 1";
const SCHEME: &str = "ed25519:";
const PEM_HEAD: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_FOOT: &str = "-----END PRIVATE KEY-----";
/// Letters of a line of PEM.
const PEM_LINE: usize = 64;

/// A key that a project may trust; written as `ed25519:` and base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A key that signs. It is never shown; its file is a PKCS #8 private key in PEM, as openssl writes them too.
pub struct PrivateKey(Ed25519KeyPair);

/// What a key says of a plugin's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    digest: Digest,
    key: PublicKey,
    bytes: Vec<u8>,
}

/// Checks the text of a `.sig` file: the name of the key, among those that are trusted, which signed this digest.
pub fn verify(plugin: &str, digest: Digest, text: &str, keys: &BTreeMap<String, PublicKey>) -> Result<String, Error> {
    let wrong = |detail: String| Error::WrongSignature { plugin: plugin.to_owned(), detail };
    let signature: Signature = text.parse().map_err(wrong)?;
    if signature.digest != digest {
        return Err(wrong(format!("it is of sha256:{}, and the plugin is sha256:{digest}", signature.digest)));
    }
    // Before the list is looked at: a file that is forged is told as such, whatever key it names.
    let key = UnparsedPublicKey::new(&ED25519, signature.key.0);
    if key.verify(signed(digest).as_bytes(), &signature.bytes).is_err() {
        return Err(wrong(format!("the key {} did not sign these bytes", signature.key)));
    }
    let name = keys.iter().find(|(_, key)| **key == signature.key).map(|(name, _)| name.clone());
    name.ok_or_else(|| Error::UnknownKey { plugin: plugin.to_owned(), key: signature.key.to_string() })
}

fn signed(digest: Digest) -> String {
    format!("{HEAD}\ndigest sha256:{digest}\n")
}

impl PrivateKey {
    /// Makes a new key, and its file, which only its owner can read. A file that is there is never written over.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let bad = |detail: &str| Error::BadKey { path: path.to_owned(), detail: detail.to_owned() };
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| bad("the system has no random numbers"))?;
        let key = Ed25519KeyPair::from_pkcs8(made.as_ref()).map_err(|error| bad(&error.to_string()))?;
        let file = |source| Error::File { path: path.to_owned(), doing: "made", source };
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let text = pem(made.as_ref());
        let mut made = options.open(path).map_err(file)?;
        made.write_all(text.reveal().as_bytes()).and_then(|()| made.sync_all()).map_err(file)?;
        Ok(Self(key))
    }

    pub fn read(path: &Path) -> Result<Self, Error> {
        let bad = |detail: String| Error::BadKey { path: path.to_owned(), detail };
        let unreadable = |source| Error::File { path: path.to_owned(), doing: "read", source };
        let mut text = String::new();
        let file = fs::File::open(path).map_err(unreadable)?;
        let max = PLUGIN_KEY_FILE_BYTES_MAX as u64;
        file.take(max).read_to_string(&mut text).map_err(|_| bad("it is not text".to_owned()))?;
        let inside = text.split_once(PEM_HEAD).and_then(|(_, rest)| rest.split_once(PEM_FOOT));
        let (inside, _) = inside.ok_or_else(|| bad(format!("it has no {PEM_HEAD}")))?;
        let inside: String = inside.split_whitespace().collect();
        let document = STANDARD.decode(inside).map_err(|error| bad(error.to_string()))?;
        // Openssl leaves the public key out, so that there is nothing to check the private one against.
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document);
        key.map(Self).map_err(|error| bad(format!("it is not of ed25519 ({error})")))
    }

    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub fn sign(&self, digest: Digest) -> Signature {
        let bytes = self.0.sign(signed(digest).as_bytes()).as_ref().to_vec();
        Signature { digest, key: self.public(), bytes }
    }
}

fn pem(document: &[u8]) -> Secret {
    let base64 = STANDARD.encode(document);
    let mut text = format!("{PEM_HEAD}\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(PEM_FOOT);
    text.push('\n');
    Secret::new(text)
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "PrivateKey(of {})", self.public())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{SCHEME}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a key is {SCHEME} and 44 letters, as lockstep plugin key show prints it");
        let base64 = text.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let bytes = STANDARD.decode(base64).map_err(|_| wrong())?;
        Ok(Self(bytes.try_into().map_err(|_| wrong())?))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}key {}\nsignature {}", signed(self.digest), self.key, STANDARD.encode(&self.bytes))
    }
}

impl FromStr for Signature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().collect();
        let [HEAD, digest, key, signature] = lines.as_slice() else {
            return Err(format!("it is not four lines that begin with {HEAD:?}"));
        };
        let digest = digest.strip_prefix("digest sha256:").and_then(|hex| hex.parse().ok());
        let key = key.strip_prefix("key ").and_then(|key| key.parse().ok());
        let bytes = signature.strip_prefix("signature ").and_then(|base64| STANDARD.decode(base64).ok());
        let (Some(digest), Some(key), Some(bytes)) = (digest, key, bytes) else {
            return Err("its lines are not digest, key and signature".to_owned());
        };
        Ok(Self { digest, key, bytes })
    }
}
