//! The event stream of a real server: order, replay, tickets, slow clients, its end.

use std::time::Duration;

use botops_contract::{EventKind, Severity};
use botops_server::events::NewEvent;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::refusals::assert_problem;

const SOON: Duration = Duration::from_secs(30);

pub(crate) type Stream = WebSocketStream<TcpStream>;

fn handshake(botops: &Running, path: &str, key: Option<&str>) -> Request {
    let url = format!("{}{path}", botops.base.replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    if let Some(key) = key {
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
    }
    request
}

async fn try_connect(botops: &Running, path: &str, key: Option<&str>) -> Result<Stream, (u16, Value)> {
    let socket = TcpSocket::new_v4().unwrap();
    // A small buffer, so that a client that does not read is noticed soon.
    socket.set_recv_buffer_size(4096).unwrap();
    let tcp = socket.connect(botops.app.address()).await.unwrap();
    match tokio_tungstenite::client_async(handshake(botops, path, key), tcp).await {
        Ok((stream, _)) => Ok(stream),
        Err(WsError::Http(refused)) => {
            let body = refused.body().as_deref().unwrap_or_default();
            Err((refused.status().as_u16(), serde_json::from_slice(body).unwrap_or(Value::Null)))
        }
        Err(other) => panic!("{other}"),
    }
}

async fn connect(botops: &Running, query: &str) -> Stream {
    try_connect(botops, &format!("/api/v1/stream{query}"), Some(KEY)).await.expect("the stream opens")
}

/// The handshake, without a key, by a client that can read the whole body of a refusal.
pub(crate) fn handshake_over_http(botops: &Running, path: &str) -> RequestBuilder {
    let request = botops.client.get(format!("{}{path}", botops.base));
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// The next message, or the close frame that ended the stream.
async fn next(stream: &mut Stream) -> Result<Value, Option<CloseFrame>> {
    loop {
        let message = tokio::time::timeout(SOON, stream.next()).await.expect("a message comes in time");
        match message {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(frame))) => return Err(frame),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(None),
        }
    }
}

/// The next message of this type; others are skipped.
async fn next_of(stream: &mut Stream, kind: &str) -> Value {
    loop {
        let message = next(stream).await.expect("the stream is open");
        if message["type"] == kind {
            return message;
        }
    }
}

/// The next event with this message; other events are skipped.
async fn event_of(stream: &mut Stream, message: &str) -> Value {
    loop {
        let event = next_of(stream, "event").await;
        if event["event"]["message"] == message {
            return event;
        }
    }
}

fn publish(botops: &Running, message: &str) -> u64 {
    let event = NewEvent::own(EventKind::Lifecycle, Severity::Low, message, Value::Null);
    botops.app.handles().events.publish(event)
}

#[tokio::test]
async fn a_stream_says_hello_shows_a_snapshot_and_goes_on_with_metrics_and_events() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[("BOT_STREAM_INTERVAL", "100ms")]).await;
    let mut stream = connect(&botops, "").await;
    let hello = next(&mut stream).await.unwrap();
    assert_eq!(hello["type"], "hello");
    let snapshot = next(&mut stream).await.unwrap();
    assert_eq!(
        (&snapshot["type"], &snapshot["summary"]["health_status"]),
        (&json!("snapshot"), &json!("offline"))
    );
    let metrics = next_of(&mut stream, "metrics").await;
    assert!(metrics["metrics"]["health"]["status"].is_string());
    assert!(metrics.to_string().len() < 2_048, "{metrics}");
    let seq = publish(&botops, "something happened");
    let event = event_of(&mut stream, "something happened").await;
    assert_eq!(event["seq"], seq);
    for message in [hello, snapshot, metrics, event] {
        assert!(message["seq"].is_u64(), "{message}");
        let sent_at = message["sent_at"].as_str().unwrap();
        let fraction = sent_at.split_once('.').unwrap().1;
        assert_eq!(fraction.len(), "123456Z".len(), "{sent_at}");
    }
    kit::until("the client is counted", SOON, || async {
        botops.get("/api/v1/metrics").await.1["ops"]["websocket_connections"] == 1
    })
    .await;
    drop(stream);
    kit::until("the client is forgotten", SOON, || async {
        botops.get("/api/v1/metrics").await.1["ops"]["websocket_connections"] == 0
    })
    .await;
    botops.stop().await;
}

#[tokio::test]
async fn who_comes_back_misses_nothing() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let first = publish(&botops, "0");
    for n in 1..=450 {
        publish(&botops, &n.to_string());
    }
    let mut stream = connect(&botops, &format!("?after={first}")).await;
    let hello = next(&mut stream).await.unwrap();
    assert_eq!((&hello["seq"], &hello["replay"]["lost"]), (&json!(first), &Value::Null));
    for n in 451..=460 {
        publish(&botops, &n.to_string());
    }
    // The numbers have no gap, with botops' own events in between.
    let (mut seq, mut n) = (first, 0);
    while n < 460 {
        let event = next_of(&mut stream, "event").await;
        seq += 1;
        assert_eq!(event["seq"], seq);
        let next = (n + 1).to_string();
        n += u32::from(event["event"]["message"] == next.as_str());
    }
    let mut stream = connect(&botops, "?after=99999999").await;
    let hello = next(&mut stream).await.unwrap();
    assert!(hello["replay"]["lost"]["reason"].is_string(), "{hello}");
    botops.stop().await;
}

#[tokio::test]
async fn a_ticket_stands_for_the_key_once() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let (status, ticket) = botops.send(Method::POST, "/api/v1/stream/ticket", &json!({})).await;
    assert_eq!(status, 201, "{ticket}");
    let url = ticket["url"].as_str().unwrap();
    assert!(!url.contains(KEY));
    let mut stream = try_connect(&botops, url, None).await.expect("the ticket opens the stream");
    assert_eq!(next(&mut stream).await.unwrap()["type"], "hello");
    for (path, code) in
        [(url, "AUTH_005"), ("/api/v1/stream?ticket=st_wrong", "AUTH_005"), ("/api/v1/stream", "AUTH_001")]
    {
        let (status, _) = try_connect(&botops, path, None).await.unwrap_err();
        assert_eq!(status, 401, "{path}");
        let (_, problem) = kit::app::answer(handshake_over_http(&botops, path)).await;
        assert_problem(&problem, 401, code);
    }
    botops.stop().await;
}

/// With `BOT_STREAM_MAX_CLIENTS` at 2: the problem that a third client gets, and the two clients.
pub(crate) async fn raise_stream_full(botops: &Running) -> (Value, [Stream; 2]) {
    let clients = [connect(botops, "").await, connect(botops, "").await];
    let (status, _) = try_connect(botops, "/api/v1/stream", Some(KEY)).await.unwrap_err();
    let third = handshake_over_http(botops, "/api/v1/stream").header("x-api-key", KEY);
    let (status_over_http, problem) = kit::app::answer(third).await;
    assert_eq!((status, status_over_http), (503, 503), "{problem}");
    (problem, clients)
}

#[tokio::test]
async fn a_full_house_refuses_and_has_room_again_when_one_leaves() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[("BOT_STREAM_MAX_CLIENTS", "2")]).await;
    let (problem, [one, two]) = raise_stream_full(&botops).await;
    assert_problem(&problem, 503, "API_014");
    drop(one);
    kit::until("there is room", SOON, || async {
        try_connect(&botops, "/api/v1/stream", Some(KEY)).await.is_ok()
    })
    .await;
    drop(two);
    botops.stop().await;
}

/// Publishes more than is buffered for a client that does not read, while another one reads everything.
///
/// Returns what the first one gets when it reads again: the parsed close frame, and what came before it.
pub(crate) async fn raise_too_slow(botops: &Running) -> Value {
    let mut slow = connect(botops, "").await;
    let mut fast = connect(botops, "").await;
    assert_eq!(next(&mut fast).await.unwrap()["type"], "hello");
    let text = "x".repeat(4_000);
    // More than the queue and the socket's buffers can take.
    for _ in 0..25 {
        let mut last = 0;
        for _ in 0..100 {
            last = publish(botops, &text);
        }
        while next_of(&mut fast, "event").await["seq"] != last {}
    }
    // It reads again: buffered messages come first, then the close frame with the reason.
    let mut seen = 0;
    let mut metrics = 0;
    let closed = loop {
        match next(&mut slow).await {
            Ok(message) if message["type"] == "metrics" => metrics += 1,
            Ok(message) => seen = message["seq"].as_u64().unwrap(),
            Err(closed) => break closed.expect("it is told why"),
        }
    };
    let (code, message) = closed.reason.split_once(": ").expect("it is told by which code");
    let (_, after) = closed.reason.rsplit_once("?after=").expect("it is told where to go on");
    let after: u64 = after.parse().unwrap();
    json!({"close_code": u16::from(closed.code), "error_code": code, "message": message, "after": after,
           "seen": seen, "metrics": metrics})
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_with_a_reason_and_others_miss_nothing() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[("BOT_STREAM_INTERVAL", "100ms")]).await;
    let closed = raise_too_slow(&botops).await;
    assert_eq!((&closed["close_code"], &closed["error_code"]), (&json!(1013), &json!("API_017")), "{closed}");
    let number = |name: &str| closed[name].as_u64().unwrap();
    let after = number("after");
    // The event that was being sent for too long may have arrived.
    assert!((after..=after + 1).contains(&number("seen")), "{closed}");
    assert!(number("metrics") < 20, "{closed}");
    let mut back = connect(&botops, &format!("?after={after}")).await;
    assert_eq!(next_of(&mut back, "event").await["seq"], after + 1);
    let (_, numbers) = botops.get("/api/v1/metrics").await;
    assert!(numbers["ops"]["stream_closed_slow"].as_u64().unwrap() <= 1);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_in_fits_and_starts_and_talks_meanwhile_gets_everything_whole_and_in_order() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[("BOT_STREAM_INTERVAL", "100ms")]).await;
    let mut stream = connect(&botops, "").await;
    assert_eq!(next(&mut stream).await.unwrap()["type"], "hello");
    let text = "x".repeat(4_000);
    let (mut asked, mut answered, mut seq) = (0_u32, 0_u32, None);
    for round in 0..12 {
        // Every third time more than the socket's buffers can take, so that frames are split anywhere.
        let count = if round % 3 == 0 { 700 } else { 10 };
        let mut last = 0;
        for _ in 0..count {
            last = publish(&botops, &text);
        }
        if round % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        asked += 1;
        stream.send(Message::Ping(asked.to_be_bytes().to_vec().into())).await.unwrap();
        while seq != Some(last) {
            match tokio::time::timeout(SOON, stream.next()).await.expect("it goes on").unwrap().unwrap() {
                Message::Text(message) => {
                    let message: Value = serde_json::from_str(&message).expect("a whole message");
                    if message["type"] == "event" {
                        let this = message["seq"].as_u64().unwrap();
                        assert!(seq.is_none_or(|before| this == before + 1), "{this} after {seq:?}");
                        seq = Some(this);
                    }
                }
                Message::Pong(echo) => {
                    answered += 1;
                    assert_eq!(echo[..], answered.to_be_bytes());
                }
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    while answered < asked {
        match tokio::time::timeout(SOON, stream.next()).await.expect("it answers").unwrap().unwrap() {
            Message::Pong(_) => answered += 1,
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(stream);
    botops.stop().await;
}

#[tokio::test]
async fn the_stop_says_goodbye_with_the_last_event_before_it() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let mut stream = connect(&botops, "").await;
    assert_eq!(next(&mut stream).await.unwrap()["type"], "hello");
    let stopping = tokio::spawn(botops.stop());
    let mut last = event_of(&mut stream, "botops stops").await;
    let goodbye = loop {
        let message = next(&mut stream).await.expect("the stream is open");
        match message["type"].as_str() {
            Some("goodbye") => break message,
            Some("event") => last = message,
            _ => {}
        }
    };
    assert_eq!(goodbye["seq"], last["seq"]);
    assert!(goodbye["reason"].is_string());
    let closed = next(&mut stream).await.unwrap_err().expect("a close frame");
    assert_eq!(u16::from(closed.code), 1001);
    drop(stream);
    stopping.await.unwrap();
}

/// Waits for the close frame of the server; other messages are skipped.
async fn closed_with(stream: &mut Stream) -> CloseFrame {
    loop {
        match next(stream).await {
            Ok(_) => {}
            Err(frame) => return frame.expect("the stream ends with a close frame"),
        }
    }
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_code() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    for code in [1000, 1001, 4000] {
        let mut stream = connect(&botops, "").await;
        assert_eq!(next(&mut stream).await.unwrap()["type"], "hello");
        let frame = CloseFrame { code: code.into(), reason: "enough".into() };
        stream.send(Message::Close(Some(frame))).await.unwrap();
        assert_eq!(u16::from(closed_with(&mut stream).await.code), code);
    }
    botops.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_stream_with_a_code_that_says_why() {
    use tokio::io::AsyncWriteExt;
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let mask = [0_u8; 4];
    let frame = |first: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[first, 0x80 | 126], &length[..], &mask[..], payload].concat()
    };
    for (bytes, code, words) in [
        // A whole text, a binary message, a message in two parts: each larger than a client's may be.
        (frame(0x81, &[b'x'; 5_000]), 1009, "4096 bytes"),
        (frame(0x82, &[0; 60_000]), 1009, "4096 bytes"),
        ([frame(0x01, &[b'x'; 4_000]), frame(0x80, &[b'x'; 4_000])].concat(), 1009, "4096 bytes"),
        // A frame without a mask, a reserved opcode, reserved bits, a fragmented ping.
        (vec![0x81, 1, b'x'], 1002, "frame"),
        (frame(0x83, b"x"), 1002, "frame"),
        (frame(0xf1, b"x"), 1002, "frame"),
        (vec![0x09, 0x80, 0, 0, 0, 0], 1002, "frame"),
        (frame(0x81, &[0xff, 0xfe]), 1007, "UTF-8"),
    ] {
        let mut stream = connect(&botops, "").await;
        assert_eq!(next(&mut stream).await.unwrap()["type"], "hello");
        stream.get_mut().write_all(&bytes).await.unwrap();
        let closed = closed_with(&mut stream).await;
        assert_eq!(u16::from(closed.code), code, "{:?}: {closed:?}", &bytes[..8.min(bytes.len())]);
        assert!(closed.reason.contains(words), "{closed:?}");
    }
    kit::until("the clients are forgotten", SOON, || async {
        botops.get("/api/v1/metrics").await.1["ops"]["websocket_connections"] == 0
    })
    .await;
    botops.stop().await;
}
