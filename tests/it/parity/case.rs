//! What the parity property is about: random rows and random definitions, small enough to read when one fails.
//!
//! A case is made of plain numbers, each read as "the n-th of the values worth trying", and the first of them is always
//! the most ordinary: so a failing case shrinks to ordinary values everywhere but where it fails.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field as ArrowField};
use lockstep::batch::timestamps;
use lockstep::catalog::{DType, Scalar};
use lockstep::clock::Micros;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::light::{DAY, HOUR, NOW, SECOND, batch};

/// Join keys by entity.
const ENTITIES: [(&str, &[(&str, Scalar)]); 5] = [
    ("company", &[("company", Scalar::String)]),
    ("area", &[("area", Scalar::Int64)]),
    ("meter", &[("zone", Scalar::Int32), ("day", Scalar::Date)]),
    ("badge", &[("badge", Scalar::Bytes)]),
    ("stand", &[("opened", Scalar::Timestamp), ("is_night", Scalar::Bool)]),
];
const ENTITIES_OF_VIEW: [&[usize]; 7] = [&[0], &[1], &[2], &[0, 1], &[3], &[4], &[3, 0]];
const JOIN_KEYS: usize = 7;
/// Every view has these, so that every plugin finds its inputs.
const COMMON_FEATURES: [DType; 5] = [
    DType::One(Scalar::String),
    DType::TIMESTAMP,
    DType::One(Scalar::Float64),
    DType::One(Scalar::Float64),
    DType::One(Scalar::Float64),
];
const MORE_FEATURES: [DType; 17] = [
    DType::One(Scalar::Bool),
    DType::One(Scalar::Int32),
    DType::One(Scalar::Int64),
    DType::One(Scalar::Float32),
    DType::One(Scalar::Bytes),
    DType::One(Scalar::Date),
    DType::List(Scalar::Bool),
    DType::List(Scalar::Int32),
    DType::List(Scalar::Int64),
    DType::List(Scalar::Float32),
    DType::List(Scalar::Float64),
    DType::List(Scalar::String),
    DType::List(Scalar::Bytes),
    DType::List(Scalar::Timestamp),
    DType::List(Scalar::Date),
    DType::Embedding(3),
    DType::Embedding(1),
];
const FEATURES_MAX: usize = COMMON_FEATURES.len() + 3;
const TTLS: [(Option<&str>, Micros); 4] =
    [(None, 0), (Some("30d"), 30 * DAY), (Some("1h"), HOUR), (Some("1s"), SECOND)];
const REQUEST_FIELDS: [(&str, Scalar); 3] =
    [("hour", Scalar::Int32), ("payment_type", Scalar::String), ("planned_miles", Scalar::Float64)];
/// The pick of a key that is null.
const NULL_KEY: u8 = 5;

/// A value of any type: which kind of value, and the bits to make it of.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    kind: u8,
    bits: u64,
}

#[derive(Clone, Debug)]
pub struct Row {
    keys: [u8; 3],
    event: Cell,
    created: Cell,
    features: [Cell; FEATURES_MAX],
}

#[derive(Clone, Debug)]
pub struct View {
    entities: usize,
    ttl: usize,
    more_features: Vec<usize>,
    has_created_time: bool,
    rows_per_batch: usize,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
pub struct Derived {
    plugin: u8,
    inputs: [usize; 4],
    is_frozen: bool,
    at_sync: bool,
}

#[derive(Clone, Debug)]
pub struct Asked {
    keys: [u8; JOIN_KEYS],
    request: [Cell; 3],
}

#[derive(Clone, Debug)]
pub struct Case {
    views: Vec<View>,
    derived: Vec<Derived>,
    asked: Vec<Asked>,
    later: u8,
    /// Histories in Parquet files, not in memory.
    pub in_files: bool,
    /// The online store in a file, not in memory.
    pub embedded: bool,
}

/// Where the rows of a project come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcesAre {
    Parquet,
    Pushed,
}

/// Where derived views are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placements {
    AsDrawn,
    AllAtRequest,
}

pub fn case() -> impl Strategy<Value = Case> {
    (vec(asked(), 1..=6), vec(derived(), 0..=5), vec(view(), 1..=3), 0_u8..5, any::<bool>(), any::<bool>()).prop_map(
        |(asked, derived, views, later, in_files, embedded)| Case { views, derived, asked, later, in_files, embedded },
    )
}

fn cell() -> impl Strategy<Value = Cell> {
    (0_u8..8, bits()).prop_map(|(kind, bits)| Cell { kind, bits })
}

/// Left as they are when a case shrinks: the kind of a value says what is special about it.
fn bits() -> impl Strategy<Value = u64> {
    any::<u64>().no_shrink()
}

fn row() -> impl Strategy<Value = Row> {
    let key = || prop_oneof![20 => 0_u8..3, 1 => Just(NULL_KEY)];
    let event = (0_u8..16, bits()).prop_map(|(kind, bits)| Cell { kind, bits });
    let features = proptest::array::uniform8(cell());
    ([key(), key(), key()], event, cell(), features).prop_map(|(keys, event, created, features)| Row {
        keys,
        event,
        created,
        features,
    })
}

fn view() -> impl Strategy<Value = View> {
    let more = vec(0..MORE_FEATURES.len(), 0..=3);
    (0..ENTITIES_OF_VIEW.len(), 0..TTLS.len(), more, any::<bool>(), 1_usize..6, vec(row(), 0..14)).prop_map(
        |(entities, ttl, more_features, has_created_time, rows_per_batch, rows)| View {
            entities,
            ttl,
            more_features,
            has_created_time,
            rows_per_batch,
            rows,
        },
    )
}

fn derived() -> impl Strategy<Value = Derived> {
    (0_u8..4, proptest::array::uniform4(0_usize..64), any::<bool>(), any::<bool>())
        .prop_map(|(plugin, inputs, is_frozen, at_sync)| Derived { plugin, inputs, is_frozen, at_sync })
}

fn asked() -> impl Strategy<Value = Asked> {
    let key = || prop_oneof![12 => 0_u8..3, 1 => Just(3_u8)];
    (proptest::array::uniform7(key()), proptest::array::uniform3(cell()))
        .prop_map(|(keys, request)| Asked { keys, request })
}

impl Case {
    pub fn views(&self) -> usize {
        self.views.len()
    }

    /// The clock's second stand; the first is [`NOW`].
    pub fn later(&self) -> Micros {
        [NOW + DAY, NOW + 1, NOW + 30 * DAY, NOW + 31 * DAY, Micros::MAX][usize::from(self.later)]
    }

    /// Names of the join keys of view `number`.
    pub fn join_keys(&self, number: usize) -> Vec<(&'static str, Scalar)> {
        let entities = ENTITIES_OF_VIEW[self.views[number].entities];
        entities.iter().flat_map(|entity| ENTITIES[*entity].1.iter().copied()).collect()
    }

    pub fn features(&self, number: usize) -> Vec<DType> {
        let more = self.views[number].more_features.iter().map(|feature| MORE_FEATURES[*feature]);
        COMMON_FEATURES.into_iter().chain(more).collect()
    }

    pub fn ttl(&self, number: usize) -> Option<Micros> {
        let (text, micros) = TTLS[self.views[number].ttl];
        text.map(|_| micros)
    }

    pub fn rows_per_batch(&self, number: usize) -> usize {
        self.views[number].rows_per_batch
    }

    /// The rows of the source of view `number`, in source order: join keys, features, `at`, and `made` if it has one.
    pub fn rows(&self, number: usize) -> RecordBatch {
        let view = &self.views[number];
        let ttl = TTLS[view.ttl].1;
        let (keys, features) = (self.join_keys(number), self.features(number));
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for (position, (name, scalar)) in keys.into_iter().enumerate() {
            let picks: Vec<u8> = view.rows.iter().map(|row| row.keys[position]).collect();
            columns.push((name.to_owned(), key_column(scalar, &picks)));
        }
        for (position, dtype) in features.into_iter().enumerate() {
            let cells: Vec<Cell> = view.rows.iter().map(|row| row.features[position]).collect();
            columns.push((format!("f{position}"), column(dtype, &cells)));
        }
        columns
            .push(("at".to_owned(), Arc::new(timestamps(view.rows.iter().map(|row| row.event.event(ttl)).collect()))));
        if view.has_created_time {
            let made = view.rows.iter().map(|row| row.created.created()).collect();
            columns.push(("made".to_owned(), Arc::new(timestamps(made))));
        }
        let columns: Vec<(&str, ArrayRef)> =
            columns.iter().map(|(name, column)| (name.as_str(), Arc::clone(column))).collect();
        batch(&columns)
    }

    /// What is asked: a row per question with every join key and request field.
    pub fn questions(&self) -> RecordBatch {
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        let keys = ENTITIES.iter().flat_map(|(_, keys)| keys.iter());
        for (position, (name, scalar)) in keys.enumerate() {
            let picks: Vec<u8> = self.asked.iter().map(|asked| asked.keys[position]).collect();
            columns.push((name, key_column(*scalar, &picks)));
        }
        for (position, (name, scalar)) in REQUEST_FIELDS.iter().enumerate() {
            let cells: Vec<Cell> = self.asked.iter().map(|asked| asked.request[position]).collect();
            columns.push((name, column(DType::One(*scalar), &cells)));
        }
        batch(&columns)
    }

    /// The definition file, and every feature in it as `view:feature`.
    pub fn definitions(&self, sources: SourcesAre, placements: Placements) -> Project {
        let mut text = "entities:\n".to_owned();
        for (name, keys) in ENTITIES {
            let keys: Vec<String> =
                keys.iter().map(|(name, scalar)| format!("{{name: {name}, type: {}}}", scalar.name())).collect();
            let _ = writeln!(text, "  - {{name: {name}, join_keys: [{}]}}", keys.join(", "));
        }
        text += "sources:\n";
        let kind = if sources == SourcesAre::Parquet { "parquet" } else { "push" };
        for (number, view) in self.views.iter().enumerate() {
            let created = if view.has_created_time { ", created_time: made" } else { "" };
            let _ = writeln!(
                text,
                "  - {{name: source_{number}, type: {kind}, path: source_{number}, event_time: at{created}}}"
            );
        }
        let mut project = Project { text, features: Vec::new(), known: Vec::new(), at_sync: BTreeSet::new() };
        project.text += "feature_views:\n";
        for number in 0..self.views.len() {
            project.feature_view(self, number);
        }
        project.derived_views(&self.derived, placements);
        project
    }
}

/// A definition file while it is written.
#[derive(Debug)]
pub struct Project {
    pub text: String,
    /// As `view:feature`.
    pub features: Vec<String>,
    /// What a derived view may read.
    known: Vec<Known>,
    /// The derived views placed at sync.
    pub at_sync: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Known {
    view: String,
    feature: String,
    dtype: DType,
    reach: Reach,
}

/// What stands under a feature.
#[derive(Clone, Debug, Default)]
struct Reach {
    feature_views: BTreeSet<usize>,
    /// Computed at the request: for one of its inputs, or because it was drawn so.
    at_request: bool,
}

impl Project {
    fn feature_view(&mut self, case: &Case, number: usize) {
        let view = &case.views[number];
        let entities: Vec<&str> = ENTITIES_OF_VIEW[view.entities].iter().map(|entity| ENTITIES[*entity].0).collect();
        let ttl = TTLS[view.ttl].0.map(|ttl| format!(", ttl: {ttl}")).unwrap_or_default();
        let mut features = Vec::new();
        for (position, dtype) in case.features(number).into_iter().enumerate() {
            features.push(format!("{{name: f{position}, type: '{dtype}'}}"));
            let reach = Reach { feature_views: BTreeSet::from([number]), at_request: false };
            self.add(&format!("view_{number}"), &format!("f{position}"), dtype, &reach);
        }
        let _ = writeln!(
            self.text,
            "  - {{name: view_{number}, entities: [{}], source: source_{number}{ttl}, features: [{}]}}",
            entities.join(", "),
            features.join(", ")
        );
    }

    fn add(&mut self, view: &str, feature: &str, dtype: DType, reach: &Reach) {
        self.features.push(format!("{view}:{feature}"));
        self.known.push(Known { view: view.to_owned(), feature: feature.to_owned(), dtype, reach: reach.clone() });
    }

    fn derived_views(&mut self, derived: &[Derived], placements: Placements) {
        if !derived.is_empty() {
            self.text += "derived_views:\n";
        }
        for (number, derived) in derived.iter().enumerate() {
            self.derived_view(number, derived, placements);
        }
    }

    fn derived_view(&mut self, number: usize, derived: &Derived, placements: Placements) {
        let float = DType::One(Scalar::Float64);
        let text = DType::One(Scalar::String);
        let (plugin, inputs, outputs): (_, &[(&str, DType)], &[(&str, DType)]) = match derived.plugin {
            0 => (
                "taxi_company",
                &[("company_name", text)],
                &[("company_clean", text), ("company_bucket", DType::One(Scalar::Int32))],
            ),
            1 => (
                "taxi_recency",
                &[("last_trip_at", DType::TIMESTAMP)],
                &[("days_since_last_trip", float), ("idle_over_week", DType::One(Scalar::Bool))],
            ),
            2 => (
                "taxi_quote",
                &[("area_fare_30d", float), ("area_miles_30d", float)],
                &[("expected_fare", float), ("hour_sin", float), ("is_rush_hour", DType::One(Scalar::Bool))],
            ),
            _ => (
                "haversine",
                &[("from_latitude", float), ("from_longitude", float), ("to_latitude", float), ("to_longitude", float)],
                &[("distance_km", float)],
            ),
        };
        let mut reach = Reach::default();
        let mut wired = Vec::new();
        for ((input, dtype), pick) in inputs.iter().zip(derived.inputs) {
            let fitting: Vec<&Known> = self.known.iter().filter(|known| known.dtype == *dtype).collect();
            let known = fitting[pick % fitting.len()];
            reach.feature_views.extend(&known.reach.feature_views);
            reach.at_request |= known.reach.at_request;
            wired.push(format!("{input}: '{}:{}'", known.view, known.feature));
        }
        let is_frozen = plugin == "taxi_recency" && derived.is_frozen;
        reach.at_request |= plugin == "taxi_quote"
            || plugin == "taxi_recency" && !is_frozen
            || reach.feature_views.len() != 1
            || !derived.at_sync
            || placements == Placements::AllAtRequest;
        let name = format!("derived_{number}");
        let mut more = String::new();
        if plugin == "taxi_company" {
            more += ", parameters: {buckets: 7}";
        }
        if is_frozen {
            more += ", freeze_at_event_time: true";
        }
        if !reach.at_request {
            more += ", placement: sync";
            self.at_sync.insert(name.clone());
        }
        let features: Vec<&str> = outputs.iter().map(|(output, _)| *output).collect();
        let _ = writeln!(
            self.text,
            "  - {{name: {name}, plugin: {plugin}, inputs: {{{}}}, features: [{}]{more}}}",
            wired.join(", "),
            features.join(", ")
        );
        for (output, dtype) in outputs {
            self.add(&name, output, *dtype, &reach);
        }
    }
}

fn key_column(scalar: Scalar, picks: &[u8]) -> ArrayRef {
    macro_rules! keys {
        ($array:ty, $values:expr) => {{
            let values = $values;
            Arc::new(picks.iter().map(|pick| values.get(usize::from(*pick)).copied()).collect::<$array>()) as ArrayRef
        }};
    }
    match scalar {
        Scalar::Bool => keys!(BooleanArray, [false, true, false, true]),
        Scalar::Int32 => keys!(Int32Array, [0, -1, i32::MAX, i32::MIN]),
        Scalar::Int64 => keys!(Int64Array, [0, -1, i64::MAX, i64::MIN]),
        Scalar::Date => keys!(Date32Array, [0, -1, i32::MAX, i32::MIN]),
        Scalar::String => keys!(StringArray, ["Choice", "", "naïve 🚕", "choice"]),
        Scalar::Bytes => {
            let values: [&[u8]; 4] = [b"a", b"", b"\xff\0", b"b"];
            Arc::new(BinaryArray::from_iter(picks.iter().map(|pick| values.get(usize::from(*pick)))))
        }
        Scalar::Timestamp => {
            let values = [NOW, 0, i64::MAX, i64::MIN];
            Arc::new(timestamps(picks.iter().map(|pick| values.get(usize::from(*pick)).copied()).collect()))
        }
        other => unreachable!("no join key here is a {}", other.name()),
    }
}

fn column(dtype: DType, cells: &[Cell]) -> ArrayRef {
    match dtype {
        DType::One(scalar) => scalar_column(scalar, cells),
        DType::List(item) => {
            let items: Vec<Vec<Cell>> = cells.iter().map(|cell| cell.items((cell.bits >> 3) as usize % 4)).collect();
            let offsets = OffsetBuffer::from_lengths(items.iter().map(Vec::len));
            let values = scalar_column(item, &items.concat());
            let nulls: NullBuffer = cells.iter().map(|cell| !cell.is_null()).collect();
            let field = Arc::new(ArrowField::new("item", item.arrow(), true));
            Arc::new(ListArray::new(field, offsets, values, Some(nulls)))
        }
        DType::Embedding(width) => {
            let items: Vec<Cell> = cells.iter().flat_map(|cell| cell.items(width as usize)).collect();
            let nulls: NullBuffer = cells.iter().map(|cell| !cell.is_null()).collect();
            let field = Arc::new(ArrowField::new("item", DataType::Float32, true));
            let values = scalar_column(Scalar::Float32, &items);
            Arc::new(FixedSizeListArray::new(field, width as i32, values, Some(nulls)))
        }
    }
}

fn scalar_column(scalar: Scalar, cells: &[Cell]) -> ArrayRef {
    fn each<'a, T>(cells: &'a [Cell], value: impl Fn(&Cell) -> T + 'a) -> impl Iterator<Item = Option<T>> + 'a {
        cells.iter().map(move |cell| (!cell.is_null()).then(|| value(cell)))
    }
    match scalar {
        Scalar::Bool => Arc::new(each(cells, |cell| cell.bits & 1 == 1).collect::<BooleanArray>()),
        Scalar::Int32 => Arc::new(each(cells, Cell::int32).collect::<Int32Array>()),
        Scalar::Date => Arc::new(each(cells, Cell::int32).collect::<Date32Array>()),
        Scalar::Int64 => Arc::new(each(cells, Cell::int64).collect::<Int64Array>()),
        Scalar::Timestamp => Arc::new(timestamps(each(cells, Cell::time).collect())),
        Scalar::Float32 => Arc::new(each(cells, Cell::float32).collect::<Float32Array>()),
        Scalar::Float64 => Arc::new(each(cells, Cell::float64).collect::<Float64Array>()),
        Scalar::String => Arc::new(each(cells, Cell::text).collect::<StringArray>()),
        Scalar::Bytes => Arc::new(BinaryArray::from_iter(each(cells, |cell| cell.text().into_bytes()))),
    }
}

impl Cell {
    fn is_null(&self) -> bool {
        self.kind == 1
    }

    /// The items of a list; none of them is null.
    fn items(&self, count: usize) -> Vec<Cell> {
        let item = |position: usize| {
            let bits = self.bits.rotate_left(7 * position as u32 + 1);
            let kind = (bits >> 9) as u8 % 8;
            Cell { kind: if kind == 1 { 0 } else { kind }, bits }
        };
        (0..count).map(item).collect()
    }

    fn int32(&self) -> i32 {
        match self.kind {
            2 => i32::MIN,
            3 => i32::MAX,
            4 => self.bits as i32,
            5 => -1,
            _ => (self.bits % 24) as i32,
        }
    }

    fn int64(&self) -> i64 {
        match self.kind {
            2 => i64::MIN,
            3 => i64::MAX,
            4 => self.bits as i64,
            5 => -1,
            _ => (self.bits % 1_000) as i64,
        }
    }

    fn time(&self) -> Micros {
        match self.kind {
            2 => Micros::MIN,
            3 => Micros::MAX,
            4 => self.bits as i64,
            5 => NOW,
            6 => NOW - 7 * DAY,
            _ => NOW - (self.bits % (40 * DAY as u64)) as i64,
        }
    }

    fn float64(&self) -> f64 {
        match self.kind {
            2 => -0.0,
            // Any NaN: its sign and its payload as they come.
            3 => f64::from_bits(self.bits | 0x7ff0_0000_0000_0001),
            4 => [f64::INFINITY, f64::NEG_INFINITY][(self.bits & 1) as usize],
            5 => f64::from_bits(self.bits & 0x000f_ffff_ffff_ffff),
            6 => f64::from_bits(self.bits),
            7 => 0.0,
            _ => (self.bits % 1_000) as f64 / 8.0,
        }
    }

    fn float32(&self) -> f32 {
        match self.kind {
            2 => -0.0,
            3 => f32::from_bits(self.bits as u32 | 0x7f80_0001),
            4 => [f32::INFINITY, f32::NEG_INFINITY][(self.bits & 1) as usize],
            6 => f32::from_bits(self.bits as u32),
            _ => (self.bits % 1_000) as f32 / 8.0,
        }
    }

    fn text(&self) -> String {
        const NAMES: [&str; 4] =
            ["2733 - 74600 Benny Jona, Inc.", "Choice Taxi Association", "credit card", "Taxi Affiliation Services"];
        match self.kind {
            2 => String::new(),
            3 => "Ünïçødé 🚕 İSTANBUL ß ﬁ".to_owned(),
            4 => self.bits.to_le_bytes().iter().map(|byte| char::from(*byte)).collect(),
            5 => "many words ".repeat((self.bits % 40) as usize),
            6 => "\0\u{301}\u{feff}\t\n".to_owned(),
            7 => " - ".to_owned(),
            _ => NAMES[(self.bits % 4) as usize].to_owned(),
        }
    }

    /// When a row of a view with this ttl became true.
    fn event(&self, ttl: Micros) -> Option<Micros> {
        Some(match self.kind {
            0..=2 => NOW - HOUR,
            3 => NOW,
            4 => NOW - 1,
            5 => NOW - ttl,
            6 => NOW - ttl - 1,
            7 => NOW + 1,
            8 => NOW + DAY,
            9 => NOW + DAY - ttl,
            10 => return None,
            11 => [Micros::MIN, Micros::MAX, Micros::MIN + 1, 0][(self.bits % 4) as usize],
            12 => self.bits as i64,
            _ => NOW - (self.bits % (3 * HOUR as u64)) as i64,
        })
    }

    fn created(&self) -> Option<Micros> {
        match self.kind {
            0 | 1 => None,
            2 => Some(Micros::MAX),
            // The stores keep "none" as the very first microsecond there is.
            3 => Some(Micros::MIN + 1),
            4 => Some(NOW + DAY),
            _ => Some(NOW - (self.bits % 3) as i64),
        }
    }
}
