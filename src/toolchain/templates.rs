//! The folder of a new plugin: a transform that works, with its test, golden case, README and SDK.
//!
//! All of it is in our executable, so that it needs no clone of our repository and fits the gateway that it was written
//! by. `{{name}}` in a file stands for the plugin's name.

use std::path::Path;

use crate::catalog::snake_case_mistake;

use super::{Error, Language};

const NAME: &str = "{{name}}";

/// The files of a new plugin: path in its folder, text.
type Files = &'static [(&'static str, &'static str)];

/// A file of `plugins/sdk/`.
macro_rules! sdk {
    ($path:literal, $from:literal) => {
        ($path, include_str!(concat!("../../plugins/sdk/", $from)))
    };
}

const RUST: Files = &[
    sdk!("plugin.yaml", "rust/template/plugin.yaml"),
    sdk!("README.md", "rust/template/README.md"),
    sdk!("Cargo.toml", "rust/template/Cargo.toml"),
    sdk!(".gitignore", "rust/template/gitignore"),
    sdk!("src/lib.rs", "rust/template/src/lib.rs"),
    sdk!("goldens/usual.json", "template/goldens/usual.json"),
    sdk!("sdk/Cargo.toml", "rust/Cargo.toml"),
    sdk!("sdk/wit/transform.wit", "rust/wit/transform.wit"),
    sdk!("sdk/src/lib.rs", "rust/src/lib.rs"),
    sdk!("sdk/src/frame.rs", "rust/src/frame.rs"),
    sdk!("sdk/src/function.rs", "rust/src/function.rs"),
    sdk!("sdk/src/glue.rs", "rust/src/glue.rs"),
    sdk!("sdk/src/memory.rs", "rust/src/memory.rs"),
    sdk!("sdk/src/outputs.rs", "rust/src/outputs.rs"),
    sdk!("sdk/src/rows.rs", "rust/src/rows.rs"),
    sdk!("sdk/src/signature.rs", "rust/src/signature.rs"),
];

const C: Files = &[
    sdk!("plugin.yaml", "c/template/plugin.yaml"),
    sdk!("README.md", "c/template/README.md"),
    sdk!(".gitignore", "c/template/gitignore"),
    sdk!("src/transform.c", "c/template/src/transform.c"),
    sdk!("goldens/usual.json", "template/goldens/usual.json"),
    sdk!("sdk/lockstep.h", "c/lockstep.h"),
];

const PYTHON: Files = &[
    sdk!("plugin.yaml", "python/template/plugin.yaml"),
    sdk!("README.md", "python/template/README.md"),
    sdk!(".gitignore", "python/template/gitignore"),
    sdk!("src/{{name}}.py", "python/template/src/transform.py"),
    sdk!("tests/test_{{name}}.py", "python/template/tests/test_transform.py"),
    sdk!("goldens/usual.json", "template/goldens/usual.json"),
    sdk!("sdk/lockstep_plugin/__init__.py", "python/lockstep_plugin/__init__.py"),
    sdk!("sdk/lockstep_plugin/component.py", "python/lockstep_plugin/component.py"),
    sdk!("sdk/lockstep_plugin/compute.py", "python/lockstep_plugin/compute.py"),
    sdk!("sdk/lockstep_plugin/declare.py", "python/lockstep_plugin/declare.py"),
    sdk!("sdk/lockstep_plugin/frame.py", "python/lockstep_plugin/frame.py"),
    sdk!("sdk/lockstep_plugin/kinds.py", "python/lockstep_plugin/kinds.py"),
    sdk!("sdk/lockstep_plugin/seal.py", "python/lockstep_plugin/seal.py"),
];

const JS: Files = &[
    sdk!("plugin.yaml", "js/template/plugin.yaml"),
    sdk!("README.md", "js/template/README.md"),
    sdk!(".gitignore", "js/template/gitignore"),
    sdk!("package.json", "js/template/package.json"),
    sdk!("src/{{name}}.js", "js/template/src/transform.js"),
    sdk!("tests/{{name}}.test.js", "js/template/tests/transform.test.js"),
    sdk!("goldens/usual.json", "template/goldens/usual.json"),
    sdk!("sdk/lockstep_plugin/component.js", "js/lockstep_plugin/component.js"),
    sdk!("sdk/lockstep_plugin/compute.js", "js/lockstep_plugin/compute.js"),
    sdk!("sdk/lockstep_plugin/declare.js", "js/lockstep_plugin/declare.js"),
    sdk!("sdk/lockstep_plugin/frame.js", "js/lockstep_plugin/frame.js"),
    sdk!("sdk/lockstep_plugin/index.d.ts", "js/lockstep_plugin/index.d.ts"),
    sdk!("sdk/lockstep_plugin/index.js", "js/lockstep_plugin/index.js"),
    sdk!("sdk/lockstep_plugin/kinds.js", "js/lockstep_plugin/kinds.js"),
    sdk!("sdk/lockstep_plugin/seal.js", "js/lockstep_plugin/seal.js"),
];

/// Names that a language or its tools would trip over: keywords that are snake_case, names of crates and of Python modules.
const TAKEN: &str = "\
    abstract alloc and array as async auto await become bool box break build builtins case char class const \
    continue core crate datetime debugger def default del delete deps do double dyn elif else enum examples except \
    export extern false final float fn for from function gen global goto if impl import in incremental inline \
    inspect instanceof int interface is itertools lambda let lockstep lockstep_plugin logging long loop macro main \
    match math mod move mut new nonlocal not null or os override package pass pathlib priv private proc_macro \
    protected pub public raise random re ref register restrict return sdk self short signed sizeof static std \
    struct super switch sys test this throw time trait true try type typedef typeof types typing union unsafe \
    unsigned unsized use var virtual void volatile warnings where while wit_world with yield";

/// Writes the folder of a new plugin, whose last part is the plugin's name; gives the paths of its files.
pub fn write(folder: &Path, language: Language) -> Result<Vec<String>, Error> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(reason) = name_mistake(&name) {
        return Err(Error::BadName { name, reason });
    }
    if folder.exists() {
        return Err(Error::Exists(folder.to_owned()));
    }
    let mut written = Vec::new();
    for (path, text) in files(language) {
        let path = path.replace(NAME, &name);
        write_file(&folder.join(&path), &text.replace(NAME, &name))?;
        written.push(path);
    }
    Ok(written)
}

fn write_file(file: &Path, text: &str) -> Result<(), Error> {
    let parent = file.parent().unwrap_or(file);
    std::fs::create_dir_all(parent).map_err(Error::write(parent))?;
    std::fs::write(file, text).map_err(Error::write(file))
}

fn files(language: Language) -> Files {
    match language {
        Language::Rust => RUST,
        Language::Python => PYTHON,
        Language::Js => JS,
        Language::C => C,
    }
}

fn name_mistake(name: &str) -> Option<String> {
    let taken = || {
        TAKEN
            .split_whitespace()
            .any(|word| word == name)
            .then(|| "is a word of a language or of its tools; add another".to_owned())
    };
    snake_case_mistake(name).or_else(taken)
}

#[cfg(test)]
mod tests {
    use super::{NAME, TAKEN, files, name_mistake};
    use crate::toolchain::Language;

    #[test]
    fn every_language_has_what_a_plugin_folder_needs() {
        for language in Language::ALL {
            let files = files(language);
            for wanted in ["plugin.yaml", "README.md", ".gitignore", "goldens/usual.json"] {
                assert!(files.iter().any(|(path, _)| *path == wanted), "{language} lacks {wanted}");
            }
            let (_, manifest) = files.iter().find(|(path, _)| *path == "plugin.yaml").expect("checked above");
            assert!(manifest.contains(NAME), "{language}");
            assert!(manifest.contains(&format!("language: {language}")), "{language}");
        }
    }

    #[test]
    fn names_that_a_language_knows_are_refused() {
        assert!(TAKEN.split_whitespace().is_sorted());
        for bad in ["struct", "std", "", "Fare", "fare-ratio", "1st", "..", "sdk"] {
            assert!(name_mistake(bad).is_some(), "{bad}");
        }
        assert_eq!(name_mistake("fare_ratio"), None);
    }
}
