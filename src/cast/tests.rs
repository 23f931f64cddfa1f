use arrow::array::{
    BinaryArray, Decimal128Array, DictionaryArray, FixedSizeListArray, Float32Array, Int8Array, LargeStringArray,
    ListArray, NullArray, StringArray, StringViewArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{Float32Type, Int32Type};

use super::*;

fn cast(column: impl Array + 'static, to: DType) -> Result<ArrayRef, String> {
    let column: ArrayRef = Arc::new(column);
    let cast = exactly(&column, to).map_err(|error| error.to_string())?;
    assert_eq!(cast.data_type(), &to.arrow());
    Ok(cast)
}

fn one(column: impl Array + 'static, to: Scalar) -> Result<ArrayRef, String> {
    cast(column, DType::One(to))
}

fn array(array: impl Array + 'static) -> Result<ArrayRef, String> {
    Ok(Arc::new(array))
}

#[test]
fn numbers_become_others_where_they_stay_the_same() {
    assert_eq!(
        one(Int8Array::from(vec![Some(-3), None]), Scalar::Int64),
        array(Int64Array::from(vec![Some(-3), None]))
    );
    assert_eq!(
        one(Float64Array::from(vec![Some(4.0), None]), Scalar::Int64),
        array(Int64Array::from(vec![Some(4), None]))
    );
    assert_eq!(
        one(Int64Array::from(vec![1 << 53]), Scalar::Float64),
        array(Float64Array::from(vec![9_007_199_254_740_992.0]))
    );
    assert_eq!(
        one(Float32Array::from(vec![0.1]), Scalar::Float64),
        array(Float64Array::from(vec![f64::from(0.1_f32)]))
    );
    let whole = Decimal128Array::from(vec![12]).with_precision_and_scale(10, 0).expect("a decimal");
    assert_eq!(one(whole, Scalar::Int64), array(Int64Array::from(vec![12])));
}

#[test]
fn what_was_asked_for_may_round_but_never_overflow() {
    assert_eq!(
        one(Float64Array::from(vec![0.1, f64::INFINITY]), Scalar::Float32),
        array(Float32Array::from(vec![0.1, f32::INFINITY]))
    );
    assert!(one(Float64Array::from(vec![1e300]), Scalar::Float32).is_err());
    let price = Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).expect("a decimal");
    assert_eq!(one(price, Scalar::Float64), array(Float64Array::from(vec![1.5])));
}

#[test]
fn a_decimal_is_the_nearest_float_or_the_same_integer() {
    let decimals =
        |values: Vec<i128>, scale| Decimal128Array::from(values).with_precision_and_scale(38, scale).expect("decimals");
    // The digits alone are no float, so that two roundings would give another one.
    let long = decimals(vec![12_345_678_900_123_456_789, -5, 9_007_199_254_740_993], 10);
    let floats = vec![1_234_567_890.012_345_8, -0.000_000_000_5, 900_719.925_474_099_3];
    assert_eq!(one(long, Scalar::Float64), array(Float64Array::from(floats)));
    assert_eq!(one(decimals(vec![1_500, -200], 2), Scalar::Int64), array(Int64Array::from(vec![15, -2])));
    assert_eq!(one(decimals(vec![15], -2), Scalar::Int64), array(Int64Array::from(vec![1_500])));
    assert!(one(decimals(vec![i128::from(i64::MAX) + 1], 0), Scalar::Int64).is_err());
    assert!(one(decimals(vec![i128::from(i64::MAX) * 100 + 100], 2), Scalar::Int64).is_err());
}

#[test]
fn a_number_that_would_change_is_refused_and_named() {
    let refused = |cast: Result<ArrayRef, String>| cast.expect_err("the value changes");
    let error = refused(one(Int64Array::from(vec![3_000_000_000]), Scalar::Int32));
    assert_eq!(error, "int64 cannot be read as int32: Can't cast value 3000000000 to type Int32");
    let error = refused(one(Float64Array::from(vec![2.5]), Scalar::Int64));
    assert_eq!(error, "float64 cannot be read as int64: 2.5 is not a whole number that fits");
    refused(one(UInt64Array::from(vec![u64::MAX]), Scalar::Int64));
    refused(one(Float64Array::from(vec![f64::NAN]), Scalar::Int64));
    refused(one(Float64Array::from(vec![9_223_372_036_854_775_808.0]), Scalar::Int64));
    refused(one(Int64Array::from(vec![(1 << 53) + 1]), Scalar::Float64));
    refused(one(Int64Array::from(vec![i64::MAX]), Scalar::Float64));
    refused(one(Int64Array::from(vec![(1 << 24) + 1]), Scalar::Float32));
    let price = Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).expect("a decimal");
    refused(one(price, Scalar::Int64));
    refused(one(Int64Array::from(vec![1]), Scalar::Bool));
    refused(one(Int64Array::from(vec![1]), Scalar::Timestamp));
    refused(one(StringArray::from(vec!["1"]), Scalar::Int64));
}

#[test]
fn text_of_any_encoding_is_a_string() {
    let plain = || array(StringArray::from(vec![Some("a"), None]));
    assert_eq!(one(LargeStringArray::from(vec![Some("a"), None]), Scalar::String), plain());
    assert_eq!(one(StringViewArray::from(vec![Some("a"), None]), Scalar::String), plain());
    assert_eq!(one(BinaryArray::from(vec![Some(b"a".as_slice()), None]), Scalar::String), plain());
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None].into_iter().collect();
    assert_eq!(one(dictionary, Scalar::String), plain());
    assert!(one(BinaryArray::from(vec![b"\xff".as_slice()]), Scalar::String).is_err());
    assert_eq!(one(StringViewArray::from(vec!["a"]), Scalar::Bytes), array(BinaryArray::from(vec![b"a".as_slice()])));
}

#[test]
fn times_of_any_unit_and_zone_are_microseconds_utc() {
    let micros = |values: Vec<i64>| array(TimestampMicrosecondArray::from(values).with_timezone("UTC"));
    assert_eq!(one(TimestampSecondArray::from(vec![-2]), Scalar::Timestamp), micros(vec![-2_000_000]));
    let berlin = TimestampMillisecondArray::from(vec![3]).with_timezone("Europe/Berlin");
    assert_eq!(one(berlin, Scalar::Timestamp), micros(vec![3_000]));
    assert_eq!(one(TimestampMicrosecondArray::from(vec![5]), Scalar::Timestamp), micros(vec![5]));
    assert_eq!(one(TimestampNanosecondArray::from(vec![1_999, -1]), Scalar::Timestamp), micros(vec![1, -1]));
    assert_eq!(one(Date32Array::from(vec![1]), Scalar::Timestamp), micros(vec![MICROS_PER_DAY]));
    assert!(one(TimestampSecondArray::from(vec![i64::MAX]), Scalar::Timestamp).is_err());
    assert!(one(Date32Array::from(vec![i32::MAX]), Scalar::Timestamp).is_err());
}

#[test]
fn a_midnight_is_a_date_and_nothing_else_is() {
    let midnights = TimestampNanosecondArray::from(vec![0, -MICROS_PER_DAY * 1_000]);
    assert_eq!(one(midnights, Scalar::Date), array(Date32Array::from(vec![0, -1])));
    assert!(one(TimestampSecondArray::from(vec![1]), Scalar::Date).is_err());
}

#[test]
fn nothing_but_nulls_can_be_anything() {
    assert_eq!(one(NullArray::new(2), Scalar::String), array(StringArray::new_null(2)));
    assert_eq!(cast(NullArray::new(2), DType::List(Scalar::Int64)).expect("two nulls").null_count(), 2);
    assert_eq!(cast(NullArray::new(2), DType::Embedding(3)).expect("two nulls").null_count(), 2);
}

#[test]
fn lists_are_cast_item_by_item() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), None, Some(vec![])]);
    let floats = cast(lists.slice(0, 3), DType::List(Scalar::Float64)).expect("every item fits");
    assert_eq!(floats.as_list::<i32>().value(0).as_primitive::<Float64Type>().values(), &[1.0, 2.0]);
    assert!(floats.is_null(1));
    let with_null = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
    let error = cast(with_null, DType::List(Scalar::Int32)).expect_err("an item is null");
    assert!(error.ends_with("the list in row 0 of a batch has a null in it"), "{error}");
}

#[test]
fn an_embedding_has_its_width() {
    let lists = || ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(0.5), Some(2.0)]), None]);
    let embedding = cast(lists(), DType::Embedding(2)).expect("two items");
    assert_eq!(embedding.as_fixed_size_list().value(0).as_primitive::<Float32Type>().values(), &[0.5, 2.0]);
    assert!(embedding.is_null(1));
    assert!(cast(lists(), DType::Embedding(3)).expect_err("two items").ends_with("a list has 2 items"));
    let fixed =
        FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([None, Some(vec![Some(1.0), Some(2.0)])], 2);
    assert!(cast(fixed, DType::Embedding(2)).expect("two items").is_null(0));
}
