//! freqtrade's WebSocket: what it says is never used, that it says something makes the pollers read sooner.
//!
//! Its messages have no numbers and are not repeated, and it is closed at every reload. Without it, everything is seen
//! one interval later.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::picture::PictureCell;
use crate::credentials::UpstreamCredentials;
use crate::upstream::{FreqtradeClient, websocket_request};

/// Messages that say that something changed; candles and analysed pairs are large and say nothing of it.
const SUBSCRIBED: [&str; 12] = [
    "status",
    "warning",
    "exception",
    "startup",
    "entry",
    "entry_fill",
    "entry_cancel",
    "exit",
    "exit_fill",
    "exit_cancel",
    "protection_trigger",
    "protection_trigger_global",
];

/// The wait after the connection ended; a reload takes 3 s.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// A freqtrade without a WebSocket is asked this often.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// What is subscribed to is a few KB; its content is not used.
const LARGEST_MESSAGE: usize = 1024 * 1024;

/// Connecting, and each message sent.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Connects, listens, and connects again, for ever.
pub(super) async fn follow_messages(
    client: &FreqtradeClient,
    credentials: &UpstreamCredentials,
    cell: &PictureCell,
) {
    let mut wait = FIRST_WAIT;
    loop {
        cell.wait_for_ping().await;
        if listen(client, credentials, cell).await {
            wait = FIRST_WAIT;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection, until it ends. True when it was made. Errors of the library name the URL, which holds the token:
/// they are dropped.
async fn listen(client: &FreqtradeClient, credentials: &UpstreamCredentials, cell: &PictureCell) -> bool {
    let url = match websocket_request(client, credentials).await {
        Ok(url) => url,
        Err(failure) => {
            tracing::debug!("no WebSocket to freqtrade: {failure}");
            return false;
        }
    };
    let bounds = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let connecting = tokio_tungstenite::connect_async_with_config(url.expose_secret(), Some(bounds), false);
    let Ok(Ok((mut socket, _))) = tokio::time::timeout(CONNECT_LIMIT, connecting).await else {
        tracing::debug!("no WebSocket to freqtrade");
        return false;
    };
    let subscribe = json!({"type": "subscribe", "data": SUBSCRIBED}).to_string();
    let sent = tokio::time::timeout(CONNECT_LIMIT, socket.send(Message::text(subscribe))).await;
    if !matches!(sent, Ok(Ok(()))) {
        return false;
    }
    tracing::info!("the WebSocket of freqtrade wakes the pollers");
    cell.wake_pollers();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(_) | Message::Binary(_) => cell.wake_pollers(),
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    true
}
