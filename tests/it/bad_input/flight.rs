//! Wrong tickets, descriptors and messages over Arrow Flight.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::ipc::CompressionType;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket};
use futures::{StreamExt, TryStreamExt, stream};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::arrow_bodies::{
    flight_messages, forged_stream, questions, stream as arrow_stream, with_column, without_column,
};
use crate::callers::{check_good, flight, rides};
use crate::world::World;

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("not a status: {other}"),
    }
}

fn check_status(what: &str, status: &Status, code: Code, words: &[&str]) {
    assert_eq!(status.code(), code, "{what}: {status:?}");
    let missing: Vec<_> = words.iter().filter(|word| !status.message().contains(**word)).collect();
    assert!(missing.is_empty(), "{what}: {missing:?} not in {:?}", status.message());
}

/// HTTP and Flight both answer what is right.
async fn check_both(world: &World, after: &str) {
    check_good(world.servers.http, after).await;
    let ticket = r#"{"features": ["last_ride:fare"], "entities": {"company": ["a"]}}"#;
    let answer = flight(world.servers.flight).await.do_get(Ticket::new(ticket)).await.expect("an answer");
    let batches: Vec<RecordBatch> = answer.try_collect().await.unwrap_or_else(|error| panic!("after {after}: {error}"));
    let fare = batches[0]
        .column_by_name("fare")
        .expect("fare")
        .as_any()
        .downcast_ref::<Float64Array>()
        .expect("float64")
        .value(0);
    assert_eq!(fare, 12.5, "after {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_ticket_is_refused_with_what_is_wrong() {
    let world = rides().await;
    let mut client = flight(world.servers.flight).await;
    let table: [(&str, Code, &[&str]); 17] = [
        ("rides please", Code::InvalidArgument, &["the ticket is not one", "{\"service\""]),
        ("", Code::InvalidArgument, &["the ticket is not one"]),
        ("{}", Code::InvalidArgument, &["nothing is asked for"]),
        (r#"{"service": "nope", "entities": {}}"#, Code::NotFound, &["nope"]),
        (r#"{"features": ["nope:x"], "entities": {}}"#, Code::NotFound, &["nope"]),
        (r#"{"features": ["last_ride:fair"], "entities": {}}"#, Code::NotFound, &["fair", "fare"]),
        (r#"{"features": ["fare"], "entities": {}}"#, Code::InvalidArgument, &["view:feature"]),
        (
            r#"{"features": ["last_ride:fare", "area_stats:fare"], "entities": {}}"#,
            Code::InvalidArgument,
            &["full_feature_names"],
        ),
        (
            r#"{"features": ["for_training:miles"], "entities": {"area": [8]}}"#,
            Code::FailedPrecondition,
            &["training only"],
        ),
        (
            r#"{"features": ["last_ride:fare"], "entities": {"area": [8]}}"#,
            Code::InvalidArgument,
            &["company", "missing"],
        ),
        (
            r#"{"features": ["last_ride:fare"], "entities": {"company": [null]}}"#,
            Code::InvalidArgument,
            &["row 0", "company"],
        ),
        (
            r#"{"features": ["area_stats:fare"], "entities": {"area": [8, "x"]}}"#,
            Code::InvalidArgument,
            &["column area", "row 1"],
        ),
        (
            r#"{"service": "rides_v1", "entities": {"company": ["a"], "area": [8, 9]}}"#,
            Code::InvalidArgument,
            &["company", "area", "2"],
        ),
        (r#"{"service": "rides_v1", "entities": {}, "as_off": 1}"#, Code::InvalidArgument, &["as_off"]),
        (r#"{"service": "rides_v1", "push": "rides"}"#, Code::InvalidArgument, &["one thing"]),
        (r#"{"training": "0123"}"#, Code::NotFound, &["no upload 0123"]),
        (r#"{"train": {"service": "rides_v1"}}"#, Code::InvalidArgument, &["DoExchange"]),
    ];
    for (ticket, code, words) in table {
        let answer = async { client.do_get(Ticket::new(ticket)).await?.try_collect::<Vec<_>>().await };
        check_status(ticket, &status(answer.await.expect_err(ticket)), code, words);
        check_both(&world, ticket).await;
    }
    let areas = vec!["8"; 4_097].join(", ");
    let ticket = format!(r#"{{"features": ["area_stats:fare"], "entities": {{"area": [{areas}]}}}}"#);
    let answer = async { client.do_get(Ticket::new(ticket)).await?.try_collect::<Vec<_>>().await };
    check_status("rows", &status(answer.await.expect_err("too many")), Code::OutOfRange, &["4097", "4096"]);
    let deep =
        format!(r#"{{"service": "rides_v1", "entities": {{"area": {}}}}}"#, "[".repeat(100_000) + &"]".repeat(100_000));
    let answer = async { client.do_get(Ticket::new(deep)).await?.try_collect::<Vec<_>>().await };
    check_status("depth", &status(answer.await.expect_err("too deep")), Code::InvalidArgument, &[]);
    check_both(&world, "depth").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flight_offers_and_we_do_not_is_said() {
    let world = rides().await;
    let mut client = flight(world.servers.flight).await;
    let nowhere = FlightDescriptor::new_path(vec!["trips".to_owned()]);
    check_status(
        "a path",
        &status(client.get_schema(nowhere).await.expect_err("nowhere")),
        Code::InvalidArgument,
        &["leads nowhere", "services"],
    );
    let unknown = FlightDescriptor::new_path(vec!["views".to_owned(), "nope".to_owned()]);
    check_status(
        "a view",
        &status(client.get_flight_info(unknown).await.expect_err("unknown")),
        Code::NotFound,
        &["nope"],
    );
    let done = async { client.do_action(Action::new("restart", "")).await?.try_collect::<Vec<_>>().await };
    check_status("an action", &status(done.await.expect_err("unknown")), Code::NotFound, &["restart", "sync"]);
    check_status(
        "a handshake",
        &status(client.handshake("hello").await.expect_err("none")),
        Code::Unimplemented,
        &["no handshake"],
    );
    check_both(&world, "what there is not").await;
}

/// The two calls that take batches, and what is asked for with them.
#[derive(Clone, Copy, Debug)]
enum Call {
    Exchange,
    Put(&'static str),
}

const QUESTION: &str = r#"{"service": "rides_v1"}"#;
const LABELS: &str = r#"{"train": {"service": "rides_v1", "time_column": "at"}}"#;
const PUSH: &str = r#"{"push": "areas", "to": "online"}"#;

impl Call {
    fn descriptor(self) -> &'static str {
        match self {
            Self::Exchange => QUESTION,
            Self::Put(descriptor) => descriptor,
        }
    }

    async fn send(self, client: &mut FlightServiceClient<Channel>, messages: Vec<FlightData>) -> Result<usize, Status> {
        let messages = stream::iter(messages);
        match self {
            Self::Exchange => {
                client
                    .do_exchange(messages)
                    .await?
                    .into_inner()
                    .try_fold(0, |count, _| async move { Ok(count + 1) })
                    .await
            }
            Self::Put(_) => {
                client.do_put(messages).await?.into_inner().try_fold(0, |count, _| async move { Ok(count + 1) }).await
            }
        }
    }
}

async fn raw_client(world: &World) -> FlightServiceClient<Channel> {
    flight(world.servers.flight).await.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_size_is_refused_by_every_call_that_takes_batches() {
    let world = rides().await;
    let mut client = raw_client(&world).await;
    for call in [Call::Exchange, Call::Put(LABELS), Call::Put(PUSH)] {
        for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            let messages = flight_messages(call.descriptor(), &forged_stream(compression, 1 << 40));
            let refused = call.send(&mut client, messages).await.expect_err("a forged size");
            check_status(&format!("{call:?}"), &refused, Code::OutOfRange, &["batch 0", "1099511627776", "67108864"]);
            check_both(&world, "a forged size").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_batch_is_refused_with_its_number() {
    let world = rides().await;
    let mut client = raw_client(&world).await;
    let honest = questions(2);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["8", "eight"]));
    let null: ArrayRef = Arc::new(Int64Array::from(vec![Some(8), None]));
    let table: [(RecordBatch, Code, &[&str]); 4] = [
        (with_column(&honest, "area", text), Code::InvalidArgument, &["batch 0", "column area", "int64"]),
        (with_column(&honest, "area", null), Code::InvalidArgument, &["batch 0", "row 1", "area"]),
        (without_column(&honest, "company"), Code::InvalidArgument, &["batch 0", "company", "missing"]),
        (questions(4_097), Code::OutOfRange, &["batch 0", "4097", "4096"]),
    ];
    for (batch, code, words) in table {
        let messages = flight_messages(QUESTION, &arrow_stream(&batch, None));
        let refused = Call::Exchange.send(&mut client, messages).await.expect_err("a wrong batch");
        check_status("a batch", &refused, code, words);
        check_both(&world, "a wrong batch").await;
    }
    // No event time, no labels' time, a column that the source does not have.
    for (call, word) in [(Call::Put(LABELS), "at"), (Call::Put(PUSH), "company")] {
        let messages = flight_messages(call.descriptor(), &arrow_stream(&honest, None));
        let sent = call.send(&mut client, messages).await;
        match call {
            // Labels are only kept; what is wrong with them is said when the training set is made.
            Call::Put(LABELS) => assert_eq!(sent.expect("a ticket"), 1),
            _ => check_status("rows", &sent.expect_err("no rows"), Code::InvalidArgument, &[word]),
        }
        check_both(&world, "rows of something else").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_the_wrong_order_or_of_the_wrong_size_are_refused() {
    let world = rides().await;
    let mut client = raw_client(&world).await;
    let honest = flight_messages(QUESTION, &arrow_stream(&questions(2), Some(CompressionType::LZ4_FRAME)));
    let nameless = FlightData { flight_descriptor: None, ..honest[0].clone() };
    let described = |data: FlightData| FlightData { flight_descriptor: honest[0].flight_descriptor.clone(), ..data };
    let long = FlightData { data_body: vec![0; (16 << 20) + 1].into(), ..honest[1].clone() };
    let headless = FlightData { data_header: b"not a flatbuffer".to_vec().into(), ..honest[1].clone() };
    let cut = FlightData { data_body: honest[1].data_body.slice(..honest[1].data_body.len() / 2), ..honest[1].clone() };
    let table: [(&str, Vec<FlightData>, Code); 8] = [
        ("no descriptor", vec![nameless, honest[1].clone()], Code::InvalidArgument),
        ("no message", vec![], Code::InvalidArgument),
        ("a batch before its schema", vec![described(honest[1].clone())], Code::InvalidArgument),
        ("two schemas", vec![honest[0].clone(), honest[0].clone()], Code::InvalidArgument),
        ("a header that is none", vec![honest[0].clone(), headless], Code::InvalidArgument),
        ("half a body", vec![honest[0].clone(), cut], Code::InvalidArgument),
        ("a message that is too long", vec![honest[0].clone(), long], Code::OutOfRange),
        (
            "an empty descriptor",
            vec![FlightData { flight_descriptor: Some(FlightDescriptor::default()), ..honest[0].clone() }],
            Code::InvalidArgument,
        ),
    ];
    for (what, messages, code) in table {
        for call in [Call::Exchange, Call::Put(LABELS), Call::Put(PUSH)] {
            let messages = messages.iter().cloned().map(|mut message| {
                if let Some(descriptor) =
                    message.flight_descriptor.as_mut().filter(|descriptor| !descriptor.cmd.is_empty())
                {
                    descriptor.cmd = call.descriptor().into();
                }
                message
            });
            let refused = call.send(&mut client, messages.collect()).await.expect_err(what);
            check_status(&format!("{what}, {call:?}"), &refused, code, &[]);
        }
        check_both(&world, what).await;
    }
    // Every other byte of a header flipped: refused or answered, never a broken connection.
    for position in (0..honest[1].data_header.len()).step_by(2) {
        let mut header = honest[1].data_header.to_vec();
        header[position] ^= 0xff;
        let flipped = FlightData { data_header: header.into(), ..honest[1].clone() };
        if let Err(refused) = Call::Exchange.send(&mut client, vec![honest[0].clone(), flipped]).await {
            assert!(matches!(refused.code(), Code::InvalidArgument | Code::OutOfRange), "byte {position}: {refused:?}");
        }
    }
    check_both(&world, "flipped bytes").await;
}

/// The connection of a caller whose call was refused goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_exchange_leaves_its_connection_usable() {
    let world = rides().await;
    let mut client = raw_client(&world).await;
    let honest = flight_messages(QUESTION, &arrow_stream(&questions(2), None));
    for _ in 0..50 {
        let forged = flight_messages(QUESTION, &forged_stream(CompressionType::ZSTD, 1 << 40));
        assert!(Call::Exchange.send(&mut client, forged).await.is_err());
        let mut answers = client.do_exchange(stream::iter(honest.clone())).await.expect("an exchange").into_inner();
        let mut messages = 0;
        while let Some(message) = answers.next().await {
            message.expect("an answer");
            messages += 1;
        }
        assert_eq!(messages, 2, "a schema and a batch");
    }
}
