//! The columns of a table as the database's catalog says, and what each type is here.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::pool::Lease;
use crate::catalog::UNREADABLE;

/// Digits of a numeric column that says neither how many it has nor how many of them stand behind the point.
const NUMERIC_DIGITS: u8 = 76;
const NUMERIC_SCALE: i8 = 38;

/// Domains count as what they are made of, arrays as lists of what they are made of.
const COLUMNS: &str = "
WITH RECURSIVE attribute AS (
    SELECT a.attnum AS place, a.attname::text AS name, a.atttypid AS type, a.atttypmod AS modifier,
           pg_catalog.format_type(a.atttypid, a.atttypmod) AS shown
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND a.attnum > 0 AND NOT a.attisdropped
), made_of AS (
    SELECT place, type, modifier, false AS is_list FROM attribute
    UNION ALL
    SELECT m.place, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
           CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE m.modifier END, m.is_list OR t.typtype <> 'd'
    FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type
    WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0 AND NOT m.is_list)
)
SELECT a.name, a.shown, m.type, m.modifier, m.is_list, t.typtype = 'e'
FROM attribute a JOIN made_of m USING (place) JOIN pg_catalog.pg_type t ON t.oid = m.type
WHERE NOT (t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0 AND NOT m.is_list))
ORDER BY a.place";

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub name: String,
    /// The type as PostgreSQL writes it, such as `numeric(10,2)`.
    pub shown: String,
    /// PostgreSQL's number of the type; of an array, of the type of its items.
    pub oid: u32,
    /// None for a type that cannot be read; only whoever reads the column hears of it.
    pub shape: Option<Shape>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One(Kind),
    /// An array; of one dimension, as its values must show.
    List(Kind),
}

/// A type of PostgreSQL, as far as it matters how it is sent and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    /// text and varchar.
    Text,
    /// char(n), which comes with the blanks at its end.
    Padded,
    Enum,
    Json,
    Jsonb,
    Uuid,
    Bytes,
    Date,
    /// With a time zone: a moment.
    Moment,
    /// Without one. What it shows is taken as UTC.
    Clock,
    /// Digits, and how many of them stand behind the point.
    Numeric {
        precision: u8,
        scale: i8,
    },
}

/// The columns of a table, a view or the like, in order; none where there is nothing of that name.
pub(super) async fn of(lease: &mut Lease, schema: &str, table: &str) -> Result<Vec<Column>, Failure> {
    let rows = lease.query(COLUMNS, &[schema, table]).await?;
    let unexpected = |error: tokio_postgres::Error| Failure::of(lease.settings(), &error);
    let mut columns = Vec::with_capacity(rows.len());
    for row in rows {
        let (oid, modifier) = (row.try_get::<_, u32>(2).map_err(unexpected)?, row.try_get(3).map_err(unexpected)?);
        let (is_list, is_enum) = (row.try_get(4).map_err(unexpected)?, row.try_get(5).map_err(unexpected)?);
        let kind = if is_enum { Some(Kind::Enum) } else { Kind::of(oid, modifier) };
        columns.push(Column {
            name: row.try_get(0).map_err(unexpected)?,
            shown: row.try_get(1).map_err(unexpected)?,
            oid,
            shape: kind.map(if is_list { Shape::List } else { Shape::One }),
        });
    }
    Ok(columns)
}

/// The columns as Arrow has them. One that cannot be read is there, as a column of nothing.
pub(super) fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| match column.shape {
        Some(shape) => Field::new(&column.name, shape.arrow(), true),
        None => {
            let metadata = HashMap::from([(UNREADABLE.to_owned(), column.refusal())]);
            Field::new(&column.name, DataType::Null, true).with_metadata(metadata)
        }
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

impl Column {
    /// Why the column cannot be read.
    pub fn refusal(&self) -> String {
        format!(
            "column {} is of type {}, which is not read; cast it in a view, such as \"{}\"::text",
            self.name, self.shown, self.name
        )
    }
}

impl Shape {
    pub fn arrow(self) -> DataType {
        match self {
            Self::One(kind) => kind.arrow(),
            Self::List(kind) => DataType::List(Arc::new(Field::new("item", kind.arrow(), true))),
        }
    }
}

impl Kind {
    fn of(oid: u32, modifier: i32) -> Option<Self> {
        let known = [
            (Type::BOOL, Self::Bool),
            (Type::INT2, Self::Int16),
            (Type::INT4, Self::Int32),
            (Type::INT8, Self::Int64),
            (Type::FLOAT4, Self::Float32),
            (Type::FLOAT8, Self::Float64),
            (Type::TEXT, Self::Text),
            (Type::VARCHAR, Self::Text),
            (Type::BPCHAR, Self::Padded),
            (Type::JSON, Self::Json),
            (Type::JSONB, Self::Jsonb),
            (Type::UUID, Self::Uuid),
            (Type::BYTEA, Self::Bytes),
            (Type::DATE, Self::Date),
            (Type::TIMESTAMPTZ, Self::Moment),
            (Type::TIMESTAMP, Self::Clock),
        ];
        if oid == Type::NUMERIC.oid() {
            return numeric(modifier);
        }
        known.iter().find(|(known, _)| known.oid() == oid).map(|(_, kind)| *kind)
    }

    pub fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Text | Self::Padded | Self::Enum | Self::Json | Self::Jsonb | Self::Uuid => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Moment | Self::Clock => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Numeric { precision, scale } if precision <= 38 => DataType::Decimal128(precision, scale),
            Self::Numeric { precision, scale } => DataType::Decimal256(precision, scale),
        }
    }
}

/// `numeric(p, s)` as its modifier says it; nothing where Arrow has not so many digits.
fn numeric(modifier: i32) -> Option<Kind> {
    if modifier < 4 {
        return Some(Kind::Numeric { precision: NUMERIC_DIGITS, scale: NUMERIC_SCALE });
    }
    let (precision, scale) = (((modifier - 4) >> 16) & 0xffff, ((modifier - 4) & 0x7ff ^ 1_024) - 1_024);
    // A scale below zero means that the last digits are noughts, one above the precision that the first ones are.
    let (precision, scale) = (if scale < 0 { precision - scale } else { precision.max(scale) }, scale.max(0));
    let precision = u8::try_from(precision).ok().filter(|digits| *digits <= NUMERIC_DIGITS)?;
    Some(Kind::Numeric { precision, scale: i8::try_from(scale).ok()? })
}
