//! `lockstep online`: the online store by hand, and how it is.

mod copy;
mod delete;
mod health;
mod set;
mod snapshot;
mod stats;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use clap::Subcommand;

use super::{Context, Failure, Outcome, output, time};
use crate::cast;
use crate::catalog::DType;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Set a row, or the rows of a Parquet file
    Set(set::Arguments),
    /// Delete an entity, or one of its features
    Delete(delete::Arguments),
    /// Show whether the online store can be used, and what may lose data as it is set up
    #[command(after_help = "Examples:\n  lockstep online health\n  lockstep online health -o json")]
    Health,
    /// Show what the online store holds of its views
    Stats(stats::Arguments),
    /// Add the rows of a view to an offline table
    Snapshot(snapshot::Arguments),
    /// Move the rows to another layout of Redis, while they are served
    Copy(copy::Arguments),
}

pub(super) async fn run(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    match command {
        Command::Set(arguments) => set::run(context, arguments).await,
        Command::Delete(arguments) => delete::run(context, arguments).await,
        Command::Health => health::run(context).await,
        Command::Stats(arguments) => stats::run(context, arguments).await,
        Command::Snapshot(arguments) => snapshot::run(context, arguments).await,
        Command::Copy(arguments) => copy::run(context, arguments).await,
    }
}

/// One row out of words such as `company="Flash Cab"`. A name that has no type goes on as a null, so that the flow says
/// what is wrong with it.
fn row(words: &[String], dtype: impl Fn(&str) -> Option<DType>) -> Result<RecordBatch, Failure> {
    let (mut fields, mut columns): (Vec<ArrowField>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for word in words {
        let Some((name, text)) = word.split_once('=') else {
            return Err(Failure::invalid(format!("{word:?} is no value; write it as name=value")));
        };
        if fields.iter().any(|field| field.name() == name) {
            return Err(Failure::invalid(format!("{name} came twice")));
        }
        let column = match dtype(name) {
            Some(dtype) => {
                cast::from_text(&[Some(text)], dtype).map_err(|detail| Failure::invalid(format!("{name}: {detail}")))?
            }
            None => new_null_array(&DataType::Null, 1),
        };
        fields.push(ArrowField::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| Failure::invalid(error.to_string()))
}
