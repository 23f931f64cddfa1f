//! `componentize IN OUT`: a core module that was built with the SDK (or a component as text, `.wat`) becomes a component.
//!
//! It runs at build time and not in the gateway: what a gateway loads, and takes the digest of, is then exactly what
//! was reviewed, and no encoder stands between the two.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = paths.as_slice() else {
        eprintln!("usage: componentize IN.wasm|IN.wat OUT.wasm");
        return ExitCode::from(2);
    };
    match componentize(from).and_then(|component| Ok(std::fs::write(to, component)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("componentize {}: {error}", from.display());
            ExitCode::FAILURE
        }
    }
}

fn componentize(from: &PathBuf) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = std::fs::read(from)?;
    if from.extension().is_some_and(|extension| extension == "wat") {
        return Ok(wat::parse_bytes(&bytes)?.into_owned());
    }
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}").into())
}
