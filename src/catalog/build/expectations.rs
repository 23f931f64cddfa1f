//! Expectations of a feature view: each one thing, about a feature that there is, in values of its type.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use serde_json::Value;

use super::Building;
use crate::cast;
use crate::catalog::definitions::Placed;
use crate::catalog::expectation::{Check, Expectation, Literal, OnFailure};
use crate::catalog::file::{ExpectationFile, FeatureViewFile, OnFailureFile};
use crate::catalog::{DType, Field, Scalar, SourceKind};
use crate::document::{did_you_mean, parse_duration};
use crate::limits::{EXPECTATION_SET_MAX, EXPECTATIONS_MAX};

/// A mistake: the path from the view to it, and the sentence.
type Wrong = (String, String);

/// The expectations of a view whose features are `features`.
pub(super) fn expectations(
    placed: &Placed<'_, FeatureViewFile>,
    features: &[Field],
    building: &mut Building,
) -> Vec<Expectation> {
    let view = &placed.item.name;
    if placed.item.expectations.len() > EXPECTATIONS_MAX {
        let text = format!("feature view {view} has more than {EXPECTATIONS_MAX} expectations");
        building.mistakes.push(placed.mistake("/expectations", text));
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    let mut expectations = Vec::new();
    for (index, file) in placed.item.expectations.iter().enumerate() {
        let path = format!("/expectations/{index}");
        let read = expectation(file, features).and_then(|expectation| match names.insert(expectation.name()) {
            true => Ok(expectation),
            false => Err((String::new(), format!("{} is expected twice; make one of the two", expectation.name()))),
        });
        match read {
            Ok(expectation) => expectations.push(expectation),
            Err((within, wrong)) => {
                let text = format!("expectation number {} of feature view {view}: {wrong}", index + 1);
                building.mistakes.push(placed.mistake(&format!("{path}{within}"), text));
            }
        }
    }
    expectations
}

/// Where quarantined rows of the view go, when it says so: a source that can be written to.
pub(super) fn quarantine(placed: &Placed<'_, FeatureViewFile>, building: &mut Building) -> Option<String> {
    let name = placed.item.quarantine.as_ref()?;
    let view = &placed.item.name;
    let wrong = match building.catalog.sources.get(name) {
        Some(source) if matches!(source.kind, SourceKind::Push { .. } | SourceKind::Stored(_)) => {
            (*name == placed.item.source).then(|| {
                format!("feature view {view} would read its quarantined rows again; name another source than {name}")
            })
        }
        Some(_) => {
            Some(format!("quarantined rows of feature view {view} cannot be written to {name}, which is a query"))
        }
        None if building.broken_sources.contains(name) => None,
        None => {
            let meant = did_you_mean(name, building.catalog.sources.keys().map(String::as_str));
            Some(format!("feature view {view} sends quarantined rows to source {name}, which is not defined{meant}"))
        }
    };
    building.mistakes.extend(wrong.map(|text| placed.mistake("/quarantine", text)));
    Some(name.clone())
}

fn expectation(file: &ExpectationFile, features: &[Field]) -> Result<Expectation, Wrong> {
    let given = file.checks();
    let kind = match given.as_slice() {
        [] => return Err((String::new(), format!("it expects nothing; write one of {}", CHECKS.join(", ")))),
        [only] => *only,
        [first, second, ..] => {
            return Err((format!("/{second}"), format!("it has both {first} and {second}; write two expectations")));
        }
    };
    let check = check(file, kind, features)?;
    let on_failure = match file.on_failure {
        OnFailureFile::Warn => OnFailure::Warn,
        OnFailureFile::Quarantine if check.is_of_rows() => OnFailure::Quarantine,
        OnFailureFile::Quarantine => {
            let text = format!("{kind} is about all rows together, so none can be quarantined; write warn or fail");
            return Err(("/on_failure".to_owned(), text));
        }
        OnFailureFile::Fail => OnFailure::Fail,
    };
    Ok(Expectation { check, on_failure })
}

const CHECKS: [&str; 10] = [
    "not_null",
    "range",
    "at_least",
    "at_most",
    "in_set",
    "null_ratio_at_most",
    "unique",
    "variance_above",
    "outlier_ratio_at_most",
    "freshness_at_most",
];

impl ExpectationFile {
    /// The keys of checks that are there.
    fn checks(&self) -> Vec<&'static str> {
        let given = [
            self.not_null.is_some(),
            self.range.is_some(),
            self.at_least.is_some(),
            self.at_most.is_some(),
            self.in_set.is_some(),
            self.null_ratio_at_most.is_some(),
            self.unique.is_some(),
            self.variance_above.is_some(),
            self.outlier_ratio_at_most.is_some(),
            self.freshness_at_most.is_some(),
        ];
        CHECKS.into_iter().zip(given).filter(|(_, given)| *given).map(|(key, _)| key).collect()
    }
}

fn check(file: &ExpectationFile, kind: &'static str, features: &[Field]) -> Result<Check, Wrong> {
    let at = |path: String, text: String| (path, text);
    let asked = |on: Option<bool>| match on {
        Some(false) => Err(at(format!("/{kind}"), format!("{kind} can only be true; leave the expectation out"))),
        _ => Ok(()),
    };
    if kind == "freshness_at_most" {
        let text = file.freshness_at_most.as_deref().unwrap_or_default();
        let at_most = parse_duration(text).map_err(|wrong| at("/freshness_at_most".to_owned(), wrong))?;
        return match &file.feature {
            None => Ok(Check::Freshness { at_most }),
            Some(_) => Err(at("/feature".to_owned(), "freshness is that of the view; leave feature out".to_owned())),
        };
    }
    if kind == "unique" && file.feature.is_none() {
        asked(file.unique)?;
        return Ok(Check::Unique { feature: None });
    }
    let Some(name) = &file.feature else {
        return Err(at(String::new(), format!("{kind} is about a feature; say which one with feature")));
    };
    let Some(field) = features.iter().find(|field| field.name == *name) else {
        let meant = did_you_mean(name, features.iter().map(|field| field.name.as_str()));
        return Err(at("/feature".to_owned(), format!("the view has no feature {name}{meant}")));
    };
    let feature = name.clone();
    let literal = |value: &Value, path: String| {
        literal(value, field).map_err(|wrong| (path, format!("{kind} of {name}: {wrong}")))
    };
    let share = |value: Option<f64>| match value.unwrap_or_default() {
        share @ 0.0..=1.0 => Ok(share),
        other => Err(at(format!("/{kind}"), format!("{kind} is a part of the rows, from 0 to 1; it is {other}"))),
    };
    let suits = |suits: bool, of: &str| match suits {
        true => Ok(()),
        false => Err(at(format!("/{kind}"), format!("{kind} is for {of}, and {name} is {}", field.dtype))),
    };
    let is_number = field.dtype.is_number();
    let is_time = matches!(field.dtype, DType::One(Scalar::Timestamp | Scalar::Date));
    match kind {
        "not_null" => asked(file.not_null).map(|()| Check::NotNull { feature }),
        "range" | "at_least" | "at_most" => {
            suits(is_number || is_time, "numbers and times")?;
            let (low, high) = match (file.range.as_deref(), &file.at_least, &file.at_most) {
                (Some([low, high]), ..) => {
                    (Some(literal(low, "/range/0".to_owned())?), Some(literal(high, "/range/1".to_owned())?))
                }
                (Some(other), ..) => {
                    let text = format!("range has {} values; write the least and the largest", other.len());
                    return Err(at("/range".to_owned(), text));
                }
                (None, Some(low), _) => (Some(literal(low, "/at_least".to_owned())?), None),
                (None, None, high) => {
                    let high = high.as_ref().map(|high| literal(high, "/at_most".to_owned())).transpose()?;
                    (None, high)
                }
            };
            if let (Some(low), Some(high)) = (&low, &high)
                && is_after(low, high)
            {
                return Err(at(
                    "/range".to_owned(),
                    format!("the range of {name} is empty: {low} is more than {high}"),
                ));
            }
            Ok(Check::Range { feature, low, high })
        }
        "in_set" => {
            let is_float = matches!(field.dtype, DType::One(Scalar::Float32 | Scalar::Float64));
            suits(
                !is_float && field.dtype != DType::One(Scalar::Bytes) && field.dtype.is_one(),
                "whole numbers, text, times and bools",
            )?;
            let values = file.in_set.as_deref().unwrap_or_default();
            if values.len() > EXPECTATION_SET_MAX {
                return Err(at("/in_set".to_owned(), format!("in_set has more than {EXPECTATION_SET_MAX} values")));
            }
            let values = values.iter().enumerate();
            let values = values.map(|(place, value)| literal(value, format!("/in_set/{place}")));
            Ok(Check::InSet { feature, values: values.collect::<Result<_, _>>()? })
        }
        "null_ratio_at_most" => Ok(Check::NullRatio { feature, at_most: share(file.null_ratio_at_most)? }),
        "unique" => {
            asked(file.unique)?;
            suits(field.dtype.is_one(), "single values")?;
            Ok(Check::Unique { feature: Some(feature) })
        }
        "variance_above" => {
            suits(is_number, "numbers")?;
            Ok(Check::Variance { feature, above: file.variance_above.unwrap_or_default() })
        }
        _ => {
            suits(is_number, "numbers")?;
            Ok(Check::OutlierRatio { feature, at_most: share(file.outlier_ratio_at_most)? })
        }
    }
}

/// A value of the file in the feature's type.
fn literal(value: &Value, field: &Field) -> Result<Literal, String> {
    let DType::One(scalar) = field.dtype else { return Err(format!("{} has no single values", field.dtype)) };
    let refused = || format!("{value} is no {}", field.dtype);
    match scalar {
        Scalar::Bool => value.as_bool().map(Literal::Bool).ok_or_else(refused),
        Scalar::Int32 | Scalar::Int64 => value.as_i64().map(Literal::Whole).ok_or_else(refused),
        Scalar::Float32 | Scalar::Float64 => value.as_f64().map(Literal::Float).ok_or_else(refused),
        Scalar::String => value.as_str().map(|text| Literal::Text(text.to_owned())).ok_or_else(refused),
        Scalar::Bytes => Err("bytes cannot be written here".to_owned()),
        Scalar::Timestamp | Scalar::Date => {
            let text = value.as_str().ok_or_else(|| format!("{value} is no {}; write it in quotes", field.dtype))?;
            let parsed: ArrayRef = cast::from_text(&[Some(text)], field.dtype)?;
            if parsed.is_null(0) {
                return Err(refused());
            }
            Ok(Literal::Whole(match scalar {
                Scalar::Date => i64::from(parsed.as_primitive::<Date32Type>().value(0)),
                _ => parsed.as_primitive::<TimestampMicrosecondType>().value(0),
            }))
        }
    }
}

fn is_after(one: &Literal, other: &Literal) -> bool {
    match (one, other) {
        (Literal::Whole(one), Literal::Whole(other)) => one > other,
        (Literal::Float(one), Literal::Float(other)) => one > other,
        _ => false,
    }
}
