//! Sources in the long format: one row for each value, `entity_id, feature_name, value, timestamp`, as other stores keep
//! them. A scan makes one row of each entity and event time, with a column for each feature that was asked for.
//!
//! Only the values of these features are read: their names are a condition of the scan, as the time range and the keys
//! are. DataFusion sorts what is left by entity and time, on disk where it does not fit, and the rows that then stand
//! together become one. Of several values of one feature at one moment the one that was created later counts, and then
//! the one that stands later.
//!
//! # Why not GROUP BY
//! `last_value` keeps the first of two values that tie, and a text that is no number could be told from the result of the
//! query, but not whose it was.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::DataFusionError;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{DataFrame, ident, lit};
use futures::{StreamExt, stream};

use super::engine::Opened;
use super::{CREATED_TIME, EVENT_TIME, Error, Rows, Scan};
use crate::batch::timestamps;
use crate::cast::{self, CastError};
use crate::catalog::{DType, Field, Long, Scalar, Source};
use crate::clock::Micros;
use crate::limits::SCAN_BATCH_ROWS;

/// The names of columns while they are on their way; no column of a user's begins like that.
const NAME: &str = "lockstep_name";
const POSITION: &str = "lockstep_position";
/// Long rows that wait to become wide ones, at the most: some batches of values for one batch of rows.
const KEPT_ROWS_MAX: usize = 16 * SCAN_BATCH_ROWS;

/// The columns that are known without looking at the rows: the join key and the two times.
pub(super) fn schema(source: &Source, long: &Long, reads: &SchemaRef) -> Result<SchemaRef, Error> {
    let column = |name: &str| {
        reads.field_with_name(name).map_err(|_| {
            let has = reads.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            Error::NoColumn { source_name: source.name.clone(), column: name.to_owned(), has }
        })
    };
    for name in long.columns() {
        column(name)?;
    }
    let mut fields = vec![ArrowField::new(&long.join_key, column(&long.entity)?.data_type().clone(), true)];
    for time in [Some(&source.event_time), source.created_time.as_ref()].into_iter().flatten() {
        fields.push(column(time)?.clone());
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The rows of a scan.
pub(super) async fn scan(opened: Opened, long: &Long, scan: &Scan) -> Result<Rows, Error> {
    let source = opened.source().clone();
    let (opened, wanted) = narrowed(opened, long, scan)?;
    let sorted = |frame: DataFrame| sorted(frame, long, &source);
    let rows = opened.scan_with(&wanted.tall_scan(scan), sorted).await?;
    Ok(pivoted(rows, Pivot::new(source, wanted)))
}

/// How the scan would be done, in DataFusion's words.
pub(super) async fn explain(opened: Opened, long: &Long, scan: &Scan) -> Result<String, Error> {
    let source = opened.source().clone();
    let (opened, wanted) = narrowed(opened, long, scan)?;
    let frame = opened.frame_for(&wanted.tall_scan(scan))?;
    let frame = sorted(frame, long, &source).map_err(|error| unreadable(&source, &error))?;
    let plan = frame.create_physical_plan().await.map_err(|error| unreadable(&source, &error))?;
    let features: Vec<&str> = wanted.features.iter().map(|feature| feature.field.name.as_str()).collect();
    let plan = displayable(plan.as_ref()).indent(true).to_string();
    Ok(format!("one row for each {} and {}, with {}\n{plan}", long.join_key, source.event_time, features.join(", ")))
}

/// What a scan wants of the long rows.
#[derive(Debug)]
struct Wanted {
    key: Field,
    /// The asked columns in their order: nothing for the join key, else the place in `features`.
    columns: Vec<Option<usize>>,
    features: Vec<Feature>,
    /// The columns of values that are read, under their names on the way.
    values: Vec<Field>,
}

#[derive(Debug)]
struct Feature {
    field: Field,
    /// Its place in `values`.
    value: usize,
}

impl Wanted {
    /// The scan of the long rows: join key, name, values; the range and the keys are the same.
    fn tall_scan(&self, scan: &Scan) -> Scan {
        let name = Field::new(NAME, DType::One(Scalar::String));
        let columns = [self.key.clone(), name].into_iter().chain(self.values.iter().cloned()).collect();
        Scan { columns, ..scan.clone() }
    }
}

/// The long rows that a scan needs, their columns under the names that they have on the way.
fn narrowed(opened: Opened, long: &Long, scan: &Scan) -> Result<(Opened, Wanted), Error> {
    let source = opened.source().clone();
    let has = opened.table_schema();
    schema(&source, long, &has)?;
    let dtype_of = |column: &str| has.field_with_name(column).ok().and_then(|field| DType::of_arrow(field.data_type()));
    let mut wanted = Wanted {
        key: Field::new(&long.join_key, dtype_of(&long.entity).unwrap_or(DType::One(Scalar::String))),
        columns: Vec::new(),
        features: Vec::new(),
        values: Vec::new(),
    };
    let mut value_columns: Vec<&str> = Vec::new();
    for field in &scan.columns {
        if field.name == long.join_key {
            wanted.key = field.clone();
            wanted.columns.push(None);
            continue;
        }
        let Some(column) = long.value_column_of(field.dtype) else {
            return Err(wrong_type(
                &source,
                &field.name,
                CastError {
                    is: "nowhere".to_owned(),
                    wanted: field.dtype.to_string(),
                    detail: "no value column is for that type; name one under value_columns".to_owned(),
                },
            ));
        };
        let value = value_columns.iter().position(|known| *known == column).unwrap_or_else(|| {
            value_columns.push(column);
            value_columns.len() - 1
        });
        wanted.columns.push(Some(wanted.features.len()));
        wanted.features.push(Feature { field: field.clone(), value });
    }
    for (place, column) in value_columns.iter().enumerate() {
        let Some(dtype) = dtype_of(column) else {
            let detail = format!("its column {column} has a type that no value has");
            return Err(Error::Unreadable { source_name: source.name.clone(), detail });
        };
        wanted.values.push(Field::new(format!("lockstep_value_{place}"), dtype));
    }
    let opened = opened.map(|frame| {
        let mut frame = frame;
        if let Some((column, value)) = &long.entity_type {
            frame = frame.filter(ident(column).eq(lit(value.as_str())))?;
        }
        if !wanted.features.is_empty() {
            let names = wanted.features.iter().map(|feature| lit(feature.field.name.as_str())).collect();
            frame = frame.filter(ident(&long.name_column).in_list(names, false))?;
        }
        let mut columns = vec![ident(&long.entity).alias(&long.join_key), ident(&long.name_column).alias(NAME)];
        columns
            .extend(value_columns.iter().zip(&wanted.values).map(|(column, field)| ident(*column).alias(&field.name)));
        let times = [Some(&source.event_time), source.created_time.as_ref()];
        columns.extend(times.into_iter().flatten().map(ident));
        frame.select(columns)
    });
    Ok((opened.map_err(|error| unreadable(&source, &error))?, wanted))
}

/// Rows of one entity and moment stand together, in the order of the source.
fn sorted(frame: DataFrame, long: &Long, source: &Source) -> Result<DataFrame, DataFusionError> {
    let frame = frame.window(vec![row_number().alias(POSITION)])?;
    let by = [long.join_key.as_str(), source.event_time.as_str(), POSITION];
    frame.sort(by.into_iter().map(|column| ident(column).sort(true, true)).collect())
}

fn unreadable(source: &Source, error: &DataFusionError) -> Error {
    Error::Unreadable { source_name: source.name.clone(), detail: super::engine::words(error) }
}

fn wrong_type(source: &Source, column: &str, error: CastError) -> Error {
    Error::WrongType {
        column: column.to_owned(),
        source_name: source.name.clone(),
        is: error.is,
        wanted: error.wanted,
        detail: error.detail,
    }
}

fn pivoted(rows: Rows, pivot: Pivot) -> Rows {
    let step = |(mut rows, pivot): (Rows, Option<Pivot>)| async move {
        let mut pivot = pivot?;
        loop {
            match rows.next().await {
                None => {
                    let last = pivot.wide(true);
                    return match &last {
                        Ok(batch) if batch.num_rows() == 0 => None,
                        _ => Some((last, (rows, None))),
                    };
                }
                Some(Err(error)) => return Some((Err(error), (rows, None))),
                Some(Ok(batch)) => {
                    if let Err(error) = pivot.push(batch) {
                        return Some((Err(error), (rows, None)));
                    }
                    if pivot.is_full() {
                        return Some((pivot.wide(false), (rows, Some(pivot))));
                    }
                }
            }
        }
    };
    stream::unfold((rows, Some(pivot)), step).boxed()
}

/// Where a value stands: in which kept batch, in which row.
type Place = (usize, usize);

/// Long rows on their way to wide ones.
#[derive(Debug)]
struct Pivot {
    source: Source,
    wanted: Wanted,
    by_name: HashMap<String, Vec<usize>>,
    schema: SchemaRef,
    /// The batches that `groups` point into.
    kept: Vec<RecordBatch>,
    kept_rows: usize,
    /// One for each wide row so far; the last one may not be complete.
    groups: Vec<Group>,
    /// Entity and time of the last group.
    last: Option<OwnedRow>,
    converter: Option<RowConverter>,
}

#[derive(Debug)]
struct Group {
    /// A row with its entity and its time.
    at: Place,
    created: Option<Micros>,
    /// By feature: the value that counts so far, and when it was created.
    values: Vec<Option<(Place, Option<Micros>)>>,
}

impl Pivot {
    fn new(source: Source, wanted: Wanted) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, feature) in wanted.features.iter().enumerate() {
            by_name.entry(feature.field.name.clone()).or_default().push(place);
        }
        let column = |place: &Option<usize>| match place {
            None => wanted.key.arrow(),
            Some(place) => wanted.features[*place].field.arrow(),
        };
        let mut fields: Vec<ArrowField> = wanted.columns.iter().map(column).collect();
        fields.push(ArrowField::new(EVENT_TIME, DType::TIMESTAMP.arrow(), false));
        fields.push(ArrowField::new(CREATED_TIME, DType::TIMESTAMP.arrow(), true));
        let schema = Arc::new(Schema::new(fields));
        let (kept, groups) = (Vec::new(), Vec::new());
        Self { source, wanted, by_name, schema, kept, kept_rows: 0, groups, last: None, converter: None }
    }

    fn is_full(&self) -> bool {
        self.groups.len() > SCAN_BATCH_ROWS || self.kept_rows > KEPT_ROWS_MAX
    }

    /// The next long rows: join key, name, values, event time, created time.
    fn push(&mut self, batch: RecordBatch) -> Result<(), Error> {
        let (key, times) = (batch.column(0), batch.num_columns() - 2);
        let converter = match &mut self.converter {
            Some(converter) => converter,
            none => {
                let fields = [key, batch.column(times)].map(|column| SortField::new(column.data_type().clone()));
                none.insert(RowConverter::new(fields.to_vec()).map_err(|error| stopped(&self.source, &error))?)
            }
        };
        let whose = converter
            .convert_columns(&[Arc::clone(key), Arc::clone(batch.column(times))])
            .map_err(|error| stopped(&self.source, &error))?;
        let names: &StringArray = batch.column(1).as_string();
        let created = batch.column(times + 1).as_primitive::<TimestampMicrosecondType>();
        let number = self.kept.len();
        for row in 0..batch.num_rows() {
            let is_new = match row {
                0 => self.last.as_ref().is_none_or(|last| last.row() != whose.row(0)),
                row => whose.row(row - 1) != whose.row(row),
            };
            if is_new {
                let values = vec![None; self.wanted.features.len()];
                self.groups.push(Group { at: (number, row), created: None, values });
            }
            let Some(group) = self.groups.last_mut() else { continue };
            let created = created.is_valid(row).then(|| created.value(row));
            group.created = group.created.max(created);
            let features = names.is_valid(row).then(|| self.by_name.get(names.value(row))).flatten();
            for feature in features.into_iter().flatten() {
                let counted = &mut group.values[*feature];
                // Rows come in the order of the source, so of two that tie this one is the later.
                if counted.is_none_or(|(_, before)| before <= created) {
                    *counted = Some(((number, row), created));
                }
            }
        }
        if batch.num_rows() > 0 {
            self.last = Some(whose.row(batch.num_rows() - 1).owned());
        }
        self.kept_rows += batch.num_rows();
        self.kept.push(batch);
        Ok(())
    }

    /// The wide rows that are complete; of the last long rows, all of them.
    fn wide(&mut self, is_last: bool) -> Result<RecordBatch, Error> {
        let open = if is_last { None } else { self.groups.pop() };
        let groups = std::mem::take(&mut self.groups);
        let batch = self.gathered(&groups);
        self.groups.extend(open);
        self.forget();
        batch
    }

    /// Lets go of the batches that no group points into. Long rows of one group stand together, so these are the first.
    fn forget(&mut self) {
        let used = self
            .groups
            .iter()
            .flat_map(|group| group.values.iter().flatten().map(|((batch, _), _)| *batch).chain([group.at.0]));
        let first = used.min().unwrap_or(self.kept.len());
        self.kept.drain(..first);
        self.kept_rows = self.kept.iter().map(RecordBatch::num_rows).sum();
        for group in &mut self.groups {
            group.at.0 -= first;
            for ((batch, _), _) in group.values.iter_mut().flatten() {
                *batch -= first;
            }
        }
    }

    fn gathered(&self, groups: &[Group]) -> Result<RecordBatch, Error> {
        let at: Vec<Option<Place>> = groups.iter().map(|group| Some(group.at)).collect();
        let keys = self.column(0, &self.wanted.key.dtype.arrow(), &at)?;
        let event_time = self.column(2 + self.wanted.values.len(), &DType::TIMESTAMP.arrow(), &at)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.wanted.columns.len() + 2);
        for column in &self.wanted.columns {
            columns.push(match column {
                None => Arc::clone(&keys),
                Some(place) => self.feature(*place, groups, &keys)?,
            });
        }
        columns.push(event_time);
        let created: TimestampMicrosecondArray = timestamps(groups.iter().map(|group| group.created).collect());
        columns.push(Arc::new(created));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| stopped(&self.source, &error))
    }

    fn feature(&self, place: usize, groups: &[Group], keys: &ArrayRef) -> Result<ArrayRef, Error> {
        let Feature { field, value } = &self.wanted.features[place];
        let places: Vec<Option<Place>> = groups.iter().map(|group| group.values[place].map(|(at, _)| at)).collect();
        let values = self.column(2 + value, &self.wanted.values[*value].dtype.arrow(), &places)?;
        typed(&values, field.dtype).map_err(|error| {
            let row = (0..values.len()).find(|row| typed(&values.slice(*row, 1), field.dtype).is_err());
            let whose = row.map_or_else(String::new, |row| {
                let (key, value) = (cast::to_text(keys, row), cast::to_text(&values, row));
                format!("{value:?} of {}={key} is not one", self.wanted.key.name)
            });
            wrong_type(&self.source, &field.name, CastError { detail: whose, ..error })
        })
    }

    /// Values of one column at these places, null where there is none.
    fn column(&self, column: usize, data_type: &DataType, places: &[Option<Place>]) -> Result<ArrayRef, Error> {
        let null = new_null_array(data_type, 1);
        let arrays = self.kept.iter().map(|batch| batch.column(column).as_ref());
        let arrays: Vec<&dyn Array> = std::iter::once(null.as_ref()).chain(arrays).collect();
        let at = |place: &Option<Place>| place.map_or((0, 0), |(batch, row)| (batch + 1, row));
        let indices: Vec<Place> = places.iter().map(at).collect();
        interleave(&arrays, &indices).map_err(|error| stopped(&self.source, &error))
    }
}

/// Values in the type of a feature: text is parsed, anything else is cast where it stays what it is.
fn typed(values: &ArrayRef, dtype: DType) -> Result<ArrayRef, CastError> {
    match (values.data_type(), dtype) {
        (DataType::Utf8, DType::One(scalar)) if !matches!(scalar, Scalar::String | Scalar::Bytes) => {
            cast::parsed(values, scalar)
        }
        _ => cast::exactly(values, dtype),
    }
}

fn stopped(source: &Source, error: &ArrowError) -> Error {
    Error::Unreadable { source_name: source.name.clone(), detail: error.to_string() }
}

#[cfg(test)]
mod tests;
