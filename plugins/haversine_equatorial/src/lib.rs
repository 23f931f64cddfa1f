//! The next version of `haversine`, on a larger globe: every distance but 0 is 0.11 % longer. For tests of what a new
//! version of a plugin does to those who use the old one.

use lockstep_plugin::{Failure, Outputs, Parameters, Refusal, Rows, Signature, Transform, Type};

const EARTH_RADIUS_KM: f64 = 6_378.137;

struct Haversine;

impl Transform for Haversine {
    fn describe() -> Signature {
        Signature::new("haversine", "2.0.0")
            .doc("Great-circle distance in kilometres between two points given in degrees, with the radius of the equator.")
            .feature("from_latitude", Type::Float64)
            .feature("from_longitude", Type::Float64)
            .feature("to_latitude", Type::Float64)
            .feature("to_longitude", Type::Float64)
            .output("distance_km", Type::Float64)
    }

    fn bind(_: &Parameters) -> Result<Self, Refusal> {
        Ok(Self)
    }

    fn apply(&self, rows: &Rows, outputs: &mut Outputs) -> Result<(), Failure> {
        let (from_latitude, from_longitude) = (rows.float64s("from_latitude")?, rows.float64s("from_longitude")?);
        let (to_latitude, to_longitude) = (rows.float64s("to_latitude")?, rows.float64s("to_longitude")?);
        outputs.float64s("distance_km", |row| {
            let from = (from_latitude.get(row)?, from_longitude.get(row)?);
            Some(distance_km(from, (to_latitude.get(row)?, to_longitude.get(row)?)))
        })
    }
}

fn distance_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let half_square = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let along = from.0.to_radians().cos() * to.0.to_radians().cos() * half_square(from.1, to.1);
    let chord = half_square(from.0, to.0) + along;
    2.0 * EARTH_RADIUS_KM * chord.sqrt().min(1.0).asin()
}

lockstep_plugin::export!(Haversine);
