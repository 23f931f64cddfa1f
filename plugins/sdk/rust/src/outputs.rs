//! The outputs of one call, written straight into the answer's frame in one pass.

use crate::bindings::lockstep::transform::types::RowError;
use crate::frame::{DESCRIPTOR_BYTES, Descriptor, HEADER_BYTES, MAGIC};
use crate::rows::{Fixed, FixedValue};
use crate::{Column, Failure, Type};

/// One declared output, and whether this binding wants it.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub column: Column,
    pub wanted: bool,
}

/// Writes the outputs, one after the other, in the order in which `describe` declares them. An output that the binding
/// does not want is passed over without computing it.
#[derive(Debug)]
pub struct Outputs<'a> {
    frame: Vec<u8>,
    rows: usize,
    declared: &'a [Output],
    /// Outputs passed so far, wanted or not, and those written.
    passed: usize,
    written: usize,
    errors: Vec<RowError>,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(declared: &'a [Output], rows: usize) -> Self {
        let wanted = declared.iter().filter(|output| output.wanted).count();
        let head = HEADER_BYTES + wanted * DESCRIPTOR_BYTES;
        let mut frame = Vec::with_capacity(head + wanted * (rows * 8 + 16));
        for word in [MAGIC, rows as u32, wanted as u32, 0] {
            frame.extend_from_slice(&word.to_le_bytes());
        }
        frame.resize(head, 0);
        Self { frame, rows, declared, passed: 0, written: 0, errors: Vec::new() }
    }

    pub(crate) fn finish(self) -> Result<(Vec<u8>, Vec<RowError>), Failure> {
        match self.declared.get(self.passed) {
            None => Ok((self.frame, self.errors)),
            Some(missing) => Err(Failure::Failed(format!("output {} was not written", missing.column.name))),
        }
    }

    /// Refuses a row: its outputs become null, and the caller is told why. `code` is 1000 or more, by the plugin's choice.
    pub fn refuse(&mut self, row: usize, code: u32, message: impl Into<String>) {
        self.errors.push(RowError { row: row as u32, code, message: message.into() });
    }

    /// One output from one input, value by value; null where the input is null. The fastest way where it fits: `value` is
    /// called for null rows as well, with some number, so that the loop has no branch and two values can be computed at
    /// once.
    pub fn map<T: FixedValue, U: FixedValue>(
        &mut self,
        name: &str,
        input: Fixed<T>,
        mut value: impl FnMut(T) -> U,
    ) -> Result<(), Failure> {
        let kind = self.kind().filter(|kind| U::SCALARS.contains(kind)).ok_or_else(|| self.out_of_order(name))?;
        let Some(mut column) = self.begin(name, kind)? else { return Ok(()) };
        let start = self.frame.len();
        let values = input.values.chunks_exact(T::WIDTH).map(|bytes| value(T::read(bytes)));
        append(&mut self.frame, self.rows, values);
        column.values = self.span(start)?;
        let valid = input.validity.map_or(self.rows, |bits| bits.iter().map(|byte| byte.count_ones() as usize).sum());
        if let Some(bits) = input.validity.filter(|_| valid < self.rows) {
            let start = self.padded();
            self.frame.extend_from_slice(bits);
            column.has_validity = true;
            column.null_count = (self.rows - valid) as u32;
            column.validity = self.span(start)?;
        }
        self.finish_column(column);
        Ok(())
    }

    pub fn int32s(&mut self, name: &str, value: impl FnMut(usize) -> Option<i32>) -> Result<(), Failure> {
        self.fixed(name, Type::Int32, value)
    }

    pub fn int64s(&mut self, name: &str, value: impl FnMut(usize) -> Option<i64>) -> Result<(), Failure> {
        self.fixed(name, Type::Int64, value)
    }

    pub fn float32s(&mut self, name: &str, value: impl FnMut(usize) -> Option<f32>) -> Result<(), Failure> {
        self.fixed(name, Type::Float32, value)
    }

    pub fn float64s(&mut self, name: &str, value: impl FnMut(usize) -> Option<f64>) -> Result<(), Failure> {
        self.fixed(name, Type::Float64, value)
    }

    /// Microseconds since 1970.
    pub fn timestamps(&mut self, name: &str, value: impl FnMut(usize) -> Option<i64>) -> Result<(), Failure> {
        self.fixed(name, Type::Timestamp, value)
    }

    /// Days since 1970.
    pub fn dates(&mut self, name: &str, value: impl FnMut(usize) -> Option<i32>) -> Result<(), Failure> {
        self.fixed(name, Type::Date, value)
    }

    pub fn bools(&mut self, name: &str, mut value: impl FnMut(usize) -> Option<bool>) -> Result<(), Failure> {
        let Some(mut column) = self.begin(name, Type::Bool)? else { return Ok(()) };
        let start = self.frame.len();
        let (mut bits, mut nulls) = (Bits::default(), Nulls::default());
        for row in 0..self.rows {
            let value = value(row);
            nulls.note(row, value.is_some());
            bits.push(&mut self.frame, value.unwrap_or(false));
        }
        bits.end(&mut self.frame);
        column.values = self.span(start)?;
        self.end(column, nulls)
    }

    pub fn strings<S: AsRef<str>>(
        &mut self,
        name: &str,
        mut value: impl FnMut(usize) -> Option<S>,
    ) -> Result<(), Failure> {
        self.varying(name, Type::String, |frame, row| {
            let text = value(row)?;
            frame.extend_from_slice(text.as_ref().as_bytes());
            Some(text.as_ref().len())
        })
    }

    pub fn bytes<B: AsRef<[u8]>>(
        &mut self,
        name: &str,
        mut value: impl FnMut(usize) -> Option<B>,
    ) -> Result<(), Failure> {
        self.varying(name, Type::Bytes, |frame, row| {
            let bytes = value(row)?;
            frame.extend_from_slice(bytes.as_ref());
            Some(bytes.as_ref().len())
        })
    }

    /// Lists of numbers, or of times as `i64`.
    pub fn lists<T: FixedValue>(
        &mut self,
        name: &str,
        mut value: impl FnMut(usize) -> Option<Vec<T>>,
    ) -> Result<(), Failure> {
        let kind = self.kind().filter(|kind| T::LISTS.contains(kind)).ok_or_else(|| self.out_of_order(name))?;
        self.varying(name, kind, |frame, row| {
            let items = value(row)?;
            append(frame, items.len(), items.iter().copied());
            Some(items.len())
        })
    }

    pub fn bool_lists(&mut self, name: &str, mut value: impl FnMut(usize) -> Option<Vec<bool>>) -> Result<(), Failure> {
        let rows: Vec<Option<Vec<bool>>> = (0..self.rows).map(&mut value).collect();
        let mut items = rows.iter().flatten().flatten();
        let (mut bits, last) = (Bits::default(), self.rows.saturating_sub(1));
        self.varying(name, Type::BoolList, |frame, row| {
            let length = rows[row].as_ref().map(Vec::len);
            items.by_ref().take(length.unwrap_or(0)).for_each(|item| bits.push(frame, *item));
            if row == last {
                std::mem::take(&mut bits).end(frame);
            }
            length
        })
    }

    /// A row's items must be exactly as many as the output declares.
    pub fn embeddings(&mut self, name: &str, mut value: impl FnMut(usize) -> Option<Vec<f32>>) -> Result<(), Failure> {
        let Some(Type::Embedding(width)) = self.kind() else { return Err(self.out_of_order(name)) };
        let Some(mut column) = self.begin(name, Type::Embedding(width))? else { return Ok(()) };
        let start = self.frame.len();
        let mut nulls = Nulls::default();
        for row in 0..self.rows {
            let items = value(row);
            nulls.note(row, items.is_some());
            let items = items.unwrap_or_else(|| vec![0.0; width as usize]);
            if items.len() != width as usize {
                return Err(Failure::Failed(format!(
                    "output {name} has {width} items in each row, not {}",
                    items.len()
                )));
            }
            items.iter().for_each(|item| self.frame.extend_from_slice(&item.to_le_bytes()));
        }
        column.values = self.span(start)?;
        self.end(column, nulls)
    }

    fn fixed<T: FixedValue + Default>(
        &mut self,
        name: &str,
        kind: Type,
        mut value: impl FnMut(usize) -> Option<T>,
    ) -> Result<(), Failure> {
        let Some(mut column) = self.begin(name, kind)? else { return Ok(()) };
        let start = self.frame.len();
        let mut nulls = Nulls::default();
        let values = (0..self.rows).map(|row| {
            value(row).unwrap_or_else(|| {
                nulls.note(row, false);
                T::default()
            })
        });
        append(&mut self.frame, self.rows, values);
        column.values = self.span(start)?;
        self.end(column, nulls)
    }

    /// `write` appends the items of a row and says how many they are, or that the row is null.
    fn varying(
        &mut self,
        name: &str,
        kind: Type,
        mut write: impl FnMut(&mut Vec<u8>, usize) -> Option<usize>,
    ) -> Result<(), Failure> {
        let Some(mut column) = self.begin(name, kind)? else { return Ok(()) };
        let offsets = self.frame.len();
        self.frame.resize(offsets + (self.rows + 1) * 4, 0);
        column.offsets = self.span(offsets)?;
        let start = self.padded();
        let (mut nulls, mut items) = (Nulls::default(), 0);
        for row in 0..self.rows {
            let written = write(&mut self.frame, row);
            nulls.note(row, written.is_some());
            items += written.unwrap_or(0);
            let place = offsets + (row + 1) * 4;
            self.frame[place..place + 4].copy_from_slice(&(items as u32).to_le_bytes());
        }
        column.values = self.span(start)?;
        self.end(column, nulls)
    }

    /// The type of the next output.
    fn kind(&self) -> Option<Type> {
        self.declared.get(self.passed).map(|output| output.column.kind)
    }

    /// The next output, which must be `name`; `None` if the binding does not want it.
    fn begin(&mut self, name: &str, kind: Type) -> Result<Option<Descriptor>, Failure> {
        let Some(declared) = self.declared.get(self.passed) else { return Err(self.out_of_order(name)) };
        if !declared.column.is(name, kind) {
            return Err(self.out_of_order(name));
        }
        self.passed += 1;
        Ok(declared.wanted.then(|| Descriptor { tag: kind.tag(), ..Descriptor::default() }))
    }

    fn end(&mut self, mut column: Descriptor, nulls: Nulls) -> Result<(), Failure> {
        if nulls.count > 0 {
            let start = self.padded();
            nulls.write(&mut self.frame, self.rows);
            column.has_validity = true;
            column.null_count = nulls.count;
            column.validity = self.span(start)?;
        }
        self.finish_column(column);
        Ok(())
    }

    fn finish_column(&mut self, column: Descriptor) {
        self.padded();
        let place = HEADER_BYTES + self.written * DESCRIPTOR_BYTES;
        self.frame[place..place + DESCRIPTOR_BYTES].copy_from_slice(&column.to_bytes());
        self.written += 1;
    }

    /// Where the next buffer begins: at a multiple of 8. A column ends at one, so its own first buffer needs no padding.
    fn padded(&mut self) -> usize {
        let over = self.frame.len() % 8;
        if over > 0 {
            self.frame.extend_from_slice(&[0; 8][over..]);
        }
        self.frame.len()
    }

    /// The place of the buffer that began at `start` and ends here.
    fn span(&self, start: usize) -> Result<(u32, u32), Failure> {
        let length = self.frame.len() - start;
        let place = if length == 0 { 0 } else { start };
        match (u32::try_from(place), u32::try_from(length)) {
            (Ok(place), Ok(length)) => Ok((place, length)),
            _ => Err(Failure::Failed("the outputs are larger than a frame can be".to_owned())),
        }
    }

    #[cold]
    fn out_of_order(&self, name: &str) -> Failure {
        let next = self.declared.get(self.passed).map(|output| (&output.column.name, output.column.kind));
        Failure::Failed(format!(
            "output {name} was written where `describe` has {next:?}; write them in its order and types"
        ))
    }
}

/// Appends at most `count` values. What would be zeroed first, by a call out of the guest for each column, is written once.
#[inline]
fn append<T: FixedValue>(frame: &mut Vec<u8>, count: usize, values: impl Iterator<Item = T>) {
    frame.reserve(count * T::WIDTH);
    let mut written = 0;
    for (place, value) in frame.spare_capacity_mut()[..count * T::WIDTH].chunks_exact_mut(T::WIDTH).zip(values) {
        value.write(place);
        written += T::WIDTH;
    }
    // SAFETY: these are the bytes of the spare capacity that were just written, from its beginning on.
    unsafe { frame.set_len(frame.len() + written) };
}

/// Which rows are null; nothing is kept until the first one is.
#[derive(Default)]
struct Nulls {
    count: u32,
    rows: Vec<u32>,
}

impl Nulls {
    fn note(&mut self, row: usize, valid: bool) {
        if !valid {
            self.count += 1;
            self.rows.push(row as u32);
        }
    }

    fn write(&self, frame: &mut Vec<u8>, rows: usize) {
        let start = frame.len();
        frame.resize(start + rows.div_ceil(8), 0xff);
        if !rows.is_multiple_of(8) {
            frame[start + rows / 8] = (1 << (rows % 8)) - 1;
        }
        for row in &self.rows {
            frame[start + *row as usize / 8] &= !(1 << (row % 8));
        }
    }
}

/// Bits on their way into a frame, eight at a time.
#[derive(Default)]
struct Bits {
    byte: u8,
    filled: u32,
}

impl Bits {
    fn push(&mut self, frame: &mut Vec<u8>, bit: bool) {
        self.byte |= u8::from(bit) << self.filled;
        self.filled += 1;
        if self.filled == 8 {
            frame.push(self.byte);
            *self = Self::default();
        }
    }

    fn end(self, frame: &mut Vec<u8>) {
        if self.filled > 0 {
            frame.push(self.byte);
        }
    }
}
