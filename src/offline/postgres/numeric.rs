//! PostgreSQL's numeric: digits to base 10,000 and the place of the first one. Exact both ways, or refused.

use arrow::array::ArrowNativeTypeOp;
use arrow::datatypes::{ArrowNativeType, i256};
use arrow::error::ArrowError;

const BASE: usize = 10_000;
/// Decimal digits of one of its digits.
const DIGITS: i32 = 4;
const NEGATIVE: u16 = 0x4000;
/// Digits to base 10,000 of the largest number of 256 bits, and one that is cut by the point.
const DIGITS_MAX: usize = 24;
/// What is not a number has one of these bits.
const SPECIAL: u16 = 0x8000;

/// The value times 10^`scale`. The errors go behind the name of the column.
pub(super) fn decode(value: &[u8], scale: i8) -> Result<i128, String> {
    decimal(value, scale)
}

/// As [`decode`], for as many digits as fit into 256 bits.
pub(super) fn decode_wide(value: &[u8], precision: u8, scale: i8) -> Result<i256, String> {
    let decimal: i256 = decimal(value, scale)?;
    let end = i256::from_i128(10).checked_pow(u32::from(precision)).ok_or_else(too_large)?;
    if decimal <= -end || decimal >= end { Err(too_large()) } else { Ok(decimal) }
}

fn decimal<N: ArrowNativeTypeOp + ArrowNativeType>(value: &[u8], scale: i8) -> Result<N, String> {
    let short = |at: usize| -> Result<u16, String> {
        let bytes = value.get(at * 2..at * 2 + 2).ok_or("was not sent whole")?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let (count, weight, sign) = (short(0)?, i32::from(short(1)? as i16), short(2)?);
    if sign & SPECIAL != 0 {
        return Err("holds a numeric that is not a finite number; leave such rows out in a view".to_owned());
    }
    let (base, mut decimal) = (N::usize_as(BASE), N::ZERO);
    // The power of ten by which the digits so far are still to be multiplied.
    let mut power = i32::from(scale);
    for place in 0..usize::from(count) {
        let digit = usize::from(short(4 + place)?);
        power = DIGITS * (weight - place as i32) + i32::from(scale);
        // Of a digit that reaches behind the last place that there is, the rest must be noughts.
        let kept = (DIGITS + power).clamp(0, DIGITS) as u32;
        let cut = BASE / 10_usize.pow(kept);
        if digit % cut != 0 {
            return Err(format!("holds a numeric with more than {scale} digits behind the point; round it in a view"));
        }
        decimal = times(decimal, if kept == DIGITS as u32 { base } else { N::usize_as(10_usize.pow(kept)) })?;
        decimal = decimal.add_checked(N::usize_as(digit / cut)).map_err(|_| too_large())?;
    }
    if count == 0 {
        return Ok(N::ZERO);
    }
    for _ in 0..power.max(0) {
        decimal = times(decimal, N::usize_as(10))?;
    }
    if sign == NEGATIVE { decimal.neg_checked().map_err(|_| too_large()) } else { Ok(decimal) }
}

/// Appends `decimal` / 10^`scale` as PostgreSQL takes it, its length first.
pub(super) fn encode<N: ArrowNativeTypeOp + ArrowNativeType>(
    decimal: N,
    scale: i8,
    to: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let (is_negative, ten) = (decimal.is_lt(N::ZERO), N::usize_as(10));
    let mut rest = if is_negative { decimal.neg_checked()? } else { decimal };
    for _ in scale..0 {
        rest = rest.mul_checked(ten)?;
    }
    let scale = scale.max(0);
    // From the last digit on.
    let (mut digits, mut count) = ([0_u16; DIGITS_MAX], 0);
    let partial = (scale as u32) % DIGITS as u32;
    if partial > 0 {
        let cut = N::usize_as(10_usize.pow(partial));
        digits[0] = (rest.mod_checked(cut)?.as_usize() * 10_usize.pow(DIGITS as u32 - partial)) as u16;
        rest = rest.div_checked(cut)?;
        count = 1;
    }
    let base = N::usize_as(BASE);
    while !rest.is_zero() {
        digits[count] = rest.mod_checked(base)?.as_usize() as u16;
        rest = rest.div_checked(base)?;
        count += 1;
    }
    let behind_the_point = (i32::from(scale) + DIGITS - 1) / DIGITS;
    let weight = (count as i32 - behind_the_point - 1) as i16;
    to.extend_from_slice(&(8 + 2 * count as i32).to_be_bytes());
    to.extend_from_slice(&(count as i16).to_be_bytes());
    to.extend_from_slice(&weight.to_be_bytes());
    to.extend_from_slice(&(if is_negative { NEGATIVE } else { 0 }).to_be_bytes());
    to.extend_from_slice(&i16::from(scale).to_be_bytes());
    digits[..count].iter().rev().for_each(|digit| to.extend_from_slice(&digit.to_be_bytes()));
    Ok(())
}

fn times<N: ArrowNativeTypeOp>(left: N, right: N) -> Result<N, String> {
    left.mul_checked(right).map_err(|_| too_large())
}

fn too_large() -> String {
    "holds a numeric with too many digits; round it in a view".to_owned()
}
