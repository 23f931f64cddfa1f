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

/// Names that a language or its tools would trip over: keywords of Rust and C that are snake_case, and names of crates.
const TAKEN: &[&str] = &[
    "abstract", "alloc", "as", "async", "auto", "await", "become", "bool", "box", "break", "build", "case", "char",
    "class", "const", "continue", "core", "crate", "def", "default", "deps", "do", "double", "dyn", "else", "enum",
    "examples", "export", "extern", "false", "final", "float", "fn", "for", "function", "gen", "goto", "if", "impl",
    "import", "in", "incremental", "inline", "int", "let", "lockstep", "lockstep_plugin", "long", "loop", "macro",
    "main", "match", "mod", "move", "mut", "new", "null", "override", "priv", "proc_macro", "pub", "ref", "register",
    "restrict", "return", "sdk", "self", "short", "signed", "sizeof", "static", "std", "struct", "super", "switch",
    "test", "this", "trait", "true", "try", "type", "typedef", "typeof", "union", "unsafe", "unsigned", "unsized",
    "use", "var", "virtual", "void", "volatile", "where", "while", "with", "yield",
];

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
        let file = folder.join(&path);
        let parent = file.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(Error::write(parent))?;
        std::fs::write(&file, text.replace(NAME, &name)).map_err(Error::write(&file))?;
        written.push(path);
    }
    Ok(written)
}

fn files(language: Language) -> Files {
    match language {
        Language::Rust => RUST,
        Language::C => C,
    }
}

fn name_mistake(name: &str) -> Option<String> {
    let taken = || TAKEN.contains(&name).then(|| "is a word of a language or of its tools; add another".to_owned());
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
        assert!(TAKEN.is_sorted());
        for bad in ["struct", "std", "", "Fare", "fare-ratio", "1st", "..", "sdk"] {
            assert!(name_mistake(bad).is_some(), "{bad}");
        }
        assert_eq!(name_mistake("fare_ratio"), None);
    }
}
