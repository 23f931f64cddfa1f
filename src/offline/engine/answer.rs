//! What a scan makes of the batches that a source yields: the asked columns in the asked types, then the two times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, ident, lit};

use super::super::{CREATED_TIME, EVENT_TIME, Error, Scan};
use super::keys::Keys;
use crate::cast::{self, CastError};
use crate::catalog::{DType, Field, Source};
use crate::clock::Micros;

/// The shape of one scan's answer.
#[derive(Debug)]
pub(super) struct Answer {
    source_name: String,
    /// The columns that are read, each once.
    read: Vec<String>,
    /// The asked columns, and where each stands in `read`.
    columns: Vec<(Field, usize)>,
    event_time: usize,
    created_time: Option<usize>,
    event_time_type: DataType,
    from: Option<Micros>,
    until: Option<Micros>,
    known_at: Option<Micros>,
    keys: Option<Keys>,
    schema: SchemaRef,
}

impl Answer {
    pub(super) fn new(source: &Source, has: &Schema, scan: &Scan) -> Result<Self, Error> {
        let mut read: Vec<String> = Vec::new();
        let mut position = |name: &str| {
            if has.field_with_name(name).is_err() {
                let has: Vec<&str> = has.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(Error::NoColumn {
                    source_name: source.name.clone(),
                    column: name.to_owned(),
                    has: has.join(", "),
                });
            }
            Ok(read.iter().position(|known| known == name).unwrap_or_else(|| {
                read.push(name.to_owned());
                read.len() - 1
            }))
        };
        let columns: Result<Vec<_>, Error> =
            scan.columns.iter().map(|field| Ok((field.clone(), position(&field.name)?))).collect();
        let columns = columns?;
        let event_time = position(&source.event_time)?;
        let created_time = source.created_time.as_deref().map(&mut position).transpose()?;
        let keys = match scan.keys.as_ref().filter(|keys| !keys.join_keys.is_empty()) {
            None => None,
            Some(filter) => {
                let positions: Result<Vec<usize>, Error> =
                    filter.join_keys.iter().map(|field| position(&field.name)).collect();
                let keys = Keys::new(filter, positions?);
                Some(keys.map_err(|(column, error)| wrong_type(&source.name, &column, error))?)
            }
        };
        let event_time_type = has.field_with_name(&source.event_time).map(|field| field.data_type().clone());
        let time = DType::TIMESTAMP.arrow();
        let mut fields: Vec<ArrowField> = columns.iter().map(|(field, _)| field.arrow()).collect();
        fields.push(ArrowField::new(EVENT_TIME, time.clone(), false));
        fields.push(ArrowField::new(CREATED_TIME, time, true));
        Ok(Self {
            source_name: source.name.clone(),
            read,
            columns,
            event_time,
            created_time,
            event_time_type: event_time_type.expect("the column was found above"),
            from: scan.from,
            until: scan.until,
            known_at: scan.known_at,
            keys,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    pub(super) fn read(&self) -> &[String] {
        &self.read
    }

    /// A condition that no asked row fails, in the columns' own types, so that whole files and row groups can be skipped
    /// by their statistics. [`Answer::rows`] then looks exactly.
    pub(super) fn coarse(&self, has: &Schema) -> Option<Expr> {
        let keys = self.keys.as_ref().and_then(|keys| keys.coarse(&self.read, has));
        [self.coarse_range(), self.coarse_known(has), keys].into_iter().flatten().reduce(Expr::and)
    }

    fn coarse_known(&self, has: &Schema) -> Option<Expr> {
        let created_time = &self.read[self.created_time?];
        let known_at = at_or_after(has.field_with_name(created_time).ok()?.data_type(), self.known_at?)?;
        Some(ident(created_time).lt_eq(lit(known_at)).or(ident(created_time).is_null()))
    }

    fn coarse_range(&self) -> Option<Expr> {
        let event_time = || ident(&self.read[self.event_time]);
        let from = self.from.and_then(|from| at_or_before(&self.event_time_type, from));
        let until = self.until.and_then(|until| at_or_after(&self.event_time_type, until));
        let from = from.map(|from| event_time().gt_eq(lit(from)));
        let until = until.map(|until| event_time().lt_eq(lit(until)));
        match (from, until) {
            (Some(from), Some(until)) => Some(from.and(until)),
            (one, other) => one.or(other),
        }
    }

    /// The rows of the range, as the port promises them. Only values of rows that are answered have to fit.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let event_time = self.time(batch, self.event_time)?;
        let times = event_time.as_primitive::<TimestampMicrosecondType>();
        let in_range =
            |time: Micros| self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time <= until);
        let mut keep =
            BooleanBuffer::collect_bool(times.len(), |row| times.is_valid(row) && in_range(times.value(row)));
        if let (Some(known_at), Some(position)) = (self.known_at, self.created_time) {
            let created = self.time(batch, position)?;
            let created = created.as_primitive::<TimestampMicrosecondType>();
            let known = |row| created.is_null(row) || created.value(row) <= known_at;
            keep = &keep & &BooleanBuffer::collect_bool(created.len(), known);
        }
        let mut batch = self.filtered(batch, keep)?;
        if let Some(keys) = &self.keys {
            let asked = keys.among(&batch).map_err(|(column, error)| self.wrong_type(&column, error))?;
            batch = self.filtered(&batch, asked)?;
        }
        let batch = &batch;
        let mut columns = Vec::with_capacity(self.columns.len() + 2);
        for (field, position) in &self.columns {
            columns.push(self.column(batch, field, *position)?);
        }
        let event_time =
            if batch.num_rows() == event_time.len() { event_time } else { self.time(batch, self.event_time)? };
        columns.push(event_time);
        columns.push(match self.created_time {
            Some(position) => self.time(batch, position)?,
            None => arrow::array::new_null_array(&DType::TIMESTAMP.arrow(), batch.num_rows()),
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("every column was cast to its field's type"))
    }

    /// The rows of `batch` for which `keep` says so.
    fn filtered(&self, batch: &RecordBatch, keep: BooleanBuffer) -> Result<RecordBatch, Error> {
        if keep.count_set_bits() == batch.num_rows() {
            return Ok(batch.clone());
        }
        filter_record_batch(batch, &BooleanArray::new(keep, None))
            .map_err(|error| Error::Unreadable { source_name: self.source_name.clone(), detail: error.to_string() })
    }

    fn column(&self, batch: &RecordBatch, field: &Field, position: usize) -> Result<ArrayRef, Error> {
        let column =
            cast::exactly(batch.column(position), field.dtype).map_err(|error| self.wrong_type(&field.name, error))?;
        if !field.nullable && column.null_count() > 0 {
            let is = format!("null in {} of {} rows", column.null_count(), column.len());
            let detail = "it is declared as never null".to_owned();
            return Err(self.wrong_type(&field.name, CastError { is, wanted: field.dtype.to_string(), detail }));
        }
        Ok(column)
    }

    fn time(&self, batch: &RecordBatch, position: usize) -> Result<ArrayRef, Error> {
        cast::exactly(batch.column(position), DType::TIMESTAMP)
            .map_err(|error| self.wrong_type(&self.read[position], error))
    }

    fn wrong_type(&self, column: &str, error: CastError) -> Error {
        wrong_type(&self.source_name, column, error)
    }
}

fn wrong_type(source_name: &str, column: &str, error: CastError) -> Error {
    Error::WrongType {
        column: column.to_owned(),
        source_name: source_name.to_owned(),
        is: error.is,
        wanted: error.wanted,
        detail: error.detail,
    }
}

/// A value of `data_type` that no time from `micros` on is before.
fn at_or_before(data_type: &DataType, micros: Micros) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Timestamp(unit, zone) => {
            let value = match unit {
                TimeUnit::Second => micros.div_euclid(1_000_000),
                TimeUnit::Millisecond => micros.div_euclid(1_000),
                TimeUnit::Microsecond => micros,
                TimeUnit::Nanosecond => micros.saturating_mul(1_000),
            };
            time(*unit, zone.clone(), value)
        }
        DataType::Date32 => ScalarValue::Date32(Some(i32::try_from(micros.div_euclid(86_400_000_000)).ok()?)),
        _ => return None,
    })
}

/// A value of `data_type` that no time up to `micros` is after.
fn at_or_after(data_type: &DataType, micros: Micros) -> Option<ScalarValue> {
    match data_type {
        // Every nanosecond of the microsecond is cut down to it.
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Some(time(TimeUnit::Nanosecond, zone.clone(), micros.saturating_mul(1_000).saturating_add(999)))
        }
        // The other units are whole microseconds: the last one at or before `micros` is the last one of the range.
        other => at_or_before(other, micros),
    }
}

fn time(unit: TimeUnit, zone: Option<Arc<str>>, value: i64) -> ScalarValue {
    match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(Some(value), zone),
        TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(value), zone),
        TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(value), zone),
        TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(value), zone),
    }
}
