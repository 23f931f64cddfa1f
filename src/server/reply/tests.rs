//! Errors as callers see them.

use http_body_util::BodyExt;

use super::*;

fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = futures::executor::block_on(response.into_body().collect()).expect("a whole body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn feast_error(error: flow::Error) -> (u16, String, String) {
    let (status, body) = read(Failure::from(error).feast());
    let inner: Value = serde_json::from_str(body.as_str().expect("a string")).expect("JSON within the string");
    assert_eq!(inner["module"], "feast.errors");
    (status, inner["class"].as_str().unwrap().to_owned(), inner["message"].as_str().unwrap().to_owned())
}

#[test]
fn typed_errors_have_feasts_class_and_status() {
    let project = || "proj_a".to_owned();
    let table = [
        (
            flow::Error::from(plan::Error::UnknownView { view: "nofv".into(), project: project() }),
            404,
            "FeatureViewNotFoundException",
        ),
        (
            plan::Error::UnknownService { service: "nosvc".into(), project: project() }.into(),
            404,
            "FeatureServiceNotFoundException",
        ),
        (
            plan::Error::UnknownFeature { view: "v".into(), feature: "f".into(), has: "g".into() }.into(),
            404,
            "FeastObjectNotFoundException",
        ),
        (plan::Error::NameCollision { name: "conv_rate".into() }.into(), 400, "FeatureNameCollisionError"),
        (plan::Error::NotOnline { view: "v".into() }.into(), 409, "FeastError"),
        (flow::Error::UnknownPushSource("nosuch".into()), 422, "PushSourceNotFoundException"),
        (flow::Error::NullJoinKey { join_key: "id".into(), row: 3 }, 422, "FeastError"),
        (flow::Error::Late("waiting"), 504, "FeastError"),
    ];
    for (error, status, class) in table {
        let text = error.to_string();
        let (found_status, found_class, message) = feast_error(error);
        assert_eq!((found_status, found_class.as_str()), (status, class), "{text}");
        assert_eq!(message, text);
    }
}

#[test]
fn our_own_routes_answer_an_object_with_the_kinds_status() {
    let (status, body) = read(Failure::from(flow::Error::UnknownPushSource("nosuch".into())).own());
    assert_eq!(status, 404);
    assert_eq!(body, json!({"error": {"kind": "not_found", "message": "push source \"nosuch\" is not defined"}}));
}

#[test]
fn what_went_wrong_inside_stays_in_the_log() {
    let damaged = crate::online::Error::Damaged { view: "rides".into(), detail: "checksum".into() };
    let (status, body) = read(Failure::from(flow::Error::from(damaged)).own());
    assert_eq!(status, 500);
    assert!(!body.to_string().contains("checksum"), "{body}");
}

#[test]
fn a_caller_who_may_come_back_is_told_when() {
    let full = crate::online::Error::Full { detail: "disk".into() };
    let response = Failure::from(flow::Error::from(full)).own();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], RETRY_AFTER_SECONDS);
}

#[test]
fn a_broken_body_is_shown_with_its_position_as_fastapi_does() {
    let body = b"{\n  \"features\": [1,,2]\n}";
    let problem = serde_json::from_slice::<Value>(body).unwrap_err();
    let (status, answer) = read(Failure::json(&problem, body).feast());
    assert_eq!(status, 422);
    let entry = &answer["detail"][0];
    assert_eq!(entry["type"], "json_invalid");
    assert_eq!(entry["loc"], json!(["body", 19]));
    assert_eq!(&body[18..20], b",,");
}

#[test]
fn a_missing_field_is_named_as_fastapi_does() {
    let (status, answer) = read(Failure::missing_field("entities").feast());
    assert_eq!(status, 422);
    assert_eq!(answer, json!({"detail": [{"type": "missing", "loc": ["body", "entities"], "msg": "Field required"}]}));
}
