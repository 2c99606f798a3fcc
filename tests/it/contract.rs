//! The bot contract: one suite of checks for every bot that serves it on a socket.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use botops_contract::{
    BOOT_ONCE, BotPhase, BotReport, COMMAND_STATUS, CONFIG_SCHEMA, CommandOutcome, CommandProgress,
    CommandRequest, CommandResult, CommandStatus, ConfigState, ContractRefusal, EXPIRED, Hello,
    RunningDocument, TradePage, VERSION, Verb,
};
use reqwest::{Client, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kit::scripted_bot::{ScriptedBot, sha256, trade};
use crate::kit::{Process, folder, program, socket_client, until};

#[tokio::test]
async fn the_scripted_bot_keeps_the_contract() {
    let bot = ScriptedBot::start();
    bot.script().trades = (1..=3).map(|seq| trade(seq, "1")).collect();
    bot.emit(botops_contract::EventKind::Fill, botops_contract::Severity::Low, "a fill");
    keeps_the_contract(bot.socket()).await;
}

#[tokio::test]
async fn paperbot_keeps_the_contract() {
    let folder = folder();
    let (socket, data) = (folder.path().join("bot.sock"), folder.path().join("data"));
    let mut command = Command::new(program("paperbot"));
    command.arg("--socket").arg(&socket).arg("--data-dir").arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _process = Process::spawn(&mut command);
    let client = socket_client(&socket);
    let says_hello =
        async || client.get(url("hello")).send().await.is_ok_and(|answer| answer.status().is_success());
    until("paperbot answers", Duration::from_secs(20), says_hello).await;
    keeps_the_contract(&socket).await;
}

/// Checks everything that a bot must do. At the end trading is as it was.
pub(crate) async fn keeps_the_contract(socket: &Path) {
    let peer = Peer { client: socket_client(socket) };
    let hello: Hello = peer.get("hello").await;
    assert_eq!(hello.contract, Some(VERSION));
    assert!(hello.pid.is_some() && hello.boot_epoch.is_some() && hello.version.is_some());
    let known = |name: &str| {
        Verb::ALL.iter().any(|verb| verb.as_str() == name)
            || ["config", CONFIG_SCHEMA, BOOT_ONCE, COMMAND_STATUS, "session", "events", "trades"]
                .contains(&name)
    };
    assert!(hello.capabilities.iter().all(|offered| known(&offered.name)), "{:?}", hello.capabilities);
    peer.state_answers_whole_and_says_when_nothing_changed(&hello).await;
    peer.commands_act_once(&hello).await;
    peer.unknown_things_are_refused_in_form().await;
    let can = |name: &str| hello.capabilities.iter().any(|known| known.name == name);
    if can(COMMAND_STATUS) {
        peer.commands_are_accounted_for(&hello).await;
    }
    if can("trades") {
        peer.trades_come_in_pages().await;
    }
    if can("events") {
        peer.events_have_ids(&hello).await;
    }
    if can(CONFIG_SCHEMA) {
        peer.the_config_fits_its_schema().await;
    }
    if can("config") {
        let config: ConfigState = peer.get("config").await;
        assert_eq!(Some(config.boot_epoch), hello.boot_epoch);
        assert_eq!(config.running.sha256.len(), 64);
    } else {
        let (status, refusal): (_, ContractRefusal) = peer.read(peer.client.get(url("config"))).await;
        assert!(!status.is_success());
        assert_eq!(refusal.code, "not_capable");
    }
}

struct Peer {
    client: Client,
}

impl Peer {
    async fn state_answers_whole_and_says_when_nothing_changed(&self, hello: &Hello) {
        let answer = self.client.get(url("state")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let etag = answer.headers()[header::ETAG].clone();
        let text = answer.text().await.unwrap();
        let report: BotReport = serde_json::from_str(&text).unwrap();
        assert_eq!((&report.boot_epoch, report.mode), (&hello.boot_epoch, hello.mode));
        let json: Value = serde_json::from_str(&text).unwrap();
        assert!(json["account"]["account_balance"].is_string(), "money is text");
        // A bot that trades may have changed in between: then it sends a new answer with another tag.
        let again = self.client.get(url("state")).header(header::IF_NONE_MATCH, &etag).send().await.unwrap();
        match again.status() {
            StatusCode::NOT_MODIFIED => assert!(again.bytes().await.unwrap().is_empty()),
            status => {
                assert_eq!(status, StatusCode::OK);
                assert_ne!(again.headers()[header::ETAG], etag);
                let later: BotReport = again.json().await.unwrap();
                assert!(later.seq > report.seq);
            }
        }
    }

    async fn commands_act_once(&self, hello: &Hello) {
        let can = |verb: Verb| hello.offers(verb.as_str());
        if can(Verb::Pause) && can(Verb::Resume) {
            let ready = async || self.get::<BotReport>("state").await.phase != BotPhase::Starting;
            until("the bot is ready", Duration::from_secs(20), ready).await;
            let before: BotReport = self.get("state").await;
            let dry = self.command(Verb::Pause, &format!("{}-dry", epoch_of(hello)), true).await;
            assert_eq!(dry.outcome, CommandOutcome::Predicted);
            let id = format!("{}-pause", epoch_of(hello));
            let first = self.command(Verb::Pause, &id, false).await;
            assert_eq!(
                (first.outcome, first.phase, first.replayed),
                (CommandOutcome::Done, Some(BotPhase::Paused), false)
            );
            assert_eq!(first.trading_enabled, Some(false));
            let again = self.command(Verb::Pause, &id, false).await;
            assert!(again.replayed);
            assert_eq!(
                (again.at, &again.message),
                (first.at, &first.message),
                "the first answer, not a new one"
            );
            let paused: BotReport = self.get("state").await;
            assert_eq!((paused.phase, paused.trading_enabled), (BotPhase::Paused, Some(false)));
            assert!(paused.seq > before.seq);
            let resumed = self.command(Verb::Resume, &format!("{}-resume", epoch_of(hello)), false).await;
            assert_eq!(resumed.outcome, CommandOutcome::Done);
        }
        for verb in Verb::ALL.into_iter().filter(|verb| !can(*verb)) {
            let body = request(&format!("{}-{verb}", epoch_of(hello)), false);
            let (_, answer): (_, Value) =
                self.read(self.client.post(url(&format!("commands/{verb}"))).json(&body)).await;
            let code = answer.get("reason_code").or_else(|| answer.get("code"));
            assert_eq!(code, Some(&json!("not_capable")), "{verb}: {answer}");
        }
    }

    /// A client that lost an answer gets it without sending the command again, and an expired command is never begun.
    async fn commands_are_accounted_for(&self, hello: &Hello) {
        let epoch = epoch_of(hello);
        let status = async |id: &str| -> CommandStatus {
            self.get(&format!("commands/{}", id.replace('/', "%2F"))).await
        };
        let never = status(&format!("{epoch}/never-sent")).await;
        assert_eq!((never.progress, &never.result), (CommandProgress::Unknown, &None));
        let paused = status(&format!("{epoch}-pause")).await;
        assert_eq!(paused.progress, CommandProgress::Answered);
        assert_eq!(paused.result.map(|result| result.outcome), Some(CommandOutcome::Done));
        let late = format!("{epoch}/late");
        let expired = CommandRequest {
            expires_at: Some(chrono::Utc::now() - chrono::TimeDelta::seconds(1)),
            valid_for_ms: Some(8_000),
            ..request(&late, false)
        };
        let before: BotReport = self.get("state").await;
        for _ in 0..2 {
            let (_, answer): (_, Value) =
                self.read(self.client.post(url("commands/pause")).json(&expired)).await;
            let code = answer.get("reason_code").or_else(|| answer.get("code"));
            assert_eq!(code, Some(&json!(EXPIRED)), "{answer}");
        }
        let after: BotReport = self.get("state").await;
        assert_eq!(after.trading_enabled, before.trading_enabled, "what expired is not begun");
        let kept = status(&late).await;
        assert_eq!((kept.command_id, kept.progress), (late, CommandProgress::Answered));
        let code =
            kept.result.and_then(|result| result.reason_code).or(kept.refusal.map(|refusal| refusal.code));
        assert_eq!(code.as_deref(), Some(EXPIRED));
    }

    async fn unknown_things_are_refused_in_form(&self) {
        let calls = [
            self.client.get(url("nothing")),
            self.client.post(url("commands/buy")).json(&request("x", false)),
            self.client.post(url("commands/pause")).body("not json"),
        ];
        for call in calls {
            let (status, refusal): (_, ContractRefusal) = self.read(call).await;
            assert!(status.is_client_error(), "{status}");
            assert!(!refusal.code.is_empty() && !refusal.message.is_empty());
        }
    }

    async fn trades_come_in_pages(&self) {
        let all: TradePage = self.get("trades?after=0&limit=1000").await;
        assert!(all.items.windows(2).all(|pair| pair[0].seq < pair[1].seq), "oldest first");
        let Some(first) = all.items.first() else { return };
        let page: TradePage = self.get("trades?after=0&limit=1").await;
        assert_eq!((page.items.len(), page.items[0].seq), (1, first.seq));
        let more: TradePage = self.get("trades?after=0&limit=1000").await;
        // A bot that trades may have closed its second trade in between.
        if (all.items.len() > 1) == (more.items.len() > 1) {
            assert_eq!(page.next, (all.items.len() > 1).then_some(first.seq));
        }
    }

    async fn the_config_fits_its_schema(&self) {
        let schema: Value = self.get("config/schema").await;
        let running: RunningDocument = self.get("config/document").await;
        assert_eq!(running.running.sha256, sha256(running.document.as_bytes()));
        let document = serde_json::from_str(&running.document).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let wrong: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    async fn events_have_ids(&self, hello: &Hello) {
        let request = self.client.get(url("events")).header(header::ACCEPT, "text/event-stream");
        let mut stream = request.send().await.unwrap();
        let kind = stream.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        let mut text = String::new();
        let first = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let chunk = stream.chunk().await.unwrap().expect("the stream stays open");
                text.push_str(&String::from_utf8_lossy(&chunk).replace('\r', ""));
                if let Some((event, _)) = text.split_once("\n\n").filter(|(event, _)| event.contains("data:"))
                {
                    return event.to_owned();
                }
            }
        });
        let event = first.await.expect("a bot that has just been paused has an event to tell");
        let line =
            |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let data: botops_contract::BotEvent = serde_json::from_str(&line("data:")).unwrap();
        assert_eq!(line("id:"), format!("{}/{}", epoch_of(hello), data.seq));
        assert_eq!(Some(data.boot_epoch), hello.boot_epoch);
    }

    async fn command(&self, verb: Verb, id: &str, dry_run: bool) -> CommandResult {
        let call = self.client.post(url(&format!("commands/{verb}"))).json(&request(id, dry_run));
        let (status, result): (_, CommandResult) = self.read(call).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(result.command_id, id);
        result
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, value) = self.read(self.client.get(url(path))).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        value
    }

    async fn read<T: DeserializeOwned>(&self, call: reqwest::RequestBuilder) -> (StatusCode, T) {
        let answer = call.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}"));
        (status, value)
    }
}

fn url(path: &str) -> String {
    format!("http://bot/ipc/v1/{path}")
}

fn request(id: &str, dry_run: bool) -> CommandRequest {
    CommandRequest {
        command_id: id.to_owned(),
        reason: "contract test".to_owned(),
        args: Value::Null,
        dry_run,
        valid_for_ms: None,
        expires_at: None,
    }
}

fn epoch_of(hello: &Hello) -> &str {
    hello.boot_epoch.as_deref().expect("the bot tells its starts apart")
}
