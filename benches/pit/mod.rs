//! P5: the point-in-time join, from 100,000 labels and 1,000,000 rows to 1,000,000 and 50,000,000, against Polars, DuckDB,
//! pandas and Feast on the same Parquet files.
//!
//! Everyone joins in a process of its own, so that its memory is its own; all of them sum up all values after each join,
//! and one that differs ends the benchmark. In a small case they stay warm and take turns. Where a case is large, they
//! would not fit into memory beside each other, so each round is a fresh process, which still measures without its start.

mod case;
mod contender;
mod ours;

use serde_json::json;
use tokio::runtime::Runtime;

use self::case::{CASES, ROWS_A_KEY, TTL_DAYS};
pub use self::case::{Case, LARGE, MACHINE, SERVICE};
use self::contender::{Contender, Joined, Outcome, Who};
pub use self::ours::{COMMAND, answer};
use crate::Result;
use crate::measure::{Spread, runtime};
use crate::process::GIB;
use crate::report::Table;
use crate::synthetic::{Project, ZIPF_EXPONENT};

pub fn run() -> Result<()> {
    let header =
        ["case", "what", "CPU-seconds", "wall seconds", "k labels a CPU-second", "peak MB", "CPU against ours"];
    let mut table = Table::new("pit", &header);
    let runtime = runtime()?;
    for case in &CASES {
        measure(&runtime, case, &mut table)?;
    }
    notes(&mut table);
    table.publish()
}

fn measure(runtime: &Runtime, case: &Case, table: &mut Table) -> Result<()> {
    eprintln!("-- {}: the data is made", case.name);
    let project = runtime.block_on(case.project())?;
    for &bound in case.bounds {
        let mut all: Vec<Rounds> = Who::all(case, bound).into_iter().map(Rounds::of).collect();
        let mut expected = None;
        for round in 0..case.rounds {
            for rounds in all.iter_mut().filter(|rounds| rounds.goes_on(round, case)) {
                rounds.next(case, &project, bound)?;
                rounds.compare(case, &mut expected)?;
            }
        }
        let ours = all[0].joined.clone();
        for rounds in &all {
            push(case, bound, rounds, &ours, table)?;
        }
    }
    Ok(())
}

/// One who joins, round after round.
struct Rounds {
    who: Who,
    name: String,
    /// While it stays warm.
    contender: Option<Contender>,
    joined: Vec<Joined>,
    /// Why there are no more.
    over: Option<String>,
}

impl Rounds {
    fn of(who: Who) -> Self {
        Self { who, name: String::new(), contender: None, joined: Vec::new(), over: None }
    }

    /// With what it got wrong.
    fn describe(&self, case: &Case) -> String {
        match self.joined.last() {
            Some(joined) if joined.rows < case.labels => {
                format!("{}; leaves out {} labels", self.name, case.labels - joined.rows)
            }
            _ => self.name.clone(),
        }
    }

    fn goes_on(&self, round: usize, case: &Case) -> bool {
        self.over.is_none() && round < self.who.rounds(case)
    }

    fn next(&mut self, case: &Case, project: &Project, bound: u64) -> Result<()> {
        let mut contender = match self.contender.take() {
            Some(contender) => contender,
            None => Contender::start(self.who, case, project, bound)?,
        };
        self.name.clone_from(&contender.name);
        let mut outcome = contender.join(bound)?;
        if case.is_small() && self.joined.is_empty() && matches!(outcome, Outcome::Joined(_)) {
            // What is set up once, such as pools of threads, is no part of the first round.
            outcome = contender.join(bound)?;
        }
        match outcome {
            Outcome::Joined(joined) => self.joined.push(joined),
            Outcome::OverBound { bytes } => self.over = Some(format!("killed with {:.1} GiB", in_gib(bytes))),
            Outcome::GaveUp(why) => self.over = Some(format!("gave up: {}", first_line(&why))),
        }
        self.contender = (case.is_small() && self.over.is_none()).then_some(contender);
        Ok(())
    }

    /// All who join must come to the same values, every time.
    fn compare(&self, case: &Case, expected: &mut Option<String>) -> Result<()> {
        let Some(joined) = self.joined.last() else { return Ok(()) };
        let expected = expected.get_or_insert_with(|| joined.checksum.clone());
        match joined.checksum == *expected {
            true => Ok(()),
            false => {
                Err(format!("{}: {} has other values: {} is not {expected}", case.name, self.name, joined.checksum)
                    .into())
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn in_gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

fn push(case: &Case, bound: u64, rounds: &Rounds, ours: &[Joined], table: &mut Table) -> Result<()> {
    let Case { labels, history, features, views, skewed, .. } = *case;
    let within = if bound < MACHINE { format!(", {:.0} GiB", in_gib(bound)) } else { String::new() };
    let name = format!("{}{within}", case.name);
    let mut result = json!({
        "case": name, "what": rounds.name, "is_ours": rounds.who == Who::Ours, "labels": labels, "history": history,
        "features": features, "views": views, "skewed": skewed, "bound_bytes": bound, "over": rounds.over,
        "rounds": rounds.joined,
    });
    let joined = &rounds.joined;
    if joined.is_empty() {
        let why = rounds.over.clone().unwrap_or_default();
        let row = [name, rounds.name.clone(), why].into_iter().chain(["–", "–", "–", "–"].map(str::to_owned));
        return table.push(row.collect(), result);
    }
    let cpu = Spread::of(joined.iter().map(|joined| joined.cpu));
    let wall = Spread::of(joined.iter().map(|joined| joined.wall));
    let rate = Spread::of(joined.iter().map(|joined| labels as f64 / joined.cpu / 1e3));
    let peak = joined.iter().map(|joined| joined.peak_bytes).max().unwrap_or_default();
    let ratio =
        (!ours.is_empty()).then(|| Spread::of(joined.iter().zip(ours).map(|(theirs, ours)| theirs.cpu / ours.cpu)));
    for (key, value) in [
        ("cpu_seconds", json!(cpu)),
        ("wall_seconds", json!(wall)),
        ("thousand_labels_per_cpu_second", json!(rate)),
        ("peak_bytes", json!(peak)),
        ("cpu_against_ours", json!(ratio)),
    ] {
        result[key] = value;
    }
    let row = vec![
        name,
        rounds.describe(case),
        format!("{cpu:.3}"),
        format!("{wall:.3}"),
        format!("{rate:.0}"),
        format!("{:.0}", peak as f64 / 1e6),
        ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
    ];
    table.push(row, result)
}

fn notes(table: &mut Table) {
    table.note(format!(
        "Labels × rows of each view × float64 features of each; {ROWS_A_KEY} rows a key on average, ttl {TTL_DAYS} days, one value in 64 null, one label in 100 of an unknown key. \
         Zipf: exponent {ZIPF_EXPONENT}, for rows and labels alike. The same Parquet files in, Arrow out; a checksum of every value with its label and feature was equal after every join."
    ));
    table.note("All files are in time order, the best case of Polars and pandas: nothing has to be sorted. Ours does not need the order.");
    table.note(
        "Everyone is a process of its own and measures itself (CPU of all its threads, peak of resident memory of that join) without start-up and imports; \
         all in turn, median (smallest–largest). Small cases: warm processes; 1 M labels: a fresh process each round. Feast joins the first case only, in fewer rounds.",
    );
    table.note(
        "Feast with dask leaves a label out where the newest row of its key is older than the ttl; its other values were compared.",
    );
    table.note(
        "With a bound in GiB: who has more memory of its own than that (pages of mapped files not counted) is killed and shown so. \
         DuckDB is told three quarters of it as its memory_limit, ours has its default; Polars and pandas cannot be told.",
    );
}
