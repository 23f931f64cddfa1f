//! Serving over HTTP on the taxi example.

use crate::world::{TAXI_AS_OF, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_type_a_look_up() {
    let world = World::taxi().await;
    let path = format!(
        "/v1/services/tip_model_v1/features?company=Choice%20Taxi%20Association&area=8&hour=18&payment_type=Cash&planned_miles=2.5&as_of={TAXI_AS_OF}"
    );
    let reply = world.get(&path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let row = &reply.json()["features"][0];
    assert_eq!(row["company_identity__company_clean"], "choice taxi association");
    assert_eq!(row["trip_quote__is_rush_hour"], true);
    assert!(row["company_stats__trips_30d"].as_i64().expect("a count") > 0);
}
