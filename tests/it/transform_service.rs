//! Transforms as a service: rows of callers over Flight, in Rust's own types and from the libraries of Python.

use std::future::poll_fn;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_flight::FlightDescriptor;
use arrow_flight::utils::batches_to_flight_data;
use futures::channel::mpsc;
use futures::{SinkExt, TryStreamExt};
use lockstep::catalog::Parameter;
use lockstep::flow::Error;
use lockstep::flow::transform::{Asked, Bindings, By, choose, transform};
use lockstep::limits::CALLER_BINDINGS_MAX;

use crate::callers::flight;
use crate::clients::{example, run};
use crate::light::{Light, batch, floats, floats_of, integers, soon, texts};
use crate::world::World;

const QUOTES: &str = "
entities: [{name: area, join_keys: [{name: area, type: int64}]}]
sources: [{name: areas, type: push, path: areas, event_time: at}]
feature_views: [{name: stats, entities: [area], source: areas, features: [{name: fare, type: float64}, {name: miles, type: float64}, {name: name, type: string}]}]
derived_views:
  - {name: quote, plugin: taxi_quote, inputs: {area_fare_30d: 'stats:fare', area_miles_30d: 'stats:miles'}, features: [{output: expected_fare, name: price}, hour_sin]}
  - {name: identity, plugin: taxi_company, inputs: {company_name: 'stats:name'}}
";

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_pandas_polars_and_duckdb_get_what_is_served_bit_for_bit() {
    run(&example().await, "transform_client.py").await;
}

#[tokio::test]
async fn a_view_gives_its_features_under_its_own_names() {
    let light = Light::of(QUOTES).await;
    let asked = Asked { keep_columns: true, ..Asked::of(By::View("quote".to_owned())) };
    let chosen = choose(&light.gateway, &Bindings::default(), asked).await.expect("a transform");
    let rows = batch(&[
        ("area_fare_30d", floats(&[20.0, 20.0])),
        ("area_miles_30d", floats(&[4.0, 4.0])),
        ("hour", integers(&[6, 99])),
        ("payment_type", texts(&["Cash", "Cash"])),
        ("planned_miles", floats(&[3.0, 3.0])),
    ]);
    let computed = transform(&light.gateway, &chosen, &rows, soon()).expect("computed");
    let names: Vec<&str> = computed.rows.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[5..], ["price", "hour_sin"]);
    assert_eq!(floats_of(&computed.rows, "price"), [Some(15.0), None]);
    assert_eq!(floats_of(&computed.rows, "hour_sin"), [Some(1.0), None]);
    assert_eq!((computed.error_count, computed.errors[0].row), (1, 1));
}

#[tokio::test]
async fn a_stream_keeps_its_transform_when_other_definitions_are_applied() {
    let light = Light::of(QUOTES).await;
    let asked = Asked::of(By::View("quote".to_owned()));
    let chosen = choose(&light.gateway, &Bindings::default(), asked.clone()).await.expect("a transform");
    light.apply("entities: []");
    let gone = choose(&light.gateway, &Bindings::default(), asked).await.expect_err("gone");
    assert!(gone.to_string().contains("feature view quote does not exist"), "{gone}");
    let rows = batch(&[
        ("area_fare_30d", floats(&[20.0])),
        ("area_miles_30d", floats(&[4.0])),
        ("hour", integers(&[6])),
        ("payment_type", texts(&["Cash"])),
        ("planned_miles", floats(&[1.0])),
    ]);
    let computed = transform(&light.gateway, &chosen, &rows, soon()).expect("computed");
    assert_eq!((floats_of(&computed.rows, "price"), chosen.applied.version), (vec![Some(5.0)], 1));
}

#[tokio::test]
async fn callers_bind_only_so_many_different_parameters() {
    let light = Light::of(QUOTES).await;
    let bindings = Bindings::default();
    let bind = async |buckets: i64| {
        let parameters = vec![("buckets".to_owned(), Parameter::Int(buckets))];
        let by = By::Plugin { name: "taxi_company".to_owned(), parameters };
        choose(&light.gateway, &bindings, Asked::of(by)).await
    };
    for number in 0..CALLER_BINDINGS_MAX {
        bind(number as i64 + 1).await.expect("bound");
    }
    assert!(matches!(bind(1_000_000).await, Err(Error::TooManyBindings { max: CALLER_BINDINGS_MAX })));
    bind(1).await.expect("it is bound already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answers_is_not_read_from() {
    const ROWS: usize = 32_768;
    /// Batches of which the gateway may hold a few, and the sockets between a few more.
    const BATCHES: usize = 100;
    let world = World::of(QUOTES, |_| {}).await;
    let mut client = flight(world.servers.flight).await;
    let rows = batch(&[
        ("area_fare_30d", floats(&[20.0; ROWS])),
        ("area_miles_30d", floats(&[4.0; ROWS])),
        ("hour", integers(&[6; ROWS])),
        ("payment_type", texts(&["Cash"; ROWS])),
        ("planned_miles", floats(&[3.0; ROWS])),
    ]);
    let mut messages = batches_to_flight_data(rows.schema_ref(), vec![rows.clone()]).expect("messages");
    let asked = r#"{"transform": {"view": "quote", "keep_columns": true}}"#;
    messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(asked));
    let (mut sender, receiver) = mpsc::channel(0);
    let sending = tokio::spawn(async move {
        let rows = messages.pop().expect("a batch");
        sender.send(Ok(messages.remove(0))).await.expect("sent");
        let mut sent = 0;
        let wait = Duration::from_secs(2);
        while sent < BATCHES && tokio::time::timeout(wait, poll_fn(|cx| sender.poll_ready(cx))).await.is_ok() {
            sender.start_send(Ok(rows.clone())).expect("there is room for one");
            sent += 1;
        }
        sent
    });
    let answers = client.do_exchange(receiver).await.expect("an exchange");
    let sent = sending.await.expect("sent what could be");
    assert!(sent < BATCHES / 2, "{sent} batches were taken from a client that reads nothing");
    let batches: Vec<RecordBatch> = answers.try_collect().await.expect("answers");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), sent * ROWS);
    assert!(batches.iter().all(|answer| floats_of(answer, "price").iter().all(|price| *price == Some(15.0))));
}
