//! What a scan makes of the batches that a source yields: the asked columns in the asked types, then the two times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, ident, lit};

use super::super::{CREATED_TIME, EVENT_TIME, Error, Scan};
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
        let created_time = source.created_time.as_deref().map(position).transpose()?;
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
            schema: Arc::new(Schema::new(fields)),
        })
    }

    pub(super) fn read(&self) -> &[String] {
        &self.read
    }

    /// A condition that no row of the range fails, in the event time's own type, so that whole row groups can be
    /// skipped by their statistics. [`Answer::rows`] then looks exactly.
    pub(super) fn coarse_range(&self) -> Option<Expr> {
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
        let kept;
        let (batch, event_time) = if keep.count_set_bits() == times.len() {
            (batch, event_time)
        } else {
            kept = filter_record_batch(batch, &BooleanArray::new(keep, None)).map_err(|error| Error::Unreadable {
                source_name: self.source_name.clone(),
                detail: error.to_string(),
            })?;
            (&kept, self.time(&kept, self.event_time)?)
        };
        let mut columns = Vec::with_capacity(self.columns.len() + 2);
        for (field, position) in &self.columns {
            columns.push(self.column(batch, field, *position)?);
        }
        columns.push(event_time);
        columns.push(match self.created_time {
            Some(position) => self.time(batch, position)?,
            None => arrow::array::new_null_array(&DType::TIMESTAMP.arrow(), batch.num_rows()),
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("every column was cast to its field's type"))
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
        Error::WrongType {
            column: column.to_owned(),
            source_name: self.source_name.clone(),
            is: error.is,
            wanted: error.wanted,
            detail: error.detail,
        }
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
