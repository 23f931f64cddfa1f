//! What the sections about plugins mean together, checked.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use semver::Version;

use super::LOCK_FILE_NAME;
use super::file::{ChosenFile, ConfigFile, InstancesFile, LoginFile, PluginLimitsFile, PluginsFile};
use super::section::Section;
use crate::catalog::snake_case_mistake;
use crate::limits::{
    FRAME_BYTES_MAX, PLUGIN_CALL_TIME_CEILING, PLUGIN_MEMORY_BYTES_CEILING, PLUGIN_MEMORY_BYTES_FLOOR,
};
use crate::plugins::{Chosen, Login, Place, PublicKey, Settings};
use crate::transform::{PluginLimits, Reuse};

const MIB: u64 = 1 << 20;

/// Where the plugins are and who is trusted. Where there are mistakes they are noted, and what is given is of no use.
pub(super) fn settings(whole: &mut Section<'_>, project: &Path, cache: &Path, file: &ConfigFile) -> Settings {
    let (usual, from) = places(whole, &file.plugins);
    let logins = logins(whole.inner("plugin_logins"), &file.plugin_logins);
    check_unencrypted(whole, &usual, &from, &logins);
    let keys = keys(whole.inner("plugin_keys"), &file.plugin_keys);
    if file.require_signature && keys.is_empty() {
        whole.refuse("require_signature", "no plugin can be signed as long as plugin_keys names no key");
    }
    Settings {
        project: project.to_owned(),
        usual,
        from,
        logins,
        keys,
        require_signature: file.require_signature,
        lock: project.join(LOCK_FILE_NAME),
        cache: cache.join("plugins"),
    }
}

fn places(whole: &mut Section<'_>, file: &PluginsFile) -> (Place, BTreeMap<String, Chosen>) {
    let file = match file {
        PluginsFile::Folder(folder) => return (Place::Folder(whole.path("plugins", folder)), BTreeMap::new()),
        PluginsFile::Places(places) => places,
    };
    let mut section = whole.inner("plugins");
    let usual = place(&mut section, file.folder.as_deref(), file.url.as_deref(), file.oci.as_deref());
    let usual = usual.unwrap_or_else(|| {
        section.refuse_all("say where the plugins are: one of folder, url and oci");
        Place::Url(String::new())
    });
    let mut from = section.inner("from");
    let chosen = |(name, file): (&String, &ChosenFile)| {
        let mut section = from.inner(name);
        if let Some(wrong) = snake_case_mistake(name) {
            section.refuse_own_key(format!("the name of a plugin {wrong}"));
        }
        let place = place(&mut section, file.folder.as_deref(), file.url.as_deref(), file.oci.as_deref());
        let version = file.version.as_ref().and_then(|version| match Version::parse(version) {
            Ok(version) => Some(version),
            Err(wrong) => {
                section.refuse("version", format!("{version:?} is not a version such as 1.2.0: {wrong}"));
                None
            }
        });
        (name.clone(), Chosen { place, version })
    };
    (usual, file.from.iter().map(chosen).collect())
}

fn place(section: &mut Section<'_>, folder: Option<&str>, url: Option<&str>, oci: Option<&str>) -> Option<Place> {
    if [folder, url, oci].iter().flatten().count() > 1 {
        section.refuse_all("a plugin is in one place; write one of folder, url and oci");
    }
    if let Some(folder) = folder {
        return Some(Place::Folder(section.path("folder", folder)));
    }
    let (key, checked) = match (url, oci) {
        (Some(url), _) => ("url", Place::url(url)),
        (None, Some(oci)) => ("oci", Place::oci(oci)),
        (None, None) => return None,
    };
    Some(checked.unwrap_or_else(|wrong| {
        section.refuse(key, wrong);
        Place::Url(String::new())
    }))
}

fn logins(mut section: Section<'_>, files: &BTreeMap<String, LoginFile>) -> BTreeMap<String, Login> {
    let login = |(host, file): (&String, &LoginFile)| {
        let mut section = section.inner(host);
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            section.refuse_own_key(
                "a host is a name and, where it is not the usual one, a port: registry.example.com:5000",
            );
        }
        let password = section.secret("password", file.password.as_deref(), file.password_file.as_deref());
        let user = match (&file.username, password) {
            (Some(user), Some(password)) => Some((user.clone(), password)),
            (None, None) => None,
            _ => {
                section.refuse_all("username and password belong together; write both or none");
                None
            }
        };
        (host.clone(), Login { user, allow_http: file.allow_http })
    };
    files.iter().map(login).collect()
}

/// Bytes that are fetched for the first time are believed; nobody on the way may exchange them, or read the password.
fn check_unencrypted(
    whole: &mut Section<'_>,
    usual: &Place,
    from: &BTreeMap<String, Chosen>,
    logins: &BTreeMap<String, Login>,
) {
    for place in std::iter::once(usual).chain(from.values().filter_map(|chosen| chosen.place.as_ref())) {
        if let Some(host) = place.unencrypted(logins) {
            let advice = format!(
                "{place} is asked without encryption; write https://, or plugin_logins: {{\"{host}\": {{allow_http: true}}}} if \
                 that is meant"
            );
            whole.refuse("plugins", advice);
        }
    }
}

fn keys(mut section: Section<'_>, keys: &BTreeMap<String, String>) -> BTreeMap<String, PublicKey> {
    let key = |(name, text): (&String, &String)| {
        let key = text.parse().map_err(|wrong: String| section.refuse(name, wrong)).ok()?;
        Some((name.clone(), key))
    };
    keys.iter().filter_map(key).collect()
}

/// What single plugins may use.
pub(super) fn limits(
    mut section: Section<'_>,
    files: &BTreeMap<String, PluginLimitsFile>,
) -> HashMap<String, PluginLimits> {
    files.iter().map(|(name, file)| (name.clone(), limits_of(section.inner(name), file))).collect()
}

fn limits_of(mut section: Section<'_>, file: &PluginLimitsFile) -> PluginLimits {
    let mut bytes = |key: &str, mib: Option<u64>, max: usize| {
        let bytes = mib.map(|mib| usize::try_from(mib.saturating_mul(MIB)).unwrap_or(usize::MAX))?;
        if !(PLUGIN_MEMORY_BYTES_FLOOR..=max).contains(&bytes) {
            section.refuse(key, format!("1 to {} MiB can be allowed", max as u64 / MIB));
        }
        Some(bytes)
    };
    let memory_bytes_max = bytes("memory_mib", file.memory_mib, PLUGIN_MEMORY_BYTES_CEILING);
    let output_bytes_max = bytes("output_mib", file.output_mib, FRAME_BYTES_MAX);
    let call_time_max =
        file.call_time.as_ref().map(|text| section.timeout("call_time", text, PLUGIN_CALL_TIME_CEILING));
    if file.fuel_per_call == Some(0) {
        section.refuse("fuel_per_call", "without fuel no call begins");
    }
    PluginLimits {
        memory_bytes_max,
        fuel_per_call: file.fuel_per_call,
        fuel_per_row: file.fuel_per_row,
        call_time_max,
        output_bytes_max,
        reuse: match file.instances {
            None => Reuse::BySize,
            Some(InstancesFile::Fresh) => Reuse::Never,
            Some(InstancesFile::Warm) => Reuse::Always,
        },
    }
}
