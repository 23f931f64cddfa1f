//! A disk that takes no more: of a training set or a source that does not fit into memory, of a sync, of a write.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use arrow::array::RecordBatch;

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

/// The message of a command that finds no room for a file of more than so many blocks.
fn refused_on_a_full_disk(folder: &Path, words: &[&str], blocks: u64, code: i32) -> String {
    // A limit on the size of files is what a full disk is to a program, if it does not let itself be killed by it. Blocks
    // have 512 bytes, or 1,024 where the shell has them so.
    let lockstep = command(folder, words);
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]).arg0("sh");
    limited.arg(lockstep.get_program()).args(lockstep.get_args());
    let ran = limited.current_dir(folder).stdin(Stdio::null()).output().expect("a shell");
    let error = String::from_utf8(ran.stderr).expect("UTF-8");
    assert_eq!(ran.status.code(), Some(code), "{error}");
    error
}

#[test]
fn a_full_disk_ends_the_command_with_its_reason_and_leaves_nothing() {
    let folder = project();
    let folder = folder.path();
    let error = refused_on_a_full_disk(folder, &TRAIN, 2_048, 7);
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

const WRITTEN: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources:
  - {name: of_files, type: push, path: data/files, event_time: at}
  - {name: of_delta, type: push, delta: data/delta, event_time: at}
feature_views:
  - {name: in_files, entities: [company], source: of_files, features: [{name: note, type: string}]}
  - {name: in_delta, entities: [company], source: of_delta, features: [{name: note, type: string}]}
";

/// Rows that compress badly.
fn notes(rows: usize) -> RecordBatch {
    let hashes = (0..rows).map(|row| (0..4).map(|part| hex(&[row as u64, part])).collect::<String>());
    let (hashes, company): (Vec<String>, Vec<String>) =
        (hashes.collect(), (0..rows).map(|row| row.to_string()).collect());
    batch(&[("company", texts(&company)), ("note", texts(&hashes)), ("at", times(&vec![NOW - DAY; rows]))])
}

fn hex(numbers: &[u64]) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(numbers, &mut hasher);
    format!("{:016x}", std::hash::Hasher::finish(&hasher))
}

#[test]
fn rows_that_the_disk_has_no_room_for_are_not_there_and_can_be_sent_again() {
    let folder = project_folder(WRITTEN);
    let folder = folder.path();
    let config = fs::read_to_string(folder.join("lockstep.yaml")).expect("the config");
    fs::write(folder.join("lockstep.yaml"), config + "online_store: {type: memory}\n").expect("written");
    write_rows(&folder.join("few.parquet"), &notes(10));
    write_rows(&folder.join("many.parquet"), &notes(40_000));
    succeed(folder, &["apply"]);
    let registry = fs::metadata(folder.join(".lockstep/registry.db")).expect("the registry").len();
    for (source, view) in [("of_files", "in_files"), ("of_delta", "in_delta")] {
        succeed(folder, &["push", source, "few.parquet", "--to", "offline"]);
        let words = ["push", source, "many.parquet", "--to", "offline"];
        let error = refused_on_a_full_disk(folder, &words, registry / 512 + 256, 9);
        assert!(error.contains(&format!("source {source}")), "{error}");
        assert!(error.contains("File too large") || error.contains("the disk of data/delta is full"), "{error}");
        let count = || json_of(folder, &["stats", view])["rows"].as_u64();
        assert_eq!(count(), Some(10), "nothing of it is there");
        succeed(folder, &words);
        assert_eq!(count(), Some(40_010));
    }
}

const LONG: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources:
  - {name: readings, type: parquet, path: data/readings.parquet, event_time: at}
  - name: wide
    type: long
    source: readings
    entity: {column: company, join_key: company}
    name_column: name
    value_column: note
    event_time: at
feature_views:
  - {name: stats, entities: [company], source: wide, features: [{name: hash, type: string}]}
";

#[test]
fn a_long_source_that_does_not_fit_into_memory_is_sorted_on_disk_or_says_that_there_is_no_room() {
    const ROWS: usize = 200_000;
    let folder = project_folder(LONG);
    let folder = folder.path();
    let config = fs::read_to_string(folder.join("lockstep.yaml")).expect("the config");
    let small = "online_store: {type: memory}\noffline_store: {memory: 16MiB}\n";
    fs::write(folder.join("lockstep.yaml"), config + small).expect("written");
    let notes = notes(ROWS);
    let names = texts(&vec!["hash"; ROWS]);
    let columns: Vec<_> = ["company", "note", "at"].into_iter().zip(notes.columns().iter().cloned()).collect();
    write_rows(&folder.join("data/readings.parquet"), &batch(&[columns, vec![("name", names)]].concat()));
    succeed(folder, &["apply"]);
    let error = refused_on_a_full_disk(folder, &["sync", "stats"], 2_048, 9);
    assert!(
        error.contains("room to work on source wide: its rows do not fit into memory, and putting them"),
        "{error}"
    );
    assert!(error.contains(".lockstep/spill failed (File too large"), "{error}");
    assert!(error.contains("name another folder with spill under offline_store"), "{error}");
    assert_eq!(spilled(folder), 0);
    let synced = &json_of(folder, &["sync", "stats"])[0];
    assert_eq!(synced["rows_read"].as_u64(), Some(ROWS as u64), "{synced}");
    assert_eq!(spilled(folder), 0);
}
