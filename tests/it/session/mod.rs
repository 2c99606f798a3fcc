//! The broker session against a stub broker on a real socket: every known behaviour of brokers and the right reaction.

mod answers;
pub(crate) mod bot;
mod edge_cases;
mod forecast;
mod sign_in;
mod verdict;
mod waits;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use botops_contract::{BreakerState, GateReason, SessionPhase, TradingMode};
use botops_core::tasks::Tasks;
use botops_paperbot::broker::{
    AlpacaBroker, AlpacaKeySource, AlpacaSettings, BrokerAdapter, FaultScript, HttpSettings, PaperBroker,
    PaperSettings, PasswordGrant, RobinhoodBroker, RobinhoodSettings, TokenPair, TokenStore,
};
use botops_paperbot::clock::Clock;
use botops_paperbot::session::{
    GateDecision, GateQuestion, SessionLimits, SessionMonitor, SessionNote, SessionSettings,
};
use chrono::{TimeDelta, Utc};
use tempfile::TempDir;

use crate::kit::broker_stub::{Act, BrokerStub};
use crate::kit::folder;

const ACCOUNTS: &str = "GET /accounts/";
const TOKEN: &str = "POST /oauth2/token/";
const ALPACA: &str = "GET /v2/account";

/// Texts that may appear on the wire and in the token file, and nowhere else.
const CANARIES: &[&str] = &[
    "canary-access",
    "canary-refresh",
    "canary-device",
    "canary-password",
    "canary-secret",
    "canary-key",
    "canary-code",
    "canary-server-text",
    "canary-account",
];

fn profile() -> Act {
    Act::ok(
        r#"{"results":[{"account_number":"canary-account-5678","buying_power":"100.0000","cash":"90.0000",
        "locked":false,"url":"/accounts/x/"}],"next":null,"previous":null}"#,
    )
}

fn alpaca_account() -> Act {
    Act::ok(
        r#"{"id":"e6fe16f3-64a4-4921-8928-cadf02f92f98","account_number":"canary-account-1234","status":"ACTIVE",
        "cash":"1000.55","equity":"2000.10","buying_power":"4000"}"#,
    )
}

fn token(n: u32) -> Act {
    Act::ok(format!(
        r#"{{"access_token":"canary-access-{n}","refresh_token":"canary-refresh-{n}","expires_in":86400,
        "token_type":"Bearer","scope":"internal"}}"#
    ))
}

fn refused(status: u16, body: &str) -> Act {
    Act::json(status, body)
}

fn unauthorized() -> Act {
    refused(401, r#"{"detail":"Incorrect authentication credentials. canary-server-text"}"#)
}

fn unavailable() -> Act {
    refused(503, "<html>canary-server-text</html>").header("content-type", "text/html")
}

/// A deadline far longer than any answer of the stub takes, so that it ends only calls that hang.
const PATIENT: Duration = Duration::from_secs(20);

/// The usual limits with short waits. Deadlines stay long; a test of a deadline sets its own.
fn short_limits() -> SessionLimits {
    let mut limits = SessionLimits::new(false);
    let ms = Duration::from_millis;
    limits.attempt_timeout = PATIENT;
    limits.check_timeout = PATIENT * 3;
    limits.retry_waits = vec![ms(50), ms(100), ms(200)];
    limits.confirm_interval = ms(150);
    limits.pre_trade_check = PATIENT;
    limits.sign_in_timeout = PATIENT;
    limits.sign_in_waits = vec![Duration::ZERO, ms(100), ms(200)];
    limits.breaker.first_wait = ms(400);
    limits.breaker.longest_wait = ms(800);
    limits.breaker.permit_lifetime = PATIENT * 3;
    limits.breaker.success_gap = ms(100);
    limits.challenge_deadline = PATIENT * 3;
    limits.challenge_poll_interval = ms(40);
    limits
}

/// A session with a stub broker; one folder has everything that it writes.
struct Rig {
    folder: TempDir,
    stub: BrokerStub,
    monitor: SessionMonitor,
    tasks: Tasks,
    clock: Clock,
    limits: SessionLimits,
    notes: Arc<Mutex<Vec<SessionNote>>>,
}

fn robinhood_settings(folder: &Path, url: &str) -> RobinhoodSettings {
    let mut http = HttpSettings::new(url);
    http.total = PATIENT;
    RobinhoodSettings {
        http,
        account_number: None,
        store: TokenStore::new(folder.join("tokens.json")),
        password: None,
        device_token: None,
    }
}

fn password_grant() -> PasswordGrant {
    PasswordGrant {
        username: "marcus@example.org".to_owned().into(),
        password: "canary-password".to_owned().into(),
        mfa_secret: None,
    }
}

fn pair(n: u32, lifetime: Option<TimeDelta>) -> TokenPair {
    let issued_at = Utc::now();
    TokenPair {
        access: format!("canary-access-{n}").into(),
        refresh: Some(format!("canary-refresh-{n}").into()),
        issued_at,
        expires_at: lifetime.map(|lifetime| issued_at + lifetime),
        device: "canary-device".to_owned().into(),
    }
}

fn store_pair(folder: &Path, n: u32) {
    TokenStore::new(folder.join("tokens.json")).save(&pair(n, Some(TimeDelta::days(1)))).unwrap();
}

/// Stores a token pair of which an hour of its day is left, so it is due for renewal.
fn store_pair_near_its_end(folder: &Path) {
    let mut old = pair(1, Some(TimeDelta::hours(1)));
    old.issued_at -= TimeDelta::hours(23);
    TokenStore::new(folder.join("tokens.json")).save(&old).unwrap();
}

fn alpaca_settings(url: &str, mode: TradingMode) -> AlpacaSettings {
    let mut http = HttpSettings::new(url);
    http.total = PATIENT;
    let keys = AlpacaKeySource::Given {
        id: "canary-key".to_owned().into(),
        secret: "canary-secret".to_owned().into(),
    };
    AlpacaSettings { http, keys, mode }
}

impl Rig {
    /// Starts a Robinhood session with a stored token pair.
    async fn robinhood(limits: SessionLimits, prepare: impl FnOnce(&BrokerStub)) -> Self {
        let folder = folder();
        store_pair(folder.path(), 1);
        Self::with(folder, limits, prepare, |folder, url| {
            let broker = RobinhoodBroker::new(&robinhood_settings(folder, url)).unwrap();
            Box::new(broker)
        })
        .await
    }

    /// The same with the password grant switched on.
    async fn with_password(limits: SessionLimits, prepare: impl FnOnce(&BrokerStub)) -> Self {
        let folder = folder();
        Self::with(folder, limits, prepare, |folder, url| {
            let mut settings = robinhood_settings(folder, url);
            settings.password = Some(password_grant());
            settings.device_token = Some("canary-device".to_owned().into());
            Box::new(RobinhoodBroker::new(&settings).unwrap())
        })
        .await
    }

    async fn alpaca(limits: SessionLimits, prepare: impl FnOnce(&BrokerStub)) -> Self {
        let folder = folder();
        Self::with(folder, limits, prepare, |_, url| {
            Box::new(AlpacaBroker::new(&alpaca_settings(url, TradingMode::Paper)).unwrap())
        })
        .await
    }

    async fn paper(limits: SessionLimits, script: &str) -> Self {
        let folder = folder();
        let script = FaultScript::parse(script).unwrap();
        let settings =
            PaperSettings { script, latency: Duration::from_millis(1), ..PaperSettings::default() };
        Self::with(folder, limits, |_| {}, |_, _| Box::new(PaperBroker::new(&settings, Clock::system())))
            .await
    }

    async fn with(
        folder: TempDir,
        limits: SessionLimits,
        prepare: impl FnOnce(&BrokerStub),
        broker: impl FnOnce(&Path, &str) -> Box<dyn BrokerAdapter>,
    ) -> Self {
        let stub = BrokerStub::start().await;
        prepare(&stub);
        let broker = broker(folder.path(), &stub.url());
        let clock = Clock::simulated(Utc::now());
        Self::run(folder, stub, broker, limits, clock)
    }

    fn run(
        folder: TempDir,
        stub: BrokerStub,
        broker: Box<dyn BrokerAdapter>,
        limits: SessionLimits,
        clock: Clock,
    ) -> Self {
        Self::run_in(false, folder, stub, broker, limits, clock)
    }

    /// Starts a session on this folder and stub; `market_hours_only` as given.
    fn run_in(
        market_hours_only: bool,
        folder: TempDir,
        stub: BrokerStub,
        broker: Box<dyn BrokerAdapter>,
        limits: SessionLimits,
        clock: Clock,
    ) -> Self {
        let logs = folder.path().join("logs");
        let mut settings = SessionSettings::new(folder.path(), &logs, false);
        settings.limits = limits.clone();
        settings.market_hours_only = market_hours_only;
        let notes = Arc::new(Mutex::new(Vec::new()));
        let sink_notes = notes.clone();
        let sink = Arc::new(move |note| sink_notes.lock().unwrap().push(note));
        let tasks = Tasks::new();
        let monitor = SessionMonitor::start(broker, settings, clock.clone(), &tasks, sink);
        Self { folder, stub, monitor, tasks, clock, limits, notes }
    }

    /// Ends the session as a crash would, and starts another on the same folder and stub.
    async fn restart(self, broker: impl FnOnce(&Path, &str) -> Box<dyn BrokerAdapter>) -> Self {
        let Self { folder, stub, monitor, tasks, clock, limits, .. } = self;
        assert!(tasks.finish(PATIENT).await);
        drop(monitor);
        let broker = broker(folder.path(), &stub.url());
        Self::run(folder, stub, broker, limits, clock)
    }

    async fn phase(&self, phase: SessionPhase) {
        until(
            &format!("{phase:?}"),
            || self.monitor.facts().state == phase,
            || format!("{:?}\n{}", self.monitor.facts(), self.log()),
        )
        .await;
    }

    async fn healthy(&self) {
        self.phase(SessionPhase::Healthy).await;
    }

    /// The gate's decision on a purchase, once no check is wanted any more.
    async fn buy(&self) -> GateDecision {
        self.ask_until_checked(false).await
    }

    /// The gate's decision on a sale that makes a position smaller.
    async fn sell(&self) -> GateDecision {
        self.ask_until_checked(true).await
    }

    async fn ask_until_checked(&self, reducing: bool) -> GateDecision {
        let started = Instant::now();
        loop {
            let decision = self.monitor.ask_gate(GateQuestion { reducing, symbol: "SPY" });
            let wants_check =
                matches!(decision.reason, GateReason::EvidenceStale | GateReason::SessionStarting);
            if !wants_check || started.elapsed() > PATIENT {
                return decision;
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    #[track_caller]
    fn gate_is(&self, reason: GateReason) {
        let decision = self.monitor.ask_gate(GateQuestion { reducing: false, symbol: "SPY" });
        assert_eq!(decision.reason, reason, "{:?}", self.monitor.facts());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("logs/health_check.log")).unwrap_or_default()
    }

    /// The lines of one event in the health log, parsed.
    fn events(&self, event: &str) -> Vec<serde_json::Value> {
        let start = format!("{{\"event\":\"{event}\"");
        let log = self.log();
        let lines = log.lines().filter(|line| line.starts_with(&start));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn breaker_is(&self, state: BreakerState) {
        assert_eq!(self.monitor.breaker().state, state, "{:?}", self.monitor.breaker());
    }

    fn code(&self) -> String {
        self.monitor.facts().error_code.unwrap_or_default()
    }

    /// Stops the session and asserts that nothing that it wrote or reported has a secret in it.
    async fn finish(self) {
        assert!(self.tasks.finish(PATIENT).await, "the keeper did not stop");
        assert_eq!(self.stub.sent("POST /oauth2/revoke_token/").len(), 0, "a stop signs nobody out");
        let mut said =
            format!("{:?}\n{:?}\n{:?}\n", self.monitor, self.monitor.facts(), self.monitor.breaker());
        for note in self.notes.lock().unwrap().iter() {
            said.push_str(&format!("{note:?}\n"));
        }
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("tokens.json") && !path.ends_with("keys.env") {
                    said.push_str(&std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        for canary in CANARIES {
            let place = said
                .find(canary)
                .map(|at| said.get(..at).and_then(|text| text.lines().last()).unwrap_or_default().to_owned());
            assert!(place.is_none(), "{canary} after {place:?}");
        }
        assert!(!said.contains("example.org"), "a user name");
    }
}

/// Waits for a condition, at most half a minute.
async fn until(what: &str, mut holds: impl FnMut() -> bool, state: impl Fn() -> String) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "never came: {what}\n{}", state());
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}
