//! Plugins in a registry of images (OCI), in the layout that tools for WebAssembly share: a repository for each plugin, a
//! tag for each version, and in the manifest a config for WebAssembly and the component as the first layer. What travels
//! beside it are layers with media types of ours.
//!
//! <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use futures::StreamExt;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use semver::Version;
use serde_json::json;

use super::{Beside, Bundle, Error, Login, Place, PluginPlace, Published, Release, is_here, is_host, newest, text};
use crate::catalog::Digest;
use crate::error::chain;
use crate::limits::{
    COMPONENT_BYTES_MAX, PLUGIN_GOLDENS_BYTES_MAX, PLUGIN_PLACE_CONNECT_TIMEOUT, PLUGIN_PLACE_TIMEOUT,
    PLUGIN_REPORT_BYTES_MAX, PLUGIN_SIGNATURE_BYTES_MAX, PLUGIN_VERSIONS_MAX,
};

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const COMPONENT: &str = "application/wasm";
const SIGNATURE: &str = "application/vnd.lockstep.signature.v1";
const GOLDENS: &str = "application/vnd.lockstep.golden.v1+json";
const REPORT: &str = "application/vnd.lockstep.report.v1+json";
/// The interface that a plugin exports, for those who look at the config alone.
const EXPORT: &str = "lockstep:transform/transform";
/// Versions in one answer; registries give fewer where that is too many.
const PAGE: usize = 1_000;

pub(super) struct OciPlace {
    registry: String,
    /// In the registry; without a slash at its end, and empty where plugins lie at its root.
    path: String,
    place: Place,
    client: Client,
    login: RegistryAuth,
}

/// A registry and a path in it, with or without `oci://`.
pub(super) fn checked(text: &str) -> Result<String, String> {
    let path = text.strip_prefix("oci://").unwrap_or(text).trim_end_matches('/');
    let (registry, inside) = path.split_once('/').unwrap_or((path, ""));
    // A word without a dot or a port is no host but the first part of a path at a registry that is not named.
    let is_named = registry.contains(['.', ':']) || registry == "localhost";
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._-/".contains(letter);
    match is_named && is_host(registry) && inside.chars().all(is_plain) && !inside.contains("//") {
        true => Ok(path.to_owned()),
        false => Err("a registry is its host and a path in small letters, such as ghcr.io/team/plugins".to_owned()),
    }
}

impl OciPlace {
    pub fn new(path: &str, login: &Login) -> Result<Self, Error> {
        let place = Place::Oci(path.to_owned());
        let (registry, inside) = path.split_once('/').unwrap_or((path, ""));
        let plain_http = login.allow_http || is_here(registry);
        let config = ClientConfig {
            protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(PLUGIN_PLACE_CONNECT_TIMEOUT),
            read_timeout: Some(PLUGIN_PLACE_TIMEOUT),
            // A plugin is the same for every machine.
            platform_resolver: None,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config)
            .map_err(|error| Error::Unreachable { place: place.to_string(), detail: chain(&error) })?;
        let login = match &login.user {
            Some((user, password)) => RegistryAuth::Basic(user.clone(), password.reveal().to_owned()),
            None => RegistryAuth::Anonymous,
        };
        Ok(Self { registry: registry.to_owned(), path: inside.to_owned(), place, client, login })
    }

    fn image(&self, name: &str, version: &Version) -> Reference {
        let repository = if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) };
        Reference::with_tag(self.registry.clone(), repository, tag(version))
    }

    async fn newest(&self, name: &str) -> Result<Version, Error> {
        let image = self.image(name, &Version::new(0, 0, 0));
        let (mut versions, mut last) = (Vec::new(), None::<String>);
        while versions.len() < PLUGIN_VERSIONS_MAX {
            let page = self.client.list_tags(&image, &self.login, Some(PAGE), last.as_deref()).await;
            let Some(page) = self.found(page)? else { break };
            let end = page.tags.last().cloned();
            versions.extend(page.tags.iter().filter_map(|tag| version(tag)));
            // A registry that does not page gives all of them again.
            if page.tags.len() < PAGE || end.is_none() || end == last {
                break;
            }
            last = end;
        }
        let missing = || Error::NoPlugin { plugin: name.to_owned(), place: self.place.to_string() };
        newest(versions.into_iter()).ok_or_else(missing)
    }

    async fn manifest(&self, image: &Reference) -> Result<Option<OciImageManifest>, Error> {
        let manifest = self.client.pull_image_manifest(image, &self.login).await;
        Ok(self.found(manifest)?.map(|(manifest, _)| manifest))
    }

    /// The layer of a media type, if there is one.
    async fn layer(
        &self,
        image: &Reference,
        manifest: &OciImageManifest,
        media_type: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(layer) = manifest.layers.iter().find(|layer| layer.media_type == media_type) else { return Ok(None) };
        let too_large = || Error::TooLarge { what: media_type.to_owned(), place: self.place.to_string(), max };
        let stream = self.client.pull_blob_stream(image, layer).await.map_err(|error| self.failed(&error))?;
        let (mut stream, mut bytes) = (stream.stream, Vec::new());
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| self.unusable(media_type, error.to_string()))?;
            if bytes.len() + part.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
        }
        match digest_of(layer).is_some_and(|digest| digest == Digest::of(&bytes)) {
            true => Ok(Some(bytes)),
            false => Err(self.unusable(media_type, format!("its bytes are not those of {}", layer.digest))),
        }
    }

    /// The same as text.
    async fn text(
        &self,
        image: &Reference,
        manifest: &OciImageManifest,
        media_type: &str,
        max: usize,
    ) -> Result<Option<String>, Error> {
        let bytes = self.layer(image, manifest, media_type, max).await?;
        bytes.map(|bytes| text(bytes, media_type, &self.place)).transpose()
    }

    /// What is there; nothing if the registry says that there is no such thing.
    fn found<T>(&self, answer: Result<T, OciDistributionError>) -> Result<Option<T>, Error> {
        let is_absent = |error: &OciDistributionError| match error {
            OciDistributionError::ImageManifestNotFoundError(_) => true,
            OciDistributionError::ServerError { code, .. } => *code == 404,
            OciDistributionError::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
                matches!(error.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
            }),
            _ => false,
        };
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &OciDistributionError) -> Error {
        let place = self.place.to_string();
        let denied = |code: &OciErrorCode| matches!(code, OciErrorCode::Unauthorized | OciErrorCode::Denied);
        match error {
            OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. } => {
                Error::Denied { place, host: self.registry.clone() }
            }
            OciDistributionError::RegistryError { envelope, .. }
                if envelope.errors.iter().any(|error| denied(&error.code)) =>
            {
                Error::Denied { place, host: self.registry.clone() }
            }
            OciDistributionError::DigestError(_) => self.unusable("a layer", chain(error)),
            error => Error::Unreachable { place, detail: chain(error) },
        }
    }

    fn unusable(&self, what: &str, detail: String) -> Error {
        Error::Unusable { what: what.to_owned(), place: self.place.to_string(), detail }
    }
}

#[async_trait]
impl PluginPlace for OciPlace {
    async fn fetch(&self, name: &str, version: Option<&Version>) -> Result<Bundle, Error> {
        let version = match version {
            Some(version) => version.clone(),
            None => self.newest(name).await?,
        };
        let image = self.image(name, &version);
        let Some(manifest) = self.manifest(&image).await? else {
            let (plugin, place) = (name.to_owned(), self.place.to_string());
            return Err(Error::NoVersion { plugin, version: version.to_string(), place });
        };
        let Some(component) = self.layer(&image, &manifest, COMPONENT, COMPONENT_BYTES_MAX).await? else {
            return Err(self.unusable(&image.to_string(), format!("it has no layer of {COMPONENT}")));
        };
        let beside = Beside {
            signature: self.text(&image, &manifest, SIGNATURE, PLUGIN_SIGNATURE_BYTES_MAX).await?,
            goldens: self.text(&image, &manifest, GOLDENS, PLUGIN_GOLDENS_BYTES_MAX).await?,
            report: self.text(&image, &manifest, REPORT, PLUGIN_REPORT_BYTES_MAX).await?,
        };
        Ok(Bundle { component, beside })
    }

    async fn publish(&self, release: &Release<'_>) -> Result<Published, Error> {
        let image = self.image(release.name, release.version);
        let there = self.manifest(&image).await?;
        let there = there.as_ref().and_then(|there| there.layers.iter().find(|layer| layer.media_type == COMPONENT));
        if let Some(there) = there
            && digest_of(there) != Some(release.digest)
        {
            let (place, there) = (self.place.to_string(), there.digest.trim_start_matches("sha256:").to_owned());
            let version = format!("{} {}", release.name, release.version);
            return Err(Error::Exists { version, place, there, new: release.digest });
        }
        let (layers, config) = (layers(release.bundle), config(release));
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            ..OciImageManifest::build(&layers, &config, Some(annotations(release)))
        };
        let pushed = self.client.push(&image, &layers, config, &self.login, Some(manifest)).await;
        pushed.map_err(|error| self.failed(&error))?;
        Ok(Published { at: format!("oci://{image}"), was_there: there.is_some() })
    }
}

/// The component first, as others expect it.
fn layers(bundle: &Bundle) -> Vec<ImageLayer> {
    let Beside { signature, goldens, report } = &bundle.beside;
    let mut layers = vec![ImageLayer::new(bundle.component.clone(), COMPONENT.to_owned(), None)];
    for (media_type, text) in [(SIGNATURE, signature), (GOLDENS, goldens), (REPORT, report)] {
        layers.extend(text.as_ref().map(|text| ImageLayer::new(text.clone(), media_type.to_owned(), None)));
    }
    layers
}

/// The same for the same bytes, whenever they are published: its time is that of no clock.
fn config(release: &Release<'_>) -> Config {
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [format!("sha256:{}", release.digest)],
        "component": {"exports": [EXPORT], "imports": []},
    });
    Config::new(config.to_string(), CONFIG.to_owned(), None)
}

fn annotations(release: &Release<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), release.name.to_owned()),
        ("org.opencontainers.image.version".to_owned(), release.version.to_string()),
    ])
}

fn digest_of(layer: &OciDescriptor) -> Option<Digest> {
    layer.digest.strip_prefix("sha256:")?.parse().ok()
}

/// A tag has no `+`; the way out is the one that others take for their packages.
fn tag(version: &Version) -> String {
    version.to_string().replace('+', "_")
}

fn version(tag: &str) -> Option<Version> {
    tag.replace('_', "+").parse().ok()
}

/// Without the login.
impl fmt::Debug for OciPlace {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "OciPlace({})", self.place)
    }
}
