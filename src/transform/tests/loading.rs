//! What is loaded and bound, what is refused, and what the cache keeps.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{DType, Digest, NullPolicy, TimeUse};

fn refused(plugin: &str, bytes: &[u8]) -> Error {
    stage(settings()).load(plugin, bytes).unwrap_err()
}

fn parameter(name: &str, value: Parameter) -> Vec<(String, Parameter)> {
    vec![(name.to_owned(), value)]
}

#[test]
fn a_signature_is_what_the_plugin_describes() {
    let stage = stage(settings());
    let (digest, signature) = stage.load("taxi_recency", &component("taxi_recency")).unwrap();
    assert_eq!(digest, Digest::of(&component("taxi_recency")));
    assert_eq!((signature.name.as_str(), signature.version.to_string().as_str()), ("taxi_recency", "1.0.0"));
    assert_eq!((signature.time, signature.nulls), (TimeUse::AsOf, NullPolicy::Propagate));
    assert_eq!(signature.features[0].dtype, DType::TIMESTAMP);
    let outputs: Vec<String> =
        signature.outputs.iter().map(|field| format!("{}: {}", field.name, field.dtype)).collect();
    assert_eq!(outputs, ["days_since_last_trip: float64", "idle_over_week: bool"]);
}

#[test]
fn an_import_is_refused_by_name() {
    let error = refused("fault_import", &component("fault_import"));
    let import = "wasi:random/random@0.2.0#get-random-u64".to_owned();
    assert_eq!(error, Error::ForbiddenImport { plugin: "fault_import".to_owned(), import });
    assert!(error.to_string().contains("as_of"));
}

#[test]
fn what_is_not_a_component_is_refused() {
    for bytes in [&b""[..], b"not wasm", b"\0asm\x0d\0\x01\0 and then rubbish"] {
        assert!(matches!(refused("x", bytes), Error::NotAComponent { .. }));
    }
    let module = wat::parse_str("(module)").unwrap();
    assert!(refused("x", &module).to_string().contains("core module"));
    let empty = wat::parse_str("(component)").unwrap();
    assert!(matches!(refused("x", &empty), Error::NotAComponent { .. }));
}

#[test]
fn a_damaged_component_is_refused() {
    let whole = component("haversine");
    for end in [8, 100, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(refused("haversine", &whole[..end]), Error::NotAComponent { .. }), "{end} bytes");
    }
}

#[test]
fn a_component_that_is_too_large_is_refused() {
    let bytes = vec![0; crate::limits::COMPONENT_BYTES_MAX + 1];
    assert!(matches!(refused("x", &bytes), Error::ComponentTooLarge { .. }));
}

#[test]
fn a_plugin_that_describes_itself_differently_is_refused() {
    assert!(matches!(refused("fault_describe", &component("fault_describe")), Error::LyingSignature { .. }));
}

#[test]
fn a_plugin_that_binds_other_columns_than_it_describes_is_refused() {
    let stage = stage(settings());
    let (digest, _) = stage.load("fault_signature", &component("fault_signature")).unwrap();
    let error = stage.bind("fault_signature", digest, &[], None).unwrap_err();
    let detail = "it describes the outputs y: float64 and binds y: string".to_owned();
    assert_eq!(error, Error::LyingSignature { plugin: "fault_signature".to_owned(), detail });
}

#[test]
fn parameters_and_outputs_are_checked() {
    let stage = stage(settings());
    let (digest, _) = stage.load("taxi_company", &component("taxi_company")).unwrap();
    let bind = |given: &[(String, Parameter)], outputs: Option<&[String]>| {
        stage.bind("taxi_company", digest, given, outputs).map_err(|error| error.to_string())
    };
    let check = |given: Vec<(String, Parameter)>, says: &str| assert_eq!(bind(&given, None).unwrap_err(), says);
    check(parameter("bucket", Parameter::Int(3)), "plugin taxi_company has no parameter bucket; it has buckets");
    check(
        parameter("buckets", Parameter::String("many".to_owned())),
        "parameter buckets of plugin taxi_company: \"many\" is not a int64",
    );
    check(
        parameter("buckets", Parameter::Int(0)),
        "parameter buckets of plugin taxi_company: 0 is not between 1 and 2147483647",
    );
    let unknown = bind(&[], Some(&["company".to_owned()])).unwrap_err();
    assert_eq!(unknown, "plugin taxi_company has no output company; it has company_clean, company_bucket");

    let transform = bind(&[], Some(&["company_bucket".to_owned()])).unwrap();
    let answer = applied(&stage, &transform, &[vec![json!("Flash Cab"), Value::Null]]).unwrap();
    assert_eq!(answer.rows.num_columns(), 1);
    assert_eq!(answer.rows.schema().field(0).name(), "company_bucket");
}

#[test]
fn a_digest_depends_on_parameters_and_outputs_but_not_on_what_is_left_out() {
    let stage = stage(settings());
    let (digest, _) = stage.load("taxi_company", &component("taxi_company")).unwrap();
    let bind = |given: &[(String, Parameter)], outputs: Option<&[String]>| {
        stage.bind("taxi_company", digest, given, outputs).unwrap().digest
    };
    let plain = bind(&[], None);
    assert_eq!(bind(&parameter("buckets", Parameter::Int(64)), None), plain);
    assert_eq!(bind(&parameter("buckets", Parameter::Null), None), plain);
    assert_ne!(bind(&parameter("buckets", Parameter::Int(65)), None), plain);
    assert_ne!(bind(&[], Some(&["company_clean".to_owned()])), plain);
}

#[test]
fn an_unknown_component_or_transform_is_not_found() {
    let (stage, other) = (stage(settings()), stage(settings()));
    let error = stage.bind("x", Digest::of(b"x"), &[], None).unwrap_err();
    assert!(matches!(error, Error::NotLoaded { .. }));
    let foreign = bound(&other, "haversine", &[]);
    let place = vec![json!(1.0)];
    let error = applied(&stage, &foreign, &[place.clone(), place.clone(), place.clone(), place]).unwrap_err();
    assert!(matches!(error, Error::NotLoaded { .. }));
}

#[test]
fn other_columns_than_the_transform_reads_are_refused() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_company", &[]);
    let field = crate::catalog::Field::new("company_name", "int64".parse().unwrap());
    let wrong = record_batch(&[field], vec![array_of("int64".parse().unwrap(), &[json!(1)])], 1);
    let error = stage.apply(&transform, wrong.columns(), wrong.num_rows(), soon()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin taxi_company got other columns than it reads: company_name is Int64, the plugin reads string"
    );
}

#[test]
fn a_compiled_plugin_is_cached_and_a_damaged_one_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let load = || {
        let stage = stage(Settings { cache: Some(cache.clone()), ..settings() });
        let transform = bound(&stage, "haversine", &[]);
        let place = vec![json!(1.0)];
        applied(&stage, &transform, &[place.clone(), place.clone(), place.clone(), place]).unwrap();
        let stats = stage.stats();
        (stats.compiled.load(Ordering::Relaxed), stats.cache_hits.load(Ordering::Relaxed))
    };
    assert_eq!(load(), (1, 0));
    assert_eq!(load(), (0, 1));

    let files: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    assert_eq!(load(), (1, 0));
    assert_eq!(load(), (0, 1));

    std::fs::write(&files[0], b"short").unwrap();
    assert_eq!(load(), (1, 0));
}

/// Loads a plugin with its compiled form in this cache.
fn cached(cache: &std::path::Path, bytes_max: u64, plugin: &str) {
    let settings = Settings { cache: Some(cache.to_owned()), cache_bytes_max: bytes_max, ..settings() };
    stage(settings).load(plugin, &component(plugin)).unwrap();
}

/// The plugins whose compiled form is in the cache.
fn kept(cache: &std::path::Path) -> Vec<&'static str> {
    let files: Vec<String> = std::fs::read_dir(cache)
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let is_kept = |plugin: &&str| {
        let digest = Digest::of(&component(plugin)).to_string();
        files.iter().any(|file| file.starts_with(&digest))
    };
    ["haversine", "taxi_company", "taxi_recency"].into_iter().filter(is_kept).collect()
}

#[test]
fn the_cache_is_bounded_and_keeps_what_was_used_last() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    cached(&cache, u64::MAX, "haversine");
    cached(&cache, u64::MAX, "taxi_company");
    let bytes: u64 = std::fs::read_dir(&cache).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    // Something else in the folder is not ours to drop.
    std::fs::write(cache.join("note.txt"), "keep").unwrap();
    // The first one is used again, so the second is the one that was not used for longest.
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
    for file in std::fs::read_dir(&cache).unwrap() {
        std::fs::File::options().append(true).open(file.unwrap().path()).unwrap().set_modified(long_ago).unwrap();
    }
    cached(&cache, u64::MAX, "haversine");
    cached(&cache, bytes, "taxi_recency");
    assert_eq!(kept(&cache), ["haversine", "taxi_recency"]);
    cached(&cache, 1, "taxi_company");
    assert_eq!(kept(&cache), ["taxi_company"], "the newest stays, however large");
    assert!(cache.join("note.txt").exists());
}

#[test]
fn a_cache_that_cannot_be_written_to_costs_time_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("a file");
    std::fs::write(&cache, "in the way").unwrap();
    cached(&cache, u64::MAX, "haversine");
    assert_eq!(std::fs::read_to_string(&cache).unwrap(), "in the way");
}

#[cfg(unix)]
#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let stage = stage(Settings { cache: Some(folder.path().to_owned()), ..settings() });
    bound(&stage, "haversine", &[]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
