//! Words and what they mean: the only place that knows spelling.
//!
//! A text becomes [`Word`]s, each with the concepts it may stand for. Several spellings and phrases stand for one
//! concept; endings and small slips are forgiven, the more the longer the word. Deliberately absent: sentences. What
//! a combination of concepts asks for is decided in `intents.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

/// What a word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Concept {
    // What is to be done.
    Show,
    Why,
    Explain,
    Change,
    Undo,
    Validate,
    Compare,
    Run,
    Cancel,
    Stop,
    Pause,
    Resume,
    Restart,
    Flatten,
    Close,
    SignIn,
    Probe,
    Reset,
    Silence,
    Acknowledge,
    Confirm,
    Export,
    Shutdown,
    // What it is about.
    Summary,
    Doing,
    Okay,
    Alive,
    Health,
    Component,
    Bot,
    Position,
    Order,
    Account,
    Performance,
    Trade,
    Entry,
    Fill,
    Error,
    Codes,
    Config,
    Version,
    History,
    Audit,
    Schema,
    Trial,
    Workflow,
    Execution,
    Progress,
    Metric,
    Event,
    Alert,
    Session,
    Breaker,
    Market,
    Mode,
    Help,
    Permission,
    Logs,
    Recovery,
    Target,
    Program,
    // How it is said.
    Not,
    All,
    Last,
    Now,
    Past,
    Who,
    Best,
    Worst,
    PerSymbol,
    New,
    Active,
    /// Words without weight: articles, pronouns, politeness.
    Filler,
}

use Concept as C;

/// Every concept with its weight and its spellings. A weight says how much is lost when a word is ignored; phrases
/// are matched before single words, and a spelling may stand for several concepts.
const TABLE: &[(Concept, f64, &[&str])] = &[
    (
        C::Show,
        0.1,
        &[
            "show",
            "list",
            "get",
            "give",
            "display",
            "tell",
            "see",
            "view",
            "print",
            "fetch",
            "read",
            "look at",
            "look",
            "pull up",
            "bring up",
            "check",
            "what",
            "which",
            "how many",
            "how much",
            "report",
            "find",
            "let me see",
            "are there",
            "do we have",
            "is there",
            "current",
            "currently",
            "know",
            "details",
            "detail",
            "info",
            "information",
            "about",
            "hear",
            "inspect",
            "dump",
            "query",
            "return",
            "output",
            "need",
            "want",
            "available",
            "exist",
        ],
    ),
    (
        C::Why,
        0.5,
        &[
            "why",
            "how come",
            "reason",
            "cause",
            "because",
            "what for",
            "keeping",
            "keeps",
            "prevent",
            "preventing",
            "block",
            "blocking",
            "hold back",
            "holding back",
            "in the way",
            "what is stopping",
            "what stops",
        ],
    ),
    (
        C::Explain,
        0.5,
        &[
            "explain",
            "mean",
            "meaning",
            "describe",
            "description",
            "define",
            "definition",
            "stand for",
            "fix",
            "solve",
            "resolve",
            "remedy",
            "remediation",
            "do about",
            "understand",
            "decode",
            "what is",
        ],
    ),
    (
        C::Change,
        0.7,
        &[
            "set",
            "change",
            "update",
            "modify",
            "raise",
            "lower",
            "increase",
            "decrease",
            "reduce",
            "adjust",
            "edit",
            "make",
            "bump",
            "tune",
            "put",
            "alter",
            "turn",
            "switch",
            "apply",
            "configure",
            "cut",
            "double",
            "halve",
            "drop",
            "enable",
            "disable",
        ],
    ),
    (
        C::Undo,
        0.9,
        &[
            "undo",
            "revert",
            "roll back",
            "rollback",
            "restore",
            "back out",
            "go back",
            "take back",
            "backtrack",
            "reverse",
            "put back",
            "return to",
            "switch back",
            "change back",
            "previous config",
            "unroll",
            "step back",
            "reinstate",
            "rolled back",
        ],
    ),
    (
        C::Validate,
        0.8,
        &[
            "validate",
            "valid",
            "validity",
            "validation",
            "legal",
            "sane",
            "would it be accepted",
            "accepted",
            "acceptable",
            "check whether",
            "lint",
            "could i set",
            "can i set",
            "would it work",
        ],
    ),
    (
        C::Compare,
        0.8,
        &[
            "diff",
            "compare",
            "difference",
            "differ",
            "differences",
            "between",
            "versus",
            "vs",
            "what changed",
            "changed",
        ],
    ),
    (
        C::Run,
        0.7,
        &[
            "run",
            "start",
            "execute",
            "launch",
            "trigger",
            "kick off",
            "perform",
            "begin",
            "fire off",
            "invoke",
            "do a",
            "carry out",
            "initiate",
        ],
    ),
    (
        C::Cancel,
        0.8,
        &[
            "cancel",
            "abort",
            "call off",
            "kill",
            "withdraw order",
            "pull",
            "remove",
            "scrap",
            "drop order",
            "cancellation",
        ],
    ),
    (C::Stop, 0.7, &["stop", "halt", "quit", "cease", "end", "stopped", "standstill", "freeze trading"]),
    (
        C::Pause,
        0.9,
        &[
            "pause",
            "suspend",
            "freeze",
            "hold off",
            "hold trading",
            "put on hold",
            "on hold",
            "pausing",
            "paused",
            "no new positions",
            "no new trades",
            "no new entries",
            "stop opening",
            "stop trading",
            "stop buying",
            "stop entering",
            "halt trading",
            "halt entries",
            "stop new",
            "cease trading",
            "take a break",
            "stand down",
            "stop entries",
        ],
    ),
    (
        C::Resume,
        0.9,
        &[
            "resume",
            "unpause",
            "continue",
            "unfreeze",
            "start trading",
            "trade again",
            "let it trade",
            "go on trading",
            "un-pause",
            "restart trading",
            "carry on",
            "back to trading",
            "reenable trading",
            "allow trading",
            "enable trading",
            "start trading again",
            "get back to trading",
            "let the bot trade",
            "allow new positions",
            "allow entries",
        ],
    ),
    (
        C::Restart,
        0.9,
        &[
            "restart",
            "reboot",
            "bounce",
            "relaunch",
            "cycle",
            "respawn",
            "power cycle",
            "turn off and on",
            "start again",
            "start over",
            "restart-bot",
        ],
    ),
    (
        C::Flatten,
        0.9,
        &[
            "flatten",
            "liquidate",
            "close everything",
            "exit everything",
            "close all positions",
            "exit all positions",
            "get flat",
            "go flat",
            "close out",
            "panic",
            "emergency exit",
            "close every position",
            "get out of everything",
            "exit all",
            "unwind",
            "kill switch",
        ],
    ),
    (C::Close, 0.7, &["close", "exit", "leave"]),
    (
        C::SignIn,
        0.9,
        &[
            "sign in",
            "log in",
            "login",
            "reauth",
            "reauthenticate",
            "re-authenticate",
            "relogin",
            "re-login",
            "authenticate",
            "log back in",
            "renew the session",
            "renew session",
            "refresh the session",
            "refresh session",
            "refresh token",
            "reconnect",
            "sign back in",
            "new session",
        ],
    ),
    (
        C::Probe,
        0.7,
        &["probe", "ping", "test", "verify", "verified", "probe-session", "double check", "integrity"],
    ),
    (C::Reset, 0.8, &["reset", "clear", "rearm", "re-arm", "unlatch", "untrip", "re-enable", "release"]),
    (
        C::Silence,
        0.9,
        &[
            "silence",
            "mute",
            "snooze",
            "quiet",
            "shut up",
            "hush",
            "suppress",
            "do not page",
            "stop paging",
            "stop alerting",
            "no alerts",
            "maintenance window",
        ],
    ),
    (C::Acknowledge, 0.9, &["acknowledge", "ack", "acked", "seen it", "i am on it", "acknowledgement"]),
    (C::Confirm, 0.8, &["confirm", "keep", "accept", "approve", "commit"]),
    (
        C::Export,
        0.8,
        &["export", "download", "bundle", "archive", "collect", "pack", "zip", "package", "save"],
    ),
    (
        C::Shutdown,
        0.9,
        &[
            "shut down",
            "shutdown",
            "power off",
            "turn off",
            "terminate",
            "switch off",
            "stop the process",
            "kill the process",
            "end the process",
            "kill the bot",
            "shut it down",
            "shut the bot down",
            "turn the bot off",
            "stop the bot process",
        ],
    ),
    (
        C::Summary,
        0.9,
        &[
            "summary",
            "overview",
            "status",
            "situation",
            "sitrep",
            "digest",
            "recap",
            "big picture",
            "briefing",
            "brief",
            "rundown",
            "snapshot",
            "state of the bot",
            "tl;dr",
            "tldr",
            "at a glance",
            "update me",
            "catch me up",
            "state of play",
            "state of things",
            "fill me in",
            "summarise",
            "summarize",
            "standing",
            "where do we stand",
            "how do we stand",
            "condition",
            "state",
        ],
    ),
    (
        C::Doing,
        0.7,
        &[
            "doing",
            "going",
            "how are things",
            "what is up",
            "whats up",
            "what is going on",
            "fare",
            "faring",
            "getting on",
            "getting along",
            "looking",
            "how is it",
            "how are we",
            "how did we do",
            "how did it go",
            "how does it look",
            "hanging",
            "holding up",
            "how do things look",
            "how did the bot do",
            "did we do",
            "did it do",
            "did the bot do",
        ],
    ),
    (
        C::Okay,
        0.5,
        &[
            "ok",
            "okay",
            "fine",
            "alright",
            "all right",
            "good",
            "well",
            "in order",
            "everything",
            "normal",
            "all good",
            "smoothly",
            "green",
        ],
    ),
    (
        C::Alive,
        0.6,
        &[
            "alive",
            "running",
            "up",
            "online",
            "offline",
            "down",
            "dead",
            "crashed",
            "hung",
            "responding",
            "reachable",
            "unresponsive",
            "presence",
            "stale",
            "frozen",
            "hanging up",
            "working",
            "connected",
            "disconnected",
            "uptime",
        ],
    ),
    (
        C::Health,
        0.9,
        &[
            "health",
            "healthy",
            "unhealthy",
            "sick",
            "ill",
            "degraded",
            "diagnostics",
            "diagnosis",
            "checkup",
            "check up",
            "vitals",
            "health check",
            "health checks",
            "system health",
            "wellbeing",
            "healthcheck",
            "check-health",
        ],
    ),
    (
        C::Component,
        0.7,
        &[
            "component",
            "components",
            "checker",
            "checkers",
            "checks",
            "subsystem",
            "subsystems",
            "part",
            "parts",
            "dependency",
            "dependencies",
            "service",
            "services",
        ],
    ),
    (
        C::Bot,
        0.1,
        &[
            "bot",
            "paperbot",
            "it",
            "we",
            "us",
            "our",
            "trader",
            "algo",
            "robot",
            "strategy",
            "engine",
            "things",
            "trading bot",
            "system",
            "process",
            "machine",
        ],
    ),
    (
        C::Position,
        0.9,
        &[
            "position",
            "positions",
            "holding",
            "holdings",
            "hold",
            "own",
            "portfolio",
            "exposure",
            "exposed",
            "stocks",
            "shares",
            "stock",
            "inventory",
            "invested",
            "long in",
            "open trades",
            "in the book",
            "unrealized",
            "open position",
        ],
    ),
    (
        C::Order,
        0.9,
        &[
            "order",
            "orders",
            "resting orders",
            "working orders",
            "open orders",
            "pending orders",
            "limit orders",
            "order book",
            "unfilled",
        ],
    ),
    (
        C::Account,
        0.9,
        &[
            "account",
            "balance",
            "equity",
            "cash",
            "buying power",
            "money",
            "funds",
            "net worth",
            "capital",
            "margin",
            "purchasing power",
            "wallet",
            "liquidity",
            "account value",
            "day trade count",
            "day trades",
            "dollars",
        ],
    ),
    (
        C::Performance,
        0.9,
        &[
            "performance",
            "perform",
            "performing",
            "performed",
            "profit",
            "profits",
            "profitable",
            "loss",
            "losses",
            "lose",
            "lost",
            "losing",
            "pnl",
            "p&l",
            "p/l",
            "profit and loss",
            "earn",
            "earned",
            "earnings",
            "made",
            "make money",
            "making money",
            "win rate",
            "winrate",
            "winning",
            "hit rate",
            "result",
            "results",
            "return",
            "returns",
            "drawdown",
            "streak",
            "gain",
            "gains",
            "expectancy",
            "profit factor",
            "win",
            "wins",
            "winners",
            "losers",
            "track record",
            "stats",
            "statistics",
            "scorecard",
            "risk reward",
            "in the red",
            "in the black",
            "realized",
            "did we make",
            "did it make",
            "did the bot make",
            "did i make",
            "we made",
            "have we made",
            "money did we make",
            "money have we made",
            "money did we lose",
            "money have we lost",
        ],
    ),
    (
        C::Trade,
        0.7,
        &[
            "trade",
            "trades",
            "trading",
            "traded",
            "buying",
            "selling",
            "bought",
            "sold",
            "deals",
            "deal",
            "take trades",
            "buy",
            "sell",
        ],
    ),
    (
        C::Entry,
        0.7,
        &[
            "entry",
            "entries",
            "enter",
            "entering",
            "open positions",
            "opening positions",
            "open any positions",
            "opening any positions",
            "new positions",
            "new position",
            "open a position",
            "open anything",
            "opening anything",
            "buying anything",
            "getting in",
            "signal",
            "signals",
            "take positions",
            "taking positions",
            "idle",
            "sitting out",
            "doing nothing",
            "inactive",
            "active trading",
        ],
    ),
    (C::Fill, 0.8, &["fill", "fills", "filled", "executions", "transactions"]),
    (
        C::Error,
        0.9,
        &[
            "error",
            "errors",
            "failure",
            "failures",
            "failed",
            "fail",
            "failing",
            "fault",
            "faults",
            "problem",
            "problems",
            "exception",
            "exceptions",
            "wrong",
            "broken",
            "broke",
            "issue",
            "issues",
            "trouble",
            "incident",
            "incidents",
            "bug",
            "bugs",
            "went wrong",
            "mistake",
            "mistakes",
            "complaint",
            "complaining",
            "warnings",
            "warning",
            "breakage",
        ],
    ),
    (C::Codes, 0.7, &["code", "codes", "error code", "error codes", "catalogue", "catalog"]),
    (
        C::Config,
        0.8,
        &[
            "config",
            "configuration",
            "configured",
            "setting",
            "settings",
            "parameter",
            "parameters",
            "param",
            "params",
            "limits",
            "limit",
            "cfg",
            "conf",
            "options",
            "setup",
            "rules",
            "threshold",
            "thresholds",
            "knobs",
            "change",
            "config change",
            "configuration change",
            "configs",
        ],
    ),
    (
        C::Version,
        0.5,
        &[
            "version",
            "versions",
            "revision",
            "revisions",
            "previous",
            "prior",
            "earlier",
            "one before",
            "release",
        ],
    ),
    (
        C::History,
        0.7,
        &[
            "history",
            "past",
            "timeline",
            "changelog",
            "previously",
            "changes",
            "evolution",
            "over time",
            "who changed",
            "was changed",
            "when did",
            "trend",
            "log of changes",
            "record",
        ],
    ),
    (
        C::Audit,
        0.9,
        &["audit", "audit trail", "audit log", "audit chain", "tamper", "tampered", "trail", "chain"],
    ),
    (
        C::Schema,
        0.8,
        &[
            "schema",
            "allowed values",
            "possible values",
            "what can be set",
            "what can i set",
            "allowed",
            "permitted values",
            "valid values",
            "can be changed",
            "can be configured",
            "configurable",
            "ranges",
            "range",
        ],
    ),
    (
        C::Trial,
        0.8,
        &["trial", "transaction", "txn", "trial run", "pending change", "config trial", "canary"],
    ),
    (
        C::Workflow,
        0.9,
        &[
            "workflow",
            "workflows",
            "procedure",
            "procedures",
            "runbook",
            "runbooks",
            "playbook",
            "playbooks",
            "automation",
            "automations",
            "maintenance task",
            "maintenance tasks",
            "maintenance",
            "routine",
            "routines",
        ],
    ),
    (C::Execution, 0.6, &["run", "runs", "execution", "job", "jobs", "task", "tasks", "executed"]),
    (
        C::Progress,
        0.6,
        &[
            "progress",
            "status",
            "state",
            "how far",
            "finished",
            "done",
            "complete",
            "completed",
            "along",
            "result",
            "outcome",
            "succeed",
            "succeeded",
            "going",
            "last run",
            "step",
            "eta",
            "ended",
            "work",
        ],
    ),
    (
        C::Metric,
        0.9,
        &[
            "metric",
            "metrics",
            "measurement",
            "measurements",
            "telemetry",
            "latency",
            "error rate",
            "throughput",
            "tick delay",
            "loop timing",
            "prometheus",
            "counters",
            "gauges",
            "numbers",
            "kpi",
            "kpis",
            "figures",
        ],
    ),
    (
        C::Event,
        0.9,
        &[
            "event",
            "events",
            "happened",
            "happen",
            "happening",
            "journal",
            "activity",
            "news",
            "log entries",
            "event log",
            "occurred",
            "feed",
            "what is new",
            "whats new",
            "went on",
            "lately",
            "going on",
            "been up to",
            "take place",
            "took place",
        ],
    ),
    (
        C::Alert,
        0.9,
        &[
            "alert",
            "alerts",
            "alarm",
            "alarms",
            "page",
            "pages",
            "pager",
            "notification",
            "notifications",
            "firing",
            "paging",
            "alerting",
        ],
    ),
    (
        C::Session,
        0.9,
        &[
            "session",
            "broker",
            "brokerage",
            "broker session",
            "broker connection",
            "broker api",
            "alpaca",
            "robinhood",
            "authenticated",
            "logged in",
            "signed in",
            "connection to the broker",
            "token",
        ],
    ),
    (
        C::Breaker,
        0.9,
        &[
            "breaker",
            "circuit breaker",
            "circuit",
            "tripped",
            "trip",
            "fuse",
            "circuit-breaker",
            "circuitbreaker",
            "tripping",
        ],
    ),
    (
        C::Market,
        0.8,
        &[
            "market",
            "markets",
            "exchange",
            "trading hours",
            "opening hours",
            "nyse",
            "nasdaq",
            "wall street",
            "market hours",
        ],
    ),
    (
        C::Mode,
        0.8,
        &[
            "mode",
            "paper",
            "live",
            "real money",
            "simulated",
            "play money",
            "paper trading",
            "live trading",
            "backtest",
            "simulation",
            "for real",
            "fake money",
        ],
    ),
    (
        C::Help,
        0.8,
        &[
            "help",
            "what can you do",
            "what can i ask",
            "how do i use",
            "usage",
            "manual",
            "instructions",
            "capabilities",
            "commands",
            "what do you understand",
            "what questions",
            "how does this work",
            "hints",
            "guide",
            "what are you",
            "documentation",
            "docs",
            "what do you do",
            "what can i do here",
            "what can i say",
            "how do you work",
        ],
    ),
    (
        C::Permission,
        0.9,
        &[
            "who am i",
            "whoami",
            "permission",
            "permissions",
            "scope",
            "scopes",
            "am i allowed",
            "may i do",
            "my key",
            "my rights",
            "rights",
            "my access",
            "what may i",
            "what can i do",
            "privileges",
            "my rate limit",
            "access rights",
            "access level",
            "this key",
        ],
    ),
    (C::Logs, 0.7, &["log", "logs", "logfile", "logfiles", "log files", "logging"]),
    (
        C::Recovery,
        0.9,
        &["recovery", "recover", "self healing", "self-healing", "auto recovery", "recoveries", "recovered"],
    ),
    (C::Target, 0.8, &["target", "targets", "goal", "goals", "objectives", "update-targets"]),
    (C::Program, 0.6, &["botops", "api", "server", "ready", "readiness", "ops api"]),
    (
        C::Not,
        0.4,
        &["not", "no", "never", "nothing", "none", "without", "hardly", "any more", "anymore", "neither"],
    ),
    (C::All, 0.1, &["everything", "all", "every", "each", "entire", "whole", "full", "complete list", "any"]),
    (
        C::Last,
        0.1,
        &["last", "latest", "recent", "newest", "most recent", "recently", "just", "top", "first"],
    ),
    (
        C::Now,
        0.1,
        &[
            "now",
            "right now",
            "at the moment",
            "today",
            "presently",
            "at present",
            "still",
            "moment",
            "at this moment",
            "yet",
            "tonight",
        ],
    ),
    (C::Past, 0.05, &["did", "was", "were", "had", "has been", "been", "have", "has"]),
    (C::Who, 0.2, &["who", "whom", "when", "since when", "by whom", "author"]),
    (C::Best, 0.4, &["best", "highest", "strongest", "biggest winner", "most profitable", "top performers"]),
    (C::Worst, 0.4, &["worst", "lowest", "weakest", "biggest loser", "biggest losers", "least"]),
    (
        C::PerSymbol,
        0.4,
        &[
            "by symbol",
            "per symbol",
            "each symbol",
            "by stock",
            "per stock",
            "by ticker",
            "per ticker",
            "symbol",
            "symbols",
            "ticker",
            "tickers",
            "which stock",
            "which stocks",
            "which symbol",
            "which symbols",
        ],
    ),
    (C::New, 0.05, &["new", "other", "another", "additional", "more"]),
    (
        C::Active,
        0.1,
        &[
            "active",
            "open",
            "pending",
            "outstanding",
            "unresolved",
            "unacknowledged",
            "resting",
            "working",
            "live",
            "ongoing",
            "underway",
            "in flight",
        ],
    ),
    (
        C::Filler,
        0.0,
        &[
            "a",
            "an",
            "the",
            "is",
            "are",
            "am",
            "be",
            "being",
            "do",
            "does",
            "can",
            "could",
            "would",
            "should",
            "will",
            "shall",
            "may",
            "might",
            "must",
            "please",
            "pls",
            "plz",
            "thanks",
            "thank",
            "you",
            "me",
            "my",
            "i",
            "your",
            "to",
            "of",
            "in",
            "on",
            "at",
            "for",
            "with",
            "from",
            "by",
            "and",
            "or",
            "so",
            "that",
            "this",
            "these",
            "those",
            "there",
            "here",
            "if",
            "how",
            "hey",
            "hi",
            "hello",
            "kindly",
            "ok so",
            "then",
            "than",
            "into",
            "out",
            "as",
            "its",
            "his",
            "her",
            "they",
            "them",
            "their",
            "some",
            "much",
            "many",
            "lot",
            "lots",
            "very",
            "really",
            "quick",
            "quickly",
            "go",
            "ahead",
            "let",
            "lets",
            "like",
            "got",
            "having",
            "s",
            "t",
            "re",
            "ve",
            "ll",
            "d",
            "m",
            "again",
            "also",
            "too",
            "please",
            "botops",
            "anything",
            "something",
            "thing",
            "one",
            "ones",
            "own",
            "where",
            "whether",
            "over",
            "under",
            "during",
            "until",
            "till",
            "per",
            "while",
            "but",
            "only",
            "even",
            "now then",
            "want to know",
            "wondering",
            "wonder",
            "id",
            "ids",
            "number",
            "called",
            "named",
            "ago",
            "time",
            "come",
            "came",
            "take",
            "taken",
            "hour",
            "off",
            "up to",
            "i would",
            "would you",
            "could you",
            "can you",
            "let us",
            "mind",
            "since",
            "after",
            "before",
            "value",
            "values",
            "key",
            "field",
            "percent",
            "usd",
            "name",
            "long",
            "far",
            "use",
            "using",
            "used",
            "see if",
            "ensure",
            "exactly",
            "actually",
            "basically",
            "simply",
            "asap",
            "immediately",
            "urgent",
            "urgently",
            "for me",
            "somehow",
            "anyway",
            "dear",
            "mr",
            "sir",
            "morning",
            "evening",
            "afternoon",
            "night",
            "day",
            "tell me",
            "give me",
            "show me",
            "minute",
            "minutes",
            "week",
            "month",
            "stuff",
            "guys",
            "everyone",
            "folks",
            "man",
            "mate",
            "happens",
            "happens to be",
            "via",
            "say",
            "says",
            "said",
            "think",
            "try",
        ],
    ),
];

/// Common words that look like a slip of one of ours and are none.
const NOT_SLIPS: &[&str] = &[
    "horse",
    "house",
    "border",
    "older",
    "banana",
    "weather",
    "whether",
    "heater",
    "cook",
    "book",
    "bark",
    "dog",
    "cat",
    "food",
    "wealth",
    "poetry",
    "store",
    "story",
    "tuna",
    "trace",
    "trade-off",
    "grade",
    "heath",
    "stealth",
    "alter",
    "later",
    "letter",
    "better",
    "matter",
    "fall",
    "mail",
    "tail",
    "rail",
    "love",
    "line",
    "lime",
    "life",
    "like",
    "line",
    "nose",
    "rose",
    "news",
    "nest",
    "rest",
    "best",
    "host",
    "cost",
    "cast",
    "past",
    "port",
    "sort",
    "short",
    "shirt",
    "start",
    "smart",
    "chart",
    "share",
    "shape",
    "shop",
    "drop",
    "crop",
    "song",
    "sing",
    "joke",
    "jokes",
    "poem",
    "recipe",
    "pizza",
    "movie",
    "music",
    "game",
    "lunch",
    "dinner",
    "coffee",
    "cake",
    "capital",
    "france",
    "moon",
    "planet",
    "soon",
    "noon",
    "room",
    "read",
    "bread",
    "dead",
    "head",
    "lead",
    "road",
    "load",
    "wine",
    "mine",
    "form",
    "firm",
    "farm",
    "word",
    "world",
    "work",
    "hello",
    "delete",
    "erase",
    "wipe",
    "translate",
    "write",
    "email",
    "send",
    "flight",
    "hotel",
    "ticket",
    "holiday",
    "birthday",
    "president",
    "country",
    "football",
    "soccer",
    "score",
    "team",
    "player",
    "law",
    "tax",
    "taxes",
    "loan",
    "price",
    "prices",
    "bitcoin",
    "crypto",
    "forecast",
    "predict",
    "prediction",
    "advice",
    "recommend",
    "tomorrow",
    "rain",
    "sunny",
];

/// A word of the text, or a phrase that stands for one thing.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// As it was written.
    pub raw: String,
    /// Lower case.
    pub lower: String,
    /// What it may stand for; empty when nobody knows.
    pub concepts: Vec<Concept>,
    /// 1 for a known spelling, less for a forgiven one.
    pub certainty: f64,
    /// How much is lost when it is ignored.
    pub weight: f64,
    /// Set when a value was read from it.
    pub slot: Option<super::slots::Slot>,
}

impl Word {
    pub(super) fn is(&self, concept: Concept) -> bool {
        self.concepts.contains(&concept)
    }
}

/// What an unknown word costs: two of them outweigh one known noun.
const UNKNOWN: f64 = 0.45;

struct Vocabulary {
    words: BTreeMap<&'static str, Vec<Concept>>,
    /// The same by stem.
    stems: HashMap<String, Vec<Concept>>,
    /// Phrases by their first word's stem, longest first.
    phrases: HashMap<String, Vec<(Vec<String>, Vec<Concept>)>>,
    weights: HashMap<Concept, f64>,
    /// The stems of all words that phrases are made of.
    parts: BTreeSet<String>,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let mut vocabulary = Vocabulary {
        words: BTreeMap::new(),
        stems: HashMap::new(),
        phrases: HashMap::new(),
        weights: HashMap::new(),
        parts: BTreeSet::new(),
    };
    for (concept, weight, spellings) in TABLE {
        vocabulary.weights.insert(*concept, *weight);
        for spelling in *spellings {
            if !spelling.contains(' ') {
                let known = vocabulary.words.entry(spelling).or_default();
                if !known.contains(concept) {
                    known.push(*concept);
                }
                continue;
            }
            let stems: Vec<String> = spelling.split(' ').map(stem).collect();
            vocabulary.parts.extend(stems.iter().cloned());
            let first = stems.first().cloned().unwrap_or_default();
            let phrases = vocabulary.phrases.entry(first).or_default();
            match phrases.iter_mut().find(|(known, _)| *known == stems) {
                Some((_, concepts)) => concepts.push(*concept),
                None => phrases.push((stems, vec![*concept])),
            }
        }
    }
    for (word, concepts) in &vocabulary.words {
        let known = vocabulary.stems.entry(stem(word)).or_default();
        for concept in concepts {
            if !known.contains(concept) {
                known.push(*concept);
            }
        }
    }
    for phrases in vocabulary.phrases.values_mut() {
        phrases.sort_by_key(|(stems, _)| std::cmp::Reverse(stems.len()));
    }
    vocabulary
});

/// The pieces of a text, as written, before their meaning is looked up.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let mut text = text.replace(['\u{2018}', '\u{2019}', '`'], "'");
    for (short, long) in [
        ("can't", "can not"),
        ("won't", "will not"),
        ("n't", " not"),
        ("what's", "what is"),
        ("what're", "what are"),
        ("how's", "how is"),
        ("where's", "where is"),
        ("who's", "who is"),
        ("it's", "it is"),
        ("let's", "let us"),
        ("i'm", "i am"),
        ("we're", "we are"),
        ("that's", "that is"),
        ("there's", "there is"),
        ("why's", "why is"),
        ("we've", "we have"),
        ("'s", " "),
        ("cannot", "can not"),
        ("isnt", "is not"),
        ("didnt", "did not"),
        ("doesnt", "does not"),
        ("wasnt", "was not"),
        ("arent", "are not"),
        ("dont", "do not"),
        ("hasnt", "has not"),
        ("whats", "what is"),
        ("hows", "how is"),
        ("tl;dr", "tldr"),
    ] {
        text = replace_caseless(&text, short, long);
    }
    let mut pieces = Vec::new();
    for part in text.split(|c: char| {
        c.is_whitespace() || matches!(c, '?' | '!' | ';' | '(' | ')' | '"' | '[' | ']' | '{' | '}')
    }) {
        let part = part.trim_matches(|c: char| matches!(c, ',' | '.' | ':' | '\'' | '…' | '-'));
        for piece in part.split(',') {
            let piece = piece.trim_matches(|c: char| matches!(c, '.' | ':' | '\''));
            if !piece.is_empty() {
                pieces.push(piece.to_owned());
            }
        }
    }
    pieces
}

fn replace_caseless(text: &str, from: &str, to: &str) -> String {
    // ASCII alone changes length under lower-casing here, so byte offsets agree.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(from)) {
        let start = at + found;
        let end = start + from.len();
        let whole_word = from.starts_with('\'') || from.starts_with("n't") || boundary(&lower, start, end);
        out.push_str(text.get(at..start).unwrap_or_default());
        out.push_str(if whole_word { to } else { text.get(start..end).unwrap_or_default() });
        at = end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

fn boundary(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).and_then(|head| head.chars().next_back());
    let after = text.get(end..).and_then(|tail| tail.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

/// Looks every piece up; phrases first, longest first.
pub(super) fn words(pieces: &[String]) -> Vec<Word> {
    let stems: Vec<String> = pieces.iter().map(|piece| stem(&corrected(&piece.to_lowercase()))).collect();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        if let Some((length, concepts)) = phrase(stems.get(at..).unwrap_or_default()) {
            let raw = pieces.get(at..at + length).unwrap_or_default().join(" ");
            words.push(word(raw, concepts, 1.0));
            at += length;
            continue;
        }
        let (concepts, certainty) = look_up(&piece.to_lowercase());
        words.push(word(piece.clone(), concepts, certainty));
        at += 1;
    }
    join_particles(&mut words);
    words
}

/// Verbs whose second half may stand further on: "roll the config back".
const PARTICLES: &[(&str, &[&str], Concept)] = &[
    ("roll", &["back"], C::Undo),
    ("take", &["back"], C::Undo),
    ("put", &["back"], C::Undo),
    ("put", &["on hold"], C::Pause),
    ("go", &["back"], C::Undo),
    ("change", &["back"], C::Undo),
    ("shut", &["down", "off"], C::Shutdown),
    ("turn", &["off", "down"], C::Shutdown),
    ("switch", &["off"], C::Shutdown),
    ("power", &["off", "down"], C::Shutdown),
    ("sign", &["in"], C::SignIn),
    ("log", &["in"], C::SignIn),
    ("get", &["flat"], C::Flatten),
    ("call", &["off"], C::Cancel),
    ("start", &["again", "over"], C::Restart),
    ("bring", &["back"], C::Restart),
    ("kick", &["off"], C::Run),
];

/// How far apart the halves may stand.
const REACH: usize = 5;

fn join_particles(words: &mut [Word]) {
    for first in 0..words.len() {
        let Some((_, particles, concept)) =
            PARTICLES.iter().find(|(verb, ..)| words.get(first).is_some_and(|word| word.lower == *verb))
        else {
            continue;
        };
        let second = (first + 1..words.len().min(first + 1 + REACH))
            .find(|at| words.get(*at).is_some_and(|word| particles.contains(&word.lower.as_str())));
        let Some(second) = second else { continue };
        if let Some(verb) = words.get_mut(first) {
            *verb = word(verb.raw.clone(), vec![*concept], 1.0);
        }
        if let Some(particle) = words.get_mut(second) {
            *particle = word(particle.raw.clone(), vec![C::Filler], 1.0);
        }
    }
}

fn word(raw: String, concepts: Vec<Concept>, certainty: f64) -> Word {
    let weight = concepts
        .iter()
        .map(|concept| VOCABULARY.weights.get(concept).copied().unwrap_or_default())
        .reduce(f64::max)
        .unwrap_or(UNKNOWN);
    Word { lower: raw.to_lowercase(), raw, concepts, certainty, weight, slot: None }
}

/// The word itself when it is known, else the word of some phrase it is a slip of.
fn corrected(lower: &str) -> String {
    let is_known = VOCABULARY.words.contains_key(lower) || VOCABULARY.parts.contains(&stem(lower));
    let is_plain = lower.len() >= 5 && lower.chars().all(|c| c.is_ascii_alphabetic());
    if is_known || !is_plain || NOT_SLIPS.contains(&lower) {
        return lower.to_owned();
    }
    let near = VOCABULARY.parts.iter().find(|part| {
        part.len() >= 3
            && part.chars().next() == lower.chars().next()
            && strsim::osa_distance(part, &stem(lower)) == 1
            || part.len() >= 5
                && format!("{part}ing").len() >= 6
                && strsim::osa_distance(&format!("{part}ing"), lower) == 1
            || part.len() >= 3 && lower.len() >= 5 && strsim::osa_distance(&format!("{part}ing"), lower) == 1
    });
    near.cloned().unwrap_or_else(|| lower.to_owned())
}

fn phrase(stems: &[String]) -> Option<(usize, Vec<Concept>)> {
    let first = stems.first()?;
    let phrases = VOCABULARY.phrases.get(first)?;
    let (found, concepts) = phrases.iter().find(|(phrase, _)| {
        stems.len() >= phrase.len() && phrase.iter().zip(stems).all(|(wanted, given)| alike(wanted, given))
    })?;
    Some((found.len(), concepts.clone()))
}

/// Whether two stems are the same word, a slip in a long one forgiven.
fn alike(wanted: &str, given: &str) -> bool {
    wanted == given || (wanted.len() >= 6 && strsim::osa_distance(wanted, given) <= 1)
}

fn look_up(lower: &str) -> (Vec<Concept>, f64) {
    if let Some(concepts) = VOCABULARY.words.get(lower) {
        return (concepts.clone(), 1.0);
    }
    if let Some(concepts) = VOCABULARY.stems.get(&stem(lower)) {
        return (concepts.clone(), 1.0);
    }
    slip(lower)
}

/// The nearest known spelling, when it is near enough for its length and nothing else is as near.
fn slip(lower: &str) -> (Vec<Concept>, f64) {
    let length = lower.chars().count();
    let allowed = match length {
        0..=3 => return (Vec::new(), 1.0),
        4..=5 => 1,
        _ => 2,
    };
    let plain = lower.chars().all(|c| c.is_ascii_alphabetic());
    if !plain || NOT_SLIPS.contains(&lower) || NOT_SLIPS.contains(&stem(lower).as_str()) {
        return (Vec::new(), 1.0);
    }
    let mut best: Option<(usize, Vec<Concept>)> = None;
    for (spelling, concepts) in &VOCABULARY.words {
        if spelling.len() < 4 || spelling.len().abs_diff(length) > allowed {
            continue;
        }
        // People rarely miss the first letter, and a wrong one makes another word.
        let same_start = spelling.chars().next() == lower.chars().next();
        let swapped_start =
            spelling.chars().take(2).eq(lower.chars().take(2).collect::<Vec<_>>().into_iter().rev());
        if !same_start && !swapped_start {
            continue;
        }
        let distance = strsim::osa_distance(spelling, lower);
        let limit = if spelling.len() <= 5 { 1 } else { allowed };
        if distance <= limit && best.as_ref().is_none_or(|(known, _)| distance < *known) {
            best = Some((distance, concepts.clone()));
        }
    }
    match best {
        Some((1, concepts)) => (concepts, 0.95),
        Some((_, concepts)) => (concepts, 0.85),
        None => (Vec::new(), 1.0),
    }
}

/// A word without its ending. Crude on purpose: both sides go through it.
pub(super) fn stem(word: &str) -> String {
    let mut stem = word.to_owned();
    if let Some(rest) = stem.strip_suffix("ies").filter(|rest| rest.len() >= 3) {
        stem = format!("{rest}y");
    } else if !stem.ends_with("ss") && !stem.ends_with("us") && !stem.ends_with("is") {
        if let Some(rest) = stem.strip_suffix('s').filter(|rest| rest.len() >= 3) {
            stem = rest.to_owned();
        }
    }
    for ending in ["ing", "ed"] {
        if let Some(rest) = stem.strip_suffix(ending).filter(|rest| rest.len() >= 4) {
            let mut rest = rest.to_owned();
            let doubled = rest.chars().rev().take(2).collect::<Vec<_>>();
            if let [a, b] = doubled.as_slice()
                && a == b
                && !matches!(a, 'l' | 's' | 'e' | 'o')
            {
                rest.pop();
            }
            stem = rest;
            break;
        }
    }
    if stem.len() >= 4
        && let Some(rest) = stem.strip_suffix('e')
    {
        stem = rest.to_owned();
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concepts_of(text: &str) -> Vec<Vec<Concept>> {
        words(&pieces(text)).into_iter().map(|word| word.concepts).collect()
    }

    #[test]
    fn endings_and_slips_are_forgiven() {
        for spelling in ["positions", "position", "postions", "posiiton", "Positons"] {
            assert!(concepts_of(spelling)[0].contains(&Concept::Position), "{spelling}");
        }
        for spelling in ["workflow", "worklfow", "workflws"] {
            assert!(concepts_of(spelling)[0].contains(&Concept::Workflow), "{spelling}");
        }
    }

    #[test]
    fn other_words_stay_unknown() {
        for spelling in ["banana", "weather", "xyzzy", "horse", "poem"] {
            assert!(concepts_of(spelling)[0].is_empty(), "{spelling}");
        }
    }

    #[test]
    fn phrases_count_as_one_word() {
        assert_eq!(concepts_of("circuit breaker").len(), 1);
        assert!(concepts_of("roll it back").len() == 3);
    }

    #[test]
    fn contractions_are_taken_apart() {
        assert_eq!(pieces("What's wrong, why isn't it?"), ["what", "is", "wrong", "why", "is", "not", "it"]);
    }
}
