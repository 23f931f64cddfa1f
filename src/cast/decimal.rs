//! Decimals as numbers: whole ones as integers, all of them as the nearest float.
//!
//! # Why not Arrow's own casts
//! To an integer they cut off what stands behind the point. To a float they round twice, the digits and then their
//! quotient, which for long decimals is not the nearest float.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{ArrowNativeType, DataType, Decimal256Type, i256};

use super::{Detail, strict};

/// The largest whole number up to which every one is a float.
const WHOLE_MAX: i128 = 1 << 53;
/// The largest power of ten that is a float.
const POWER_MAX: i8 = 22;

pub(super) fn integers(column: &ArrayRef) -> Result<ArrayRef, Detail> {
    let (wide, scale) = widened(column)?;
    let ten = i256::usize_as(10);
    let mut power = i256::ONE;
    for _ in 0..scale.unsigned_abs() {
        power = power.mul_wrapping(ten);
    }
    let whole = |value: i256| {
        let (whole, rest) = match scale {
            0.. => (value.div_checked(power)?, value.mod_checked(power)?),
            _ => (value.mul_checked(power)?, i256::ZERO),
        };
        let narrow = whole.to_i128().and_then(|whole| i64::try_from(whole).ok()).filter(|_| rest.is_zero());
        narrow.ok_or_else(|| Detail(format!("{value} / 10^{scale} is not a whole number that fits")))
    };
    let whole: Int64Array = wide.as_primitive::<Decimal256Type>().try_unary(whole)?;
    Ok(Arc::new(whole))
}

pub(super) fn floats(column: &ArrayRef) -> Result<ArrayRef, Detail> {
    let (wide, scale) = widened(column)?;
    let mut text = String::new();
    let mut nearest = |value: i256| match value.to_i128() {
        // Both sides are floats, so that their quotient is rounded once.
        Some(digits) if digits.abs() <= WHOLE_MAX && (0..=POWER_MAX).contains(&scale) => {
            Ok(digits as f64 / 10_f64.powi(i32::from(scale)))
        }
        _ => {
            text.clear();
            let written = write!(text, "{value}e{}", -i32::from(scale));
            let parsed = written.ok().and_then(|()| text.parse::<f64>().ok());
            parsed.ok_or_else(|| Detail(format!("{value} / 10^{scale} is not a float64")))
        }
    };
    let decimals = wide.as_primitive::<Decimal256Type>();
    let floats: Result<Float64Array, Detail> =
        decimals.iter().map(|value| value.map(&mut nearest).transpose()).collect();
    Ok(Arc::new(floats?))
}

/// The same decimals in 256 bits, and how many digits stand behind the point.
fn widened(column: &ArrayRef) -> Result<(ArrayRef, i8), Detail> {
    let scale = match column.data_type() {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    };
    Ok((strict(column, &DataType::Decimal256(76, scale))?, scale))
}
