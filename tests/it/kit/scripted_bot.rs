//! A bot that does what the test sets, on a real Unix socket, with its own thread and runtime.
//!
//! It serves the whole contract from values that the test sets, keeps a journal of its requests, and can stall, give
//! wrong answers and stop serving. Its config verbs are a real state machine, so that config tests prove something.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, header};
use botops_contract::{
    BotEvent, BotId, BotPhase, BotReport, BreakerState, CommandOutcome, CommandRequest, CommandResult,
    ContractRefusal, EventKind, Exposure, Hello, OrderStatus, Severity, Trade, TradePage, Verb,
};
use chrono::{DateTime, Utc};
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::plausible::hello;
pub(crate) use super::plausible::{position, report, trade};
pub(crate) use super::scripted_config::{SCHEMA, ScriptedConfig, refusal, sha256};

/// How the bot answers, on every path or on those of [`Script::only`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// As the contract says.
    Normal,
    /// Accepts the request and never answers it.
    Stall,
    /// Answers correctly, after this delay.
    Delay(Duration),
    /// Answers correctly, but not before the test sets another behaviour.
    Hold,
    /// Sends one byte each 50 ms, without an end.
    Drip,
    /// Answers HTTP without JSON.
    Garbage,
    /// Answers something that is not HTTP.
    NotHttp,
    /// Answers a JSON document of 10 MiB.
    Huge,
    /// The same in chunks, without `Content-Length`.
    HugeChunked,
    /// Closes the connection without an answer.
    HangUp,
    /// The same for one request, then normal.
    HangUpOnce,
}

/// One request that the bot received.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub method: String,
    /// Path and query, without the contract's base path.
    pub path: String,
    pub body: Value,
    pub if_none_match: Option<String>,
    pub last_event_id: Option<String>,
    pub at: Instant,
}

/// A bot on a socket; it stops serving when it is dropped.
pub(crate) struct ScriptedBot {
    folder: Option<TempDir>,
    socket: PathBuf,
    inner: Arc<Inner>,
    server: Option<Server>,
}

struct Server {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

struct Inner {
    script: Mutex<Script>,
    /// Changes with each behaviour and each event, to wake streams and waiting answers.
    changed: watch::Sender<u64>,
    /// How many of [`Script::raw_events`] were sent, over all connections.
    raw_sent: AtomicUsize,
}

/// The values that the bot answers with; tests change them through [`ScriptedBot::script`].
pub(crate) struct Script {
    pub hello: Hello,
    pub report: BotReport,
    pub behaviour: Behaviour,
    /// `behaviour` applies only to paths that begin with this.
    pub only: &'static str,
    /// Whether each answer to `state` is a new state; otherwise an unchanged one is answered with 304.
    pub alive: bool,
    /// Members that are left out of the state, as by a bot of an older contract.
    pub missing_fields: Vec<&'static str>,
    /// Answers of GET that are sent as they stand, by path: for a bot whose answers no type of the contract can hold.
    pub raw: HashMap<&'static str, Arc<dyn Fn() -> String + Send + Sync>>,
    /// The HTTP status of those answers, by path; 200 for the rest.
    pub raw_status: HashMap<&'static str, StatusCode>,
    /// What every command is answered with, made from its body: for answers that no type of the contract can hold.
    pub raw_commands: Option<Arc<dyn Fn(&Value) -> String + Send + Sync>>,
    /// What `GET trades` is answered with, made from `after` and `limit`; `trades` are not served then.
    pub raw_trades: Option<Arc<dyn Fn(u64, usize) -> String + Send + Sync>>,
    /// Texts that the event stream sends as they stand, each as the data of one event; `events` are not sent then.
    pub raw_events: Vec<String>,
    /// The state is refused with this status and code, as by an adapter whose bot does not answer.
    pub upstream: Option<(StatusCode, &'static str)>,
    /// Every command and config verb is refused with this; `None` for no refusal.
    pub refuse: Option<ContractRefusal>,
    /// The HTTP status of that refusal.
    pub refuse_status: StatusCode,
    /// `refuse` applies only to paths that begin with this.
    pub refuse_only: &'static str,
    /// Refused calls are carried out too, as by a loop that takes them after its server gave up.
    pub act_anyway: bool,
    /// Members that replace those of an answer to a command, for a bot that contradicts itself.
    pub twist: Value,
    /// The status of every command is that it still waits.
    pub keep_waiting: bool,
    pub trades: Vec<Trade>,
    /// Events that are kept; a test may remove the oldest.
    pub events: Vec<BotEvent>,
    pub config: ScriptedConfig,
    pub journal: Vec<Asked>,
    answered: HashMap<String, (Verb, CommandResult)>,
}

impl ScriptedBot {
    /// Starts a healthy bot named `scripted` in its own folder.
    pub(crate) fn start() -> Self {
        let folder = super::folder();
        let mut bot = Self::at(&folder.path().join("bot.sock"), report());
        bot.folder = Some(folder);
        bot
    }

    /// Starts a bot on this socket with this state.
    pub(crate) fn at(socket: &Path, report: BotReport) -> Self {
        let hello = hello(&report);
        let script = Script {
            hello,
            config: ScriptedConfig::new(&report),
            report,
            behaviour: Behaviour::Normal,
            only: "",
            alive: false,
            missing_fields: Vec::new(),
            raw: HashMap::new(),
            raw_status: HashMap::new(),
            raw_commands: None,
            raw_events: Vec::new(),
            raw_trades: None,
            upstream: None,
            refuse: None,
            refuse_status: StatusCode::CONFLICT,
            refuse_only: "",
            act_anyway: false,
            twist: Value::Null,
            keep_waiting: false,
            trades: Vec::new(),
            events: Vec::new(),
            journal: Vec::new(),
            answered: HashMap::new(),
        };
        let inner = Arc::new(Inner {
            script: Mutex::new(script),
            changed: watch::Sender::new(0),
            raw_sent: AtomicUsize::new(0),
        });
        let mut bot = Self { folder: None, socket: socket.to_owned(), inner, server: None };
        bot.revive();
        bot
    }

    pub(crate) fn id(&self) -> BotId {
        self.script().hello.bot_id.clone()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Locks the values that the bot answers with. While the lock is held, no request is answered.
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.inner.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers no config to be kept by botops: a drift from one would be a failure among those of a test.
    pub(crate) fn keeps_its_config(&self) {
        self.script().hello.capabilities.retain(|one| one.name != "config");
    }

    /// Sets the behaviour of requests from now on; answers that have begun keep theirs.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.script().behaviour = behaviour;
        self.wake();
    }

    /// Changes the state; the next answer has a new `seq`.
    pub(crate) fn change(&self, change: impl FnOnce(&mut BotReport)) {
        let mut script = self.script();
        change(&mut script.report);
        script.report.seq += 1;
        script.report.as_of = Some(Utc::now());
    }

    /// Emits an event with the next number.
    pub(crate) fn emit(&self, kind: EventKind, severity: Severity, message: &str) -> u64 {
        self.emit_with(kind, severity, message, Value::Null)
    }

    /// The same with data.
    pub(crate) fn emit_with(&self, kind: EventKind, severity: Severity, message: &str, data: Value) -> u64 {
        let seq = {
            let mut script = self.script();
            let seq = script.events.last().map_or(0, |event| event.seq) + 1;
            let boot_epoch = script.hello.boot_epoch.clone().unwrap_or_default();
            let message = message.to_owned();
            let error = None;
            script.events.push(BotEvent {
                seq,
                boot_epoch,
                at: Some(Utc::now()),
                kind,
                kind_raw: None,
                severity,
                severity_raw: None,
                message,
                error,
                data,
            });
            seq
        };
        self.wake();
        seq
    }

    /// Sends this text as the data of one event, as it stands.
    pub(crate) fn emit_raw(&self, text: impl Into<String>) {
        self.script().raw_events.push(text.into());
        self.wake();
    }

    /// Stops serving as a dead process would: the socket file stays, nobody listens.
    pub(crate) fn die(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop.send_replace(true);
            server.thread.join().expect("the bot's thread does not panic");
        }
    }

    /// Listens again as the same process start, with the same `boot_epoch`.
    pub(crate) fn revive(&mut self) {
        self.die();
        let _ = std::fs::remove_file(&self.socket);
        let listener = std::os::unix::net::UnixListener::bind(&self.socket).expect("the socket path is free");
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = watch::channel(false);
        let inner = self.inner.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, inner, stopped));
        });
        self.server = Some(Server { stop, thread });
    }

    /// Starts again as a new process would: another `boot_epoch`, event numbers from one, the committed config.
    pub(crate) fn restart(&mut self) {
        self.die();
        {
            let mut script = self.script();
            let epoch = format!("{}+", script.hello.boot_epoch.as_deref().unwrap_or_default());
            script.hello.boot_epoch = Some(epoch.clone());
            script.hello.started_at = Some(Utc::now());
            script.report.boot_epoch = Some(epoch.clone());
            script.report.seq = 1;
            script.report.as_of = Some(Utc::now());
            script.events.clear();
            script.answered.clear();
            script.config.boot(epoch);
        }
        self.revive();
    }

    /// All requests so far.
    pub(crate) fn journal(&self) -> Vec<Asked> {
        self.script().journal.clone()
    }

    /// Number of requests with this method and path, whatever the query.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let script = self.script();
        let matches = |asked: &&Asked| {
            asked.method == method && asked.path.split('?').next().is_some_and(|asked| asked == path)
        };
        script.journal.iter().filter(matches).count()
    }

    fn wake(&self) {
        self.inner.changed.send_modify(|count| *count += 1);
    }
}

impl Drop for ScriptedBot {
    fn drop(&mut self) {
        self.die();
    }
}

async fn serve(
    listener: std::os::unix::net::UnixListener,
    inner: Arc<Inner>,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = UnixListener::from_std(listener).unwrap();
    // The connections end when this function returns, because the runtime is dropped then.
    loop {
        let (mut connection, _) = tokio::select! {
            accepted = listener.accept() => accepted.unwrap(),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let inner = inner.clone();
        tokio::spawn(async move {
            let behaviour = inner.lock().behaviour;
            if behaviour == Behaviour::NotHttp {
                let mut request = [0; 4096];
                while connection.read(&mut request).await.is_ok_and(|length| length > 0) {
                    let _ = connection.write_all(b"\x00\xff\x16 this is not HTTP at all\r\n\r\n\xfe").await;
                }
                return;
            }
            let service = service_fn(move |request| {
                let inner = inner.clone();
                async move { inner.answer(request).await }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
struct HungUp;

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, HungUp> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| HungUp)?.to_bytes();
        let whole = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = whole.strip_prefix("/ipc/v1/").unwrap_or(whole).to_owned();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let asked = Asked {
            method: head.method.to_string(),
            path,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            if_none_match: text(header::IF_NONE_MATCH),
            last_event_id: text(header::HeaderName::from_static("last-event-id")),
            at: Instant::now(),
        };
        let behaviour = {
            let mut script = self.lock();
            script.journal.push(asked.clone());
            if asked.path.starts_with(script.only) { script.behaviour } else { Behaviour::Normal }
        };
        match behaviour {
            Behaviour::Normal => {}
            // This request is never answered; after another behaviour is set, new ones are.
            Behaviour::Stall => std::future::pending().await,
            Behaviour::Delay(by) => tokio::time::sleep(by).await,
            Behaviour::Hold => {
                let mut changed = self.changed.subscribe();
                while self.lock().behaviour == Behaviour::Hold {
                    changed.changed().await.map_err(|_| HungUp)?;
                }
            }
            Behaviour::Drip => return Ok(drip()),
            Behaviour::Garbage => return Ok(Response::new(Body::from("<html>\u{1b}[31mnot json\u{0}"))),
            Behaviour::Huge => return Ok(Response::new(Body::from(huge()))),
            Behaviour::HugeChunked => {
                let whole = Bytes::from(huge());
                let parts: Vec<_> = whole.chunks(64 * 1024).map(Bytes::copy_from_slice).collect();
                let parts = parts.into_iter().map(Ok::<_, Infallible>);
                return Ok(Response::new(Body::from_stream(stream::iter(parts))));
            }
            Behaviour::NotHttp | Behaviour::HangUp => return Err(HungUp),
            Behaviour::HangUpOnce => {
                self.lock().behaviour = Behaviour::Normal;
                return Err(HungUp);
            }
        }
        if asked.path == "events" {
            return Ok(self.event_stream(&asked));
        }
        Ok(self.lock().answer(&asked))
    }

    fn event_stream(self: Arc<Self>, asked: &Asked) -> Response<Body> {
        let resume = asked.last_event_id.as_deref().and_then(|id| id.rsplit_once('/'));
        let place = resume.map(|(epoch, seq)| (epoch.to_owned(), seq.parse::<u64>().unwrap_or(0)));
        let changed = self.changed.subscribe();
        let sent = self.lock().raw_events.len().min(self.raw_sent.load(Ordering::Relaxed));
        let events = stream::unfold(
            (self, place, changed, sent),
            |(inner, mut place, mut changed, sent)| async move {
                loop {
                    changed.mark_unchanged();
                    let raw = inner.lock().raw_events.get(sent).cloned();
                    if let Some(data) = raw {
                        inner.raw_sent.store(sent + 1, Ordering::Relaxed);
                        let item = Ok::<_, Infallible>(format!("data: {data}\n\n"));
                        return Some((item, (inner, place, changed, sent + 1)));
                    }
                    let next = {
                        let script = inner.lock();
                        let known = place
                            .as_ref()
                            .filter(|(epoch, _)| script.hello.boot_epoch.as_deref() == Some(epoch.as_str()));
                        let after = known.map_or(0, |(_, seq)| *seq);
                        script.events.iter().find(|event| event.seq > after).cloned()
                    };
                    if let Some(event) = next {
                        let id = format!("{}/{}", event.boot_epoch, event.seq);
                        let data = serde_json::to_string(&event).unwrap();
                        place = Some((event.boot_epoch, event.seq));
                        let item = Ok::<_, Infallible>(format!("id: {id}\ndata: {data}\n\n"));
                        return Some((item, (inner, place, changed, sent)));
                    }
                    changed.changed().await.ok()?;
                }
            },
        );
        let mut response = Response::new(Body::from_stream(events));
        response.headers_mut().insert(header::CONTENT_TYPE, "text/event-stream".parse().unwrap());
        response
    }
}

impl Script {
    fn answer(&mut self, asked: &Asked) -> Response<Body> {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let parts: Vec<_> = path.split('/').collect();
        if let Some(raw) = self.raw.get(path).filter(|_| asked.method == "GET") {
            let mut response = Response::new(Body::from(raw()));
            *response.status_mut() = self.raw_status.get(path).copied().unwrap_or(StatusCode::OK);
            return response;
        }
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["hello"]) => ok(&self.hello),
            ("GET", ["state"]) if self.upstream.is_some() => {
                let (status, code) = self.upstream.expect("it was just seen");
                refused(status, &refusal(code, "the bot behind does not answer"))
            }
            ("GET", ["state"]) => self.state(asked.if_none_match.as_deref()),
            ("GET", ["trades"]) => self.trades(query),
            ("GET", ["config"]) => ok(&self.config.state()),
            ("GET", ["config", "schema"]) => Response::new(Body::from(SCHEMA)),
            ("GET", ["config", "document"]) => match self.config.document() {
                Some(document) => ok(&document),
                None => refused(StatusCode::CONFLICT, &refusal("not_kept", "only its hash is known")),
            },
            ("POST", ["config", verb]) => {
                match (self.refusal_of(path), self.config_verb(verb, &asked.body)) {
                    (Some(refusal), _) => refused(self.refuse_status, &refusal),
                    (None, Ok(answer)) => ok(&answer),
                    (None, Err(refusal)) => refused(StatusCode::CONFLICT, &refusal),
                }
            }
            ("POST", ["commands", _]) if self.raw_commands.is_some() => {
                let answer = self.raw_commands.clone().expect("it was just seen");
                Response::new(Body::from(answer(&asked.body)))
            }
            ("POST", ["commands", verb]) => match (self.refusal_of(path), self.command(verb, &asked.body)) {
                (Some(refusal), _) => refused(self.refuse_status, &refusal),
                (None, answer) => answer,
            },
            ("GET", ["commands", id]) => self.status_of(id),
            _ => refused(StatusCode::NOT_FOUND, &refusal("not_found", "no such call")),
        }
    }

    fn state(&mut self, if_none_match: Option<&str>) -> Response<Body> {
        if self.alive {
            self.report.seq += 1;
            self.report.as_of = Some(Utc::now());
        }
        let config = self.config.state();
        if let Some(reported) = &mut self.report.config {
            reported.running = config.running;
            reported.committed = config.committed;
            reported.trial = config.trial;
            reported.pending_restart = config.pending_restart;
        }
        let mut bytes = serde_json::to_vec(&self.report).unwrap();
        if !self.missing_fields.is_empty() {
            let mut state: Value = serde_json::from_slice(&bytes).unwrap();
            let members = state.as_object_mut().unwrap();
            for field in &self.missing_fields {
                members.remove(*field);
            }
            bytes = serde_json::to_vec(&state).unwrap();
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let unchanged = if_none_match == Some(etag.as_str());
        let mut response = Response::new(if unchanged { Body::empty() } else { Body::from(bytes) });
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response.headers_mut().insert(header::ETAG, etag.parse().unwrap());
        response
    }

    fn trades(&self, query: &str) -> Response<Body> {
        let asked: HashMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let number =
            |name: &str, usual: u64| asked.get(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
        let time = |name: &str| asked.get(name).and_then(|text| text.parse::<DateTime<Utc>>().ok());
        let (after, limit) = (number("after", 0), usize::try_from(number("limit", 100)).unwrap());
        if let Some(raw) = &self.raw_trades {
            return Response::new(Body::from(raw(after, limit)));
        }
        let (from, to) = (time("from"), time("to"));
        let wanted = |trade: &&Trade| {
            trade.seq > after
                && from.is_none_or(|from| trade.closed_at >= from)
                && to.is_none_or(|to| trade.closed_at < to)
        };
        let mut items: Vec<_> = self.trades.iter().filter(wanted).take(limit + 1).cloned().collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|trade| trade.seq);
        ok(&TradePage { items, next })
    }

    /// The refusal of a call on this path; `None` when it is not refused.
    fn refusal_of(&self, path: &str) -> Option<ContractRefusal> {
        self.refuse.clone().filter(|_| path.starts_with(self.refuse_only))
    }

    /// Answers the status of a command; 404 for a bot without that capability.
    fn status_of(&self, id: &str) -> Response<Body> {
        if !self.hello.capabilities.iter().any(|one| one.name == "command-status") {
            return refused(StatusCode::NOT_FOUND, &refusal("not_found", "no such call"));
        }
        let id = id.replace("%2F", "/");
        let known = self.answered.get(&id);
        let standing = match known {
            _ if self.keep_waiting => "pending",
            Some(_) => "answered",
            None => "unknown",
        };
        let result = known.filter(|_| standing == "answered").map(|(_, result)| result);
        ok(&json!({"command_id": id, "standing": standing, "result": result}))
    }

    fn config_verb(&mut self, verb: &str, body: &Value) -> Result<Value, ContractRefusal> {
        if let Some(refusal) = self.refusal_of(&format!("config/{verb}")).filter(|_| !self.act_anyway) {
            return Err(refusal);
        }
        fn read<T: serde::de::DeserializeOwned>(body: &Value) -> Result<T, ContractRefusal> {
            T::deserialize(body.clone()).map_err(|error| refusal("invalid", &error.to_string()))
        }
        let answer = match verb {
            "check" => json!(self.config.check(&read(body)?)),
            "activate" => json!(self.config.activate(&read(body)?)?),
            "commit" => json!(self.config.commit(&read(body)?)?),
            "revert" => json!(self.config.revert(&read(body)?)?),
            _ => return Err(refusal("not_found", "no such verb")),
        };
        Ok(answer)
    }

    fn command(&mut self, verb: &str, body: &Value) -> Response<Body> {
        let Ok(verb) = Verb::from_str(verb) else {
            return refused(StatusCode::NOT_FOUND, &refusal("not_capable", "no such verb"));
        };
        if let Some(refusal) = self.refusal_of(&format!("commands/{verb}")).filter(|_| !self.act_anyway) {
            return refused(self.refuse_status, &refusal);
        }
        let Ok(request) = serde_json::from_value::<CommandRequest>(body.clone()) else {
            return refused(StatusCode::BAD_REQUEST, &refusal("invalid", "not a command"));
        };
        if let Some((of, first)) = self.answered.get(&request.command_id) {
            if *of != verb {
                return refused(StatusCode::CONFLICT, &refusal("command_id_reused", "it was another verb"));
            }
            return ok(&CommandResult { replayed: true, ..first.clone() });
        }
        let orders = u32::try_from(self.report.open_order_count().unwrap_or(0)).unwrap();
        let positions: Vec<_> =
            self.report.position_list().iter().map(|position| position.symbol.clone()).collect();
        let position_count = u32::try_from(positions.len()).unwrap();
        let mut exposure = Exposure {
            positions_left: Some(position_count),
            orders_left: Some(orders),
            ..Exposure::default()
        };
        if matches!(verb, Verb::CancelOrders | Verb::Flatten) {
            (exposure.orders_cancelled, exposure.orders_left) = (Some(orders), Some(0));
        }
        if verb == Verb::Flatten {
            (exposure.orders_submitted, exposure.positions_left) = (Some(position_count), Some(0));
            exposure.positions_closing = Some(positions);
        }
        if !request.dry_run {
            self.carry_out(verb);
        }
        let result = CommandResult {
            command_id: request.command_id,
            outcome: if request.dry_run { CommandOutcome::Predicted } else { CommandOutcome::Done },
            reason_code: None,
            message: format!("{verb}: as you say"),
            phase: Some(self.report.phase),
            phase_raw: None,
            trading_enabled: self.report.trading_enabled,
            exposure: Some(exposure),
            at: Some(Utc::now()),
            replayed: false,
        };
        self.answered.insert(result.command_id.clone(), (verb, result.clone()));
        let mut answer = json!(result);
        for (name, value) in self.twist.as_object().into_iter().flatten() {
            answer[name] = value.clone();
        }
        ok(&answer)
    }

    /// As a bot does whose memory of commands is full of later ones.
    pub(crate) fn forget_commands(&mut self) {
        self.answered.clear();
    }

    fn carry_out(&mut self, verb: Verb) {
        let report = &mut self.report;
        report.seq += 1;
        match verb {
            Verb::Pause => (report.phase, report.trading_enabled) = (BotPhase::Paused, Some(false)),
            Verb::Resume => (report.phase, report.trading_enabled) = (BotPhase::Running, Some(true)),
            Verb::Flatten => {
                report.positions = Some(Vec::new());
                (report.phase, report.trading_enabled) = (BotPhase::Paused, Some(false));
            }
            Verb::CancelOrders => {
                for order in report.orders.iter_mut().flatten().filter(|order| order.may_still_fill()) {
                    order.status = Some(OrderStatus::Cancelled);
                }
            }
            Verb::ResetBreaker => set_breaker(report, BreakerState::Closed),
            Verb::Shutdown => report.phase = BotPhase::Stopping,
            Verb::ProbeSession | Verb::Reauth => {}
            Verb::Halt => {
                set_breaker(report, BreakerState::Open);
                report.trading_enabled = Some(false);
            }
        }
    }
}

fn set_breaker(report: &mut BotReport, state: BreakerState) {
    if let Some(breaker) = &mut report.circuit_breaker {
        breaker.state = state;
    }
}

fn ok<T: Serialize>(value: &T) -> Response<Body> {
    json_response(StatusCode::OK, value)
}

fn refused(status: StatusCode, refusal: &ContractRefusal) -> Response<Body> {
    json_response(status, refusal)
}

fn json_response<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response
}

fn drip() -> Response<Body> {
    let bytes = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, Infallible>(" "), ()))
    });
    Response::new(Body::from_stream(bytes))
}

fn huge() -> String {
    format!("{{\"seq\":1,\"x\":\"{}\"}}", "x".repeat(10 * 1024 * 1024))
}
