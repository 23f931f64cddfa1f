//! A plugin arrives: out of the cache or from its place, the bytes that are pinned, signed as the project wants it. Or
//! it leaves, to be published.

use std::future::Future;

use tokio::time::timeout;

use super::folder::FolderPlace;
use super::oci::OciPlace;
use super::url::UrlPlace;
use super::{Bundle, Error, Lock, Place, PluginPlace, Published, Release, Settings, kept, verify};
use crate::catalog::Digest;
use crate::limits::PLUGIN_PLACE_TIMEOUT;

/// A plugin that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub name: String,
    pub digest: Digest,
    pub bundle: Bundle,
    /// Where it is from, as the lock file names it.
    pub place: String,
    /// What the project calls the key that signed it.
    pub signed_by: Option<String>,
    /// Whether it must be pinned before it is used: what comes from elsewhere may be other bytes the next time.
    pub is_from_elsewhere: bool,
}

/// The plugin that the lock pins; where it pins none, the one that `lockstep.yaml` chooses.
pub async fn fetch(settings: &Settings, lock: &Lock, name: &str) -> Result<Fetched, Error> {
    let (place, wanted) = settings.chosen(name);
    let Some(locked) = lock.plugins.get(name) else { return fetch_anew(settings, name).await };
    let said = settings.place_text(place);
    if said != locked.place || wanted.is_some_and(|wanted| *wanted != locked.version) {
        let wanted = wanted.map_or(String::new(), |wanted| format!("{wanted} "));
        return Err(Error::ChoiceChanged {
            plugin: name.to_owned(),
            locked: format!("{} of {}", locked.version, locked.place),
            wanted: format!("{wanted}of {said}"),
        });
    }
    let is_from_elsewhere = place.host().is_some();
    let cached = if is_from_elsewhere { kept::find(&settings.cache, locked.digest) } else { None };
    // What was kept before it was signed is looked for once more.
    let is_signed = |text: &String| verify(name, locked.digest, text, &settings.keys).is_ok();
    let suffices =
        |bundle: &Bundle| !settings.require_signature || bundle.beside.signature.as_ref().is_some_and(is_signed);
    let cached = cached.filter(suffices);
    let bundle = match cached {
        Some(bundle) => bundle,
        None => in_time(place, open(settings, place)?.fetch(name, Some(&locked.version))).await?,
    };
    arrived(settings, name, place, bundle, Some(locked.digest))
}

/// The plugin that `lockstep.yaml` chooses, whatever the lock pins.
pub async fn fetch_anew(settings: &Settings, name: &str) -> Result<Fetched, Error> {
    let (place, wanted) = settings.chosen(name);
    let bundle = in_time(place, open(settings, place)?.fetch(name, wanted)).await?;
    arrived(settings, name, place, bundle, None)
}

/// Sends a plugin to a place.
pub async fn publish(settings: &Settings, place: &Place, release: &Release<'_>) -> Result<Published, Error> {
    in_time(place, open(settings, place)?.publish(release)).await
}

/// The adapter of a place.
pub fn open(settings: &Settings, place: &Place) -> Result<Box<dyn PluginPlace>, Error> {
    let login = place.host().and_then(|host| settings.logins.get(host)).cloned().unwrap_or_default();
    Ok(match place {
        Place::Folder(folder) => Box::new(FolderPlace::new(folder.clone())),
        Place::Url(url) => Box::new(UrlPlace::new(url, &login)?),
        Place::Oci(path) => Box::new(OciPlace::new(path, &login)?),
    })
}

fn arrived(
    settings: &Settings,
    name: &str,
    place: &Place,
    bundle: Bundle,
    locked: Option<Digest>,
) -> Result<Fetched, Error> {
    let digest = Digest::of(&bundle.component);
    if let Some(locked) = locked.filter(|locked| *locked != digest) {
        let (plugin, place) = (name.to_owned(), settings.place_text(place));
        return Err(Error::DigestChanged { plugin, locked, found: digest, place });
    }
    let signed_by = match &bundle.beside.signature {
        Some(text) => match verify(name, digest, text, &settings.keys) {
            // A signature of somebody whom nobody asked about is no reason to refuse; a wrong one always is.
            Err(Error::UnknownKey { .. }) if !settings.require_signature => None,
            verified => Some(verified?),
        },
        None if settings.require_signature => return Err(Error::Unsigned { plugin: name.to_owned() }),
        None => None,
    };
    let is_from_elsewhere = place.host().is_some();
    if is_from_elsewhere {
        kept::keep(&settings.cache, digest, &bundle);
    }
    let place = settings.place_text(place);
    Ok(Fetched { name: name.to_owned(), digest, bundle, place, signed_by, is_from_elsewhere })
}

/// A place that answers by drops is not waited for.
async fn in_time<T>(place: &Place, doing: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let too_late = |_| {
        let detail = format!("it took more than {} s", PLUGIN_PLACE_TIMEOUT.as_secs());
        Err(Error::Unreachable { place: place.to_string(), detail })
    };
    timeout(PLUGIN_PLACE_TIMEOUT, doing).await.unwrap_or_else(too_late)
}
