//! What botops is compared with: axum and tokio that answer fixed bytes and broadcast a text of a fixed size, without key,
//! limit, counters or log. Configured by the environment:
//!
//! - `BENCH_PORT`: the port on 127.0.0.1 (required)
//! - `BENCH_PAYLOADS`: a folder with `summary.json` and `state.json` (required)
//! - `BENCH_WORKERS`: threads that answer, default 2
//! - `BENCH_STREAM_MS`: the broadcast's interval, default 5000
//! - `BENCH_STREAM_BYTES`: the broadcast's size, default 2048

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

struct StaticServer {
    summary: Bytes,
    state: Bytes,
    texts: broadcast::Sender<Utf8Bytes>,
}

fn main() {
    let workers = env_or("BENCH_WORKERS", 2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.expect("a runtime").block_on(serve());
}

async fn serve() {
    let folder = std::env::var("BENCH_PAYLOADS").expect("BENCH_PAYLOADS names a folder");
    let read = |name: &str| Bytes::from(std::fs::read(format!("{folder}/{name}")).expect("a payload"));
    let server = Arc::new(StaticServer {
        summary: read("summary.json"),
        state: read("state.json"),
        texts: broadcast::Sender::new(16),
    });
    tokio::spawn(broadcast_texts(server.clone()));
    let router = Router::new()
        .route("/api/v1/summary", get(get_summary))
        .route("/api/v1/state", get(get_state))
        .route("/api/v1/stream", any(get_stream))
        .with_state(server);
    let listener =
        TcpListener::bind(("127.0.0.1", env_or("BENCH_PORT", 0_u16))).await.expect("the port is free");
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, router).await.expect("it serves");
}

fn env_or<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn json(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    response
}

async fn get_summary(State(server): State<Arc<StaticServer>>) -> Response {
    json(server.summary.clone())
}

async fn get_state(State(server): State<Arc<StaticServer>>) -> Response {
    json(server.state.clone())
}

async fn get_stream(upgrade: WebSocketUpgrade, State(server): State<Arc<StaticServer>>) -> Response {
    let texts = server.texts.subscribe();
    // Small buffers, as botops has: the library's own take 128 KiB a connection.
    let sized = upgrade.read_buffer_size(4096).write_buffer_size(0).max_write_buffer_size(256 * 1024);
    sized.on_upgrade(move |socket| pass_on(socket, texts))
}

async fn pass_on(mut socket: WebSocket, mut texts: broadcast::Receiver<Utf8Bytes>) {
    loop {
        tokio::select! {
            text = texts.recv() => match text {
                Ok(text) => if socket.send(Message::Text(text)).await.is_err() { return },
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            got = socket.recv() => if !matches!(got, Some(Ok(_))) { return },
        }
    }
}

/// One text an interval for all clients, stamped just before the first send.
async fn broadcast_texts(server: Arc<StaticServer>) {
    let size = env_or("BENCH_STREAM_BYTES", 2048);
    let mut every = tokio::time::interval(Duration::from_millis(env_or("BENCH_STREAM_MS", 5000)));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for seq in 0_u64.. {
        every.tick().await;
        if server.texts.receiver_count() > 0 {
            let _ = server.texts.send(metrics_text(seq, size).into());
        }
    }
}

/// A text of exactly `size` bytes, when its fields fit.
fn metrics_text(seq: u64, size: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let mut text = format!(r#"{{"type":"metrics","seq":{seq},"sent_ns":{now},"pad":""#);
    let missing = size.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('m', missing));
    text.push_str("\"}");
    text
}
