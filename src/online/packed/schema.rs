//! The schema of packed rows: which columns they have, and where each of them stands.

use crate::catalog::{DType, Digest, Field};
use crate::online::OnlineView;

use super::HEADER_BYTES;

/// Bytes of a schema id that say whose features they are.
const ENTITY_BYTES: usize = 3;

/// The join keys and features that a view had when a row was written, by name and type.
///
/// The join keys belong to it because a view whose join keys have changed describes other entities: a row of the old
/// ones must not be found under a key of the new ones, even if the bytes of the two keys are equal.
///
/// # The id
/// Eight bytes: the first 3 of the digest (SHA-256) of the join keys' text, then the first 5 of the digest of the whole
/// text. So whoever only has two ids, as a script inside a store does, can tell whether the rows describe the same
/// entities. Rows from before this rule have the first 8 bytes of the whole text's digest; they are still read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowSchema {
    pub id: u64,
    join_keys: Vec<Column>,
    features: Vec<Column>,
    layout: Layout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    pub dtype: DType,
}

/// Where the slots and the heap are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub slots: Vec<Slot>,
    pub heap_at: usize,
    /// The slot that says where the heap ends; none where no feature is in the heap.
    pub last_end_at: Option<usize>,
}

/// Where one feature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its bit among the values that are there.
    pub bit: usize,
    pub at: usize,
    pub holds: Holds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// The value, of so many bytes.
    Value(usize),
    /// The end of the value in the heap; it starts where the value of the slot at `start_at` ends.
    End { start_at: Option<usize> },
}

impl RowSchema {
    pub fn of(view: &OnlineView) -> Self {
        Self::new(columns(&view.join_keys), columns(&view.features))
    }

    /// The text that a store keeps under the schema's id; [`RowSchema::kept`] reads it.
    pub fn text(&self) -> String {
        text(&self.join_keys, &self.features)
    }

    /// The schema that a store kept as `text` under `id`. Nothing where [`RowSchema::text`] did not write the text, or
    /// the id is not its.
    pub fn kept(id: u64, text: &str) -> Option<Self> {
        let schema = Self::parse(text)?;
        let former_id = u64::from_le_bytes(Digest::of(text.as_bytes()).prefix());
        (id == schema.id || id == former_id).then_some(Self { id, ..schema })
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut join_keys, mut features) = (Vec::new(), Vec::new());
        for [kind, name, dtype] in serde_json::from_str::<Vec<[String; 3]>>(text).ok()? {
            let column = Column { name, dtype: dtype.parse().ok()? };
            match kind.as_str() {
                "key" => join_keys.push(column),
                "feature" => features.push(column),
                _ => return None,
            }
        }
        Some(Self::new(join_keys, features))
    }

    /// Whether rows of this schema describe the entities that `view` describes now.
    pub fn describes_entities_of(&self, view: &OnlineView) -> bool {
        self.join_keys.len() == view.join_keys.len()
            && self.join_keys.iter().zip(&view.join_keys).all(|(column, field)| column.is(field))
    }

    /// Whether rows of the schema with this id describe the same entities.
    pub fn describes_entities_of_id(&self, id: u64) -> bool {
        self.id.to_le_bytes()[..ENTITY_BYTES] == id.to_le_bytes()[..ENTITY_BYTES]
    }

    /// Whether rows of this schema have this feature, by name and type.
    pub fn has(&self, field: &Field) -> bool {
        self.features.iter().any(|column| column.is(field))
    }

    /// Where `field` stands, found by name and type. `guess` is where it is if nothing has changed.
    pub(super) fn slot_of(&self, field: &Field, guess: usize) -> Option<Slot> {
        let position = match self.features.get(guess) {
            Some(column) if column.is(field) => guess,
            _ => self.features.iter().position(|column| column.is(field))?,
        };
        Some(self.layout.slots[position])
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn new(join_keys: Vec<Column>, features: Vec<Column>) -> Self {
        let layout = Layout::of(&features);
        let entities = Digest::of(text(&join_keys, &[]).as_bytes()).prefix();
        let whole = Digest::of(text(&join_keys, &features).as_bytes()).prefix();
        let id = std::array::from_fn(|byte| match byte.checked_sub(ENTITY_BYTES) {
            None => entities[byte],
            Some(byte) => whole[byte],
        });
        Self { id: u64::from_le_bytes(id), join_keys, features, layout }
    }
}

impl Column {
    fn is(&self, field: &Field) -> bool {
        self.dtype == field.dtype && self.name == field.name
    }
}

impl Layout {
    fn of(features: &[Column]) -> Self {
        let mut at = HEADER_BYTES + features.len().div_ceil(8);
        let mut last_end_at = None;
        let mut slots = Vec::with_capacity(features.len());
        for (bit, column) in features.iter().enumerate() {
            let holds = match column.dtype {
                DType::One(scalar) => scalar.width().map_or(Holds::End { start_at: last_end_at }, Holds::Value),
                DType::List(_) | DType::Embedding(_) => Holds::End { start_at: last_end_at },
            };
            slots.push(Slot { bit, at, holds });
            at += match holds {
                Holds::Value(width) => width,
                Holds::End { .. } => {
                    last_end_at = Some(at);
                    size_of::<u32>()
                }
            };
        }
        Self { slots, heap_at: at, last_end_at }
    }
}

fn text(join_keys: &[Column], features: &[Column]) -> String {
    let line = |kind: &str, column: &Column| [kind.to_owned(), column.name.clone(), column.dtype.to_string()];
    let keys = join_keys.iter().map(|column| line("key", column));
    let features = features.iter().map(|column| line("feature", column));
    serde_json::Value::from_iter(keys.chain(features).map(Vec::from)).to_string()
}

fn columns(fields: &[Field]) -> Vec<Column> {
    fields.iter().map(|field| Column { name: field.name.clone(), dtype: field.dtype }).collect()
}
