//! Answers as bytes: Feast's JSON by column, readable JSON by row, or an Arrow stream.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::reply::{Failure, json_response};
use super::values::{Column, Times, push_rfc3339, push_string};
use super::{ARM, DEPRECATED, DIGEST, FINGERPRINT, UNAVAILABLE, VERSION, compute};
use crate::catalog::split_version;
use crate::error::ErrorKind;
use crate::flow::serve::{Answer, AnswerColumn, Status, ViewRows};
use crate::limits::ENCODE_INLINE_CELLS_MAX;
use crate::plan::Notice;

/// Bytes to expect of a cell: a number, its status and its time.
const CELL_BYTES: usize = 48;

/// How an answer is written.
#[derive(Debug)]
pub enum Shape {
    /// By column, with the join keys that came along in front.
    Feast {
        echoed: Vec<(String, ArrayRef)>,
        view_metadata: bool,
    },
    Readable,
    Arrow,
}

/// Writes an answer, with the headers that say how it was made.
pub async fn respond(answer: Answer, shape: Shape) -> Result<Response, Failure> {
    let version = HeaderValue::from(answer.prepared.applied.version);
    let (transforms, fingerprint) = (Arc::clone(&answer.prepared.transforms), Arc::clone(&answer.prepared.fingerprint));
    let deprecated = Arc::clone(&answer.deprecated);
    let arm = answer.prepared.arm.clone();
    let unavailable = answer.unavailable_views().join(",");
    let small = answer.rows * answer.columns.len() <= ENCODE_INLINE_CELLS_MAX;
    let mut response = compute(small, move || encode(&answer, &shape)).await??;
    response.headers_mut().insert(VERSION, version);
    if !transforms.is_empty()
        && let Ok(transforms) = HeaderValue::from_str(&transforms)
    {
        response.headers_mut().insert(DIGEST, transforms);
    }
    if let Ok(fingerprint) = HeaderValue::from_str(&fingerprint) {
        response.headers_mut().insert(FINGERPRINT, fingerprint);
    }
    if let Some(Ok(arm)) = arm.map(|arm| HeaderValue::from_str(&arm)) {
        response.headers_mut().insert(ARM, arm);
    }
    if !deprecated.is_empty()
        && let Ok(deprecated) = HeaderValue::from_str(&written(&deprecated))
    {
        response.headers_mut().insert(DEPRECATED, deprecated);
    }
    // Not every shape has statuses, and nobody should take what is unknown for what is not there.
    if !unavailable.is_empty()
        && let Ok(unavailable) = HeaderValue::from_str(&unavailable)
    {
        response.headers_mut().insert(UNAVAILABLE, unavailable);
    }
    Ok(response)
}

/// Deprecated things as a header has them.
fn written(notices: &[Notice]) -> String {
    let written = |Notice { name, deprecation }: &Notice| {
        let mut text = format!("{name}; since={}", deprecation.since);
        if let Some(last) = deprecation.remove_after {
            text.push_str(&format!("; remove_after={last}"));
        }
        if let Some(instead) = &deprecation.instead {
            text.push_str(&format!("; use={instead}"));
        }
        text
    };
    notices.iter().map(written).collect::<Vec<_>>().join(", ")
}

fn encode(answer: &Answer, shape: &Shape) -> Result<Response, Failure> {
    match shape {
        Shape::Feast { echoed, view_metadata } => {
            Ok(json_response(StatusCode::OK, feast(answer, echoed, *view_metadata)))
        }
        Shape::Readable => Ok(json_response(StatusCode::OK, readable(answer))),
        Shape::Arrow => match arrow_stream(answer) {
            Ok(stream) => Ok(([(header::CONTENT_TYPE, "application/vnd.apache.arrow.stream")], stream).into_response()),
            Err(error) => Err(Failure::new(ErrorKind::Internal, format!("the answer cannot be written: {error}"))),
        },
    }
}

/// Feast's `GetOnlineFeaturesResponse` as JSON.
pub fn feast(answer: &Answer, echoed: &[(String, ArrayRef)], view_metadata: bool) -> Vec<u8> {
    let outputs = &answer.prepared.plan.outputs;
    let mut out = Vec::with_capacity(CELL_BYTES * answer.rows * (echoed.len() + outputs.len()) + 1_024);
    out.extend_from_slice(b"{\"metadata\":{\"feature_names\":[");
    let names = echoed.iter().map(|(name, _)| name).chain(outputs.iter().map(|output| &output.field.name));
    separated(&mut out, names, |out, name| push_string(out, name));
    out.push(b']');
    if view_metadata {
        out.extend_from_slice(b",\"feature_view_metadata\":[");
        separated(&mut out, &answer.prepared.plan.reads, |out, read| {
            out.extend_from_slice(b"{\"name\":");
            // Feast leaves the version out where it is the first.
            let (name, version) = split_version(&read.online.name);
            push_string(out, name);
            if version > 1 {
                out.extend_from_slice(format!(",\"version\":{version}").as_bytes());
            }
            out.push(b'}');
        });
        out.push(b']');
    }
    out.extend_from_slice(b"},\"results\":[");
    let mut epoch = None;
    separated(&mut out, echoed, |out, (_, column)| push_echoed(out, column, answer.rows, &mut epoch));
    if !echoed.is_empty() && !answer.columns.is_empty() {
        out.push(b',');
    }
    let mut shared = Vec::new();
    separated(&mut out, &answer.columns, |out, column| push_feast_column(out, column, answer.rows, &mut shared));
    out.extend_from_slice(b"]}");
    out
}

/// A join key comes back as it came: present, and true since ever.
fn push_echoed(out: &mut Vec<u8>, column: &ArrayRef, rows: usize, written: &mut Option<Range<usize>>) {
    push_values(out, column, rows);
    out.extend_from_slice(b",\"statuses\":[");
    separated(out, 0..rows, |out, _| out.extend_from_slice(b"\"PRESENT\""));
    out.extend_from_slice(b"],\"event_timestamps\":");
    let range = repeat_or(out, written.clone(), |out| {
        out.push(b'[');
        separated(out, 0..rows, |out, _| push_time(out, 0));
        out.push(b']');
    });
    *written = Some(range);
    out.push(b'}');
}

/// Where an answer has what the columns of one view share.
struct SharedBytes {
    view: *const ViewRows,
    times: Range<usize>,
    /// Rows of the view that are not there.
    absent: usize,
    /// Statuses and times of a column that has a value in every row that is there.
    complete: Option<Range<usize>>,
}

/// What the columns of a view share is written once; the others repeat the bytes.
fn push_feast_column(out: &mut Vec<u8>, column: &AnswerColumn, rows: usize, shared: &mut Vec<SharedBytes>) {
    push_values(out, &column.values, rows);
    let view = Arc::as_ptr(&column.rows);
    let known = shared.iter().position(|shared| shared.view == view);
    let nulls = column.values.null_count();
    if let Some(SharedBytes { complete: Some(complete), absent, .. }) = known.map(|known| &shared[known])
        && nulls == *absent
    {
        out.extend_from_within(complete.clone());
        return;
    }
    let start = out.len();
    out.extend_from_slice(b",\"statuses\":[");
    separated(out, 0..rows, |out, row| match column.status(row) {
        // Feast's enumeration has no other word for the number.
        Status::Unavailable => out.extend_from_slice(b"\"INVALID\""),
        status => push_status(out, status),
    });
    out.extend_from_slice(b"],\"event_timestamps\":");
    let times = repeat_or(out, known.map(|known| shared[known].times.clone()), |out| {
        let times = &column.rows.event_time;
        out.push(b'[');
        separated(out, 0..rows, |out, row| push_time(out, if times.is_null(row) { 0 } else { times.value(row) }));
        out.push(b']');
    });
    out.push(b'}');
    let known = known.unwrap_or_else(|| {
        let absent = column.rows.status.iter().filter(|status| **status != Status::Present).count();
        shared.push(SharedBytes { view, times, absent, complete: None });
        shared.len() - 1
    });
    if nulls == shared[known].absent {
        shared[known].complete = Some(start..out.len());
    }
}

fn push_values(out: &mut Vec<u8>, column: &ArrayRef, rows: usize) {
    let cells = Column::of(column, Times::Seconds);
    out.extend_from_slice(b"{\"values\":[");
    cells.push_all(out, rows);
    out.push(b']');
}

/// Repeats bytes that `out` already has, or writes them; says where they stand.
fn repeat_or(out: &mut Vec<u8>, known: Option<Range<usize>>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    if let Some(range) = known {
        out.extend_from_within(range.clone());
        return range;
    }
    let start = out.len();
    write(out);
    start..out.len()
}

/// One object per row, one row per line: what came with the question, then the features.
pub fn readable(answer: &Answer) -> Vec<u8> {
    let plan = &answer.prepared.plan;
    let key = |name: &str| {
        let mut key = Vec::new();
        push_string(&mut key, name);
        key.push(b':');
        key
    };
    let given = plan.inputs.iter().map(|input| &input.field.name).zip(&answer.inputs);
    let features =
        plan.outputs.iter().map(|output| &output.field.name).zip(answer.columns.iter().map(|column| &column.values));
    let cells: Vec<(Vec<u8>, Column<'_>)> =
        given.chain(features).map(|(name, values)| (key(name), Column::of(values, Times::Micros))).collect();

    let mut out = Vec::with_capacity(CELL_BYTES * answer.rows * cells.len() + 1_024);
    out.push(b'{');
    if let Some(service) = &plan.service {
        out.extend_from_slice(b"\"service\":");
        push_string(&mut out, service);
        out.push(b',');
    }
    if let Some(number) = plan.service_version {
        out.extend_from_slice(format!("\"service_version\":{number},").as_bytes());
    }
    out.extend_from_slice(format!("\"version\":{},\"as_of\":", answer.prepared.applied.version).as_bytes());
    push_time(&mut out, answer.as_of);
    out.extend_from_slice(b",\"features\":[\n");
    for row in 0..answer.rows {
        out.extend_from_slice(if row == 0 { b"{" } else { b",\n{" });
        separated(&mut out, &cells, |out, (key, cells)| {
            out.extend_from_slice(key);
            cells.push(out, row);
        });
        out.push(b'}');
    }
    out.push(b']');
    push_statuses(&mut out, answer);
    push_event_times(&mut out, answer);
    out.extend_from_slice(b"}\n");
    out
}

/// The statuses of the features of which some value is not simply there.
fn push_statuses(out: &mut Vec<u8>, answer: &Answer) {
    let absent = |column: &AnswerColumn| (0..answer.rows).any(|row| column.status(row) != Status::Present);
    let columns = answer.prepared.plan.outputs.iter().zip(&answer.columns).filter(|(_, column)| absent(column));
    let mut columns = columns.peekable();
    if columns.peek().is_none() {
        return;
    }
    out.extend_from_slice(b",\n\"statuses\":{");
    separated(out, columns, |out, (output, column)| {
        push_string(out, &output.field.name);
        out.extend_from_slice(b":[");
        separated(out, 0..answer.rows, |out, row| push_status(out, column.status(row)));
        out.push(b']');
    });
    out.push(b'}');
}

/// When what was found became true, once for each stored view.
fn push_event_times(out: &mut Vec<u8>, answer: &Answer) {
    let mut views: Vec<(&str, &ViewRows)> = Vec::new();
    for (output, column) in answer.prepared.plan.outputs.iter().zip(&answer.columns) {
        let times = &column.rows.event_time;
        if times.null_count() < times.len() && !views.iter().any(|(view, _)| *view == output.view) {
            views.push((&output.view, &column.rows));
        }
    }
    if views.is_empty() {
        return;
    }
    out.extend_from_slice(b",\n\"event_times\":{");
    separated(out, views, |out, (view, rows)| {
        push_string(out, view);
        out.extend_from_slice(b":[");
        separated(out, 0..answer.rows, |out, row| match rows.event_time.is_null(row) {
            true => out.extend_from_slice(b"null"),
            false => push_time(out, rows.event_time.value(row)),
        });
        out.push(b']');
    });
    out.push(b'}');
}

fn arrow_stream(answer: &Answer) -> Result<Vec<u8>, ArrowError> {
    let batch = answer.batch();
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.into_inner()
}

fn push_status(out: &mut Vec<u8>, status: Status) {
    out.extend_from_slice(match status {
        Status::Present => b"\"PRESENT\"",
        Status::NullValue => b"\"NULL_VALUE\"",
        Status::NotFound => b"\"NOT_FOUND\"",
        Status::OutsideMaxAge => b"\"OUTSIDE_MAX_AGE\"",
        Status::Unavailable => b"\"UNAVAILABLE\"",
    });
}

fn push_time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    push_rfc3339(out, micros);
    out.push(b'"');
}

/// Writes each item, commas between.
fn separated<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}
