//! Control verbs: single commands to the bot, each with a reason, predicted on request, recorded permanently.
//!
//! No verb opens a position, and none is tried again. The caller's `Idempotency-Key` is the command's id, so a
//! bot that gets the same again acts once; botops itself answers a key that was answered before. What an answer does not prove is `unknown`, in the
//! problem and in the journal; a second event with the same command id says how it ended, and so does the key from then on.

use std::borrow::Cow;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::commands::CommandAsker;
use super::control_view::ControlView;
use super::handle::Bots;
use crate::events::{Events, NewEvent};
use botops_contract::{CommandRequest, DURABLE_PAUSE, EventKind, Severity, Verb};
use botops_core::error::{Code, Effect, Error};
use botops_core::reason::checked_reason;
use botops_core::text::is_symbol;
use botops_http::{self, Actor, ChangeClaim, FeatureRoutes, IdempotencyKey, Json, Query, routes};

/// How many characters a code of the broker has.
const CODE_LENGTH: std::ops::RangeInclusive<usize> = 1..=64;

/// Symbols that `cancel-orders` may name.
const SYMBOLS_MAX: usize = 200;

/// Body of a control verb.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ControlRequest {
    /// Why, for the record: 3 to 500 characters.
    #[serde(default)]
    #[schema(
        min_length = 3,
        max_length = 500,
        example = "spread widened after the news, wait for the close"
    )]
    reason: String,
    /// Only for `cancel-orders`: cancel only orders of these symbols.
    #[serde(default)]
    symbols: Option<Vec<String>>,
    /// Only for `reauth`, and for what an adapter takes with `pause`, `resume` and `cancel-orders`.
    #[serde(default)]
    args: Option<ControlArgs>,
}

/// Arguments of a control verb.
#[derive(Debug, Default, ToSchema)]
struct ControlArgs {
    /// `reauth`: the code that a person got from the broker, as a text. It is passed on to the bot and kept nowhere.
    #[schema(value_type = Option<String>, example = "123456")]
    code: Option<SecretString>,
    /// `pause`: it holds over a reload of the bot's config and a restart. Only for a bot with the capability
    /// `durable-pause`.
    durable: Option<bool>,
    /// `pause` with `durable`: when the bot may open positions again by itself; else when somebody resumes.
    until: Option<DateTime<Utc>>,
    /// `resume` and `pause`: the bot may be started for it where it is stopped.
    start: Option<bool>,
    /// `cancel-orders`: orders that close positions too, of a bot that else cancels entries alone.
    exits: Option<bool>,
}

/// Read by hand, since the messages of a derived reader repeat what they cannot read: here that may be the code.
impl<'de> Deserialize<'de> for ControlArgs {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(input)?;
        Self::read(&given).map_err(D::Error::custom)
    }
}

impl ControlArgs {
    /// A refusal that ends with a name in backquotes is of the member of this name.
    fn read(given: &Value) -> Result<Self, Cow<'static, str>> {
        const KNOWN: &str = "expected an object with `code`, `durable`, `until`, `start` or `exits`";
        let mut args = Self::default();
        let given = given.as_object().filter(|given| !given.is_empty()).ok_or(KNOWN)?;
        for (name, value) in given {
            let flag =
                || value.as_bool().map(Some).ok_or_else(|| format!("expected true or false in `{name}`"));
            match name.as_str() {
                "code" => args.code = Some(read_code(value)?),
                "durable" => args.durable = flag()?,
                "start" => args.start = flag()?,
                "exits" => args.exits = flag()?,
                "until" => {
                    const A_TIME: &str = "expected a time such as 2026-03-02T15:00:00Z in `until`";
                    let until = value.as_str().ok_or(A_TIME)?.parse::<DateTime<Utc>>();
                    args.until = Some(until.map_err(|error| format!("{error} in `until`"))?);
                }
                _ => return Err(KNOWN.into()),
            }
        }
        Ok(args)
    }

    /// The members that were given, each with the verbs that take it.
    fn given(&self) -> Vec<(&'static str, Value, &'static [Verb])> {
        let members: [(_, _, &'static [Verb]); 5] = [
            ("code", self.code.as_ref().map(|code| json!(code.expose_secret())), &[Verb::Reauth]),
            ("durable", self.durable.map(Value::from), &[Verb::Pause]),
            ("until", self.until.map(|until| json!(until)), &[Verb::Pause]),
            ("start", self.start.map(Value::from), &[Verb::Resume, Verb::Pause]),
            ("exits", self.exits.map(Value::from), &[Verb::CancelOrders]),
        ];
        members.into_iter().filter_map(|(name, value, verbs)| Some((name, value?, verbs))).collect()
    }
}

fn read_code(value: &Value) -> Result<SecretString, &'static str> {
    let code = value.as_str().map(str::trim).filter(|code| CODE_LENGTH.contains(&code.len()));
    let code = code.filter(|code| code.chars().all(|c| c.is_ascii_graphic()));
    code.map(Into::into)
        .ok_or("expected {\"code\": \"…\"}, a text of 1 to 64 characters (a number loses leading zeros)")
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ControlQuery {
    /// Say what would happen to orders and positions, do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// The bot that the control verbs command, and the journal that records them.
#[derive(Debug, Clone)]
pub struct BotControl {
    bots: Bots,
    events: Events,
}

impl BotControl {
    /// Commands go to `bots` and are recorded in `events`.
    pub fn new(bots: Bots, events: Events) -> Self {
        Self { bots, events }
    }

    async fn give_command(
        &self,
        verb: Verb,
        actor: &Actor,
        claim: Option<ChangeClaim>,
        dry_run: bool,
        request: ControlRequest,
    ) -> Result<ControlView, Error> {
        let (reason, args) = check_request(verb, request)?;
        self.check_capability(&args)?;
        let is_again = claim.as_ref().is_some_and(|claim| claim.is_again);
        let key_kept = claim.as_ref().map(|claim| claim.is_kept).filter(|_| !dry_run);
        let command_id = claim.map_or_else(|| Uuid::now_v7().to_string(), |claim| claim.key);
        let sent_id = sent_id_of(&actor.key_id, &command_id, dry_run);
        if is_again && !self.bots.may_give_again(&sent_id) {
            return Err(lost_command(&command_id));
        }
        let command = CommandRequest {
            command_id: sent_id,
            reason: reason.clone(),
            args,
            dry_run,
            valid_for_ms: None,
            expires_at: None,
        };
        let asker = CommandAsker {
            actor: actor.key_id.to_string(),
            command_id: command_id.clone(),
            run_id: None,
            step: None,
        };
        let answered = self.bots.command_for(verb, command, asker).await;
        self.publish_command(verb, actor, &command_id, dry_run, &reason, answered.as_ref());
        if let Err(error) = answered.as_ref()
            && !dry_run
        {
            self.bots.record_failure(verb, &actor.key_id, &command_id, error);
        }
        let result = answered.map_err(|error| error.context("command_id", command_id.clone()))?;
        let mode = self.bots.snapshot().mode();
        Ok(ControlView {
            verb,
            command_id,
            outcome: result.outcome,
            dry_run,
            replayed: result.replayed,
            message: result.message,
            exposure: result.exposure,
            phase: result.phase,
            phase_raw: result.phase_raw,
            trading_enabled: result.trading_enabled,
            mode,
            key_kept,
            reason,
            at: result.at,
            known_since: None,
        })
    }

    /// A bot that does not know an argument would pass over it, and a pause that does not hold, or ends never, is none.
    fn check_capability(&self, args: &Value) -> Result<(), Error> {
        if args["until"].is_string() && args["durable"] != true {
            let expected = "`durable: true` beside it: a plain pause has no end of its own";
            let error = Error::new(Code::JsonInvalid).detail("`args.until` cannot be used alone");
            return Err(error.field("/args/until", "`until` alone", expected));
        }
        let snapshot = self.bots.snapshot();
        let knows = snapshot.hello.as_ref().is_none_or(|hello| hello.offers(DURABLE_PAUSE));
        let given = ["durable", "start", "exits"].into_iter().find(|name| args[*name] == true);
        let Some(given) = given.filter(|_| !knows) else { return Ok(()) };
        Err(Error::new(Code::BotNotCapable)
            .detail(format!(
                "the bot has no capability `{DURABLE_PAUSE}` and would pass over `args.{given}`; without it, the command \
                 can be given"
            ))
            .remedy(format!(
                "Give the command without `args.{given}`. The bot's author lets it keep what it is told over a restart, \
                 and lists the capability `{DURABLE_PAUSE}` (docs/your-own-bot.md)."
            ))
            .context("capability", DURABLE_PAUSE))
    }

    /// Publishes the event of a call; the refused calls have one too.
    fn publish_command(
        &self,
        verb: Verb,
        actor: &Actor,
        command_id: &str,
        dry_run: bool,
        reason: &str,
        answered: Result<&botops_contract::CommandResult, &Error>,
    ) {
        let problem = answered.err().map(|error| error.problem("", chrono::Utc::now()));
        let in_doubt = problem.as_ref().is_some_and(|problem| problem.effect == Effect::Unknown);
        let (outcome, severity, said) = match answered {
            Ok(_) if dry_run => ("predicted", Severity::Low, String::new()),
            Ok(result) if result.replayed => ("replayed", Severity::Low, String::new()),
            Ok(_) => ("done", Severity::Medium, String::new()),
            Err(_) if in_doubt => {
                let cause = problem.as_ref().map(|problem| problem.cause.as_str()).unwrap_or_default();
                ("unknown", Severity::High, format!("; whether it acted is not known: {cause}"))
            }
            Err(error) => ("failed", Severity::Medium, format!(": {}", error.code().row().title)),
        };
        let data = json!({
            "verb": verb, "outcome": outcome, "dry_run": dry_run, "command_id": command_id, "reason": reason,
            "actor": &*actor.key_id, "client": actor.client.as_deref(), "request_id": &*actor.request_id,
            "exposure": answered.ok().map(|result| &result.exposure),
            "error_code": answered.err().map(|error| error.code().row().code),
            "reason_code": problem.as_ref().and_then(|problem| problem.context.get("reason_code")),
            "effect": problem.as_ref().map(|problem| problem.effect),
        });
        let said_of_dry_run = if answered.is_err() { format!("; it failed{said}") } else { String::new() };
        let ended = if in_doubt { said } else { format!(", {outcome}{said}") };
        let who = &actor.key_id;
        let message = match dry_run {
            true => format!(
                "{who} asked what {verb} would do: dry run, nothing was done{said_of_dry_run} ({reason})"
            ),
            false => format!("{who} told the bot to {verb}{ended} ({reason})"),
        };
        self.events.publish(NewEvent::own(EventKind::Control, severity, message, data));
    }
}

/// The id by which the bot knows a command.
///
/// It keeps the first answer under an id: a prediction must not take the real one's place, and keys of different callers
/// must not meet.
fn sent_id_of(key_id: &str, command_id: &str, dry_run: bool) -> String {
    if dry_run {
        return format!("dry-{}", Uuid::now_v7());
    }
    format!("{}/{command_id}", key_id.replace('%', "%25").replace('/', "%2F"))
}

/// The failure of a repetition that the bot could carry out a second time.
fn lost_command(command_id: &str) -> Error {
    Error::new(Code::BotTimeout)
        .detail(
            "the first command under this key was given to another start of the bot, or it is not known any more to which; \
             this one could carry it out again, so it was not sent",
        )
        .remedy(
            "Read the state and the `control` events with this command id. If the command is still wanted then, send it with a \
             new `Idempotency-Key`.",
        )
        .effect(Effect::Unknown)
        .context("command_id", command_id)
}

fn check_request(verb: Verb, request: ControlRequest) -> Result<(String, Value), Error> {
    let reason = checked_reason(&request.reason, Code::ControlReasonMissing)?;
    let mut reason = botops_core::redact::line(&reason);
    let mut args = Map::new();
    for (name, value, verbs) in request.args.iter().flat_map(ControlArgs::given) {
        if !verbs.contains(&verb) {
            let takers: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
            let expected = format!("left out: only {} takes `{name}`", takers.join(" and "));
            let error = Error::new(Code::JsonInvalid).detail("`args` cannot be used");
            return Err(error.field("/args", "an object", expected));
        }
        // Whoever repeats the code in the reason does not mean to have it recorded.
        if let Some(code) = value.as_str().filter(|_| name == "code") {
            reason = reason.replace(code, botops_core::redact::MASK);
        }
        args.insert(name.to_owned(), value);
    }
    if let Some(symbols) = request.symbols {
        args.insert("symbols".to_owned(), check_symbols(verb, &symbols)?);
    }
    Ok((reason, if args.is_empty() { Value::Null } else { Value::Object(args) }))
}

fn check_symbols(verb: Verb, symbols: &[String]) -> Result<Value, Error> {
    let problem = if verb != Verb::CancelOrders {
        "left out: only cancel-orders takes symbols"
    } else if symbols.is_empty()
        || symbols.len() > SYMBOLS_MAX
        || !symbols.iter().all(|symbol| is_symbol(symbol))
    {
        "a list of 1 to 200 symbols such as SPY or BTC/USDT, each of 1 to 64 characters"
    } else {
        return Ok(json!(symbols));
    };
    let got = format!("a list of {}", symbols.len());
    Err(Error::new(Code::JsonInvalid).detail("`symbols` cannot be used").field("/symbols", got, problem))
}

/// The route of one verb. All verbs may be refused for the same reasons.
macro_rules! verb_route {
    ($name:ident) => {
        routes!($name.refuses(
            BotRefused,
            BotNotCapable,
            ControlReasonMissing,
            BotAnswerInvalid,
            BotOffline,
            BotTimeout
        ))
    };
}

/// The routes of the control verbs.
pub fn routes() -> FeatureRoutes<BotControl> {
    FeatureRoutes::new([
        verb_route!(pause),
        verb_route!(resume),
        verb_route!(cancel_orders),
        verb_route!(flatten),
        verb_route!(probe_session),
        verb_route!(reauth),
        verb_route!(reset_breaker),
        verb_route!(halt),
        verb_route!(shutdown),
    ])
}

/// One handler a verb: each is an operation of its own, with its own name and description.
macro_rules! verb {
    ($name:ident, $path:literal, $verb:ident, $(#[$text:meta])*) => {
        $(#[$text])*
        ///
        /// With `?dry_run=true` nothing is done: `exposure` says what would happen to orders and positions. The same
        /// `Idempotency-Key` again returns the first answer with `replayed: true`.
        #[utoipa::path(post, path = $path, tag = "control", security(("api_key" = ["operate"])),
            params(ControlQuery,
                ("Idempotency-Key" = Option<String>, Header, description = "The command's id: it acts once")),
            request_body = ControlRequest,
            responses((status = 200, description = "Done, or predicted", body = ControlView, example = json!(example_view()))))]
        async fn $name(
            State(control): State<BotControl>,
            actor: Actor,
            Query(query): Query<ControlQuery>,
            IdempotencyKey(claim): IdempotencyKey,
            Json(request): Json<Option<ControlRequest>>,
        ) -> Result<Response, Error> {
            let request = request.unwrap_or_default();
            let view = control.give_command(Verb::$verb, &actor, claim, query.dry_run, request).await?;
            Ok(botops_http::json(&view))
        }
    };
}

verb!(pause, "/api/v1/control/pause", Pause, /// Open no new positions; exits go on
);
verb!(resume, "/api/v1/control/resume", Resume, /// Allow new positions again
);
verb!(cancel_orders, "/api/v1/control/cancel-orders", CancelOrders, /// Cancel resting orders, all or those of `symbols`
);
verb!(flatten, "/api/v1/control/flatten", Flatten, /// Close every position at the market, and pause
);
verb!(probe_session, "/api/v1/control/probe-session", ProbeSession, /// Check the broker session now
);
verb!(reauth, "/api/v1/control/reauth", Reauth, /// Sign in to the broker again, with `args.code` where a person got one
);
verb!(reset_breaker, "/api/v1/control/reset-breaker", ResetBreaker, /// Let the circuit breaker try again
);
verb!(halt, "/api/v1/control/halt", Halt, /// Let no order pass, exits included, until `reset-breaker`; resting orders stay
);
verb!(shutdown, "/api/v1/control/shutdown", Shutdown, /// Stop the bot's process; positions and orders stay
);

/// The answer that the API document shows as an example.
fn example_view() -> Value {
    json!({
        "verb": "pause", "command_id": "pause-2026-03-02", "outcome": "done", "dry_run": false, "replayed": false,
        "message": "no new positions are opened; exits go on",
        "exposure": {"orders_cancelled": 2, "orders_submitted": 0, "positions_closing": [], "notional": "0",
            "positions_left": 3, "orders_left": 0},
        "phase": "paused", "trading_enabled": false, "mode": "paper",
        "key_kept": true, "reason": "spread widened after the news, wait for the close", "at": "2026-03-02T15:04:05Z",
    })
}
