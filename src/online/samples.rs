//! Random views and rows for property tests: every type, nulls, every bit pattern of a float, sliced columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::OnlineView;
use crate::batch::{FeatureRows, timestamps};
use crate::catalog::{DType, Digest, Field, Scalar};

const SCALARS: [Scalar; 9] = [
    Scalar::Bool,
    Scalar::Int32,
    Scalar::Int64,
    Scalar::Float32,
    Scalar::Float64,
    Scalar::String,
    Scalar::Bytes,
    Scalar::Timestamp,
    Scalar::Date,
];

pub(crate) fn dtypes() -> impl Strategy<Value = DType> {
    let scalar = || prop::sample::select(SCALARS.to_vec());
    prop_oneof![
        3 => scalar().prop_map(DType::One),
        2 => scalar().prop_map(DType::List),
        1 => (1..5_u32).prop_map(DType::Embedding),
    ]
}

/// A view with one int64 join key and up to 20 features.
pub(crate) fn views() -> impl Strategy<Value = OnlineView> {
    (vec(dtypes(), 0..20), any::<bool>()).prop_map(|(dtypes, computed)| OnlineView {
        name: "sample".to_owned(),
        entities: vec!["sample".to_owned()],
        join_keys: vec![Field::new("id", DType::One(Scalar::Int64))],
        features: dtypes.iter().enumerate().map(|(i, dtype)| Field::new(format!("f{i}"), *dtype)).collect(),
        digest: computed.then_some(Digest([7; 32])),
    })
}

/// A view and rows of it with the keys 0, 1, 2, …
pub(crate) fn views_with_rows(rows: usize) -> impl Strategy<Value = (OnlineView, FeatureRows)> {
    views().prop_flat_map(move |view| {
        let features: Vec<_> = view.features.iter().map(|feature| column(feature.dtype, rows)).collect();
        let times = (vec(any::<i64>(), rows), vec(weighted(0.5, any::<i64>()), rows));
        (features, times).prop_map(move |(features, (event_times, created_times))| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
            let rows = FeatureRows {
                keys: vec![ids],
                features,
                event_time: timestamps(event_times.into_iter().map(Some).collect()),
                created_time: timestamps(created_times),
                deleted: None,
                origin: None,
            };
            (view.clone(), rows)
        })
    })
}

/// A column with nulls, cut out of a longer one.
pub(crate) fn column(dtype: DType, rows: usize) -> BoxedStrategy<ArrayRef> {
    let longer = rows + 2;
    let column = match dtype {
        DType::One(scalar) => scalars(scalar, longer, Nulls::Some),
        DType::List(item) => vec(weighted(0.7, 0..4_usize), longer)
            .prop_flat_map(move |lengths| {
                let items = lengths.iter().flatten().sum();
                scalars(item, items, Nulls::None).prop_map(move |items| list(item, &lengths, items))
            })
            .boxed(),
        DType::Embedding(width) => {
            let items = scalars(Scalar::Float32, longer * width as usize, Nulls::None);
            (items, vec(any::<bool>(), longer)).prop_map(move |(items, valid)| embedding(dtype, items, valid)).boxed()
        }
    };
    column.prop_map(move |column| column.slice(1, rows)).boxed()
}

/// Whether a column has nulls; the items of a list have none.
#[derive(Clone, Copy)]
enum Nulls {
    Some,
    None,
}

impl Nulls {
    fn among<S: Strategy + 'static>(self, values: S) -> BoxedStrategy<Option<S::Value>> {
        match self {
            Self::Some => weighted(0.7, values).boxed(),
            Self::None => values.prop_map(Some).boxed(),
        }
    }
}

fn scalars(scalar: Scalar, rows: usize, nulls: Nulls) -> BoxedStrategy<ArrayRef> {
    fn values<S, A>(values: S, rows: usize, nulls: Nulls) -> BoxedStrategy<ArrayRef>
    where
        S: Strategy + 'static,
        A: arrow::array::Array + From<Vec<Option<S::Value>>> + 'static,
    {
        vec(nulls.among(values), rows).prop_map(|values| Arc::new(A::from(values)) as ArrayRef).boxed()
    }
    match scalar {
        Scalar::Bool => values::<_, BooleanArray>(any::<bool>(), rows, nulls),
        Scalar::Int32 => values::<_, Int32Array>(any::<i32>(), rows, nulls),
        Scalar::Int64 => values::<_, Int64Array>(any::<i64>(), rows, nulls),
        Scalar::Date => values::<_, Date32Array>(any::<i32>(), rows, nulls),
        Scalar::Float32 => values::<_, Float32Array>(any::<u32>().prop_map(f32::from_bits), rows, nulls),
        Scalar::Float64 => values::<_, Float64Array>(any::<u64>().prop_map(f64::from_bits), rows, nulls),
        Scalar::String => {
            let text = vec(any::<char>(), 0..6).prop_map(String::from_iter);
            values::<_, StringArray>(text, rows, nulls)
        }
        Scalar::Bytes => vec(nulls.among(vec(any::<u8>(), 0..6)), rows)
            .prop_map(|values| Arc::new(BinaryArray::from_iter(values)) as ArrayRef)
            .boxed(),
        Scalar::Timestamp => {
            vec(nulls.among(any::<i64>()), rows).prop_map(|values| Arc::new(timestamps(values)) as ArrayRef).boxed()
        }
    }
}

fn list(item: Scalar, lengths: &[Option<usize>], items: ArrayRef) -> ArrayRef {
    let DataType::List(field) = DType::List(item).arrow() else { unreachable!("a list is a list") };
    let ends = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0)));
    let nulls = NullBuffer::from_iter(lengths.iter().map(Option::is_some));
    Arc::new(ListArray::new(field, ends, items, Some(nulls)))
}

fn embedding(dtype: DType, items: ArrayRef, valid: Vec<bool>) -> ArrayRef {
    let DataType::FixedSizeList(field, width) = dtype.arrow() else { unreachable!("an embedding has a width") };
    Arc::new(FixedSizeListArray::new(field, width, items, Some(NullBuffer::from(valid))))
}
