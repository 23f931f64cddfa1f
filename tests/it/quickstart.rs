//! `lockstep quickstart`: the first thing that anybody runs.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use lockstep::offline::read_parquet;

use crate::command::{Up, succeed};
use crate::world::http;

/// The trips of the example.
const TRIPS: usize = 15_002;

#[test]
fn it_goes_the_whole_way_and_can_be_run_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["quickstart", "--once", "--dir", "taxi"];
    let told = succeed(folder.path(), &words);
    check_report(&told);
    assert!(told.contains("  written to taxi"), "{told}");

    let set = read_parquet(&folder.path().join("taxi/training.parquet")).expect("a training set");
    let rows: usize = set.batches.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, TRIPS);
    assert_eq!(set.metadata["lockstep.service"], "tip_model_v1");
    assert_eq!(set.metadata["lockstep.version"], "1");
    for view in ["company_identity", "company_recency", "trip_quote"] {
        let digest = &set.metadata[&format!("lockstep.digest.{view}")];
        assert_eq!(digest.len(), 64, "{view}: {digest}");
    }

    let taxi = folder.path().join("taxi");
    let verified = succeed(&taxi, &["train", "verify", "training.parquet.manifest.json"]);
    assert_eq!(verified, format!("equal: {TRIPS} rows, bit for bit\n"), "from another folder than the set was made in");

    let again = succeed(folder.path(), &words);
    check_report(&again);
    assert!(
        again.contains("is there already and is used as it is") && again.contains("  no changes\n  version 1"),
        "{again}"
    );
}

/// The steps in their order, and a proof about something.
fn check_report(told: &str) {
    let mut rest = told;
    for step in ["[1/6] make", "[2/6] apply", "[3/6] sync", "[4/6] train", "[5/6] serve", "[6/6] parity"] {
        let start = rest.find(step).unwrap_or_else(|| panic!("{step} is not in its place in: {told}"));
        rest = &rest[start..];
    }
    let parity = rest.lines().find(|line| line.starts_with("parity: ")).expect("the last step's line");
    let numbers: Vec<usize> = parity.split([' ', ',', '(']).filter_map(|word| word.parse().ok()).collect();
    let [differ, values, rows, not_null] = numbers[..] else { panic!("{parity}") };
    assert_eq!(differ, 0, "{parity}");
    assert!(values > rows && rows > 0 && not_null > 0, "{parity}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_up_and_what_it_prints_can_be_copied() {
    // Whoever has this port, we or another gateway that stays up: it is taken.
    let _taken = tokio::time::timeout(Duration::from_secs(30), port("127.0.0.1:6566")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Up::start(folder.path(), &["quickstart", "--dir", "taxi"]);
    let told = gateway.wait_for("`apply`, `sync` and `serve`").to_owned();
    check_report(&told);
    assert!(told.contains("127.0.0.1:6566 is taken, so free ports are used this time"), "{told}");

    let address = told.lines().find_map(|line| line.strip_prefix("curl 'http://")).expect("a line for curl");
    let (address, path) = address.trim_end_matches('\'').split_once('/').expect("an address and a path");
    let address = address.parse().expect("an address");
    let reply = http(address, Method::GET, &format!("/{path}"), &[], Bytes::new()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["features"][0]["company_identity__company_clean"], "choice taxi association");

    let start = told.find("python3 - <<'END'").expect("a snippet of Python");
    let end = start + told[start..].find("\nEND\n").expect("its end") + "\nEND\n".len();
    let printed = python(&told[start..end]);
    assert!(printed.contains("'company_identity__company_clean': 'choice taxi association'"), "{printed}");

    assert_eq!(gateway.interrupt(), 0);
}

/// Runs lines for a shell, with the Python that has pyarrow as `python3`.
fn python(lines: &str) -> String {
    let python =
        std::env::var("LOCKSTEP_PYTHON").expect("LOCKSTEP_PYTHON is not set: run bash tests/run, which installs them");
    let folder = Path::new(&python).parent().expect("the folder of python").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").expect("PATH"));
    let output = Command::new("bash").args(["-c", lines]).env("PATH", path).output().expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The port, once another test that has it for a while lets go of it.
async fn port(address: &str) -> TcpListener {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    loop {
        again.tick().await;
        if let Ok(taken) = TcpListener::bind(address) {
            return taken;
        }
    }
}
