//! The types a feature can have, and their Arrow counterparts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, TimeUnit};

/// The type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    Bool,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    Bytes,
    /// Microseconds since the epoch, UTC.
    Timestamp,
    /// Days since the epoch.
    Date,
}

/// The type of a feature, a join key or a request field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    One(Scalar),
    /// A list of any length; its items are never null.
    List(Scalar),
    /// A list of exactly so many `float32`, written `list<float32, 384>`.
    Embedding(u32),
}

impl Scalar {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Bool, "bool"),
        (Self::Int32, "int32"),
        (Self::Int64, "int64"),
        (Self::Float32, "float32"),
        (Self::Float64, "float64"),
        (Self::String, "string"),
        (Self::Bytes, "bytes"),
        (Self::Timestamp, "timestamp"),
        (Self::Date, "date"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(scalar, _)| *scalar == self).map_or("", |(_, name)| name)
    }

    /// Bytes of one value, or nothing where the length varies. A bool counts as one byte.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int32 | Self::Float32 | Self::Date => Some(4),
            Self::Int64 | Self::Float64 | Self::Timestamp => Some(8),
            Self::String | Self::Bytes => None,
        }
    }

    pub fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::String => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
        }
    }
}

impl DType {
    pub const TIMESTAMP: Self = Self::One(Scalar::Timestamp);

    /// The Arrow type in which values of this type travel through the whole gateway.
    pub fn arrow(self) -> DataType {
        match self {
            Self::One(scalar) => scalar.arrow(),
            Self::List(item) => DataType::List(Arc::new(ArrowField::new("item", item.arrow(), true))),
            Self::Embedding(width) => DataType::FixedSizeList(
                Arc::new(ArrowField::new("item", DataType::Float32, true)),
                i32::try_from(width).unwrap_or(i32::MAX),
            ),
        }
    }

    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::One(Scalar::Int32 | Scalar::Int64 | Scalar::Float32 | Scalar::Float64))
    }

    /// Whether a value is one value, and not a list of them.
    pub fn is_one(self) -> bool {
        matches!(self, Self::One(_))
    }

    /// The type as which a column of somebody else's is read when nobody says another; `None` where there is none.
    pub fn of_arrow(data_type: &DataType) -> Option<Self> {
        let scalar = |data_type: &DataType| {
            Some(match data_type {
                DataType::Boolean => Scalar::Bool,
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                    Scalar::Int32
                }
                DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Scalar::Int64,
                DataType::Float16 | DataType::Float32 => Scalar::Float32,
                DataType::Float64
                | DataType::Decimal32(..)
                | DataType::Decimal64(..)
                | DataType::Decimal128(..)
                | DataType::Decimal256(..) => Scalar::Float64,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Scalar::String,
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                    Scalar::Bytes
                }
                DataType::Timestamp(..) | DataType::Date64 => Scalar::Timestamp,
                DataType::Date32 => Scalar::Date,
                _ => return None,
            })
        };
        match data_type {
            DataType::Dictionary(_, values) => Self::of_arrow(values),
            DataType::FixedSizeList(item, width) if *item.data_type() == DataType::Float32 => {
                u32::try_from(*width).ok().filter(|width| *width > 0).map(Self::Embedding)
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => scalar(item.data_type()).map(Self::List),
            one => scalar(one).map(Self::One),
        }
    }

    /// Whether a column of this type may identify an entity.
    /// Whether values can stand in the name of a folder.
    pub fn can_be_partition(self) -> bool {
        use Scalar::{Bool, Date, Int32, Int64, String};
        matches!(self, Self::One(Bool | Int32 | Int64 | String | Date))
    }

    pub fn can_be_join_key(self) -> bool {
        matches!(
            self,
            Self::One(
                Scalar::Int32
                    | Scalar::Int64
                    | Scalar::String
                    | Scalar::Bytes
                    | Scalar::Timestamp
                    | Scalar::Date
                    | Scalar::Bool
            )
        )
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(scalar) => f.write_str(scalar.name()),
            Self::List(item) => write!(f, "list<{}>", item.name()),
            Self::Embedding(width) => write!(f, "list<float32, {width}>"),
        }
    }
}

impl FromStr for DType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scalar = |name: &str| Scalar::ALL.iter().find(|(_, known)| *known == name).map(|(scalar, _)| *scalar);
        let unknown = || {
            format!(
                "{text:?} is not a type; write bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or list<float32, 384>"
            )
        };
        let Some(item) = text.trim().strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) else {
            return scalar(text.trim()).map(Self::One).ok_or_else(unknown);
        };
        match item.split_once(',') {
            None => scalar(item.trim()).map(Self::List).ok_or_else(unknown),
            Some((item, width)) if item.trim() == "float32" => match width.trim().parse() {
                Ok(width @ 1..=65_536) => Ok(Self::Embedding(width)),
                _ => Err(unknown()),
            },
            Some(_) => Err(unknown()),
        }
    }
}
