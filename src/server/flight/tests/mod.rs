//! The service over a real socket, with stores in memory and a client that is not ours.

mod world;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt8Type};
use arrow_flight::error::FlightError;
use arrow_flight::{Action, Criteria, FlightData, FlightDescriptor};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tonic::Code;

use self::world::{Gate, World, company_batch, encoded, put, rides, taxi};
use crate::catalog::{Catalog, Defined, Deprecation, Selection};
use crate::flow::serve::prepare;
use crate::gateway::Applied;
use crate::limits::EXCHANGE_IN_FLIGHT_MAX;

fn command(json: &str) -> FlightDescriptor {
    FlightDescriptor::new_cmd(json.to_owned())
}

fn code(error: FlightError) -> (Code, String) {
    match error {
        FlightError::Tonic(status) => (status.code(), status.message().to_owned()),
        other => panic!("not a status: {other}"),
    }
}

/// Of the service.
fn answers_fingerprint(world: &World) -> String {
    let service = Selection::Service { name: "tips".to_owned(), full_feature_names: None };
    prepare(&world.gateway, &service).unwrap().fingerprint.to_string()
}

fn fares(batch: &RecordBatch) -> Vec<Option<f64>> {
    batch.column_by_name("fare").unwrap().as_primitive::<Float64Type>().iter().collect()
}

#[tokio::test]
async fn what_is_pushed_is_read() {
    let mut world = World::start().await;
    let counts = put(&mut world.client, command(r#"{"push": "rides"}"#), &[rides(&["a", "b"]), rides(&["c"])]).await;
    assert_eq!(counts.unwrap()[1]["rows"], 1);

    let ticket = r#"{"service": "tips", "entities": {"company": ["c", "nobody", "a"]}, "statuses": true}"#;
    let answer = world.get(ticket).await.unwrap();
    assert_eq!(fares(&answer), [Some(3.0), None, Some(1.0)]);
    let names: Vec<&str> = answer.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["company", "fare", "miles", "fare__status", "miles__status"]);
    let statuses: Vec<u8> = answer.column(3).as_primitive::<UInt8Type>().values().to_vec();
    assert_eq!(statuses, [1, 3, 1]);
    assert_eq!(answer.schema_ref().metadata()["lockstep.version"], "7");
}

#[tokio::test]
async fn an_exchange_answers_batch_for_batch_in_order() {
    let mut world = World::start().await;
    put(&mut world.client, command(r#"{"push": "rides"}"#), &[rides(&["a", "b", "c"])]).await.unwrap();
    let asked: Vec<Vec<&str>> = (0..40).map(|batch| ["a", "b", "c"][..batch % 4].to_vec()).collect();
    let entities: Vec<RecordBatch> = asked.iter().map(|companies| company_batch(companies)).collect();
    let sent = encoded(command(r#"{"service": "tips"}"#), &entities);

    let mut answers = world.client.do_exchange(futures::stream::iter(sent)).await.unwrap().into_inner();
    let mut batches = Vec::new();
    while let Some(message) = answers.next().await {
        let message = message.unwrap();
        if let arrow_flight::decode::DecodedPayload::RecordBatch(batch) = message.payload {
            let made: serde_json::Value = serde_json::from_slice(&message.inner.app_metadata).unwrap();
            let fingerprint = answers_fingerprint(&world);
            assert_eq!(
                made,
                serde_json::json!({ "version": 7, "as_of": "2016-12-31T00:00:00Z", "digests": {}, "schema_fingerprint": fingerprint })
            );
            batches.push(batch);
        }
    }
    assert_eq!(batches.len(), asked.len());
    for (batch, companies) in batches.iter().zip(asked) {
        assert_eq!(batch.column(0).as_string::<i32>(), &StringArray::from(companies));
    }
}

#[tokio::test]
async fn an_exchange_without_entities_is_a_schema() {
    let mut world = World::start().await;
    let sent = encoded(command(r#"{"service": "tips"}"#), &[]);
    let mut answers = world.client.do_exchange(futures::stream::iter(sent)).await.unwrap();
    assert!(answers.next().await.is_none());
    assert_eq!(answers.schema().unwrap().fields().len(), 3);
}

#[tokio::test]
async fn a_wrong_batch_ends_an_exchange_and_is_named() {
    let mut world = World::start().await;
    let honest = company_batch(&["a"]);
    let null: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let null = RecordBatch::try_from_iter_with_nullable([("company", null, true)]).unwrap();
    let other = rides(&["a"]).project(&[1]).unwrap();
    for (batches, expected) in [
        (vec![honest.clone(), null, honest], "batch 1: row 1 has no value for join key company; every row needs one"),
        (vec![other], "batch 0: column company is missing; it holds a join key"),
    ] {
        let sent = encoded(command(r#"{"service": "tips"}"#), &batches);
        let answers = world.client.do_exchange(futures::stream::iter(sent)).await.unwrap();
        let refused = answers.try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(code(refused), (Code::InvalidArgument, expected.to_owned()));
    }
}

#[tokio::test]
async fn an_exchange_follows_the_applied_definitions() {
    let mut world = World::start().await;
    let entities = company_batch(&["a"]);
    let mut messages = encoded(command(r#"{"service": "tips"}"#), &[entities.clone(), entities.clone(), entities]);
    let (mut sender, receiver) = mpsc::channel::<Result<FlightData, FlightError>>(8);
    let last = messages.split_off(2);
    for message in messages {
        sender.send(message).await.unwrap();
    }
    let mut answers = world.client.do_exchange(receiver).await.unwrap().into_inner();
    let mut next_version = async || loop {
        let message = answers.next().await?.map_err(code);
        match message {
            Ok(message) if message.inner.app_metadata.is_empty() => {}
            Ok(message) => {
                let made: serde_json::Value = serde_json::from_slice(&message.inner.app_metadata).unwrap();
                return Some(Ok(made["version"].as_u64().unwrap()));
            }
            Err(refused) => return Some(Err(refused)),
        }
    };
    assert_eq!(next_version().await, Some(Ok(7)));

    let mut last = last.into_iter();
    world.gateway.applied.store(Arc::new(Applied::new(taxi(&["fare", "miles"]), 8)));
    sender.send(last.next().unwrap()).await.unwrap();
    assert_eq!(next_version().await, Some(Ok(8)));

    world.gateway.applied.store(Arc::new(Applied::new(taxi(&["miles"]), 9)));
    sender.send(last.next().unwrap()).await.unwrap();
    let (code, message) = next_version().await.unwrap().unwrap_err();
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.starts_with("batch 2: the features of this answer have changed"), "{message}");
}

#[tokio::test]
async fn an_exchange_answers_a_bounded_number_of_batches_at_once() {
    // Every read waits until as many are under way as may be: with fewer the exchange would never end.
    let gate = Arc::new(Gate::new(EXCHANGE_IN_FLIGHT_MAX));
    let mut world = World::start_with(Arc::clone(&gate) as _, Duration::from_secs(60)).await;
    let entities = vec![company_batch(&["a"]); EXCHANGE_IN_FLIGHT_MAX * 5];
    let sent = encoded(command(r#"{"service": "tips"}"#), &entities);
    let answers = world.client.do_exchange(futures::stream::iter(sent)).await.unwrap();
    let answers: Vec<RecordBatch> =
        tokio::time::timeout(Duration::from_secs(60), answers.try_collect()).await.unwrap().unwrap();
    assert_eq!(answers.len(), entities.len());
    assert_eq!(gate.most_at_once(), EXCHANGE_IN_FLIGHT_MAX);
}

#[tokio::test]
async fn labels_become_a_training_set_in_one_call_or_two() {
    let mut world = World::start().await;
    put(&mut world.client, command(r#"{"push": "rides"}"#), &[rides(&["a", "b"])]).await.unwrap();
    let labels = rides(&["b", "nobody", "a"]).project(&[0, 3]).unwrap();
    let train = r#"{"train": {"service": "tips", "time_column": "at"}}"#;

    let ticket = put(&mut world.client, command(train), &[labels.slice(0, 2), labels.slice(2, 1)]).await.unwrap();
    let fetched = world.get(&ticket[0].to_string()).await.unwrap();
    assert_eq!(fetched.num_rows(), 3);
    assert_eq!(fares(&fetched), [Some(2.0), None, Some(1.0)]);
    assert_eq!(world.get(&ticket[0].to_string()).await.unwrap_err().0, Code::NotFound);

    let sent = encoded(command(train), &[labels]);
    let exchanged = world.client.do_exchange(futures::stream::iter(sent)).await.unwrap();
    assert_eq!(exchanged.try_collect::<Vec<_>>().await.unwrap(), [fetched]);
}

#[tokio::test]
async fn everything_that_is_listed_can_be_asked_for() {
    let mut world = World::start().await;
    let infos: Vec<_> =
        world.client.list_flights(Criteria::default().expression).await.unwrap().try_collect().await.unwrap();
    assert_eq!(infos.len(), 2);
    for info in infos {
        let schema = world.client.get_schema(info.flight_descriptor.clone().unwrap()).await.unwrap();
        assert_eq!(schema, info.clone().try_decode_schema().unwrap());
        let needs: serde_json::Value = serde_json::from_slice(&info.app_metadata).unwrap();
        assert_eq!(
            needs["inputs"][0],
            serde_json::json!({"name": "company", "type": "string", "kind": "join_key", "required": true})
        );
        let answer = world.client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        let answer: Vec<RecordBatch> = answer.try_collect().await.unwrap();
        assert_eq!((answer[0].num_rows(), answer[0].schema_ref().fields()), (0, schema.fields()));
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_the_users_words() {
    let mut world = World::start().await;
    for (ticket, code, words) in [
        (r#"{"service": "nope", "entities": {}}"#, Code::NotFound, "feature service nope does not exist"),
        (r#"{"service": "tips", "entities": {}}"#, Code::InvalidArgument, "it must have: company"),
        (r#"{"service": "tips", "entities": {"company": [1, true]}}"#, Code::InvalidArgument, "column company: row 1"),
        (r#"{"service": "tips", "features": []}"#, Code::InvalidArgument, "not for both"),
        (r#"{"features": ["fare"]}"#, Code::InvalidArgument, "write view:feature"),
        (r#"{"service": "tips", "entities": {"company": ["a"]}, "as_of": "soon"}"#, Code::InvalidArgument, "as_of"),
        (r#"{"train": {"service": "tips", "labels": "../x.parquet"}}"#, Code::NotFound, "is not defined"),
        (r#"{"train": {"service": "tips"}}"#, Code::InvalidArgument, "the training set has no labels"),
        (r#"{"training": "guess"}"#, Code::NotFound, "there is no upload guess"),
        (r#"{"push": "rides"}"#, Code::InvalidArgument, "use DoPut"),
        ("tips", Code::InvalidArgument, "the ticket is not one"),
    ] {
        let (refused, message) = world.get(ticket).await.unwrap_err();
        assert_eq!(refused, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let nowhere = world.client.get_schema(FlightDescriptor::new_path(vec!["nowhere".to_owned()])).await;
    assert_eq!(code(nowhere.unwrap_err()).0, Code::InvalidArgument);
    let pushed = put(&mut world.client, command(r#"{"push": "nope"}"#), &[rides(&["a"])]).await;
    assert_eq!(code(pushed.unwrap_err()), (Code::NotFound, "batch 0: push source \"nope\" is not defined".to_owned()));
}

#[tokio::test]
async fn bytes_that_are_no_arrow_data_end_their_call_only() {
    let mut world = World::start().await;
    let descriptor = command(r#"{"push": "rides"}"#);
    let garbage = FlightData::new().with_descriptor(descriptor).with_data_header(vec![0x5a; 64]);
    let results = world.client.do_put(futures::stream::iter([Ok(garbage)])).await.unwrap();
    let (refused, message) = code(results.try_collect::<Vec<_>>().await.unwrap_err());
    assert_eq!(refused, Code::InvalidArgument, "{message}");
    assert!(message.starts_with("batch 0: the Arrow data is damaged"), "{message}");
    assert!(world.get(r#"{"service": "tips", "entities": {"company": ["a"]}}"#).await.is_ok());
}

#[tokio::test]
async fn actions_answer_json() {
    let mut world = World::start().await;
    let actions: Vec<_> = world.client.list_actions().await.unwrap().try_collect().await.unwrap();
    let names: Vec<&str> = actions.iter().map(|action| action.r#type.as_str()).collect();
    let online = ["online_set", "online_delete", "online_health", "online_stats"];
    assert_eq!(names, [&["health", "version", "reload", "sync"][..], &online[..], &["statistics"]].concat());
    let results: Vec<_> =
        world.client.do_action(Action::new("version", "")).await.unwrap().try_collect().await.unwrap();
    let version: serde_json::Value = serde_json::from_slice(&results[0]).unwrap();
    assert_eq!((&version["project"], &version["definitions"]), (&"taxi".into(), &7.into()));
    let unknown = world.client.do_action(Action::new("restart", "")).await.err().map(code);
    assert_eq!(unknown.unwrap().0, Code::NotFound);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_late() {
    // Never are so many at the gate, so every read waits for its deadline.
    let mut world = World::start_with(Arc::new(Gate::new(100)), Duration::from_millis(20)).await;
    let ticket = r#"{"service": "tips", "entities": {"company": ["a"]}}"#;
    assert_eq!(world.get(ticket).await.unwrap_err().0, Code::DeadlineExceeded);
    let sent = encoded(command(r#"{"service": "tips"}"#), &[company_batch(&["a"])]);
    let answers = world.client.do_exchange(futures::stream::iter(sent)).await.unwrap();
    let (refused, message) = code(answers.try_collect::<Vec<_>>().await.unwrap_err());
    assert_eq!(refused, Code::DeadlineExceeded);
    assert!(message.starts_with("batch 0: "), "{message}");
}

/// The project after the lists of its service were recorded, the older first.
fn recorded(lists: &[&[&str]]) -> Catalog {
    let catalogs: Vec<Catalog> = lists.iter().map(|list| taxi(list)).collect();
    let kept: Vec<(String, String)> = catalogs.iter().flat_map(crate::plan::shapes).collect();
    let newest = catalogs.into_iter().next_back().unwrap();
    Catalog { service_versions: crate::plan::service_versions(&kept).unwrap(), ..newest }
}

#[tokio::test]
async fn a_list_that_a_service_had_is_read_and_trained_on_by_its_number() {
    let mut world = World::start().await;
    put(&mut world.client, command(r#"{"push": "rides"}"#), &[rides(&["a", "b"])]).await.unwrap();
    let then = answers_fingerprint(&world);
    world.gateway.applied.store(Arc::new(Applied::new(recorded(&[&["fare", "miles"], &["miles"]]), 8)));
    let columns = |batch: &RecordBatch| -> Vec<String> {
        batch.schema_ref().fields().iter().map(|field| field.name().clone()).collect()
    };
    let now = world.get(r#"{"service": "tips", "entities": {"company": ["a"]}}"#).await.unwrap();
    assert_eq!(columns(&now), ["company", "miles"]);
    assert_eq!(now.schema_ref().metadata()["lockstep.service_version"], "2");

    let pinned = world.get(r#"{"service": "tips@1", "entities": {"company": ["a"]}}"#).await.unwrap();
    assert_eq!(columns(&pinned), ["company", "fare", "miles"]);
    let metadata = pinned.schema_ref().metadata();
    assert_eq!((metadata["lockstep.service"].as_str(), metadata["lockstep.service_version"].as_str()), ("tips", "1"));
    assert_eq!(metadata["lockstep.schema_fingerprint"], then);

    let labels = rides(&["b", "a"]).project(&[0, 3]).unwrap();
    let train = command(r#"{"train": {"service": "tips@1", "time_column": "at"}}"#);
    let sent = encoded(train, &[labels]);
    let set: Vec<RecordBatch> =
        world.client.do_exchange(futures::stream::iter(sent)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(columns(&set[0]), ["company", "at", "fare", "miles"]);
    assert_eq!(set[0].schema_ref().metadata()["lockstep.schema_fingerprint"], then, "of training as of serving");
    let path = FlightDescriptor::new_path(vec!["services".to_owned(), "tips@1".to_owned()]);
    assert_eq!(world.client.get_schema(path).await.unwrap().fields().len(), 3);
    let (refused, message) = world.get(r#"{"service": "tips@3", "entities": {"company": ["a"]}}"#).await.unwrap_err();
    assert_eq!((refused, message.as_str()), (Code::NotFound, "feature service tips has no version 3; it has 1 to 2"));
}

#[tokio::test]
async fn a_caller_that_trained_on_another_schema_is_refused() {
    let mut world = World::start().await;
    let trained = answers_fingerprint(&world);
    let ticket =
        format!(r#"{{"service": "tips", "entities": {{"company": ["a"]}}, "schema_fingerprint": "{trained}"}}"#);
    assert!(world.get(&ticket).await.is_ok());
    let exchanged = command(&format!(r#"{{"service": "tips", "schema_fingerprint": "{trained}"}}"#));
    let entities = company_batch(&["a"]);
    let mut messages = encoded(exchanged.clone(), &[entities.clone(), entities]);
    let (mut sender, receiver) = mpsc::channel::<Result<FlightData, FlightError>>(8);
    let last = messages.split_off(2);
    for message in messages {
        sender.send(message).await.unwrap();
    }
    let mut answers = world.client.do_exchange(receiver).await.unwrap();
    assert!(answers.next().await.unwrap().is_ok());

    // The service has its features in another order now.
    world.gateway.applied.store(Arc::new(Applied::new(recorded(&[&["fare", "miles"], &["miles", "fare"]]), 8)));
    for message in last {
        sender.send(message).await.unwrap();
    }
    let (refused, message) = code(answers.next().await.unwrap().unwrap_err());
    assert_eq!(refused, Code::FailedPrecondition);
    assert!(message.starts_with("batch 1: the answer would not have the schema"), "{message}");
    let (refused, message) = world.get(&ticket).await.unwrap_err();
    assert_eq!(refused, Code::FailedPrecondition);
    let told = "that was tips@1, and since then the columns were put in another order; tips@1 has the columns of then";
    assert!(message.ends_with(told), "{message}");
    assert_eq!(code(world.client.get_schema(exchanged).await.unwrap_err()).0, Code::FailedPrecondition);
    let wrong = r#"{"service": "tips", "entities": {"company": ["a"]}, "schema_fingerprint": "abc"}"#;
    assert_eq!(world.get(wrong).await.unwrap_err().0, Code::InvalidArgument);
}

#[tokio::test]
async fn answers_say_what_is_deprecated_from_its_day_on() {
    let mut world = World::start().await;
    let mut catalog = taxi(&["fare", "miles"]);
    let deprecation =
        Deprecation { since: "2017-01-01".parse().unwrap(), remove_after: None, instead: Some("rides".to_owned()) };
    catalog.deprecations.insert(Defined::View("last_ride".to_owned()), deprecation);
    world.gateway.applied.store(Arc::new(Applied::new(catalog, 8)));
    for (now, expected) in [
        (1_483_228_799_999_999, serde_json::Value::Null),
        (1_483_228_800_000_000, serde_json::json!([{"name": "last_ride", "since": "2017-01-01", "use": "rides"}])),
    ] {
        world.gateway.clock.set(now);
        let sent = encoded(command(r#"{"service": "tips"}"#), &[company_batch(&["a"])]);
        let mut answers = world.client.do_exchange(futures::stream::iter(sent)).await.unwrap().into_inner();
        let mut made = serde_json::Value::Null;
        while let Some(message) = answers.next().await {
            let metadata = message.unwrap().inner.app_metadata;
            if !metadata.is_empty() {
                made = serde_json::from_slice(&metadata).unwrap();
            }
        }
        assert_eq!(made["version"], 8);
        assert_eq!(made["deprecated"], expected);
    }
}
