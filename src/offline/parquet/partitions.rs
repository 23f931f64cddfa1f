//! Hive partitions: columns whose values stand in the names of folders, `day=2026-01-31/area=8/`.
//!
//! The values are typed as the source says. A folder of another name is an error, never a null: rows would be in the
//! wrong place without anybody noticing. `__HIVE_DEFAULT_PARTITION__` is how Hive writes null; characters that file
//! systems do not like are written as `%2F`, as Hive and Spark do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Date32Type, Field as ArrowField, FieldRef, Schema, UInt32Type};
use datafusion::common::ScalarValue;

use crate::cast;
use crate::catalog::Partition;
use crate::clock::Micros;
use crate::limits;

/// How Hive writes null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The columns that the folders give.
pub(super) fn columns(partitions: &[Partition]) -> Vec<FieldRef> {
    let column = |partition: &Partition| {
        let field = &partition.field;
        Arc::new(ArrowField::new(&field.name, field.dtype.arrow(), true))
    };
    partitions.iter().map(column).collect()
}

/// The values of the partitions of the file at `path`, out of the names of its folders.
pub(super) fn values(partitions: &[Partition], path: &str) -> Result<Vec<ScalarValue>, String> {
    let mut folders = path.split('/');
    // The last part is the file's own name.
    folders.next_back();
    let mut values = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let Partition { field, .. } = partition;
        let Some(folder) = folders.next() else {
            return Err(format!("it lies in no folder {}=…, as the source's partitions say", field.name));
        };
        let value = folder.split_once('=').filter(|(name, _)| *name == field.name).map(|(_, value)| value);
        let Some(value) = value else {
            return Err(format!("its folder {folder} should be {}=…, as the source's partitions say", field.name));
        };
        let wrong = |detail: String| format!("its folder {folder}: {detail}");
        let text = decode(value).ok_or_else(|| wrong("it is not UTF-8 with % and two hex digits".to_owned()))?;
        let text = (text != NULL).then_some(text);
        let column = cast::from_text(&[text.as_deref()], field.dtype).map_err(wrong)?;
        values.push(ScalarValue::try_from_array(&column, 0).map_err(|error| error.to_string())?);
    }
    Ok(values)
}

/// The rows of each folder that they belong to, in their order, without the columns that the folder gives.
pub(super) fn split(partitions: &[Partition], rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, String> {
    if partitions.is_empty() {
        return Ok(vec![(String::new(), rows.clone())]);
    }
    let columns: Vec<ArrayRef> =
        partitions.iter().map(|partition| column_of(partition, rows)).collect::<Result<_, _>>()?;
    let mut folders: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut folder = String::new();
    for row in 0..rows.num_rows() {
        folder.clear();
        for (partition, column) in partitions.iter().zip(&columns) {
            if !folder.is_empty() {
                folder.push('/');
            }
            folder.push_str(&partition.field.name);
            folder.push('=');
            encode(column, row, &mut folder);
        }
        let row = u32::try_from(row).map_err(|_| "it has more than 2^32 rows".to_owned())?;
        match folders.get_mut(&folder) {
            Some(rows) => rows.push(row),
            None => {
                folders.insert(folder.clone(), vec![row]);
            }
        }
        if folders.len() > limits::PARTITIONS_PER_BATCH_MAX {
            let max = limits::PARTITIONS_PER_BATCH_MAX;
            return Err(format!("the rows belong to more than {max} partitions; write fewer at once"));
        }
    }
    let rest = without(partitions, rows)?;
    let of_folder = |(folder, rows): (String, Vec<u32>)| {
        let rows: PrimitiveArray<UInt32Type> = UInt32Array::from(rows);
        Ok((folder, take_record_batch(&rest, &rows).map_err(|error| error.to_string())?))
    };
    folders.into_iter().map(of_folder).collect()
}

/// The midnights with which a day begins and ends, in UTC; nothing where the day is null.
pub(super) fn day_bounds(day: &ScalarValue) -> (Option<Micros>, Option<Micros>) {
    match day {
        ScalarValue::Date32(Some(day)) => {
            let begin = i64::from(*day).saturating_mul(MICROS_PER_DAY);
            (Some(begin), Some(begin.saturating_add(MICROS_PER_DAY)))
        }
        _ => (None, None),
    }
}

fn column_of(partition: &Partition, rows: &RecordBatch) -> Result<ArrayRef, String> {
    let Partition { field, day_of } = partition;
    let column = day_of.as_ref().unwrap_or(&field.name);
    let Some(values) = rows.column_by_name(column) else {
        return Err(format!(
            "the rows have no column {column}, which says in which partition {} they belong",
            field.name
        ));
    };
    if day_of.is_none() {
        return cast::exactly(values, field.dtype).map_err(|error| format!("column {column}: {error}"));
    }
    let times = cast::to_times(values).map_err(|error| format!("column {column}: {error}"))?;
    let day = |time: Option<Micros>| time.and_then(|time| i32::try_from(time.div_euclid(MICROS_PER_DAY)).ok());
    Ok(Arc::new(times.iter().map(day).collect::<Date32Array>()))
}

fn without(partitions: &[Partition], rows: &RecordBatch) -> Result<RecordBatch, String> {
    let is_partition = |name: &str| partitions.iter().any(|partition| partition.field.name == name);
    let schema = rows.schema_ref();
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|at| !is_partition(schema.field(*at).name())).collect();
    let fields: Vec<FieldRef> = kept.iter().map(|at| Arc::clone(&schema.fields()[*at])).collect();
    let columns = kept.iter().map(|at| Arc::clone(rows.column(*at))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rest = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    rest.map_err(|error| error.to_string())
}

/// Writes a value as the name of a folder has it.
fn encode(column: &ArrayRef, row: usize, to: &mut String) {
    if column.is_null(row) {
        return to.push_str(NULL);
    }
    let text = match column.data_type() {
        arrow::datatypes::DataType::Date32 => {
            let day = column.as_primitive::<Date32Type>().value(row);
            return to.push_str(&cast::to_text(&(Arc::new(Date32Array::from(vec![day])) as ArrayRef), 0));
        }
        _ => cast::to_text(column, row),
    };
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'+' => to.push(char::from(byte)),
            other => {
                to.push('%');
                to.push_str(&hex::encode_upper([other]));
            }
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let mut byte = [0];
            hex::decode_to_slice(after.get(..2)?, &mut byte).ok()?;
            bytes.push(byte[0]);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::batch::timestamps;
    use crate::catalog::{DType, Field, Scalar};

    fn partition(name: &str, scalar: Scalar, day_of: Option<&str>) -> Partition {
        Partition { field: Field::new(name, DType::One(scalar)), day_of: day_of.map(str::to_owned) }
    }

    fn shown(partitions: &[Partition], path: &str) -> Result<String, String> {
        values(partitions, path).map(|values| format!("{values:?}"))
    }

    #[test]
    fn folders_give_typed_values() {
        let partitions = [partition("day", Scalar::Date, None), partition("area", Scalar::Int64, None)];
        let both = values(&partitions, "day=1970-01-03/area=-8/x.parquet");
        assert_eq!(both, Ok(vec![ScalarValue::Date32(Some(2)), ScalarValue::Int64(Some(-8))]));
        let null = values(&partitions, "day=__HIVE_DEFAULT_PARTITION__/area=8/deeper/x.parquet");
        assert_eq!(null, Ok(vec![ScalarValue::Date32(None), ScalarValue::Int64(Some(8))]));
        let city = [partition("city", Scalar::String, None)];
        let text = values(&city, "city=K%C3%B6ln%2FPorz/x.parquet");
        assert_eq!(text, Ok(vec![ScalarValue::from("Köln/Porz")]));
    }

    #[test]
    fn a_folder_that_says_something_else_is_named() {
        let partitions = [partition("day", Scalar::Date, None), partition("area", Scalar::Int64, None)];
        let wrong = [
            ("x.parquet", "it lies in no folder day=…, as the source's partitions say"),
            ("day=1970-01-03/x.parquet", "it lies in no folder area=…, as the source's partitions say"),
            ("area=1/day=1970-01-03/x.parquet", "its folder area=1 should be day=…, as the source's partitions say"),
            ("day=yesterday/area=1/x.parquet", "its folder day=yesterday: \"yesterday\" cannot be read as date"),
            ("day=1970-01-03/area=1%2/x.parquet", "its folder area=1%2: it is not UTF-8 with % and two hex digits"),
        ];
        for (path, because) in wrong {
            assert_eq!(shown(&partitions, path), Err(because.to_owned()), "{path}");
        }
    }

    #[test]
    fn rows_go_to_the_folders_that_give_their_values_back() {
        let cities = vec![Some("a b"), None, Some("a b"), Some("50%/="), Some("")];
        let times = timestamps((0..5).map(|row| Some(row * MICROS_PER_DAY / 2 - 1)).collect());
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("city", Arc::new(StringArray::from(cities.clone())) as ArrayRef, true),
            ("x", Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4])) as ArrayRef, true),
            ("t", Arc::new(times) as ArrayRef, true),
        ])
        .expect("columns of one length");
        let partitions = [partition("day", Scalar::Date, Some("t")), partition("city", Scalar::String, None)];
        let mut seen = Vec::new();
        for (folder, rows) in split(&partitions, &rows).expect("rows can be split") {
            let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
            assert_eq!(names, ["x", "t"]);
            let values = values(&partitions, &format!("{folder}/x.parquet")).expect("what was written can be read");
            for x in rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values() {
                let row = usize::try_from(*x).expect("a row");
                let day = i32::try_from((*x * MICROS_PER_DAY / 2 - 1).div_euclid(MICROS_PER_DAY)).expect("a day");
                assert_eq!(values, [ScalarValue::Date32(Some(day)), ScalarValue::Utf8(cities[row].map(str::to_owned))]);
                seen.push(row);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
}
