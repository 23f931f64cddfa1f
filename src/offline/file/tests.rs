use std::fs;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};

use super::*;

fn numbers(values: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_from_iter([("x", column)]).expect("one column")
}

#[test]
fn a_file_comes_back_with_its_metadata() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train.parquet");
    let metadata = [("lockstep.version".to_owned(), "7".to_owned())];
    let batches = [numbers(&[1, 2]), numbers(&[3])];
    write_parquet(&path, &batches[0].schema(), &batches, &metadata).expect("the file can be written");
    let file = read_parquet(&path).expect("the file can be read");
    assert_eq!(file.metadata, BTreeMap::from(metadata));
    assert_eq!(file.batches, [numbers(&[1, 2, 3])]);
    assert_eq!(file.schema, numbers(&[]).schema());
}

#[test]
fn a_file_without_rows_keeps_its_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("empty.parquet");
    write_parquet(&path, &numbers(&[]).schema(), &[], &[]).expect("the file can be written");
    let file = read_parquet(&path).expect("the file can be read");
    assert_eq!((file.batches.len(), file.schema.fields().len()), (0, 1));
}

#[test]
fn text_is_read_in_the_plain_layout() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("views.parquet");
    let column: ArrayRef = Arc::new(StringViewArray::from(vec![Some("short"), None, Some("longer than twelve bytes")]));
    let batch = RecordBatch::try_from_iter([("s", column)]).expect("one column");
    write_parquet(&path, &batch.schema(), &[batch], &[]).expect("the file can be written");
    let file = read_parquet(&path).expect("the file can be read");
    let texts = file.batches[0].column(0).as_string::<i32>();
    assert_eq!((texts.value(0), texts.is_null(1), texts.value(2)), ("short", true, "longer than twelve bytes"));
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train.parquet");
    write_parquet(&path, &numbers(&[]).schema(), &[numbers(&[1])], &[]).expect("the file can be written");
    let other: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["a"]));
    let other = RecordBatch::try_from_iter([("y", other)]).expect("one column");
    let error = write_parquet(&path, &numbers(&[]).schema(), &[numbers(&[2]), other], &[]).expect_err("not the schema");
    assert!(matches!(error, Error::WriteFile { .. }), "{error}");
    assert_eq!(read_parquet(&path).expect("the file can be read").batches, [numbers(&[1])]);
    assert_eq!(fs::read_dir(folder.path()).expect("the folder is there").count(), 1);
}

#[test]
fn a_missing_and_a_damaged_file_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = read_parquet(&folder.path().join("nothing.parquet")).expect_err("there is no file");
    assert!(matches!(missing, Error::NoSuchFile { .. }), "{missing}");
    let path = folder.path().join("text.parquet");
    fs::write(&path, "company,revenue\nA,1\n").expect("the file can be written");
    let damaged = read_parquet(&path).expect_err("it is no Parquet");
    assert!(matches!(damaged, Error::UnreadableFile { .. }), "{damaged}");
}
