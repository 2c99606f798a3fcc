//! The catalogue: one row per code, grouped by area. A code is never reused and never changes its meaning.
//!
//! A new row is worth it when a reader would act differently; otherwise a new `detail` will do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Effect, NextAction, RetryClass, Severity};

/// The class of a failure: where its cause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ErrorType {
    /// The bot or its broker refuses by the rules of trading: orders, positions, limits.
    TradingError,
    /// The request is wrong or does not fit the current state.
    ValidationError,
    /// The bot, the broker or another peer does not answer as it should.
    NetworkError,
    /// There is no valid key, or the key may not do this.
    AuthenticationError,
    /// botops itself failed or is overloaded.
    ServerError,
}

/// A call that helps, as the catalogue names it: operation, method, path, scope (`""` for open paths).
pub(super) type NextCall = (&'static str, &'static str, &'static str, &'static str);

/// The texts and properties of one code.
#[derive(Debug)]
pub struct CatalogueRow {
    /// The code as text, `AREA_NNN`.
    pub code: &'static str,
    /// The HTTP status of a response that fails with it.
    pub status: u16,
    /// Where the cause is.
    pub kind: ErrorType,
    /// How soon a person should attend to it.
    pub severity: Severity,
    /// What to do before the next attempt.
    pub class: RetryClass,
    /// Milliseconds to wait before the next attempt, where they are the same for every failure with this code.
    pub after_ms: Option<u64>,
    /// What the failed call changed, unless the failing code sets another effect.
    pub effect: Effect,
    /// What it means, in a few words.
    pub title: &'static str,
    /// Why it happens; used when the failing code gives no `detail`.
    pub cause: &'static str,
    /// What it means for the caller.
    pub impact: &'static str,
    /// What to do next, as sentences for people.
    pub remediation: &'static str,
    next: &'static [NextCall],
}

impl CatalogueRow {
    /// The calls that help, best first.
    pub fn next_actions(&self) -> Vec<NextAction> {
        let action = |(operation, method, path, scope): &NextCall| NextAction {
            operation: (*operation).to_owned(),
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            // A command needs a `reason`: the code that advises it.
            body: path
                .starts_with("/api/v1/control/")
                .then(|| serde_json::json!({"reason": format!("as {} advises", self.code)})),
            scope: (!scope.is_empty()).then(|| (*scope).to_owned()),
        };
        self.next.iter().map(action).collect()
    }
}

macro_rules! catalogue {
    ($(
        $name:ident = $code:literal, $status:literal, $kind:ident, $severity:ident, $class:ident,
        $(after_ms: $after:literal,)? $(effect: $effect:ident,)?
        $title:literal,
        $cause:literal,
        $impact:literal,
        $remediation:literal
        $(, next: [$($next:expr),* $(,)?])?;
    )*) => {
        /// A code of the catalogue; [`Code::row`] has its texts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code with this text, `AREA_NNN`; `None` when the catalogue has no such code.
            pub fn named(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.row().code == text)
            }

            /// The catalogue's row of this code.
            pub fn row(self) -> &'static CatalogueRow {
                match self {
                    $(Self::$name => {
                        const ROW: CatalogueRow = CatalogueRow {
                            code: $code,
                            status: $status,
                            kind: ErrorType::$kind,
                            severity: Severity::$severity,
                            class: RetryClass::$class,
                            after_ms: catalogue!(@after $($after)?),
                            effect: catalogue!(@effect $($effect)?),
                            title: $title,
                            cause: $cause,
                            impact: $impact,
                            remediation: $remediation,
                            next: &[$($($next),*)?],
                        };
                        &ROW
                    })*
                }
            }
        }
    };
    (@after) => { None };
    (@after $after:literal) => { Some($after) };
    (@effect) => { Effect::None };
    (@effect $effect:ident) => { Effect::$effect };
}

const SUMMARY: NextCall = ("get_summary", "GET", "/api/v1/summary", "read");
const WHOAMI: NextCall = ("get_whoami", "GET", "/api/v1/whoami", "read");
const GUIDE: NextCall = ("get_llms_txt", "GET", "/llms.txt", "");
const READYZ: NextCall = ("readyz", "GET", "/readyz", "");
const LIVEZ: NextCall = ("livez", "GET", "/livez", "");
const PAUSE: NextCall = ("pause", "POST", "/api/v1/control/pause", "operate");
const PROBE: NextCall = ("probe_session", "POST", "/api/v1/control/probe-session", "operate");
const REAUTH: NextCall = ("reauth", "POST", "/api/v1/control/reauth", "operate");
const RESET_BREAKER: NextCall = ("reset_breaker", "POST", "/api/v1/control/reset-breaker", "operate");
const CONFIG: NextCall = ("get_config", "GET", "/api/v1/config", "read");
const CONFIG_SCHEMA: NextCall = ("get_config_schema", "GET", "/api/v1/config/schema", "read");
const CONFIG_DRIFT: NextCall =
    ("diff_config", "GET", "/api/v1/config/diff?from=committed&to=running", "read");
const CONFIG_VERSIONS: NextCall = ("list_config_versions", "GET", "/api/v1/config/versions", "read");
const CONFIG_AUDIT: NextCall = ("verify_config_audit", "GET", "/api/v1/config/audit/verify", "read");
const WORKFLOWS: NextCall = ("list_workflows", "GET", "/api/v1/workflows", "read");
const COMPONENTS: NextCall = ("list_health_components", "GET", "/api/v1/health/components", "read");
const EVENTS: NextCall = ("list_events", "GET", "/api/v1/events", "read");

catalogue! {
    // AUTH: the key and what it may do.
    AuthKeyInvalid = "AUTH_001", 401, AuthenticationError, Medium, AskHuman,
        "missing or wrong API key",
        "the request carries no API key, or one that botops does not know",
        "the request was not looked at",
        "Send the key as `X-API-Key: <key>` or `Authorization: Bearer <key>`. An operator finds it in \
         BOT_API_AUTH_TOKEN or makes one with `botops key new`.",
        next: [GUIDE];
    AuthKeyExpired = "AUTH_002", 401, AuthenticationError, Medium, AskHuman,
        "the API key has expired",
        "the key is known, but its time is over",
        "the request was not looked at",
        "Ask an operator for a new key (`botops key new`) in the keys file.",
        next: [GUIDE];
    AuthScopeMissing = "AUTH_003", 403, AuthenticationError, Medium, AskHuman,
        "the key lacks a scope",
        "the key is good, but may not do this",
        "nothing was done",
        "Use a key with the scope named in `context.scope`, or ask an operator to add it. `GET whoami` lists what \
         this key may do.",
        next: [WHOAMI];
    AuthThrottled = "AUTH_004", 429, AuthenticationError, High, Wait, after_ms: 60000,
        "too many wrong keys from this address",
        "this address sent wrong keys again and again",
        "wrong keys from this address are not even looked up for a while; a right key passes",
        "Wait as long as `Retry-After` says, then send one request with the right key.",
        next: [LIVEZ];
    AuthTicketInvalid = "AUTH_005", 401, AuthenticationError, Low, Refetch,
        "the stream ticket does not hold",
        "a ticket works once and for 30 seconds",
        "the stream was not opened",
        "Ask for a new ticket with `POST stream/ticket` and connect at once.",
        next: [("create_stream_ticket", "POST", "/api/v1/stream/ticket", "read")];

    // API: the request itself.
    PathUnknown = "API_001", 404, ValidationError, Low, FixArgs,
        "no such path",
        "nothing is served under this path",
        "nothing was done",
        "Look the path up in `/llms.txt`; `/api/openapi.json?tag=state` is the part of the API document for one tag.",
        next: [GUIDE];
    MethodUnknown = "API_002", 405, ValidationError, Low, FixArgs,
        "the path does not take this method",
        "the path exists, with other methods; the `Allow` header lists them",
        "nothing was done",
        "Use one of the methods in `Allow`.",
        next: [GUIDE];
    NotAcceptable = "API_003", 406, ValidationError, Low, FixArgs,
        "no such representation",
        "the `Accept` header asks for a form that this path does not have",
        "nothing was done",
        "Ask for `application/json`, or leave `Accept` out; `context.available` lists the forms.",
        next: [GUIDE];
    BodyTooLarge = "API_004", 413, ValidationError, Low, FixArgs,
        "the body is too large",
        "a request body may have 256 KiB",
        "nothing was done",
        "Send less: a merge patch instead of a whole document, or fewer items.",
        next: [GUIDE];
    MediaTypeUnknown = "API_005", 415, ValidationError, Low, FixArgs,
        "the body's media type is not understood",
        "bodies are plain JSON and say so",
        "nothing was done",
        "Send plain JSON, neither compressed nor otherwise encoded, with `Content-Type: application/json`.",
        next: [GUIDE];
    JsonInvalid = "API_006", 400, ValidationError, Low, FixArgs,
        "the body is not the JSON this call takes",
        "the body could not be read as the expected JSON",
        "nothing was done",
        "Correct what `errors` names and send it again.",
        next: [GUIDE];
    ArgumentInvalid = "API_007", 400, ValidationError, Low, FixArgs,
        "an argument is wrong",
        "a query parameter, path segment or header has a value this call does not take",
        "nothing was done",
        "Correct what `errors` names and send it again.",
        next: [GUIDE];
    RequestTimeout = "API_008", 408, NetworkError, Low, Wait, after_ms: 1000,
        "the request took too long to arrive",
        "the request's head or body did not arrive in time, or it came in pieces while too many others did",
        "nothing was done",
        "Send it again, whole.",
        next: [LIVEZ];
    RateLimited = "API_009", 429, ValidationError, Low, Wait,
        "too many requests",
        "this key used up its requests for now",
        "nothing was done; other keys are not affected",
        "Wait as long as `Retry-After` says. Use `GET events?wait=` or the stream instead of polling.",
        next: [SUMMARY];
    FieldUnknown = "API_010", 400, ValidationError, Low, FixArgs,
        "no such field",
        "`fields` names a field that the answer does not have",
        "nothing was done",
        "Use names from `context.allowed`.",
        next: [("get_state", "GET", "/api/v1/state", "read")];
    IdempotencyMismatch = "API_011", 422, ValidationError, Medium, FixArgs,
        "the idempotency key was used for another request",
        "this key came before with a different body",
        "nothing was done now; the first request stands",
        "Use a new `Idempotency-Key` for a new request, or repeat the first one exactly.",
        next: [EVENTS];
    CursorExpired = "API_013", 410, ValidationError, Low, Refetch,
        "the cursor is too old",
        "the journal no longer holds what followed this cursor",
        "events between the cursor and `context.oldest` cannot be replayed",
        "Read the state anew, then go on from `context.latest`.",
        next: [("get_state", "GET", "/api/v1/state", "read")];
    StreamFull = "API_014", 503, ServerError, Medium, Wait, after_ms: 5000,
        "no room for another stream client",
        "the number of stream clients has reached BOT_STREAM_MAX_CLIENTS",
        "the stream was not opened; polling works",
        "Close a stream, or poll `GET summary` and `GET events?wait=` instead.",
        next: [SUMMARY];
    UpgradeRequired = "API_015", 426, ValidationError, Low, FixArgs,
        "this path speaks WebSocket",
        "the request did not ask for an upgrade to WebSocket",
        "nothing was done",
        "Connect with a WebSocket client, or poll `GET summary` and `GET events?wait=`.",
        next: [SUMMARY];
    ErrorCodeUnknown = "API_016", 404, ValidationError, Low, FixArgs,
        "no such error code",
        "the catalogue has no row with this code",
        "nothing was done",
        "List the catalogue.",
        next: [("list_error_codes", "GET", "/api/v1/errors/catalogue", "")];
    StreamTooSlow = "API_017", 503, NetworkError, Low, Refetch,
        "the stream client does not keep up",
        "events piled up faster than the client read them",
        "the stream was closed; no event is lost, the journal has them",
        "Connect again with `?after=<last seq>` and read faster.",
        next: [EVENTS];
    LineTooLong = "API_018", 431, ValidationError, Low, FixArgs,
        "the request line or its headers are too long",
        "a request line and its headers may have 16 KiB together",
        "nothing was done",
        "Send a shorter path or fewer headers; put long arguments into a body.",
        next: [GUIDE];

    HttpInvalid = "API_019", 400, ValidationError, Low, FixArgs,
        "the request is not HTTP/1.1",
        "the request line or a header is malformed",
        "nothing was done; the connection was closed",
        "Send a well-formed HTTP/1.1 request.",
        next: [GUIDE];
    OriginRefused = "API_020", 403, AuthenticationError, Medium, FixArgs,
        "the request comes by a name or from a page that is not let in",
        "`/mcp` answers under this machine's own names and to pages of listed origins only, against DNS rebinding",
        "nothing was done",
        "Call by 127.0.0.1 or localhost and send no `Origin`. Behind a proxy, an operator lists its name in \
         BOT_API_ALLOWED_HOSTS and a page's origin in BOT_API_CORS_ORIGINS.",
        next: [LIVEZ];

    // CFG: the bot's config.
    ConfigSchemaInvalid = "CFG_001", 422, ValidationError, Medium, FixArgs,
        "the config does not fit its schema",
        "the document breaks the schema at the places in `errors`",
        "nothing was changed; the bot runs what it ran",
        "Correct every place in `errors`, try it with `POST config/validate`, then apply again.",
        next: [CONFIG_SCHEMA, CONFIG];
    ConfigRuleBroken = "CFG_002", 422, ValidationError, Medium, FixArgs,
        "the config breaks a rule",
        "the document fits the schema and contradicts itself or an open position, at the places in `errors`",
        "nothing was changed; the bot runs what it ran",
        "Correct every place in `errors`, try it with `POST config/validate`, then apply again.",
        next: [CONFIG, CONFIG_SCHEMA];
    ConfigBotRejected = "CFG_003", 422, TradingError, Medium, FixArgs,
        "the bot would not run this config",
        "the bot checked the document and refused it, for the reasons in `errors`",
        "nothing was changed; the bot runs what it ran",
        "Correct what the bot names in `errors`, try it with `POST config/validate`, then apply again.",
        next: [CONFIG];
    ConfigMatchRequired = "CFG_004", 428, ValidationError, Low, FixArgs,
        "a change must say what it is based on",
        "the request has no `If-Match` header with a config version",
        "nothing was changed",
        "Read `GET config`, then send its `etag` as `If-Match`, such as `If-Match: \"v17-3fa9c1d2\"`.",
        next: [CONFIG];
    ConfigStale = "CFG_005", 412, ValidationError, Medium, Refetch,
        "the config changed meanwhile",
        "`If-Match` names another version than the committed one; `context.diff` lists what changed since",
        "nothing was changed; nobody's change was overwritten",
        "Read `GET config`, decide again on what is there now, and send its `etag` as `If-Match`.",
        next: [CONFIG];
    ConfigBusy = "CFG_006", 409, ValidationError, Medium, Wait, after_ms: 5000,
        "another change is under way",
        "one change of the bot at a time: `context.holder` names the transaction or workflow run that goes first",
        "nothing was changed",
        "Wait until the holder has ended, or cancel it, then read `GET config` and try again.",
        next: [CONFIG];
    ConfigConfirmTooLate = "CFG_007", 409, ValidationError, Medium, Refetch,
        "too late to confirm",
        "the trial had ended, or less than 500 ms of it were left",
        "the trial is undone; the bot goes back to the committed config",
        "Apply the change again with a longer `confirm_within_s`, or with `confirm: auto`.",
        next: [CONFIG];
    ConfigRestartRequired = "CFG_008", 409, ValidationError, Medium, FixArgs,
        "some fields wait for a restart of the bot",
        "the change touches fields that the bot reads only when it starts; `errors` lists them",
        "nothing was changed",
        "Send `restart: true`, or leave them as they are. The bot is then started again to try the change, and once more \
         if it does not prove good; where botops cannot start it, they wait for its next start (`sync` says pending_restart).",
        next: [CONFIG_SCHEMA, CONFIG];
    ConfigFieldFixed = "CFG_009", 409, ValidationError, Medium, FixArgs,
        "some fields cannot be changed",
        "the change touches fields that belong to the process and not to its config; `errors` lists them",
        "nothing was changed",
        "Leave these fields as they are.",
        next: [CONFIG, CONFIG_SCHEMA];
    ConfigVersionUnknown = "CFG_010", 404, ValidationError, Low, FixArgs,
        "no such config version",
        "the version does not exist, or is no longer kept",
        "nothing was changed",
        "Choose a version from `GET config/versions`; `running`, `committed`, `trial` and `previous` are names too.",
        next: [CONFIG_VERSIONS];
    ConfigTxnUnknown = "CFG_011", 404, ValidationError, Low, FixArgs,
        "no such config transaction",
        "no config change has this id",
        "nothing was changed",
        "Take the id from the answer to apply; `GET config` names the live one under `trial`.",
        next: [CONFIG];
    ConfigTxnOver = "CFG_012", 409, ValidationError, Low, Refetch,
        "the transaction has ended",
        "the transaction is over and ended differently; `context.state` says how",
        "nothing was changed",
        "Read the transaction, then decide again.",
        next: [CONFIG];
    ConfigUnchanged = "CFG_013", 422, ValidationError, Low, FixArgs,
        "there is nothing to change",
        "the document means the same as the committed one",
        "nothing was changed; the committed config is what was asked for",
        "No call is needed. To change something, send other values.",
        next: [CONFIG];
    ConfigAuditUnavailable = "CFG_014", 503, ServerError, Critical, AskHuman,
        "the audit cannot be written",
        "the disk is full, read-only or failing, or the audit's key is missing",
        "config changes are refused, since they could not be recorded; a running trial is still undone",
        "Free space in or repair BOT_DATA_DIR, then try again.",
        next: [READYZ, CONFIG_AUDIT];
    ConfigAuditDamaged = "CFG_015", 503, ServerError, Critical, AskHuman,
        "the audit was changed behind botops' back",
        "a line of config/config_history.jsonl is changed, missing or moved; `context.first_bad_seq` names it",
        "config changes are refused; the bot runs on",
        "A person has to find out what happened (`GET config/audit/verify`). Then an admin goes on with \
         `POST config/audit/accept {first_bad_seq, reason}`: the file is put aside and a new one names it.",
        next: [CONFIG_AUDIT];
    ConfigPatchInvalid = "CFG_016", 422, ValidationError, Low, FixArgs,
        "the patch does not apply",
        "an operation of the patch does not fit the current document",
        "nothing was changed",
        "Read `GET config` and make the patch for what is there, or send the whole document.",
        next: [CONFIG];
    ConfigOutcomeUnknown = "CFG_017", 504, NetworkError, High, Refetch, effect: Unknown,
        "the bot did not say whether it runs the change",
        "the change was sent, and the bot's answer did not come or does not say whether it took it",
        "the bot runs the committed config or the trial; without a confirmation it goes back by itself",
        "Follow the transaction in `context.txn`: it settles as soon as the bot answers, at the latest after its deadline.",
        next: [CONFIG];
    ConfigDamaged = "CFG_018", 503, ServerError, Critical, AskHuman,
        "the committed config cannot be read",
        "config/HEAD, or the version it names, is missing or was changed",
        "config changes are refused; a running bot runs on, a restarted one would not start",
        "A person has to restore the folder `config` of BOT_DATA_DIR from a backup, then restart botops.",
        next: [READYZ, CONFIG_VERSIONS];
    ConfigCrashedBefore = "CFG_019", 409, ValidationError, High, FixArgs,
        "the bot died over this config",
        "a trial of this very document ended with the bot's death less than 24 hours ago; `context.txn` is that trial",
        "nothing was changed",
        "Look at that trial and at the bot's log. Send another document, or the same one with `acknowledge` set to \
         `context.acknowledge`: it is tried once more.",
        next: [CONFIG];
    ConfigDrifted = "CFG_020", 409, TradingError, High, AskHuman,
        "the bot runs another config than the committed one",
        "the config that the bot runs differs from the version that `HEAD` names",
        "limits and targets may be others than what was agreed; a restart changes that only at a bot that boots from `HEAD`",
        "A person decides which of the two is right: compare them, then apply what the bot runs, or roll back to \
         `committed`, which the bot then runs at once.",
        next: [CONFIG_DRIFT, CONFIG];
    ConfigTrialUndone = "CFG_021", 409, TradingError, High, Refetch,
        "a config change was undone before it became permanent",
        "the trial did not hold, was confirmed by nobody, or was cut short by the end of a process",
        "the bot is back on the committed config; nothing of the change is left",
        "Read why in `cause` and in the transaction of `context.txn`, remove the cause, then apply the change again. One that \
         nobody confirmed is applied again and confirmed in time: `POST config/txns/{txn}/confirm`.",
        next: [CONFIG, CONFIG_VERSIONS];
    ConfigNeedsAttention = "CFG_022", 500, TradingError, Critical, AskHuman, effect: Unknown,
        "a config change needs a person",
        "the bot does not say what it runs, or refuses to end the change, and botops no longer asks it",
        "the bot may run the change or the committed config; other changes are taken again",
        "A human reads what the bot runs (`GET config`, member `running`), compares it with `committed`, and restarts the \
         bot or rolls back.",
        next: [CONFIG, CONFIG_DRIFT];
    ConfigSchemaUnusable = "CFG_023", 502, ServerError, High, AskHuman,
        "what the bot brought of its config cannot be used",
        "the bot's config schema, or the document that it runs, is not there or not in a form that can be worked with",
        "config changes are refused; what was committed stays readable, and the bot is left alone",
        "Whoever writes the bot corrects what `cause` names at its place, and starts the bot again: both are read anew then.",
        next: [CONFIG];

    // BOT: the bot and the connection to it.
    BotOffline = "BOT_001", 503, NetworkError, High, Wait, after_ms: 2000,
        "the bot does not answer",
        "the bot is not running, or cannot be reached from here",
        "the command was not delivered; reads go on from the last known state",
        "Look at `presence` and the warnings of the summary: they say why it does not answer, and who can start it, a \
         supervisor through the workflow `restart-bot` or a person by hand.",
        next: [SUMMARY];
    BotTimeout = "BOT_002", 504, NetworkError, High, Refetch, effect: Unknown,
        "the bot did not say what it did",
        "the request was delivered, and no answer came that says what became of it",
        "it may or may not have been carried out",
        "Read the state. botops asks the bot what became of a command and tells it as a second `control` event with this \
         command id (`GET events?kind=control`). Send the same again with the same `Idempotency-Key` only if it is still \
         wanted: the bot acts once, and now if it never got the first. Once the ending is known, the key tells it.",
        next: [("get_state", "GET", "/api/v1/state", "read"), EVENTS];
    BotRefused = "BOT_003", 409, TradingError, Medium, Refetch,
        "the bot refused",
        "the bot understood the command and said no",
        "nothing changed in the bot",
        "`context.reason_code` says why. Read the state, then decide again. A bot whose loop stands still takes no command: a \
         person who decides to end it runs `restart-bot` with `mode: immediate`, which asks it nothing.",
        next: [("get_state", "GET", "/api/v1/state", "read")];
    BotNotCapable = "BOT_004", 409, ValidationError, Low, Never,
        "the bot cannot do this",
        "the bot does not list this among its capabilities",
        "nothing was done",
        "`cause` names what is missing. Use what `whoami` lists under the bot's capabilities; the bot's author adds the \
         missing one (docs/your-own-bot.md).",
        next: [WHOAMI];
    BotAnswerInvalid = "BOT_005", 502, NetworkError, High, Refetch, effect: Unknown,
        "the bot's answer makes no sense",
        "the bot answered something that is not the contract, or that contradicts the question",
        "a command may have been carried out; reads go on from the last known state",
        "Check that the socket belongs to the right bot and version. What became of a command is told as a second \
         `control` event with its id, if the bot can say it; otherwise a person looks at the bot.",
        next: [SUMMARY];
    BotPartUnreadable = "BOT_006", 502, ValidationError, Medium, AskHuman,
        "a part of what the bot says cannot be read",
        "a field of the bot's answer is not in the form of the contract",
        "that field is shown as unknown and counts in nothing; the rest of the answer counts, and the bot is left alone",
        "Read `unreadable` in the state: it names each field, what came and what would be right. A human who keeps the bot \
         mends it there; until then look at the bot itself for these values.",
        next: [("get_state", "GET", "/api/v1/state?fields=unreadable", "read")];
    BotFeedGap = "BOT_010", 503, NetworkError, Medium, Refetch,
        "the market feed has a gap",
        "prices that should have come did not: the source lacks them, or the bot's process stood still",
        "decisions are made on what is there; stops inside the gap were not seen",
        "Compare `market.last_price_at` with the clock. If the feed is live again nothing is to be done; if it stays \
         silent, look at the feed's source and pause the bot with `POST control/pause`.",
        next: [SUMMARY];
    BotCannotStart = "BOT_011", 500, ServerError, Critical, AskHuman,
        "the bot cannot start",
        "a setting, a file or another process is in the way",
        "the bot does not run; nothing was traded",
        "Do what the message says, then start the bot again.",
        next: [SUMMARY];
    BotLedgerUnwritable = "BOT_012", 503, ServerError, Critical, AskHuman,
        "the bot's ledger cannot be written",
        "the disk that holds the bot's data is full, read-only or failing",
        "no position is opened; open ones are closed from memory, and what is not on disk is lost if the bot ends before",
        "Free space on or repair the disk of the bot's data folder; the bot goes on by itself with the next tick.",
        next: [SUMMARY];
    BotLimitCrossed = "BOT_013", 409, TradingError, Critical, AskHuman,
        "a risk limit was crossed",
        "losses reached a limit of the config; the circuit breaker opened and stays open",
        "no new position is opened; exits go on",
        "Read `circuit_breaker.source` and `reason`. A human decides: leave it open, change the limit in the config, \
         or let the bot go on with `POST control/reset-breaker`, after which losses count from zero.",
        next: [SUMMARY, RESET_BREAKER];
    BotConfigInvalid = "BOT_014", 500, ServerError, High, AskHuman,
        "the committed config cannot be loaded",
        "`HEAD` of the config folder does not name a document with the hash it says",
        "the bot goes on with the last good config; it would not start again",
        "Repair the config folder: apply a config anew, or restore `HEAD` and its file from a backup.",
        next: [("get_config", "GET", "/api/v1/config", "read")];

    BotLedgerDamaged = "BOT_015", 500, ServerError, Critical, AskHuman,
        "the bot's ledger is not what the bot wrote",
        "a file of the bot was changed, cut short, lost or damaged",
        "amounts are not known and no position is opened; positions that are proven are closed as ever, others are left alone",
        "A person has to stop the bot, put its ledger back from a backup (the message names the file), and start it; for a new \
         account, move the ledger and its mark away. Look at the broker for positions that are in doubt.",
        next: [SUMMARY];
    SupervisorMissing = "BOT_020", 409, ValidationError, Medium, AskHuman,
        "nobody can start the bot again",
        "BOT_SUPERVISOR names no driver that could do this",
        "the bot was not stopped, since it could not be brought back",
        "A person sets BOT_SUPERVISOR (spawn, systemd:<unit> or command:[…]; docs/settings.md) and restarts botops; or \
         restarts the bot by hand. `context.by_hand` is the command, where its process was seen.",
        next: [WHOAMI, SUMMARY];
    BotNotStarted = "BOT_021", 502, ServerError, Critical, AskHuman, effect: Unknown,
        "the bot could not be started",
        "the supervisor's driver failed, or the bot ended again at once",
        "the bot does not run; open positions are not watched by it",
        "Read the bot's output file and log for the reason, repair it, then run the workflow `restart-bot` again.",
        next: [SUMMARY];
    ControlReasonMissing = "BOT_022", 422, ValidationError, Low, FixArgs,
        "a command needs a reason",
        "`reason` is missing, shorter than 3 or longer than 500 characters",
        "nothing was sent to the bot",
        "Say in `reason` why the command is given; it goes into the record.",
        next: [SUMMARY];
    BotPauseLost = "BOT_023", 409, TradingError, High, AskHuman,
        "a pause is not in force any more",
        "the bot was started again after it was paused, and did not keep the pause",
        "it may open positions, although whoever paused it takes it for paused; botops did nothing about it",
        "A human decides: pause it again with `POST control/pause`, or say with `POST control/resume` that it should trade. \
         Its author lets it keep a pause in its own data folder.",
        next: [SUMMARY, PAUSE];
    BotFailureUnexplained = "BOT_030", 500, TradingError, Medium, AskHuman,
        "the bot reported a failure without saying which",
        "the bot sent an event of kind `error` without cause and code",
        "unknown: the bot did not say what it means",
        "A human looks into the bot's own log around this time; its author lets it send `error` with the event.",
        next: [SUMMARY];

    // WFL: workflows and their runs.
    WorkflowUnknown = "WFL_001", 404, ValidationError, Low, FixArgs,
        "no such workflow",
        "no workflow has this id",
        "nothing was done",
        "Use an id from `GET workflows`.",
        next: [WORKFLOWS];
    WorkflowRunUnknown = "WFL_002", 404, ValidationError, Low, FixArgs,
        "no such run",
        "no run has this id, or the workflow has not run yet",
        "nothing was done",
        "Take the `run_id` that the execution returned, or look through `GET workflows/{id}/runs`.",
        next: [WORKFLOWS];
    WorkflowParamsInvalid = "WFL_003", 422, ValidationError, Low, FixArgs,
        "the parameters do not fit",
        "`params` is not what the workflow's schema takes",
        "no run was begun",
        "Correct what `errors` names; the schema stands in `GET workflows/{id}` under `params`.",
        next: [WORKFLOWS];
    WorkflowConflict = "WFL_004", 409, TradingError, Medium, Wait, after_ms: 2000,
        "another operation holds the bot",
        "a run or a config change is under way, and this workflow does not wait",
        "no run was begun",
        "`context.holder` names what is under way: wait until it has ended, then send the same again.",
        next: [WORKFLOWS];
    WorkflowQueueFull = "WFL_005", 429, TradingError, Medium, Wait, after_ms: 5000,
        "too many runs wait or run",
        "the workflow's queue or its number of parallel runs is full",
        "no run was begun; the ones before go on",
        "Wait until some have ended, then send the same again.",
        next: [WORKFLOWS];
    WorkflowRunOver = "WFL_006", 409, ValidationError, Low, Never,
        "the run is over",
        "a run that has ended cannot be cancelled",
        "nothing was done; `context.state` says how it ended",
        "Read the run. To undo what it did, execute the workflow that does the opposite.",
        next: [WORKFLOWS];
    WorkflowPastPivot = "WFL_007", 409, ValidationError, Medium, Wait, after_ms: 2000,
        "the run is past its point of no return",
        "its pivot step has begun, from where it only goes forward",
        "the run goes on to its end",
        "Follow it to its end with `GET workflows/runs/{run}?wait=5m&until=ended`.",
        next: [WORKFLOWS];
    WorkflowStepFailed = "WFL_008", 409, TradingError, Medium, Refetch,
        "a step of the run failed",
        "a step was refused, or its result was not what the workflow expects",
        "the run turned back, or ended in its safe posture",
        "Read the failed step's `criteria` and `error`, remove the cause, try with `?dry_run=true`, then execute it again.",
        next: [WORKFLOWS, SUMMARY];
    WorkflowNeedsAttention = "WFL_009", 500, TradingError, Critical, AskHuman, effect: Unknown,
        "a run needs a person",
        "what a step did cannot be told, or could not be taken back",
        "the bot may be in a state that nobody chose; the run changes nothing more",
        "A human compares the run's steps with the bot's state (`GET state`) and puts right what differs with control \
         verbs; the run itself stays as it is.",
        next: [SUMMARY, WORKFLOWS];
    WorkflowCancelled = "WFL_010", 409, TradingError, Low, Never,
        "the run was cancelled",
        "somebody told it to stop",
        "what it had done was taken back",
        "Nothing is to be done. Execute the workflow again if it is still wanted.",
        next: [WORKFLOWS];
    ArtifactUnknown = "WFL_011", 404, ValidationError, Low, FixArgs,
        "no such artifact",
        "no file has this id; the oldest ones are deleted after fifty newer ones",
        "nothing was done",
        "Take the id from the run's `outputs.artifact`, or run `export-logs` again.",
        next: [WORKFLOWS];

    // BRK: the broker session and the broker's answers. Remediations say whether to wait, to act, or to call a human.
    BrokerSessionInvalid = "BRK_001", 503, AuthenticationError, High, Wait, after_ms: 30000,
        "the broker session is not valid",
        "the broker no longer accepts the session's token",
        "no new position is opened until a new sign-in succeeds; nothing was sent",
        "Wait: the bot signs in again by itself, at most three times per incident. If `session.state` is not \
         `healthy` after two minutes, act: `POST control/reauth`.",
        next: [SUMMARY, REAUTH];
    BrokerCredentialsRejected = "BRK_002", 503, AuthenticationError, Critical, AskHuman,
        "the broker rejected the credentials",
        "the key, password or refresh token was refused; the bot does not try it again, since that locks accounts",
        "no order passes, exits included; open positions stay as they are",
        "A human must act: renew the key or sign in to the broker, put the new credentials where the bot reads \
         them, then `POST control/reauth`. Do not repeat reauth before the credentials were changed.",
        next: [SUMMARY, REAUTH];
    BrokerApprovalNeeded = "BRK_003", 503, AuthenticationError, Critical, AskHuman,
        "a human must approve the broker sign-in",
        "the broker wants a confirmation in its app, or a code",
        "no order passes until it is approved or the time is over",
        "A human must act: approve the prompt in the broker's app, or send the code with `POST control/reauth` and \
         `args.code`. `session.needs_human` says which.",
        next: [SUMMARY, REAUTH];
    BrokerRateLimited = "BRK_004", 503, NetworkError, Medium, Wait, after_ms: 60000,
        "the broker asked us to wait",
        "the broker's request quota is used up",
        "no order and no check is sent before `session.resumes_at`",
        "Wait until `session.resumes_at`; the bot goes on by itself. Calls before that make it longer.",
        next: [SUMMARY];
    BrokerUnreachable = "BRK_005", 503, NetworkError, High, Wait, after_ms: 10000,
        "the broker cannot be reached",
        "no connection, no answer in time, or a server error at the broker",
        "no new position is opened; exits still pass while the session is `degraded`",
        "Wait: the bot checks every 10 seconds. If it lasts, look at the broker's status page and at the network of \
         the bot's machine; `POST control/probe-session` checks at once.",
        next: [PROBE, SUMMARY];
    BrokerAnswerInvalid = "BRK_006", 503, NetworkError, High, Wait, after_ms: 10000,
        "the broker's answer makes no sense",
        "the answer is not what the broker's API promises: a redirect, a web page, broken or oversized JSON",
        "no new position is opened; nothing of the answer was used",
        "Act: check that the broker's base URL is right and that no proxy answers in its place. The bot checks \
         again every 10 seconds.",
        next: [PROBE, SUMMARY];
    BrokerTls = "BRK_007", 503, NetworkError, Critical, AskHuman,
        "the broker's certificate cannot be trusted",
        "the TLS handshake failed: unknown issuer, wrong name or expired certificate",
        "nothing was sent; there is no fallback to plain HTTP",
        "A human must look: check the clock and the certificate store of the bot's machine, the base URL, and \
         whether something intercepts the connection. Then `POST control/probe-session`.",
        next: [PROBE, SUMMARY];
    BrokerBreakerOpen = "BRK_008", 503, TradingError, Critical, AskHuman,
        "the circuit breaker is open",
        "too many checks of the broker session failed in a row, or an operator halted trading",
        "no order passes, exits included; cancels are sent as best they can",
        "Read `circuit_breaker`. With `resumes_at` set, waiting is enough: the bot tries by itself then. With \
         `needs_human` set, it is not: a person does what that says. `reset_breaker` means: remove the cause, then \
         `POST control/reset-breaker`: one good check closes it.",
        next: [RESET_BREAKER, SUMMARY];
    BrokerAccountRestricted = "BRK_009", 503, TradingError, Critical, AskHuman,
        "the account may not open positions",
        "the broker restricted the account: locked, blocked, closing only, or the token lacks the permission",
        "no new position is opened; orders that reduce exposure are still tried",
        "A human must act: clear the restriction with the broker. The bot notices it with the next check, or at \
         once with `POST control/probe-session`.",
        next: [PROBE, SUMMARY];
    BrokerOrderRefused = "BRK_010", 422, TradingError, Medium, FixArgs,
        "the broker refused the order",
        "the order breaks a rule of the broker: funds, quantity, price, or an instrument that cannot be traded",
        "the order was not placed; the session is fine",
        "Act: correct what `context` names (buying power, quantity, price). Sending the same order again gives the \
         same answer.",
        next: [SUMMARY];
    BrokerOrderUnknown = "BRK_011", 502, TradingError, Critical, Refetch, effect: Unknown,
        "the outcome of an order is not known",
        "the connection broke after the order was sent, and looking it up by its client id gave no answer",
        "the order may or may not be at the broker; it is not sent again",
        "Act: compare the broker's order list with `context.client_order_id`. The bot looks it up again once the \
         session is healthy. Never place it again by hand before that.",
        next: [SUMMARY, PROBE];
    BrokerTokenStore = "BRK_012", 503, ServerError, Critical, AskHuman,
        "the token store cannot be written",
        "the broker gave a new token pair and it could not be made durable",
        "trading is halted: after a restart the old pair would no longer work",
        "A human must act before any restart: free space or repair the permissions of the token file, then \
         `POST control/reauth`; the bot still holds the new pair in memory and stores it then.",
        next: [SUMMARY, REAUTH];
    BrokerClockSkew = "BRK_013", 503, ServerError, Medium, AskHuman,
        "the machine's clock is off",
        "the broker's clock and ours differ by more than 30 seconds, or the clock jumped",
        "trading goes on; token ends are judged with the difference, but other timestamps are wrong",
        "A human must act: synchronise the machine's clock (NTP). `session.clock_skew_seconds` says by how much.",
        next: [PROBE, SUMMARY];

    // HLT: health.
    ComponentUnknown = "HLT_001", 404, ValidationError, Low, FixArgs,
        "no such component",
        "nothing with this id is watched",
        "nothing was done",
        "Use an id that the list of components has; `context.known` names some.",
        next: [COMPONENTS];
    CheckerInvalid = "HLT_002", 422, ValidationError, Low, FixArgs,
        "the checker cannot be used",
        "something about the checker is wrong",
        "nothing was added",
        "Correct everything that `errors` names and send it again.",
        next: [COMPONENTS];
    CheckerAddressClosed = "HLT_003", 422, ValidationError, Medium, AskHuman,
        "the checker may not reach this address",
        "checks reach public addresses and what BOT_CHECK_ALLOW names; metadata services of clouds never",
        "nothing was added and nothing was asked",
        "Use a public address, or have an operator name the host or network in BOT_CHECK_ALLOW and restart botops.",
        next: [COMPONENTS];
    CheckerExists = "HLT_004", 409, ValidationError, Low, FixArgs,
        "there is a component with this id",
        "an id names one component",
        "nothing was added; the component that is there stays as it is",
        "Use another id, or remove the checker first.",
        next: [COMPONENTS];
    CheckerBuiltIn = "HLT_005", 409, ValidationError, Low, Never,
        "built-in components stay",
        "the component is part of botops",
        "nothing was removed",
        "Leave it, or keep quiet about it with a silence or a maintenance window.",
        next: [("list_health_silences", "GET", "/api/v1/health/silences", "read")];
    CheckerNeeded = "HLT_006", 409, ValidationError, Low, FixArgs,
        "other components depend on this one",
        "a component that others need cannot be removed",
        "nothing was removed",
        "Remove those in `context.needed_by` first.",
        next: [COMPONENTS];
    AlertUnknown = "HLT_007", 404, ValidationError, Low, FixArgs,
        "no such alert",
        "no open or recently resolved alert has this id",
        "nothing was done",
        "Use an `alert_id` of the list of alerts.",
        next: [("list_health_alerts", "GET", "/api/v1/health/alerts", "read")];
    SilenceInvalid = "HLT_008", 422, ValidationError, Low, FixArgs,
        "the silence or maintenance window cannot be used",
        "something about it is wrong",
        "nothing was added",
        "Correct everything that `errors` names and send it again.",
        next: [("list_health_silences", "GET", "/api/v1/health/silences", "read")];
    SilenceUnknown = "HLT_009", 404, ValidationError, Low, FixArgs,
        "no such silence or maintenance window",
        "nothing has this id, or it was forgotten after its end",
        "nothing was done",
        "Use an id of the list.",
        next: [("list_health_silences", "GET", "/api/v1/health/silences", "read")];
    MonitoringConfigInvalid = "HLT_010", 422, ValidationError, Low, FixArgs,
        "the monitoring config cannot be used",
        "a value is out of range, or two do not fit together",
        "nothing changed",
        "Correct everything that `errors` names and send it again.",
        next: [("get_health_monitoring", "GET", "/api/v1/health/monitoring/status", "read")];
    MonitoringStopped = "HLT_011", 409, ValidationError, Medium, AskHuman,
        "monitoring is stopped",
        "an operator stopped all checks",
        "nothing was looked at; the system's status is UNKNOWN",
        "An operator starts the checks with `POST monitoring/start`.",
        next: [("get_health_monitoring", "GET", "/api/v1/health/monitoring/status", "read")];
    RecoveryRefused = "HLT_012", 409, ValidationError, Medium, Refetch,
        "the recovery cannot start",
        "nothing mends this component, another recovery runs, or the budget is used up",
        "nothing was started",
        "Read how recovery stands, wait for `until`, or reset it.",
        next: [("list_health_recovery", "GET", "/api/v1/health/recovery", "read")];
    IncidentUnknown = "HLT_013", 404, ValidationError, Low, FixArgs,
        "no such incident",
        "nothing has this id, or it was forgotten 90 days after its end",
        "nothing was done",
        "Use an id of the list.",
        next: [("list_incidents", "GET", "/api/v1/incidents", "read")];

    // SRV: botops itself.
    Internal = "SRV_001", 500, ServerError, Critical, Refetch, effect: Unknown,
        "botops failed",
        "a defect in botops; the log has it under the request id",
        "this request failed; others are not affected, nor is the bot",
        "Read the state before repeating a change. Report the request id if it happens again.",
        next: [LIVEZ];
    StoreUnavailable = "SRV_002", 503, ServerError, Critical, AskHuman,
        "the data folder cannot be written",
        "the disk is full, read-only or failing",
        "reads go on; changes are refused, since they could not be recorded",
        "Free space in or repair BOT_DATA_DIR; botops goes on by itself.",
        next: [READYZ];
    Stopping = "SRV_003", 503, ServerError, Low, Wait, after_ms: 5000,
        "botops is stopping",
        "the process was told to stop and takes no new work",
        "nothing was done",
        "Try again when it is back.",
        next: [READYZ];
    DeadlineExceeded = "SRV_004", 504, ServerError, Medium, Refetch, effect: Unknown,
        "the request took longer than it may",
        "the work did not finish inside the request's 30 seconds",
        "a change may have been made",
        "Read the state before repeating.",
        next: [SUMMARY];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let row = code.row();
            assert!(seen.insert(row.code), "{} stands twice", row.code);
            let (area, number) = row.code.split_once('_').unwrap();
            assert!(
                ["AUTH", "API", "BOT", "BRK", "CFG", "HLT", "SRV", "WFL"].contains(&area),
                "{}",
                row.code
            );
            assert!(number.len() == 3 && number.chars().all(|c| c.is_ascii_digit()), "{}", row.code);
            assert!(!row.next.is_empty(), "{} says no next call", row.code);
            assert!(row.remediation.ends_with('.'), "{}", row.code);
        }
    }
}
