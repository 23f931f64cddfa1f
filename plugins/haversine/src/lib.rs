//! The distance between two places on the globe: more work on few columns.

const EARTH_RADIUS_KM: f64 = 6_371.008_8;

lockstep_plugin::transform! {
    name: "haversine",
    version: "1.0.0",
    doc: "Great-circle distance in kilometres between two points given in degrees.",

    fn haversine(from_latitude: f64, from_longitude: f64, to_latitude: f64, to_longitude: f64)
        -> Distance { distance_km: f64 }
    {
        let half_square = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
        let across = from_latitude.to_radians().cos() * to_latitude.to_radians().cos();
        let chord = half_square(from_latitude, to_latitude) + across * half_square(from_longitude, to_longitude);
        Distance { distance_km: 2.0 * EARTH_RADIUS_KM * chord.sqrt().min(1.0).asin() }
    }
}
