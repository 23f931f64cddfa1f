//! The names of files that were written here, and what they say about which files make up the table.
//!
//! A batch becomes one file, `<number>-<batch>.parquet`, or one file in each of the `n` folders that it has rows for,
//! `<number>-<batch>.<k>of<n>.parquet`. Numbers grow, so files by path are files by age; the second part stands for the
//! batch id. From the names alone a reader knows all it needs:
//!
//! - A batch counts when all of its `n` files are there. So a batch is seen whole or not at all, whoever crashed while
//!   writing it, and no file has to be written last to say so.
//! - Of one batch the files with the lowest number count. So two gateways that are sent the same batch at once, each of
//!   which sees that it is not there yet, store it once, without a lock that buckets do not have.
//!
//! Files with other names are other programs' and always count. What replaces files (compaction, upsert) is called
//! `rewritten-<hash>.parquet` and counts only if the state says so (see [`super::state`]).

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

const NUMBER_DIGITS: usize = 12;
const HASH_DIGITS: usize = 32;
const REWRITTEN: &str = "rewritten-";

/// What a file's name says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Batch(BatchFile<'a>),
    /// Made of other files; the state knows whether it counts.
    Rewritten,
    /// Another program's.
    Other,
}

/// One of the files of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchFile<'a> {
    pub number: u64,
    pub batch: &'a str,
    /// From 1 to `parts`.
    pub part: usize,
    pub parts: usize,
}

/// What stands for a batch id, which may hold anything.
pub(super) fn batch_hash(batch_id: &str) -> String {
    hex::encode(&Sha256::digest(batch_id.as_bytes())[..HASH_DIGITS / 2])
}

/// The name, below `folder`, of the file that replaces others; `what` makes it this one and no other.
pub(super) fn rewritten(folder: &str, what: &[&str]) -> String {
    in_folder(folder, &format!("{REWRITTEN}{}.parquet", hash(what)))
}

/// The path of one of the files of a batch.
pub(super) fn batch_file(folder: &str, file: BatchFile<'_>) -> String {
    let BatchFile { number, batch, part, parts } = file;
    let name = match parts {
        1 => format!("{number:0NUMBER_DIGITS$}-{batch}.parquet"),
        _ => format!("{number:0NUMBER_DIGITS$}-{batch}.{part}of{parts}.parquet"),
    };
    in_folder(folder, &name)
}

/// The folder of a path within a table; empty for the table itself.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What the name of the file at `path` says.
pub(super) fn parse(path: &str) -> Name<'_> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some(stem) = name.strip_suffix(".parquet") else { return Name::Other };
    if stem.strip_prefix(REWRITTEN).is_some_and(is_hash) {
        return Name::Rewritten;
    }
    batch_name(stem).map_or(Name::Other, Name::Batch)
}

fn batch_name(stem: &str) -> Option<BatchFile<'_>> {
    let (number, rest) = stem.split_once('-')?;
    if number.len() != NUMBER_DIGITS || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (batch, part, parts) = match rest.split_once('.') {
        None => (rest, 1, 1),
        Some((batch, parts)) => {
            let (part, parts) = parts.split_once("of")?;
            (batch, part.parse().ok()?, parts.parse().ok()?)
        }
    };
    let is_ours = is_hash(batch) && (1..=parts).contains(&part);
    is_ours.then(|| Some(BatchFile { number: number.parse().ok()?, batch, part, parts }))?
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn in_folder(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn hash(of: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in of {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hex::encode(&hash.finalize()[..HASH_DIGITS / 2])
}

/// The batches of which all files are there, each with the number and the count of the files that count.
#[derive(Debug, Default)]
pub(super) struct Batches<'a> {
    counting: BTreeMap<&'a str, (u64, usize)>,
    /// The number after the largest one.
    pub next_number: u64,
}

impl<'a> Batches<'a> {
    pub(super) fn of(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut parts: BTreeMap<(&str, u64, usize), BTreeSet<usize>> = BTreeMap::new();
        let mut next_number = 0;
        for path in paths {
            if let Name::Batch(file) = parse(path) {
                parts.entry((file.batch, file.number, file.parts)).or_default().insert(file.part);
                next_number = next_number.max(file.number + 1);
            }
        }
        let mut counting = BTreeMap::new();
        for ((batch, number, parts), there) in parts {
            if there.len() == parts {
                // The first one is the one with the lowest number.
                counting.entry(batch).or_insert((number, parts));
            }
        }
        Self { counting, next_number }
    }

    pub(super) fn counts(&self, file: BatchFile<'_>) -> bool {
        self.counting.get(file.batch) == Some(&(file.number, file.parts))
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.counting.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u64, batch: &str, part: usize, parts: usize) -> String {
        batch_file("day=2026-01-31", BatchFile { number, batch, part, parts })
    }

    fn counting(paths: &[String]) -> Vec<usize> {
        let batches = Batches::of(paths.iter().map(String::as_str));
        let counts = |path: &String| matches!(parse(path), Name::Batch(file) if batches.counts(file));
        (0..paths.len()).filter(|at| counts(&paths[*at])).collect()
    }

    #[test]
    fn a_name_says_what_it_was_made_of() {
        let batch = batch_hash("monday");
        for (part, parts) in [(1, 1), (1, 3), (3, 3), (100, 100)] {
            let written = BatchFile { number: 7, batch: &batch, part, parts };
            assert_eq!(parse(&batch_file("", written)), Name::Batch(written));
            assert_eq!(parse(&batch_file("a=1/b=2", written)), Name::Batch(written));
        }
        assert_eq!(parse(&rewritten("a=1", &["x", "y"])), Name::Rewritten);
        assert_ne!(rewritten("", &["x", "yz"]), rewritten("", &["xy", "z"]));
    }

    #[test]
    fn other_names_are_other_programs_files() {
        let batch = batch_hash("monday");
        let names = [
            "part-00000-abc.zstd.parquet".to_owned(),
            format!("7-{batch}.parquet"),
            format!("000000000007-{batch}.0of2.parquet"),
            format!("000000000007-{batch}.3of2.parquet"),
            format!("000000000007-{batch}.2.parquet"),
            "000000000007-short.parquet".to_owned(),
            "rewritten-by-hand.parquet".to_owned(),
        ];
        for name in names {
            assert_eq!(parse(&name), Name::Other, "{name}");
        }
    }

    #[test]
    fn a_batch_counts_when_all_of_its_files_are_there() {
        let batch = batch_hash("monday");
        assert_eq!(counting(&[file(7, &batch, 1, 3), file(7, &batch, 3, 3)]), Vec::<usize>::new());
        assert_eq!(counting(&[file(7, &batch, 1, 2), file(7, &batch, 2, 2)]), [0, 1]);
        // An attempt that broke off, and the one after it.
        assert_eq!(counting(&[file(7, &batch, 1, 2), file(8, &batch, 1, 2), file(8, &batch, 2, 2)]), [1, 2]);
    }

    #[test]
    fn of_one_batch_the_lowest_number_counts() {
        let batch = batch_hash("monday");
        assert_eq!(counting(&[file(9, &batch, 1, 1), file(8, &batch, 1, 1)]), [1]);
        assert_eq!(Batches::of([file(9, &batch, 1, 1).as_str()].into_iter()).next_number, 10);
    }
}
