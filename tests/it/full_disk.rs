//! A training set that does not fit into memory, and a disk that takes no more.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{command, json_of, succeed};
use crate::light::{DAY, NOW, SECOND, batch, floats, integers, texts, times, write_rows};
use crate::world::project_folder;

const DEFINITIONS: &str = "
entities:
  - {name: company, join_keys: [{name: company, type: string}]}
sources:
  - {name: rides, type: parquet, path: data/rides.parquet, event_time: at}
feature_views:
  - {name: stats, entities: [company], source: rides, features: [{name: fare, type: float64}]}
feature_services:
  - {name: model, features: [stats]}
";

const LABELS: usize = 300_000;

fn project() -> tempfile::TempDir {
    let folder = project_folder(DEFINITIONS);
    let config = fs::read_to_string(folder.path().join("lockstep.yaml")).expect("the config");
    fs::write(
        folder.path().join("lockstep.yaml"),
        config + "online_store: {type: memory}\noffline_store: {memory: 16MiB}\n",
    )
    .expect("written");
    let rides = batch(&[
        ("company", texts(&["company 1", "company 2"])),
        ("fare", floats(&[1.0, 2.0])),
        ("at", times(&[NOW - DAY, NOW - DAY])),
    ]);
    write_rows(&folder.path().join("data/rides.parquet"), &rides);
    let company: Vec<String> = (0..LABELS).map(|label| format!("company {}", label % 1_000)).collect();
    let number: Vec<i64> = (0..LABELS as i64).collect();
    let at: Vec<i64> = number.iter().map(|label| NOW + label * SECOND).collect();
    let labels = batch(&[("company", texts(&company)), ("number", integers(&number)), ("event_timestamp", times(&at))]);
    write_rows(&folder.path().join("labels.parquet"), &labels);
    succeed(folder.path(), &["apply"]);
    folder
}

const TRAIN: [&str; 6] = ["train", "model", "--labels", "labels.parquet", "--to", "set.parquet"];

fn spilled(folder: &Path) -> usize {
    fs::read_dir(folder.join(".lockstep/spill")).expect("the folder of what is put aside").count()
}

#[test]
fn a_full_disk_ends_the_command_with_its_reason_and_leaves_nothing() {
    let folder = project();
    let folder = folder.path();
    // A limit on the size of files is what a full disk is to a program, if it does not let itself be killed by it.
    let lockstep = command(folder, &TRAIN);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]).arg0("sh");
    limited.arg(lockstep.get_program()).args(lockstep.get_args());
    let ran = limited.current_dir(folder).stdin(Stdio::null()).output().expect("a shell");
    let error = String::from_utf8(ran.stderr).expect("UTF-8");
    assert_eq!(ran.status.code(), Some(7), "{error}");
    assert!(error.contains("the join did not fit into its memory, and spilling to "), "{error}");
    assert!(error.contains(".lockstep/spill failed; free some space there"), "{error}");
    assert!(error.contains("File too large"), "{error}");
    assert!(!folder.join("set.parquet").exists() && !folder.join("set.parquet.manifest.json").exists());
    assert_eq!(spilled(folder), 0);

    let made = json_of(folder, &TRAIN);
    assert_eq!(made["rows"], LABELS, "with room on the disk it is made");
    assert!(made["spilled_bytes"].as_u64().expect("a number") > 8_000_000, "{made}");
    assert_eq!(spilled(folder), 0);
    let verified = json_of(folder, &["train", "verify", "set.parquet.manifest.json"]);
    assert_eq!(verified["equal"], true, "{verified}");
}
