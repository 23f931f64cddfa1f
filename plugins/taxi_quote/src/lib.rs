//! What a trip is likely to cost, and what the hour and the way of paying say about it.
//!
//! Where nothing is known of the area's last 30 days, the city's meter applies: 3.25 to start and 2.25 for each mile.

use std::f64::consts::TAU;

use lockstep_plugin::{Failure, Outputs, Parameters, Refusal, Rows, Signature, Transform, Type};

const METER_START: f64 = 3.25;
const METER_PER_MILE: f64 = 2.25;
const HOURS_OF_DAY: f64 = 24.0;
/// The row's hour is not an hour of a day.
const NOT_AN_HOUR: u32 = 1_000;

struct TaxiQuote;

impl Transform for TaxiQuote {
    fn describe() -> Signature {
        Signature::new("taxi_quote", "1.0.0")
            .doc("Expected fare of a planned trip by the area's fare per mile; the hour on a circle; rush hour; card.")
            .handles_nulls()
            .feature("area_fare_30d", Type::Float64)
            .feature("area_miles_30d", Type::Float64)
            .request("hour", Type::Int32)
            .request("payment_type", Type::String)
            .request("planned_miles", Type::Float64)
            .output("expected_fare", Type::Float64)
            .output("hour_sin", Type::Float64)
            .output("hour_cos", Type::Float64)
            .output("is_rush_hour", Type::Bool)
            .output("pays_by_card", Type::Bool)
    }

    fn bind(_: &Parameters) -> Result<Self, Refusal> {
        Ok(Self)
    }

    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
        let (fares, miles) = (rows.float64s("area_fare_30d")?, rows.float64s("area_miles_30d")?);
        let (hours, payments) = (rows.int32s("hour")?, rows.strings("payment_type")?);
        let planned = rows.float64s("planned_miles")?;
        for row in 0..rows.len() {
            if let Some(hour) = hours.get(row).filter(|hour| !(0..24).contains(hour)) {
                outputs.refuse(row, NOT_AN_HOUR, format!("hour {hour} is not between 0 and 23"));
            }
        }

        outputs.float64s("expected_fare", |row| Some(fare(planned.get(row)?, fares.get(row), miles.get(row))))?;
        let angle = |row| Some(f64::from(hours.get(row)?) / HOURS_OF_DAY * TAU);
        outputs.float64s("hour_sin", |row| angle(row).map(f64::sin))?;
        outputs.float64s("hour_cos", |row| angle(row).map(f64::cos))?;
        outputs.bools("is_rush_hour", |row| Some(matches!(hours.get(row)?, 7..=9 | 16..=18)))?;
        outputs.bools("pays_by_card", |row| Some(payments.get(row)?.trim().eq_ignore_ascii_case("credit card")))
    }
}

fn fare(planned_miles: f64, area_fare: Option<f64>, area_miles: Option<f64>) -> f64 {
    match (area_fare, area_miles) {
        (Some(fare), Some(miles)) if miles > 0.0 => planned_miles * (fare / miles),
        _ => METER_START + planned_miles * METER_PER_MILE,
    }
}

lockstep_plugin::export!(TaxiQuote);
