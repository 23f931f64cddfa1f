//! The inputs of one call: a frame, and typed views of its columns. Nothing is copied.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::frame::{self, Descriptor, bad};
use crate::{Column, Failure, Type};

/// The rows of one call.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    frame: &'a [u8],
    columns: &'a [Column],
    rows: usize,
}

/// A way to name a column: by its name, or (faster, where there are many) by its position among the inputs.
pub trait Pick: Copy {
    fn find(self, columns: &[Column]) -> Option<usize>;
}

impl Pick for &str {
    fn find(self, columns: &[Column]) -> Option<usize> {
        columns.iter().position(|column| column.name == self)
    }
}

impl Pick for usize {
    fn find(self, columns: &[Column]) -> Option<usize> {
        (self < columns.len()).then_some(self)
    }
}

/// A value of fixed width.
pub trait FixedValue: Copy {
    const WIDTH: usize;
    /// The types of such values, and of lists of them.
    const SCALARS: &'static [Type];
    const LISTS: &'static [Type];
    fn read(bytes: &[u8]) -> Self;
    /// The value at a position among values that lie one after the other.
    fn at(values: &[u8], position: usize) -> Self;
    /// Fills a place of `WIDTH` bytes.
    fn write(self, place: &mut [MaybeUninit<u8>]);
}

macro_rules! fixed_value {
    ($($native:ty: $scalars:expr, $lists:expr;)*) => { $(
        impl FixedValue for $native {
            const WIDTH: usize = size_of::<$native>();
            const SCALARS: &'static [Type] = &$scalars;
            const LISTS: &'static [Type] = &$lists;
            fn read(bytes: &[u8]) -> Self {
                let mut value = [0; size_of::<$native>()];
                value.copy_from_slice(bytes);
                Self::from_le_bytes(value)
            }
            fn at(values: &[u8], position: usize) -> Self {
                Self::from_le_bytes(values.as_chunks().0[position])
            }
            #[inline]
            fn write(self, place: &mut [MaybeUninit<u8>]) {
                place.write_copy_of_slice(&self.to_le_bytes());
            }
        }
    )* };
}
fixed_value!(
    i32: [Type::Int32, Type::Date], [Type::Int32List];
    i64: [Type::Int64, Type::Timestamp], [Type::Int64List, Type::TimestampList];
    f32: [Type::Float32], [Type::Float32List];
    f64: [Type::Float64], [Type::Float64List];
);

/// A column of numbers, times or dates.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<'a, T> {
    pub(crate) validity: Option<&'a [u8]>,
    pub(crate) values: &'a [u8],
    native: PhantomData<T>,
}

#[derive(Clone, Copy, Debug)]
pub struct Bools<'a> {
    validity: Option<&'a [u8]>,
    values: &'a [u8],
}

/// A column of strings or bytes.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    validity: Option<&'a [u8]>,
    offsets: &'a [u8],
    values: &'a [u8],
}

/// A column of lists of any length.
#[derive(Clone, Copy, Debug)]
pub struct Lists<'a, T> {
    validity: Option<&'a [u8]>,
    offsets: &'a [u8],
    values: &'a [u8],
    native: PhantomData<T>,
}

/// A column of lists of bools.
#[derive(Clone, Copy, Debug)]
pub struct BoolLists<'a> {
    validity: Option<&'a [u8]>,
    offsets: &'a [u8],
    values: &'a [u8],
}

/// A column of lists that all have one length.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    validity: Option<&'a [u8]>,
    values: &'a [u8],
    width: usize,
}

/// The items of one list.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a, T> {
    values: &'a [u8],
    native: PhantomData<T>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(frame: &'a [u8], columns: &'a [Column]) -> Result<Self, Failure> {
        Ok(Self { frame, columns, rows: frame::rows(frame, columns.len())? })
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub fn int32s(&self, column: impl Pick) -> Result<Fixed<'a, i32>, Failure> {
        self.fixed(column, Type::Int32)
    }

    pub fn int64s(&self, column: impl Pick) -> Result<Fixed<'a, i64>, Failure> {
        self.fixed(column, Type::Int64)
    }

    pub fn float32s(&self, column: impl Pick) -> Result<Fixed<'a, f32>, Failure> {
        self.fixed(column, Type::Float32)
    }

    pub fn float64s(&self, column: impl Pick) -> Result<Fixed<'a, f64>, Failure> {
        self.fixed(column, Type::Float64)
    }

    /// Microseconds since 1970.
    pub fn timestamps(&self, column: impl Pick) -> Result<Fixed<'a, i64>, Failure> {
        self.fixed(column, Type::Timestamp)
    }

    /// Days since 1970.
    pub fn dates(&self, column: impl Pick) -> Result<Fixed<'a, i32>, Failure> {
        self.fixed(column, Type::Date)
    }

    pub fn bools(&self, column: impl Pick) -> Result<Bools<'a>, Failure> {
        let descriptor = self.column(column, &[Type::Bool])?;
        let values = frame::buffer(self.frame, descriptor.values, self.rows.div_ceil(8))?;
        Ok(Bools { validity: self.validity(&descriptor)?, values })
    }

    pub fn strings(&self, column: impl Pick) -> Result<Texts<'a>, Failure> {
        self.texts(column, Type::String)
    }

    /// Bytes are read with [`Texts::bytes`].
    pub fn bytes(&self, column: impl Pick) -> Result<Texts<'a>, Failure> {
        self.texts(column, Type::Bytes)
    }

    /// Lists of numbers, or of times as `i64`.
    pub fn lists<T: FixedValue>(&self, column: impl Pick) -> Result<Lists<'a, T>, Failure> {
        let descriptor = self.column(column, T::LISTS)?;
        let (offsets, items) = self.offsets(&descriptor)?;
        let values = frame::buffer(self.frame, descriptor.values, items.saturating_mul(T::WIDTH))?;
        Ok(Lists { validity: self.validity(&descriptor)?, offsets, values, native: PhantomData })
    }

    pub fn bool_lists(&self, column: impl Pick) -> Result<BoolLists<'a>, Failure> {
        let descriptor = self.column(column, &[Type::BoolList])?;
        let (offsets, items) = self.offsets(&descriptor)?;
        let values = frame::buffer(self.frame, descriptor.values, items.div_ceil(8))?;
        Ok(BoolLists { validity: self.validity(&descriptor)?, offsets, values })
    }

    fn texts(&self, column: impl Pick, kind: Type) -> Result<Texts<'a>, Failure> {
        let descriptor = self.column(column, &[kind])?;
        let (offsets, items) = self.offsets(&descriptor)?;
        let values = frame::buffer(self.frame, descriptor.values, items)?;
        Ok(Texts { validity: self.validity(&descriptor)?, offsets, values })
    }

    pub fn embeddings(&self, column: impl Pick) -> Result<Embeddings<'a>, Failure> {
        let position = column.find(self.columns).ok_or_else(|| bad("it lacks a column"))?;
        let Type::Embedding(width) = self.columns[position].kind else {
            return Err(Failure::Failed(format!("input {} is not an embedding", self.columns[position].name)));
        };
        let descriptor = self.column(position, &[Type::Embedding(width)])?;
        let width = width as usize;
        let values = frame::buffer(self.frame, descriptor.values, self.rows.saturating_mul(width * 4))?;
        Ok(Embeddings { validity: self.validity(&descriptor)?, values, width })
    }

    #[inline]
    fn fixed<T: FixedValue>(&self, column: impl Pick, kind: Type) -> Result<Fixed<'a, T>, Failure> {
        let descriptor = self.column(column, &[kind])?;
        let values = frame::buffer(self.frame, descriptor.values, self.rows.saturating_mul(T::WIDTH))?;
        Ok(Fixed { validity: self.validity(&descriptor)?, values, native: PhantomData })
    }

    #[inline]
    fn column(&self, column: impl Pick, kinds: &[Type]) -> Result<Descriptor, Failure> {
        let position = column.find(self.columns).ok_or_else(undeclared)?;
        let declared = &self.columns[position];
        if !kinds.contains(&declared.kind) {
            return Err(misread(declared, kinds));
        }
        let descriptor = Descriptor::of(self.frame, position)?;
        if descriptor.tag != declared.kind.tag() {
            return Err(bad("a column has another type than was agreed on"));
        }
        Ok(descriptor)
    }

    fn validity(&self, descriptor: &Descriptor) -> Result<Option<&'a [u8]>, Failure> {
        match descriptor.has_validity {
            true => frame::buffer(self.frame, descriptor.validity, self.rows.div_ceil(8)).map(Some),
            false => Ok(None),
        }
    }

    /// The offsets of a column, and the number of items that the last one ends.
    fn offsets(&self, descriptor: &Descriptor) -> Result<(&'a [u8], usize), Failure> {
        let offsets = frame::buffer(self.frame, descriptor.offsets, (self.rows + 1) * 4)?;
        Ok((offsets, i32::read(&offsets[self.rows * 4..]).max(0) as usize))
    }
}

#[cold]
fn undeclared() -> Failure {
    Failure::Failed("an input is read that `describe` does not name".to_owned())
}

#[cold]
fn misread(declared: &Column, kinds: &[Type]) -> Failure {
    Failure::Failed(format!("input {} is {:?}, not {kinds:?}", declared.name, declared.kind))
}

fn is_valid(validity: Option<&[u8]>, row: usize) -> bool {
    validity.is_none_or(|bits| bit(bits, row))
}

fn bit(bits: &[u8], position: usize) -> bool {
    bits[position / 8] >> (position % 8) & 1 == 1
}

fn range(offsets: &[u8], row: usize) -> (usize, usize) {
    let at = |place: usize| i32::read(&offsets[place * 4..place * 4 + 4]) as usize;
    (at(row), at(row + 1))
}

impl<T: FixedValue> Fixed<'_, T> {
    /// The value of a row, `None` if it is null.
    pub fn get(&self, row: usize) -> Option<T> {
        is_valid(self.validity, row).then(|| T::at(self.values, row))
    }
}

impl Bools<'_> {
    pub fn get(&self, row: usize) -> Option<bool> {
        is_valid(self.validity, row).then(|| bit(self.values, row))
    }
}

impl<'a> Texts<'a> {
    pub fn get(&self, row: usize) -> Option<&'a str> {
        // The gateway sends UTF-8 only; a column of bytes is read with `bytes`.
        std::str::from_utf8(self.bytes(row)?).ok()
    }

    pub fn bytes(&self, row: usize) -> Option<&'a [u8]> {
        let (start, end) = range(self.offsets, row);
        is_valid(self.validity, row).then(|| &self.values[start..end])
    }
}

impl<'a, T: FixedValue> Lists<'a, T> {
    pub fn get(&self, row: usize) -> Option<Items<'a, T>> {
        let (start, end) = range(self.offsets, row);
        let items = || Items { values: &self.values[start * T::WIDTH..end * T::WIDTH], native: PhantomData };
        is_valid(self.validity, row).then(items)
    }
}

impl BoolLists<'_> {
    pub fn get(&self, row: usize) -> Option<Vec<bool>> {
        let (start, end) = range(self.offsets, row);
        is_valid(self.validity, row).then(|| (start..end).map(|item| bit(self.values, item)).collect())
    }
}

impl<'a> Embeddings<'a> {
    pub fn get(&self, row: usize) -> Option<Items<'a, f32>> {
        let bytes = self.width * 4;
        is_valid(self.validity, row)
            .then(|| Items { values: &self.values[row * bytes..(row + 1) * bytes], native: PhantomData })
    }
}

impl<'a, T: FixedValue + 'a> Items<'a, T> {
    pub fn len(&self) -> usize {
        self.values.len() / T::WIDTH
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        self.values.chunks_exact(T::WIDTH).map(T::read)
    }
}
