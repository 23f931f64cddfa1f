//! Serving over HTTP on the taxi example, and what is true of an answer while others write.

use std::sync::Arc;

use lockstep::batch::{FeatureRows, timestamps};
use lockstep::plan::online_views;

use crate::faulty::{Faulty, Meanwhile};
use crate::light::{History, Light, NOW, SECOND, batch, floats, served_floats, stage, texts};
use crate::world::{TAXI_AS_OF, World};

const FARES: &str = "
entities:
  - {name: company, join_keys: [{name: company, type: string}]}
sources:
  - {type: push, name: fares, path: fares, event_time: t}
feature_views:
  - {name: fare_stats, entities: [company], source: fares, ttl: 1h, features: [{name: fare, type: float64}]}
";

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

#[tokio::test]
async fn a_row_written_while_its_view_is_read_is_not_from_the_future() {
    let store = Faulty::new();
    let light = Light::over(stage(), FARES, Arc::clone(&store) as _, History::in_memory()).await;
    let later = NOW + SECOND;
    let times = || timestamps(vec![Some(later)]);
    store.at_the_next_read(Meanwhile {
        clock: light.gateway.clock.clone(),
        now: later,
        view: online_views(&light.gateway.applied.load().catalog).remove(0),
        rows: FeatureRows::new(vec![texts(&["a"])], vec![floats(&[7.5])], times(), times()),
    });
    let answer = light.serve_at(&["fare_stats:fare"], &batch(&[("company", texts(&["a"]))]), None).await;
    assert_eq!(served_floats(&answer.expect("an answer"), 0), [Some(7.5)]);
}
