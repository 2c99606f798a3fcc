//! A small freqtrade on a real port: its answers to what the adapter asks, and the faults that a real one has at times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// The password of a freqtrade that is played. It is a canary: it must not appear in any log or answer.
pub(crate) const PASSWORD: &str = "freqtrade-canary-word-77";

/// What becomes of a request instead of the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FreqtradeFault {
    /// It takes effect and is never answered.
    HangsAfterwards,
    /// It has no effect and is never answered.
    Hangs,
    /// It takes effect, and the answer is 502.
    WorksWith502,
    /// It has no effect, and the answer is 502.
    FailsWith502,
    /// It has no effect, and the answer is that of success.
    IsPassedOver,
    /// The first request is one too many, the next one works.
    IsOneTooMany,
    /// A proxy answers in the place of freqtrade that it took too long, and it takes no effect yet.
    WaitsBehindProxy,
    /// An older freqtrade has no such path.
    IsMissing,
    /// An exit fills in part and rests.
    FillsInPart,
    /// It takes effect, and a proxy answers in the place of freqtrade that it took too long.
    WorksBehindProxy,
}

/// What the stub holds.
#[derive(Debug)]
pub(crate) struct FreqtradeWorld {
    pub state: String,
    pub trades: Vec<Value>,
    pub locks: Vec<Value>,
    pub password: String,
    /// By method and path, such as `POST pause`; a path may end in `*`.
    pub faults: BTreeMap<String, FreqtradeFault>,
    /// Everything that was asked with another method than GET.
    pub acted: Vec<String>,
    /// Nothing is answered any more.
    pub is_frozen: bool,
    /// Every read is one too many.
    pub reads_are_too_many: bool,
    /// What is open once this request was carried out, such as `DELETE trades/1/open-order`.
    pub open_after: BTreeMap<String, Vec<Value>>,
    /// A pass of the loop that is under way.
    pub pass: Option<PassUnderWay>,
    /// Its log, oldest first. Refused requests are written into it, as a real one does.
    pub logs: Vec<Value>,
    /// How far its clock is ahead of this one; negative for one that is behind.
    pub clock_ahead: TimeDelta,
}

/// A pass of the loop that was begun before a pause and still enters a trade after it.
#[derive(Debug)]
pub(crate) struct PassUnderWay {
    pub entry: Value,
    /// When the pass before it ended.
    pub last_process: DateTime<Utc>,
    /// How often a paused freqtrade was asked for its health meanwhile.
    pub asked: u32,
}

/// The stub; it stops when it is dropped.
pub(crate) struct ScriptedFreqtrade {
    pub url: String,
    world: Arc<Mutex<FreqtradeWorld>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for ScriptedFreqtrade {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedFreqtrade {
    /// A running freqtrade with these open trades.
    pub(crate) async fn start(trades: Vec<Value>) -> Self {
        let world = FreqtradeWorld {
            state: "running".to_owned(),
            trades,
            locks: Vec::new(),
            password: PASSWORD.to_owned(),
            faults: BTreeMap::new(),
            acted: Vec::new(),
            is_frozen: false,
            reads_are_too_many: false,
            open_after: BTreeMap::new(),
            pass: None,
            logs: Vec::new(),
            clock_ahead: TimeDelta::zero(),
        };
        let world = Arc::new(Mutex::new(world));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(world.clone());
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, world, task }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, FreqtradeWorld> {
        self.world.lock().unwrap()
    }

    pub(crate) fn fault(&self, route: &str, fault: FreqtradeFault) {
        self.world().faults.insert(route.to_owned(), fault);
    }

    /// What was asked with another method than GET, in its order.
    pub(crate) fn acted(&self) -> Vec<String> {
        self.world().acted.clone()
    }
}

/// The line that freqtrade logs when it refuses a request, whoever sent it.
pub(crate) fn api_error_line(at: DateTime<Utc>) -> Value {
    let (text, millis) = (at.format("%F %T").to_string(), at.timestamp_millis());
    json!([text, millis, "freqtrade.rpc.api_server.webserver", "ERROR", "API Error calling: no active trade"])
}

/// A filled long trade of `amount` units.
pub(crate) fn open_trade(id: i64, pair: &str, amount: f64) -> Value {
    let order = json!({"order_id": format!("entry-{id}"), "status": "closed", "amount": amount, "filled": amount,
        "remaining": 0.0, "ft_order_side": "buy", "order_type": "market", "is_open": false, "safe_price": 100.0,
        "order_timestamp": 1_795_926_000_000_i64 + id, "order_filled_timestamp": 1_795_926_000_000_i64 + id});
    json!({"trade_id": id, "pair": pair, "is_open": true, "is_short": false, "amount": amount, "stake_amount": amount * 100.0,
        "open_rate": 100.0, "current_rate": 110.0, "open_timestamp": 1_795_926_000_000_i64 + id, "stop_loss_abs": 90.0,
        "leverage": 1.0, "realized_profit": 0.0, "has_open_orders": false, "orders": [order]})
}

/// A trade whose first entry rests.
pub(crate) fn resting_trade(id: i64, pair: &str, amount: f64) -> Value {
    let mut trade = open_trade(id, pair, amount);
    trade["amount"] = json!(0.0);
    trade["orders"][0]["status"] = json!("open");
    trade["orders"][0]["is_open"] = json!(true);
    trade["orders"][0]["filled"] = json!(0.0);
    trade["orders"][0]["order_type"] = json!("limit");
    trade
}

/// Adds an order that rests to a trade: `buy` or `sell`.
pub(crate) fn with_resting(mut trade: Value, side: &str) -> Value {
    let order = json!({"order_id": format!("resting-{side}-{}", trade["trade_id"]), "status": "open", "amount": 1.0,
        "filled": 0.0, "ft_order_side": side, "order_type": "limit", "is_open": true, "safe_price": 120.0,
        "order_timestamp": 1_795_926_100_000_i64});
    trade["orders"].as_array_mut().unwrap().push(order);
    trade
}

async fn answer(
    State(world): State<Arc<Mutex<FreqtradeWorld>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().strip_prefix("/api/v1/").unwrap_or_default().to_owned();
    let route = format!("{method} {path}");
    let (reply, hangs) = {
        let mut world = world.lock().unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (mut reply, hangs) = world.reply(&route, &path, &headers, &body);
        let date = (Utc::now() + world.clock_ahead).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        reply.headers_mut().insert(header::DATE, date.parse().unwrap());
        (reply, hangs)
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    reply
}

impl FreqtradeWorld {
    fn reply(&mut self, route: &str, path: &str, headers: &HeaderMap, body: &Value) -> (Response, bool) {
        if self.is_frozen {
            return (StatusCode::OK.into_response(), true);
        }
        if path == "ping" {
            return (json_reply(200, &json!({"status": "pong"})), false);
        }
        if !self.accepts(headers) {
            return (json_reply(401, &json!({"detail": "Unauthorized"})), false);
        }
        if route.starts_with("GET ") {
            if self.reads_are_too_many {
                return (json_reply(429, &json!({"detail": "Too many requests"})), false);
            }
            let found = self.read(path);
            let status = if found.is_null() { 404 } else { 200 };
            return (json_reply(status, &found), false);
        }
        if path == "token/login" {
            return (
                json_reply(200, &json!({"access_token": "canary-token", "refresh_token": "canary-token"})),
                false,
            );
        }
        self.acted.push(route.to_owned());
        use FreqtradeFault::{
            FailsWith502, FillsInPart, Hangs, HangsAfterwards, IsMissing, IsOneTooMany, IsPassedOver,
            WaitsBehindProxy, WorksBehindProxy, WorksWith502,
        };
        let fault = self.faults.iter().find(|(of, _)| {
            of.strip_suffix('*').map_or(of.as_str() == route, |prefix| route.starts_with(prefix))
        });
        let fault = fault.map(|(_, fault)| *fault);
        let refused = json!({"error": format!("Error querying /api/v1/{path}: no active trade")});
        match fault {
            Some(IsOneTooMany) => {
                self.faults.remove(route);
                (json_reply(429, &json!({"detail": "Too many requests"})), false)
            }
            Some(Hangs) => (StatusCode::OK.into_response(), true),
            Some(IsMissing) => (json_reply(404, &json!({"detail": "Not Found"})), false),
            Some(FailsWith502) => (self.refuse(&refused), false),
            Some(IsPassedOver) => (json_reply(200, &json!({"result": "Created exit order."})), false),
            Some(HangsAfterwards) => {
                self.act(route, body, false);
                (StatusCode::OK.into_response(), true)
            }
            Some(WaitsBehindProxy) => (proxy_reply(), false),
            Some(WorksBehindProxy) => {
                self.act(route, body, false);
                (proxy_reply(), false)
            }
            Some(WorksWith502) => {
                self.act(route, body, false);
                (self.refuse(&refused), false)
            }
            None | Some(FillsInPart) => match self.act(route, body, fault == Some(FillsInPart)) {
                Some(answer) => (json_reply(200, &answer), false),
                None => (self.refuse(&refused), false),
            },
        }
    }

    fn refuse(&mut self, answer: &Value) -> Response {
        let at = Utc::now() + self.clock_ahead;
        self.logs.push(api_error_line(at));
        json_reply(502, answer)
    }

    fn accepts(&self, headers: &HeaderMap) -> bool {
        let word = data_encoding::BASE64.encode(format!("operator:{}", self.password).as_bytes());
        headers
            .get(header::AUTHORIZATION)
            .is_some_and(|given| given.as_bytes() == format!("Basic {word}").as_bytes())
    }

    fn read(&mut self, path: &str) -> Value {
        let now = if path == "health" { self.last_process() } else { Utc::now() } + self.clock_ahead;
        match path {
            "show_config" => {
                json!({"version": "2026.9", "dry_run": true, "trading_mode": "spot", "short_allowed": false,
                "stake_currency": "USDT", "stake_amount": "50", "max_open_trades": 3.0, "exchange": "binance",
                "strategy": "Scripted", "bot_name": "lab", "state": self.state, "runmode": "dry_run", "timeframe": "5m"})
            }
            "health" => json!({"last_process": now.to_rfc3339(), "last_process_ts": now.timestamp(),
                "bot_start_ts": 1_795_926_000, "bot_startup_ts": 1_795_926_000, "bot_startup": "2026-11-29T04:20:00Z"}),
            "status" => Value::Array(self.trades.clone()),
            "whitelist" => {
                json!({"whitelist": ["BTC/USDT", "ETH/USDT", "SOL/USDT"], "length": 3, "method": ["StaticPairList"]})
            }
            "locks" => json!({"lock_count": self.locks.len(), "locks": self.locks}),
            "balance" => {
                json!({"currencies": [{"currency": "USDT", "free": 900.0, "used": 0.0, "balance": 900.0,
                "is_position": false}], "total": 1000.0, "total_bot": 1000.0, "stake": "USDT"})
            }
            "profit" => json!({"profit_closed_coin": 0.0, "profit_all_coin": 0.0}),
            "trades" => json!({"trades": [], "trades_count": 0, "offset": 0, "total_trades": 0}),
            "logs" => json!({"log_count": self.logs.len(), "logs": self.logs}),
            "daily" => json!({"data": [], "stake_currency": "USDT"}),
            _ => Value::Null,
        }
    }

    /// When the loop last went round. The pass under way ends, with its entry, when a paused freqtrade is asked again.
    fn last_process(&mut self) -> DateTime<Utc> {
        let Some(pass) = self.pass.as_mut() else { return Utc::now() };
        let last = pass.last_process;
        if self.state == "paused" {
            pass.asked += 1;
        }
        if pass.asked >= 3 {
            self.trades.extend(self.pass.take().map(|pass| pass.entry));
        }
        last
    }

    /// Does what was asked; the answer, or nothing where freqtrade says no.
    fn act(&mut self, route: &str, body: &Value, in_part: bool) -> Option<Value> {
        let answer = self.act_now(route, body, in_part);
        if let Some(trades) = self.open_after.remove(route) {
            self.trades = trades;
        }
        answer
    }

    fn act_now(&mut self, route: &str, body: &Value, in_part: bool) -> Option<Value> {
        let is_stopped = self.state == "stopped";
        match route {
            // As freqtrade does: it also starts a stopped one, and says the same while it reloads.
            "POST pause" => {
                if self.state != "reload_config" {
                    self.state = "paused".to_owned();
                }
                Some(json!({"status": "paused, no more entries will occur from now."}))
            }
            "POST start" => {
                self.state = "running".to_owned();
                Some(json!({"status": "starting trader ..."}))
            }
            "POST locks" => {
                for lock in body.as_array()? {
                    let until: DateTime<Utc> = lock["until"].as_str()?.parse().ok()?;
                    // freqtrade rounds up to the end of its candle.
                    let until = until + TimeDelta::minutes(5);
                    let id = self.locks.len() + 1;
                    self.locks
                        .push(json!({"id": id, "active": true, "pair": lock["pair"], "side": lock["side"],
                        "reason": lock["reason"], "lock_end_timestamp": until.timestamp_millis()}));
                }
                Some(json!({"lock_count": self.locks.len(), "locks": self.locks}))
            }
            "POST forceexit" if !is_stopped => {
                let id: i64 = body["tradeid"].as_str()?.parse().ok()?;
                let at = self.trades.iter().position(|trade| trade["trade_id"] == id)?;
                if in_part {
                    let trade = with_resting(self.trades[at].clone(), "sell");
                    self.trades[at] = trade;
                } else {
                    self.trades.remove(at);
                }
                Some(json!({"result": format!("Created exit order for trade {id}.")}))
            }
            _ => self.act_by_id(route, is_stopped),
        }
    }

    fn act_by_id(&mut self, route: &str, is_stopped: bool) -> Option<Value> {
        if let Some(id) = route.strip_prefix("DELETE locks/") {
            let id: u64 = id.parse().ok()?;
            self.locks.retain(|lock| lock["id"] != id);
            return Some(json!({"lock_count": self.locks.len(), "locks": self.locks}));
        }
        let id: i64 = route.strip_prefix("DELETE trades/")?.strip_suffix("/open-order")?.parse().ok()?;
        let at = self.trades.iter().position(|trade| trade["trade_id"] == id && !is_stopped)?;
        let orders = self.trades[at]["orders"].as_array_mut()?;
        let is_unfilled = orders.iter().all(|order| order["filled"] == 0.0);
        if is_unfilled {
            // The trade is gone with its only order, and freqtrade does not find it for its answer.
            self.trades.remove(at);
            return None;
        }
        for order in orders.iter_mut().filter(|order| order["is_open"] == true) {
            order["is_open"] = json!(false);
            order["status"] = json!("canceled");
        }
        Some(self.trades[at].clone())
    }
}

fn proxy_reply() -> Response {
    (StatusCode::GATEWAY_TIMEOUT, "<html>Gateway Time-out</html>").into_response()
}

fn json_reply(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
