//! A bot that listens on a TCP port instead of a Unix socket.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use botops_contract::{CommandOutcome, CommandRequest, Verb};
use botops_server::bots::{BotAddress, BotTcpPort, Presence};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use crate::kit::folder;
use crate::kit::running_link::{RunningLink, TOLD_WITHIN};
use crate::kit::scripted_bot::ScriptedBot;

const TOKEN: &str = "a-token-of-the-bot";

/// Passes what comes to a port on to a Unix socket, if it begins with the right token.
async fn pass_on(listener: TcpListener, socket: PathBuf) {
    while let Ok((mut client, _)) = listener.accept().await {
        let socket = socket.clone();
        tokio::spawn(async move {
            let mut head = vec![0; 8192];
            let Ok(length) = client.read(&mut head).await else { return };
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            if !head.contains(&format!("authorization: Bearer {TOKEN}\r\n")) {
                let _ = client.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
                return;
            }
            let mut bot = UnixStream::connect(socket).await.unwrap();
            bot.write_all(head.as_bytes()).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut bot).await;
        });
    }
}

fn address(host: &str, port: u16, token: &str) -> BotAddress {
    let url = format!("http://{host}:{port}").parse().unwrap();
    BotAddress::tcp_port(BotTcpPort::from_url(&url, token.to_owned().into()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_on_a_port_is_followed_with_its_token_only() {
    let (data, bot) = (folder(), ScriptedBot::start());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = tokio::spawn(pass_on(listener, bot.socket().to_owned()));
    let link =
        RunningLink::begin_at(data.path(), bot.id(), address("127.0.0.1", port, "another-token")).await;
    let seen = link.sees("a reason", TOLD_WITHIN, |seen| seen.presence_reason.contains("BOT_IPC_TOKEN_FILE"));
    assert!(!seen.await.presence.answers() && bot.journal().is_empty());
    link.end().await;
    for host in ["127.0.0.1", "localhost"] {
        let link = RunningLink::begin_at(data.path(), bot.id(), address(host, port, TOKEN)).await;
        link.is(Presence::Connected, TOLD_WITHIN).await;
        let (command_id, reason) = (format!("over-{host}"), "a test".to_owned());
        let order = CommandRequest {
            command_id,
            reason,
            args: Value::Null,
            dry_run: false,
            valid_for_ms: None,
            expires_at: None,
        };
        assert_eq!(link.bots.command(Verb::Pause, order).await.unwrap().outcome, CommandOutcome::Done);
        link.end().await;
    }
    let link = RunningLink::begin_at(data.path(), bot.id(), address("127.0.0.1", port, TOKEN)).await;
    link.is(Presence::Connected, TOLD_WITHIN).await;
    proxy.abort();
    let gone = |reason: &str| reason.contains("nobody listens") || reason.contains("closed the connection");
    link.sees("nobody is there", TOLD_WITHIN, move |seen| {
        !seen.presence.answers() && gone(&seen.presence_reason)
    })
    .await;
    link.end().await;
}
