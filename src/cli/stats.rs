//! `lockstep stats`: how many values, where they lie, which are frequent.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::{Context, Failure, Outcome, output, time};
use crate::app::{Project, file_statistics};
use crate::clock::{Deadline, Micros};
use crate::flow::statistics::{Asked, Statistics, statistics};
use crate::limits::CALLER_DEADLINE_MAX;
use crate::statistics::{ColumnStatistics, Method};

/// Frequent values, and characters of each, that the table shows.
const TOP_SHOWN: usize = 3;
const VALUE_SHOWN_CHARACTERS: usize = 24;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep stats company_stats\n  lockstep stats trips --from 2016-12-01 --to 2016-12-31 --feature fare\n  lockstep stats training.parquet -o json\n\n~ stands before what is estimated. Quantiles, histograms and the bounds of estimates are in -o json."
)]
pub(super) struct Arguments {
    /// A view, a source, or a Parquet file
    of: String,
    /// The first event time, such as 2016-01-01 or 2016-01-01T08:00:00Z
    #[arg(long, value_parser = time::parse)]
    from: Option<Micros>,
    /// The last event time
    #[arg(long, value_parser = time::parse, visible_alias = "until")]
    to: Option<Micros>,
    /// Only this feature or column; repeat it for more
    #[arg(long, visible_alias = "column")]
    feature: Vec<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let asked = Asked { from: arguments.from, to: arguments.to, columns: arguments.feature.clone() };
    let bar = output::progress(&arguments.of);
    let is_file = arguments.of.ends_with(".parquet") || arguments.of.contains(std::path::MAIN_SEPARATOR);
    let found = match is_file {
        true => file_statistics(Path::new(&arguments.of), &asked).await,
        false => {
            let gateway = Project::open(&context.project)?.gateway().await?;
            statistics(&gateway, &arguments.of, &asked, Deadline::after(CALLER_DEADLINE_MAX)).await
        }
    };
    bar.finish_and_clear();
    output::print(context.format, &found?, report)?;
    Ok(Outcome::Done)
}

fn report(statistics: &Statistics) -> String {
    let header = ["column", "type", "null %", "distinct", "mean", "std", "min", "median", "max", "most frequent"];
    let times = match (&statistics.oldest_event_time, &statistics.newest_event_time) {
        (Some(oldest), Some(newest)) => format!(", {oldest} to {newest}"),
        _ => String::new(),
    };
    let table = output::table(&header, statistics.columns.iter().map(row));
    let left_out = statistics.left_out.iter();
    let left_out: String =
        left_out.map(|column| format!("\n{} is {} and was left out", column.column, column.dtype)).collect();
    format!("{} rows of {}{times}\n\n{table}{left_out}", statistics.rows, statistics.name)
}

/// A line for one column; of lists the lengths, of embeddings the norms.
fn row(column: &ColumnStatistics) -> Vec<String> {
    let spread = column.norms.or(column.lengths);
    let about = match (&column.norms, &column.lengths) {
        (Some(_), _) => " (norm)",
        (None, Some(_)) => " (length)",
        (None, None) => "",
    };
    let number = |number: Option<f64>| number.map_or_else(String::new, |number| shown(&Value::from(number)));
    let value = |value: &Option<Value>, other: Option<f64>| value.as_ref().map_or_else(|| number(other), shown);
    let about_estimate =
        |method: Option<Method>| if method.is_none_or(|method| method == Method::Exact) { "" } else { "~" };
    let median = value(&column.median, spread.and_then(|spread| spread.median));
    vec![
        column.column.clone(),
        format!("{}{about}", column.dtype),
        column.null_ratio.map_or_else(String::new, |ratio| format!("{:.2}", ratio * 100.0)),
        column
            .distinct
            .map_or_else(String::new, |distinct| format!("{}{distinct}", about_estimate(column.distinct_method))),
        number(column.mean.or(spread.and_then(|spread| spread.mean))),
        number(column.std.or(spread.and_then(|spread| spread.std))),
        value(&column.min, spread.and_then(|spread| spread.min)),
        format!("{}{median}", about_estimate(column.quantiles_method)),
        value(&column.max, spread.and_then(|spread| spread.max)),
        column
            .top
            .iter()
            .take(TOP_SHOWN)
            .map(|top| format!("{} ({})", shown(&top.value), top.count))
            .collect::<Vec<_>>()
            .join(", "),
    ]
}

/// A number with as many digits as one reads, a text without quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            let magnitude = number.abs();
            match magnitude {
                0.0 => "0".to_owned(),
                magnitude if (1e-3..1e9).contains(&magnitude) => {
                    let text = format!("{number:.4}");
                    text.trim_end_matches('0').trim_end_matches('.').to_owned()
                }
                _ => format!("{number:.4e}"),
            }
        }
        Value::String(text) if text.chars().count() > VALUE_SHOWN_CHARACTERS => {
            format!("{}…", text.chars().take(VALUE_SHOWN_CHARACTERS).collect::<String>())
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
