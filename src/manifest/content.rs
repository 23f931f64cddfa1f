//! The content of a table as hashes: one for each column of each stretch of rows, and a tree over them. Equal content has
//! equal hashes, whatever the batches it came in; where two differ, the stretch and the column that differ are known.
//!
//! # What is hashed
//! - Of a column, the bytes of its rows' validity (1 where there is a value, 0 where there is null) and the bytes of the
//!   values that are there, each with SHA-256; the column's hash is that of the two hashes one behind the other. Numbers,
//!   times and dates are their bytes, little-endian, floats included: a NaN is its bits, and 0.0 is not -0.0. A bool is one
//!   byte. Text and bytes are their length (8 bytes, little-endian) and then themselves. A list is the number of its items
//!   and then, for each item, a byte whether it is there and its bytes; a struct is its fields in the same way. Values of
//!   a dictionary are the values themselves.
//! - Of a stretch of rows: its columns' hashes one behind the other.
//! - The root: pairs of hashes become the hash of both, until one is left; an odd one goes up as it is.
//! - The columns' names and types have a hash of their own: `name NUL type NUL` of each, in Arrow's words.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, filter, is_not_null};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

type Hash = [u8; 32];

/// The hashes of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub rows: u64,
    /// SHA-256 of the columns' names and types.
    pub schema: String,
    /// The root of the tree over all groups.
    pub root: String,
    /// Rows of every group but the last.
    pub group_rows: usize,
    pub groups: Vec<Group>,
}

/// The hashes of one stretch of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub rows: usize,
    pub hash: String,
    /// The first 16 digits of each column's hash: enough to find the one that differs.
    pub columns: Vec<String>,
}

/// Hashes a table as its batches come.
#[derive(Debug)]
pub struct Hasher {
    schema: String,
    group_rows: usize,
    rows: u64,
    columns: Vec<ColumnHasher>,
    /// Rows of the group that is not whole yet.
    pending: usize,
    groups: Vec<Group>,
    tree: Vec<Hash>,
}

#[derive(Clone, Debug, Default)]
struct ColumnHasher {
    validity: Sha256,
    values: Sha256,
}

impl Hasher {
    pub fn new(schema: &Schema, group_rows: usize) -> Self {
        Self {
            schema: schema_hash(schema),
            group_rows,
            rows: 0,
            columns: vec![ColumnHasher::default(); schema.fields().len()],
            pending: 0,
            groups: Vec::new(),
            tree: Vec::new(),
        }
    }

    /// The next rows.
    ///
    /// # Errors
    /// A column of a type that has no bytes of its own, such as a union.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (self.group_rows - self.pending).min(batch.num_rows() - from);
            for (hasher, column) in self.columns.iter_mut().zip(batch.columns()) {
                hasher.add(&column.slice(from, rows))?;
            }
            self.pending += rows;
            self.rows += rows as u64;
            from += rows;
            if self.pending == self.group_rows {
                self.end_group();
            }
        }
        Ok(())
    }

    pub fn finish(mut self) -> Content {
        if self.pending > 0 {
            self.end_group();
        }
        let Self { schema, group_rows, rows, groups, tree, .. } = self;
        Content { rows, schema, root: hex::encode(root(tree)), group_rows, groups }
    }

    fn end_group(&mut self) {
        let hashes: Vec<Hash> = self.columns.iter_mut().map(|column| std::mem::take(column).finish()).collect();
        let hash: Hash = Sha256::digest(hashes.concat()).into();
        self.tree.push(hash);
        let columns = hashes.iter().map(|hash| hex::encode(&hash[..8])).collect();
        self.groups.push(Group { rows: std::mem::take(&mut self.pending), hash: hex::encode(hash), columns });
    }
}

impl Content {
    /// The groups in which the other differs, each with the numbers of the columns that do; all of the columns where a
    /// group is only in one of the two, or the columns are others.
    pub fn differences(&self, other: &Self) -> Vec<(usize, Vec<usize>)> {
        let count = self.groups.len().max(other.groups.len());
        let mut differences = Vec::new();
        for number in 0..count {
            match (self.groups.get(number), other.groups.get(number)) {
                (Some(one), Some(another)) if one == another => {}
                (Some(one), Some(another)) if one.columns.len() == another.columns.len() => {
                    let differs = |column: &usize| one.columns[*column] != another.columns[*column];
                    differences.push((number, (0..one.columns.len()).filter(differs).collect()));
                }
                (one, another) => {
                    let columns = one.or(another).map_or(0, |group| group.columns.len());
                    differences.push((number, (0..columns).collect()));
                }
            }
        }
        differences
    }
}

fn schema_hash(schema: &Schema) -> String {
    let mut hash = Sha256::new();
    for field in schema.fields() {
        hash.update(field.name());
        hash.update([0]);
        hash.update(field.data_type().to_string());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

fn root(mut level: Vec<Hash>) -> Hash {
    while level.len() > 1 {
        let pair = |pair: &[Hash]| match pair {
            [one, other] => Sha256::digest([*one, *other].concat()).into(),
            alone => alone[0],
        };
        level = level.chunks(2).map(pair).collect();
    }
    level.first().copied().unwrap_or_else(|| Sha256::digest([]).into())
}

impl ColumnHasher {
    fn add(&mut self, column: &ArrayRef) -> Result<(), ArrowError> {
        const ALL: [u8; 1_024] = [1; 1_024];
        let column = &plain(column)?;
        if column.logical_null_count() == 0 {
            let mut left = column.len();
            while left > 0 {
                let some = left.min(ALL.len());
                self.validity.update(&ALL[..some]);
                left -= some;
            }
            return values(column, &mut self.values);
        }
        let valid = is_not_null(column)?;
        let bytes: Vec<u8> = valid.values().iter().map(u8::from).collect();
        self.validity.update(&bytes);
        values(&filter(column, &valid)?, &mut self.values)
    }

    fn finish(self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(self.validity.finalize());
        hash.update(self.values.finalize());
        hash.finalize().into()
    }
}

/// The same values without a dictionary, and text and bytes in one layout.
fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Dictionary(_, values) => plain(&cast(column, values)?),
        DataType::RunEndEncoded(_, values) => plain(&cast(column, values.data_type())?),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => cast(column, &DataType::LargeBinary),
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => cast(column, &DataType::LargeBinary),
        _ => Ok(Arc::clone(column)),
    }
}

/// The bytes of values, none of which is null.
fn values(column: &ArrayRef, hash: &mut Sha256) -> Result<(), ArrowError> {
    match column.data_type() {
        DataType::Null => {}
        DataType::Boolean => {
            let bytes: Vec<u8> = column.as_boolean().values().iter().map(u8::from).collect();
            hash.update(&bytes);
        }
        DataType::LargeBinary => {
            for value in column.as_binary::<i64>().iter().flatten() {
                hash.update((value.len() as u64).to_le_bytes());
                hash.update(value);
            }
        }
        DataType::List(_) => items((0..column.len()).map(|row| column.as_list::<i32>().value(row)), hash)?,
        DataType::LargeList(_) => items((0..column.len()).map(|row| column.as_list::<i64>().value(row)), hash)?,
        DataType::FixedSizeList(..) => {
            items((0..column.len()).map(|row| column.as_fixed_size_list().value(row)), hash)?
        }
        DataType::Struct(_) => {
            for row in 0..column.len() {
                for field in column.as_struct().columns() {
                    item(&field.slice(row, 1), hash)?;
                }
            }
        }
        other => match other.primitive_width() {
            Some(width) => {
                let data = column.to_data();
                let from = data.offset() * width;
                hash.update(&data.buffers()[0].as_slice()[from..from + column.len() * width]);
            }
            None => {
                let detail = format!("the content of a column of type {other} cannot be hashed");
                return Err(ArrowError::NotYetImplemented(detail));
            }
        },
    }
    Ok(())
}

fn items(lists: impl Iterator<Item = ArrayRef>, hash: &mut Sha256) -> Result<(), ArrowError> {
    for list in lists {
        hash.update((list.len() as u64).to_le_bytes());
        item(&list, hash)?;
    }
    Ok(())
}

/// For each value a byte whether it is there; then those that are.
fn item(column: &ArrayRef, hash: &mut Sha256) -> Result<(), ArrowError> {
    let column = plain(column)?;
    let valid = is_not_null(&column)?;
    let bytes: Vec<u8> = valid.values().iter().map(u8::from).collect();
    hash.update(&bytes);
    values(&filter(&column, &valid)?, hash)
}

/// The content of rows that went by; known when all have.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Mutex<Watched>>);

#[derive(Debug)]
enum Watched {
    Under(Box<Hasher>),
    Done(Box<Content>),
    Failed,
}

/// A column has values that have no bytes of their own.
#[derive(Debug, thiserror::Error)]
#[error("the set cannot have a manifest: {0}; leave the column out, or the manifest")]
pub struct Unhashable(String);

/// The same batches, whose content is hashed as they go by.
pub fn watched<E: From<Unhashable> + Send + 'static>(
    schema: &SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch, E>>,
    group_rows: usize,
) -> (BoxStream<'static, Result<RecordBatch, E>>, Watch) {
    let watch = Watch(Arc::new(Mutex::new(Watched::Under(Box::new(Hasher::new(schema, group_rows))))));
    let (during, after) = (watch.clone(), watch.clone());
    let batches = batches.and_then(move |batch| {
        let added = during.add(&batch).map(|()| batch).map_err(|error| E::from(Unhashable(error.to_string())));
        futures::future::ready(added)
    });
    let end = futures::stream::iter([()]).filter_map(move |()| {
        after.end();
        futures::future::ready(None)
    });
    (batches.chain(end).boxed(), watch)
}

impl Watch {
    /// Nothing as long as rows are still to come, or where one could not be hashed.
    pub fn content(&self) -> Option<Content> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Watched::Done(content) => Some((**content).clone()),
            Watched::Under(_) | Watched::Failed => None,
        }
    }

    fn add(&self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Watched::Under(hasher) = &mut *watched else { return Ok(()) };
        hasher.add(batch).inspect_err(|_| *watched = Watched::Failed)
    }

    fn end(&self) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Watched::Under(hasher) = std::mem::replace(&mut *watched, Watched::Failed) {
            *watched = Watched::Done(Box::new(hasher.finish()));
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Float64Array, Int32Array, Int64Array, ListArray, StringArray, StringDictionaryBuilder, StringViewArray,
    };
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    fn content(batches: &[RecordBatch], group_rows: usize) -> Content {
        let mut hasher = Hasher::new(batches[0].schema_ref(), group_rows);
        for batch in batches {
            hasher.add(batch).expect("types that can be hashed");
        }
        hasher.finish()
    }

    fn table(changed: Option<usize>) -> RecordBatch {
        let number = Int64Array::from_iter((0..100).map(|row| (row % 7 != 0).then_some(row)));
        let float = Float64Array::from_iter((0..100).map(|row| (row % 5 != 0).then_some(row as f64 / 3.0)));
        let text = StringArray::from_iter((0..100).map(|row| match changed == Some(row) {
            true => Some("changed".to_owned()),
            false => (row % 3 != 0).then(|| format!("text {row}")),
        }));
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>((0..100).map(|row| {
            (row % 4 != 0).then(|| (0..row % 4).map(|item| (item != 1).then_some(item)).collect::<Vec<_>>())
        }));
        let columns: [(&str, ArrayRef); 4] = [
            ("number", Arc::new(number)),
            ("float", Arc::new(float)),
            ("text", Arc::new(text)),
            ("list", Arc::new(list)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("a batch")
    }

    #[test]
    fn content_is_the_same_however_it_is_cut_into_batches() {
        let table = table(None);
        let whole = content(std::slice::from_ref(&table), 32);
        assert_eq!((whole.rows, whole.groups.len(), whole.groups[3].rows), (100, 4, 4));
        for rows in [1, 7, 32, 33, 99] {
            let cut: Vec<RecordBatch> =
                (0..100).step_by(rows).map(|from| table.slice(from, rows.min(100 - from))).collect();
            assert_eq!(content(&cut, 32), whole, "{rows} rows a batch");
        }
    }

    #[test]
    fn a_changed_value_is_found_by_its_group_and_column() {
        let (one, other) = (content(&[table(None)], 32), content(&[table(Some(70))], 32));
        assert_ne!(one.root, other.root);
        assert_eq!(one.differences(&other), [(2, vec![2])]);
        assert_eq!(one.differences(&one), []);
        let shorter = content(&[table(None).slice(0, 64)], 32);
        assert_eq!(one.differences(&shorter), [(2, vec![0, 1, 2, 3]), (3, vec![0, 1, 2, 3])]);
    }

    #[test]
    fn the_layout_of_text_is_not_content_and_the_place_of_a_null_is() {
        let of = |column: ArrayRef| {
            let mut hasher = ColumnHasher::default();
            hasher.add(&column).expect("text");
            hasher.finish()
        };
        let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
        dictionary.extend([Some("a"), None, Some("a")]);
        let plain = of(Arc::new(StringArray::from(vec![Some("a"), None, Some("a")])));
        assert_eq!(of(Arc::new(dictionary.finish())), plain);
        assert_eq!(of(Arc::new(StringViewArray::from(vec![Some("a"), None, Some("a")]))), plain);
        assert_ne!(of(Arc::new(StringArray::from(vec![None, Some("a"), Some("a")]))), plain);
        assert_ne!(of(Arc::new(StringArray::from(vec!["a", "", "a"]))), plain);
        assert_ne!(
            of(Arc::new(Int32Array::from(vec![1, 2]))),
            of(Arc::new(arrow::array::PrimitiveArray::<Int64Type>::from_iter_values([1, 2])))
        );
    }

    #[test]
    fn the_hash_of_a_small_table_stays_what_it_is() {
        let table = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
        let content = content(&[table.expect("a batch")], 2);
        let sha = |bytes: &[u8]| -> Hash { Sha256::digest(bytes).into() };
        let values = [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat();
        let column = sha(&[sha(&[1, 1]), sha(&values)].concat());
        assert_eq!(content.root, hex::encode(sha(&column)));
        assert_eq!(content.schema, hex::encode(sha(b"n\0Int64\0")));
    }
}
