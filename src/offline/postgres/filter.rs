//! Conditions of DataFusion's become conditions of SQL, where both mean the same or PostgreSQL's lets more rows through.
//!
//! Left to DataFusion: floats (the two order zeros and NaNs differently), texts beyond equality (their order is the
//! collation's), and conditions with more values than a statement should carry.

use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use super::columns::{Column, Kind, Shape};
use super::decode::{EPOCH_DAYS, EPOCH_MICROS};
use super::sql::{identifier, text};
use crate::limits::POSTGRES_CONDITION_BYTES_MAX;

/// The times that PostgreSQL has: from the end of 4714 BC on, and before 294277.
pub(super) const MICROS: std::ops::Range<i64> =
    -211_813_488_000_000_000 + EPOCH_MICROS..9_223_371_331_200_000_000_i64.saturating_add(EPOCH_MICROS);
/// The dates that it has: from the end of 4714 BC on, and before 5874898.
pub(super) const DAYS: std::ops::Range<i32> = -2_451_545 + EPOCH_DAYS..2_145_031_949 + EPOCH_DAYS;

/// A condition as PostgreSQL reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub sql: String,
    /// Whether it lets no other rows through than DataFusion's.
    pub is_exact: bool,
}

/// `filter` for the columns of a table, if PostgreSQL can be asked.
pub(super) fn condition(filter: &Expr, columns: &[Column]) -> Option<Condition> {
    let condition = translate(filter, columns)?;
    (condition.sql.len() <= POSTGRES_CONDITION_BYTES_MAX).then_some(condition)
}

fn translate(filter: &Expr, columns: &[Column]) -> Option<Condition> {
    match filter {
        Expr::Alias(alias) => translate(&alias.expr, columns),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (translate(left, columns)?, translate(right, columns)?);
            let is_exact = left.is_exact && right.is_exact;
            Some(Condition { sql: format!("({} {op} {})", left.sql, right.sql), is_exact })
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => compare(find(columns, &column.name)?, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => compare(find(columns, &column.name)?, op.swap()?, value),
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) => {
            match (expr.as_ref(), low.as_ref(), high.as_ref()) {
                (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) => {
                    let column = find(columns, &column.name)?;
                    let (low, high) = (compare(column, Operator::GtEq, low)?, compare(column, Operator::LtEq, high)?);
                    let is_exact = low.is_exact && high.is_exact;
                    Some(Condition { sql: format!("({} AND {})", low.sql, high.sql), is_exact })
                }
                _ => None,
            }
        }
        Expr::InList(InList { expr, list, negated: false }) => match expr.as_ref() {
            Expr::Column(column) => any_of(find(columns, &column.name)?, list),
            _ => None,
        },
        Expr::IsNull(expr) => is(expr, columns, "NULL"),
        Expr::IsNotNull(expr) => is(expr, columns, "NOT NULL"),
        _ => None,
    }
}

fn find<'a>(columns: &'a [Column], name: &str) -> Option<&'a Column> {
    columns.iter().find(|column| column.name == name)
}

fn is(expr: &Expr, columns: &[Column], what: &str) -> Option<Condition> {
    let Expr::Column(column) = expr else { return None };
    let column = find(columns, &column.name)?;
    column.shape?;
    Some(Condition { sql: format!("{} IS {what}", identifier(&column.name)), is_exact: true })
}

fn compare(column: &Column, operator: Operator, value: &ScalarValue) -> Option<Condition> {
    let Some(Shape::One(kind)) = column.shape else { return None };
    let is_ordered = matches!(kind, Kind::Int16 | Kind::Int32 | Kind::Int64 | Kind::Date | Kind::Moment | Kind::Clock);
    let operator = match operator {
        Operator::Eq => "=",
        Operator::Lt if is_ordered => "<",
        Operator::LtEq if is_ordered => "<=",
        Operator::Gt if is_ordered => ">",
        Operator::GtEq if is_ordered => ">=",
        _ => return None,
    };
    let sql = match literal(kind, value)? {
        Literal::Value(value) => format!("{} {operator} {}::{}", compared(column, kind), text(&value), type_name(kind)),
        Literal::Nothing => "false".to_owned(),
    };
    Some(Condition { sql, is_exact: is_exact(kind) })
}

fn any_of(column: &Column, list: &[Expr]) -> Option<Condition> {
    let Some(Shape::One(kind)) = column.shape else { return None };
    let mut array = String::from("{");
    for item in list {
        let Expr::Literal(value, _) = item else { return None };
        if value.is_null() {
            // Nothing is equal to it.
            continue;
        }
        if let Literal::Value(value) = literal(kind, value)? {
            if array.len() > 1 {
                array.push(',');
            }
            array.push('"');
            for letter in value.chars() {
                if matches!(letter, '"' | '\\') {
                    array.push('\\');
                }
                array.push(letter);
            }
            array.push('"');
        }
        if array.len() > POSTGRES_CONDITION_BYTES_MAX {
            return None;
        }
    }
    array.push('}');
    let sql = format!("{} = ANY ({}::{}[])", compared(column, kind), text(&array), type_name(kind));
    Some(Condition { sql, is_exact: is_exact(kind) })
}

/// Blanks at the end of a `char(n)` and letters that a collation takes for equal make PostgreSQL's equality a wider one.
fn is_exact(kind: Kind) -> bool {
    !matches!(kind, Kind::Text | Kind::Padded | Kind::Enum)
}

fn compared(column: &Column, kind: Kind) -> String {
    let name = identifier(&column.name);
    // A text that is none of its values would be an error.
    if kind == Kind::Enum { format!("{name}::text") } else { name }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::Int16 => "smallint",
        Kind::Int32 => "integer",
        Kind::Int64 => "bigint",
        Kind::Date => "date",
        Kind::Moment => "timestamptz",
        Kind::Clock => "timestamp",
        Kind::Uuid => "uuid",
        Kind::Padded => "bpchar",
        _ => "text",
    }
}

/// A value of a column as text, or that no value of the column can be equal to it.
enum Literal {
    Value(String),
    Nothing,
}

fn literal(kind: Kind, value: &ScalarValue) -> Option<Literal> {
    let value = match kind {
        Kind::Bool => match value {
            ScalarValue::Boolean(value) => value.as_ref()?.to_string(),
            _ => return None,
        },
        Kind::Int16 | Kind::Int32 | Kind::Int64 => {
            // DataFusion compares in the column's own type; another one is left to it.
            if value.data_type() != kind.arrow() || value.is_null() {
                return None;
            }
            value.to_string()
        }
        Kind::Text | Kind::Padded | Kind::Enum => return string(value),
        Kind::Uuid => match string(value)? {
            Literal::Value(uuid) if is_uuid(&uuid) => uuid,
            _ => return Some(Literal::Nothing),
        },
        Kind::Date => match value {
            ScalarValue::Date32(Some(day)) => date(*day)?,
            _ => return None,
        },
        Kind::Moment | Kind::Clock => match value {
            ScalarValue::TimestampMicrosecond(Some(micros), _) => time(*micros, kind)?,
            _ => return None,
        },
        Kind::Float32 | Kind::Float64 | Kind::Bytes | Kind::Json | Kind::Jsonb | Kind::Numeric { .. } => return None,
    };
    Some(Literal::Value(value))
}

fn string(value: &ScalarValue) -> Option<Literal> {
    match value {
        ScalarValue::Utf8(value) | ScalarValue::LargeUtf8(value) | ScalarValue::Utf8View(value) => {
            let value = value.as_ref()?;
            // PostgreSQL has no text with a NUL in it.
            Some(if value.contains('\0') { Literal::Nothing } else { Literal::Value(value.clone()) })
        }
        _ => None,
    }
}

/// Whether it is written as the columns of this type are read.
fn is_uuid(text: &str) -> bool {
    let is_right = |(place, letter): (usize, u8)| match place {
        8 | 13 | 18 | 23 => letter == b'-',
        _ => letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_right)
}

fn date(day: i32) -> Option<String> {
    if !DAYS.contains(&day) {
        return Some(beyond(day < DAYS.start));
    }
    // chrono ends before PostgreSQL does, and long after anybody's data.
    let date = NaiveDate::from_epoch_days(day)?;
    Some(written(date.year(), &date.format("%m-%d").to_string()))
}

fn time(micros: i64, kind: Kind) -> Option<String> {
    if !MICROS.contains(&micros) {
        return Some(beyond(micros < MICROS.start));
    }
    let time = DateTime::from_timestamp_micros(micros)?;
    let zone = if kind == Kind::Moment { "+00" } else { "" };
    Some(written(time.year(), &format!("{}{zone}", time.format("%m-%d %H:%M:%S%.6f"))))
}

/// Stands for what is before, or after, all that PostgreSQL has.
fn beyond(is_before: bool) -> String {
    if is_before { "-infinity".to_owned() } else { "infinity".to_owned() }
}

fn written(year: i32, rest: &str) -> String {
    match year {
        1.. => format!("{year:04}-{rest}"),
        // The year before the first is the first before Christ.
        before => format!("{:04}-{rest} BC", 1 - before),
    }
}
