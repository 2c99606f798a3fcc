//! freqtrade's WebSocket: that it says something makes the adapter read, and what it says is not used.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::world::{Adapter, FreqtradeStub, SOON};
use crate::kit::until;

/// The token of the WebSocket. It is a canary: it must not appear in any log or answer.
const TOKEN: &str = "websocket-canary-token-55";

/// Less than the 30 s after which closed trades are read unasked.
const WOKEN: Duration = Duration::from_secs(15);

/// A port that serves the WebSocket itself and passes everything else on.
struct MessagePort {
    address: SocketAddr,
    /// What is sent to whoever is connected.
    messages: mpsc::UnboundedSender<String>,
    /// What was asked for and what was received, in order.
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for MessagePort {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MessagePort {
    async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (messages, queue) = mpsc::unbounded_channel();
        let (queue, seen) = (Arc::new(tokio::sync::Mutex::new(queue)), Arc::new(Mutex::new(Vec::new())));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, behind, queue.clone(), noted.clone()));
            }
        });
        Self { address, messages, seen, task }
    }

    fn has_seen(&self, text: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|seen| seen.contains(text))
    }
}

async fn serve(
    mut stream: TcpStream,
    behind: SocketAddr,
    queue: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut head = [0; 64];
    let length = stream.peek(&mut head).await.unwrap_or_default();
    if !head[..length].starts_with(b"GET /api/v1/message/ws") {
        let mut to = TcpStream::connect(behind).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut to).await;
        return;
    }
    let noted = seen.clone();
    #[expect(clippy::result_large_err, reason = "the form that the library asks for")]
    let note = move |request: &Request, response: Response| {
        noted.lock().unwrap().push(request.uri().to_string());
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, note).await else { return };
    if let Some(Ok(Message::Text(text))) = socket.next().await {
        seen.lock().unwrap().push(text.to_string());
    }
    let mut queue = queue.lock().await;
    while let Some(message) = queue.recv().await {
        if socket.send(Message::text(message)).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_wakes_the_adapter_and_its_content_is_not_believed() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.give_token(TOKEN);
    let port = MessagePort::start(freqtrade.address()).await;
    let adapter = Adapter::start_at(format!("http://{}", port.address));
    adapter.until_state("it is read", |state| state["performance"]["trades_today"].is_number()).await;
    until("it subscribes", SOON, || async { port.has_seen("entry_fill") }).await;
    assert!(port.has_seen(&format!("token={TOKEN}")), "freqtrade takes the token in the URL alone");
    assert!(!port.has_seen("analyzed_df"), "large messages that say nothing of a change");
    let asked = || freqtrade.requests().iter().filter(|(_, path)| path == "/api/v1/trades").count();
    // What is read once subscribed has to be over.
    until("a quiet moment", SOON, || async {
        let before = asked();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        asked() == before
    })
    .await;
    let before = asked();
    let lie = json!({"type": "entry_fill", "data": {"pair": "LIE/USDT", "trade_id": 1, "amount": 5.0}});
    port.messages.send(lie.to_string()).unwrap();
    until("it reads", WOKEN, || async { asked() > before }).await;
    let state = adapter.get("state").await;
    assert_eq!((&state["positions"], &state["orders"]), (&json!([]), &json!([])), "{state:#}");
    let (written, hello) = (adapter.written(), adapter.get("hello").await);
    assert!(!format!("{written}{hello}{state}").contains(TOKEN), "{written}");
}
