//! What comes from the environment: who applies, how to log, which program this is, and `${NAME}` in a value of
//! `lockstep.yaml`.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Set once, by `main`: other programs that use the library are not `lockstep`, and know none of its commands.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says that this process runs the program `lockstep`.
pub fn this_is_the_program() {
    // The file that is running, whatever has been put under its name since.
    let running = PathBuf::from("/proc/self/exe");
    let program = if running.exists() { Some(running) } else { std::env::current_exe().ok() };
    if let Some(program) = program {
        let _ = PROGRAM.set(program);
    }
}

/// The program `lockstep`, if this process runs it.
pub fn program() -> Option<PathBuf> {
    PROGRAM.get().cloned()
}

/// How `LOCKSTEP_LOG` and `LOCKSTEP_LOG_FORMAT` want the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Such as `info` or `lockstep::flow=debug`.
    pub filter: Option<String>,
    /// `LOCKSTEP_LOG_FORMAT=json`
    pub json: bool,
}

pub fn log_settings() -> LogSettings {
    LogSettings {
        filter: std::env::var("LOCKSTEP_LOG").ok(),
        json: std::env::var("LOCKSTEP_LOG_FORMAT").is_ok_and(|format| format == "json"),
    }
}

/// The name of the user who runs this, for the registry's history.
pub fn user() -> String {
    ["LOCKSTEP_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Folders of this user, for tools that we run. What is in them can be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolFolders {
    /// Where tools that we install, and what they made, are kept: `$XDG_CACHE_HOME/lockstep`.
    pub cache: PathBuf,
    /// Where cargo keeps the sources of crates: `$CARGO_HOME`.
    pub cargo_home: PathBuf,
}

pub fn tool_folders() -> ToolFolders {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = named("HOME").unwrap_or_else(std::env::temp_dir);
    let cache = named("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
    ToolFolders {
        cache: cache.join("lockstep"),
        cargo_home: named("CARGO_HOME").unwrap_or_else(|| home.join(".cargo")),
    }
}

/// `text` with every `${NAME}` replaced and every `$$` a dollar sign.
pub(super) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        expanded.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(named) = after.strip_prefix('{') {
            let Some((name, after)) = named.split_once('}') else {
                return Err(
                    "a ${ has no }; write ${NAME} for an environment variable, or $$ for a dollar sign".to_owned()
                );
            };
            if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                return Err(format!("${{{name}}} does not name an environment variable"));
            }
            let Some(value) = environment(name) else {
                return Err(format!("the environment variable {name} is not set"));
            };
            expanded.push_str(&value);
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}
