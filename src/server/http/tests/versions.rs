//! Versions of services and views, fingerprints, and what is deprecated, over HTTP.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::super::wire::OnlineAnswer;
use super::world::{Answered, World};
use super::{readable, rows};
use crate::catalog::{Catalog, Defined, Deprecation, FeatureRef, View};
use crate::gateway::Applied;
use crate::plan::{service_versions, shapes};

const FINGERPRINT: &str = "lockstep-schema-fingerprint";

/// The applied definitions, `changed`, with the lists of services before and after on record.
fn apply(world: &World, changed: impl FnOnce(&mut Catalog)) {
    let before = world.gateway.applied.load_full();
    let mut catalog = before.catalog.clone();
    changed(&mut catalog);
    let kept: Vec<(String, String)> = shapes(&before.catalog).into_iter().chain(shapes(&catalog)).collect();
    catalog.service_versions = service_versions(&kept).unwrap();
    world.gateway.applied.store(std::sync::Arc::new(Applied::new(catalog, before.version + 1)));
}

async fn get_with(world: &World, path: &str, headers: &[(&str, &str)]) -> Answered {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

fn fingerprint(answered: &Answered) -> String {
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    answered.headers[FINGERPRINT].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_list_that_a_service_had_is_answered_by_its_number() {
    let world = World::with_rows().await;
    let path = "/v1/services/svc/features?driver_id=1001&customer_id=C-7";
    let then = fingerprint(&world.get(path).await);
    apply(&world, |catalog| {
        let service = catalog.services.get_mut("svc").unwrap();
        service.features = vec![FeatureRef::new("driver_hourly_stats", "acc_rate")];
    });
    let now = readable(&world.get("/v1/services/svc/features?driver_id=1001").await);
    assert_eq!((rows(&now), now.service_version), (json!([{"driver_id": 1001, "acc_rate": 0.5}]), Some(2)));

    let pinned = world.get(&path.replace("svc", "svc@1")).await;
    assert_eq!(fingerprint(&pinned), then);
    let pinned = readable(&pinned);
    assert_eq!(rows(&pinned), json!([{"driver_id": 1001, "customer_id": "C-7", "conv_rate": 0.875, "trips": 5}]));
    assert_eq!((pinned.service.as_deref(), pinned.service_version), (Some("svc"), Some(1)));

    let body = json!({"feature_service": "svc@1", "entities": {"driver_id": [1001], "customer_id": ["C-7"]}});
    let feast: OnlineAnswer =
        serde_json::from_slice(&world.post("/get-online-features", &body.to_string()).await.body).unwrap();
    assert_eq!(feast.metadata.feature_names, ["customer_id", "driver_id", "conv_rate", "trips"]);

    let shown = world.get("/v1/feature-services/svc").await.json();
    assert_eq!((&shown["version"], &shown["versions"]), (&json!(2), &json!([1, 2])));
    let shown = world.get("/v1/feature-services/svc@1").await.json();
    assert_eq!(shown["features"], json!(["driver_hourly_stats:conv_rate", "driver_customer:trips"]));
    assert_eq!((&shown["version"], shown["inputs"].as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(world.get("/v1/feature-services/svc@3").await.status, StatusCode::NOT_FOUND);
    let unknown = world.get(&path.replace("svc", "svc@3")).await;
    assert_eq!(
        (unknown.status, unknown.message()),
        (StatusCode::NOT_FOUND, "feature service svc has no version 3; it has 1 to 2".to_owned())
    );

    // The view of the other feature goes: that list is over, and says what is missing.
    let before = world.gateway.applied.load_full();
    let mut catalog = before.catalog.clone();
    catalog.views.remove("driver_customer");
    world.gateway.applied.store(std::sync::Arc::new(Applied::new(catalog, before.version + 1)));
    let over = world.get(&path.replace("svc", "svc@1")).await;
    assert_eq!(over.status, StatusCode::CONFLICT);
    assert_eq!(
        over.message(),
        "svc@1 cannot be answered as it was: driver_customer:trips is gone; svc itself is version 2"
    );
    assert_eq!(world.get("/v1/feature-services/svc").await.json()["versions"], json!([2]));
}

#[tokio::test]
async fn a_caller_that_trained_on_another_schema_is_refused_on_every_route() {
    let world = World::with_rows().await;
    let path = "/v1/services/svc/features?driver_id=1001&customer_id=C-7";
    let trained = fingerprint(&world.get(path).await);
    let entities = json!({"driver_id": [1001], "customer_id": ["C-7"]});
    let ask = async |sent: &str| -> Vec<Answered> {
        let feast = json!({"feature_service": "svc", "entities": entities, "schema_fingerprint": sent}).to_string();
        let own = json!({"entities": entities, "schema_fingerprint": sent}).to_string();
        let headed = |path: &str, body: String| {
            let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
            request.header(FINGERPRINT, sent).body(Body::from(body)).unwrap()
        };
        let without = |body: &str| {
            let mut body: Value = serde_json::from_str(body).unwrap();
            body.as_object_mut().unwrap().remove("schema_fingerprint");
            body.to_string()
        };
        vec![
            get_with(&world, path, &[(FINGERPRINT, sent)]).await,
            world.post("/get-online-features", &feast).await,
            world.post("/v1/services/svc/features", &own).await,
            world.send(headed("/get-online-features", without(&feast))).await,
            world.send(headed("/v1/services/svc/features", without(&own))).await,
        ]
    };
    for answered in ask(&trained).await {
        assert_eq!(fingerprint(&answered), trained);
    }
    apply(&world, |catalog| catalog.services.get_mut("svc").unwrap().features.reverse());
    for answered in ask(&trained).await {
        assert_eq!(answered.status, StatusCode::CONFLICT, "{answered:?}");
        let told =
            "that was svc@1, and since then the columns were put in another order; svc@1 has the columns of then";
        assert!(answered.message().ends_with(told), "{answered:?}");
    }
    for answered in ask("not hex").await {
        assert_eq!(answered.status, StatusCode::UNPROCESSABLE_ENTITY, "{answered:?}");
    }
}

#[tokio::test]
async fn answers_say_what_is_deprecated_from_its_day_on() {
    let world = World::with_rows().await;
    let path = "/v1/services/svc/features?driver_id=1001&customer_id=C-7";
    assert!(!world.get(path).await.headers.contains_key("lockstep-deprecated"));
    let deprecated = |since: &str, remove_after: Option<&str>, instead: Option<&str>| Deprecation {
        since: since.parse().unwrap(),
        remove_after: remove_after.map(|day| day.parse().unwrap()),
        instead: instead.map(str::to_owned),
    };
    apply(&world, |catalog| {
        let view = Defined::View("driver_customer".to_owned());
        catalog.deprecations.insert(view, deprecated("2026-11-22", Some("2027-02-01"), Some("driver_batch")));
        let feature = Defined::Feature(FeatureRef::new("driver_hourly_stats", "conv_rate"));
        catalog.deprecations.insert(feature, deprecated("2026-11-20", None, None));
        catalog.deprecations.insert(Defined::Service("svc_sum".to_owned()), deprecated("2026-11-20", None, None));
    });
    let soon = "driver_hourly_stats:conv_rate; since=2026-11-20";
    assert_eq!(world.get(path).await.headers["lockstep-deprecated"], soon);
    // 2026-11-22T00:00:00Z
    world.gateway.clock.set(1_795_305_600_000_000);
    let both = format!("driver_customer; since=2026-11-22; remove_after=2027-02-01; use=driver_batch, {soon}");
    assert_eq!(world.get(path).await.headers["lockstep-deprecated"], both.as_str());
    let body = r#"{"features": ["driver_customer:trips"], "entities": {"driver_id": [1], "customer_id": ["a"]}}"#;
    let feast = world.post("/get-online-features", body).await;
    let of_view = "driver_customer; since=2026-11-22; remove_after=2027-02-01; use=driver_batch";
    assert_eq!(feast.headers["lockstep-deprecated"], of_view);
    let other = world.get("/v1/features?feature=driver_hourly_stats:acc_rate&driver_id=1001").await;
    assert!(!other.headers.contains_key("lockstep-deprecated"));

    let shown = world.get("/v1/feature-views/driver_customer").await.json();
    let expected = json!({"since": "2026-11-22", "remove_after": "2027-02-01", "use": "driver_batch"});
    assert_eq!(shown["deprecated"], expected);
    let shown = world.get("/v1/feature-views/driver_hourly_stats").await.json();
    assert_eq!(shown["features"][0]["deprecated"], json!({"since": "2026-11-20"}));
    assert!(shown.get("deprecated").is_none() && shown["features"][1].get("deprecated").is_none());
    let shown = world.get("/v1/feature-services/svc_sum").await.json();
    assert_eq!(shown["deprecated"], json!({"since": "2026-11-20"}));
}

#[tokio::test]
async fn versions_of_a_view_are_written_and_read_beside_each_other() {
    let world = World::with_rows().await;
    apply(&world, |catalog| {
        let View::Feature(first) = &catalog.views["driver_hourly_stats"] else { panic!("a feature view") };
        let mut second = crate::catalog::FeatureView::clone(first);
        second.name = "driver_hourly_stats@v2".to_owned();
        catalog.views.insert(second.name.clone(), View::Feature(std::sync::Arc::new(second)));
    });
    let df = json!({"driver_id": [1001], "conv_rate": [0.25], "event_timestamp": ["2026-11-20T02:00:00"]});
    let write = json!({"feature_view_name": "driver_hourly_stats@v2", "df": df}).to_string();
    assert_eq!(world.post("/write-to-online-store", &write).await.status, StatusCode::OK);

    let path = "/v1/features?driver_id=1001&full_feature_names=true&feature=driver_hourly_stats:conv_rate\
                &feature=driver_hourly_stats@v2:conv_rate&feature=driver_hourly_stats@latest:acc_rate";
    let answer = readable(&world.get(path).await);
    let expected = json!([{
        "driver_id": 1001,
        "driver_hourly_stats__conv_rate": 0.875,
        "driver_hourly_stats@v2__conv_rate": 0.25,
        "driver_hourly_stats@v2__acc_rate": null,
    }]);
    assert_eq!(rows(&answer), expected);
    let body = json!({
        "features": ["driver_hourly_stats@v1:conv_rate", "driver_hourly_stats@v2:acc_rate"],
        "entities": {"driver_id": [1001]}, "include_feature_view_version_metadata": true,
    });
    let feast: OnlineAnswer =
        serde_json::from_slice(&world.post("/get-online-features", &body.to_string()).await.body).unwrap();
    let views = feast.metadata.feature_view_metadata.unwrap();
    let views: Vec<_> = views.iter().map(|view| (view.name.as_str(), view.version)).collect();
    assert_eq!(views, [("driver_hourly_stats", None), ("driver_hourly_stats", Some(2))]);
    assert_eq!(world.get("/v1/feature-views/driver_hourly_stats@v2").await.json()["name"], "driver_hourly_stats@v2");

    let materialize = |version: &str| {
        let range = json!({"start_ts": "2026-11-10", "end_ts": "2026-11-11", "version": version, "feature_views": ["driver_hourly_stats"]});
        range.to_string()
    };
    assert_eq!(world.post("/materialize", &materialize("v2")).await.status, StatusCode::OK);
    let unknown = world.post("/materialize", &materialize("v3")).await;
    assert_eq!(unknown.class(), "FeatureViewNotFoundException");
}
