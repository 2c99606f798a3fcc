//! `GET whoami`: what this key, this bot and this server can do.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::bots::{Bots, Presence};
use crate::overview::{Overview, SUMMARY_MAX_BYTES, SUMMARY_MAX_TOKENS};
use botops_contract::TradingMode;
use botops_core::error::Error;
use botops_http::{Actor, BODY_LIMIT, FeatureRoutes, KeyScope, RenderedDocument, routes};

/// What `GET whoami` reads from.
#[derive(Debug, Clone)]
pub struct Whoami {
    bots: Bots,
    overview: Overview,
}

impl Whoami {
    /// Answers about this bot, with the limits of its overview.
    pub fn new(bots: Bots, overview: Overview) -> Self {
        Self { bots, overview }
    }
}

/// What this key and this bot can do.
#[derive(Debug, Serialize, ToSchema)]
struct WhoamiView {
    /// The name of the key that sent this request.
    #[schema(example = "operator")]
    key: String,
    /// What the key may do; `admin` includes every other scope.
    scopes: Vec<KeyScope>,
    /// When the key expires; `null` when it does not.
    expires_at: Option<DateTime<Utc>>,
    /// Paper, live or backtest; `null` while the bot was never seen.
    mode: Option<TradingMode>,
    /// The bot that this server manages.
    bot: BotBriefView,
    /// Limits that a call must keep to.
    limits: CallLimitsView,
    /// The version of botops that answers.
    version: &'static str,
}

/// The bot, with what it can do.
#[derive(Debug, Serialize, ToSchema)]
struct BotBriefView {
    /// The bot's id.
    id: String,
    /// The bot's own version; `null` while the bot was never seen.
    version: Option<String>,
    /// Whether the bot answers; if not, what its process and socket show.
    presence: Presence,
    /// What it can do, by name; empty while the bot was never seen.
    capabilities: Vec<String>,
}

/// Limits that a call must keep to.
#[derive(Debug, Serialize, ToSchema)]
struct CallLimitsView {
    /// Requests that this key may send in a minute.
    requests_per_minute: u32,
    /// Largest request body, in bytes.
    body_bytes: usize,
    /// Longest `wait` of `GET events`, in seconds.
    wait_seconds: u64,
    /// The summary always has fewer bytes than this.
    summary_bytes: usize,
    /// The summary always has fewer o200k tokens than this.
    summary_tokens: usize,
    /// Most stream clients that may be connected at a time.
    stream_clients: usize,
}

/// The route `GET whoami`.
pub fn routes() -> FeatureRoutes<Whoami> {
    FeatureRoutes::new([routes!(get_whoami)])
}

/// What this key and this bot can do
///
/// Read it before trying: scopes of the key, capabilities of the bot, limits, and whether money is real.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "state", security(("api_key" = ["read"])),
    responses((status = 200, description = "Key, bot and limits", body = WhoamiView,
        example = json!(example_view()))))]
async fn get_whoami(
    State(whoami): State<Whoami>,
    actor: Actor,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let snapshot = whoami.bots.snapshot();
    let hello = snapshot.hello.as_deref();
    let view = WhoamiView {
        key: actor.key_id.to_string(),
        scopes: actor.scopes.effective(),
        expires_at: actor.expires_at,
        mode: snapshot.mode(),
        bot: BotBriefView {
            id: snapshot.id.to_string(),
            version: hello.and_then(|hello| hello.version.clone()),
            presence: snapshot.presence,
            capabilities: hello
                .map(|hello| hello.capabilities.iter().map(|offered| offered.name.clone()).collect())
                .unwrap_or_default(),
        },
        limits: CallLimitsView {
            requests_per_minute: actor.rate_limit,
            body_bytes: BODY_LIMIT,
            wait_seconds: botops_http::LONGEST_WAIT.as_secs(),
            summary_bytes: SUMMARY_MAX_BYTES,
            summary_tokens: SUMMARY_MAX_TOKENS,
            stream_clients: whoami.overview.max_stream_clients(),
        },
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(RenderedDocument::of_json(&view)?.respond(&headers, Duration::ZERO))
}

/// What an operator's key may do, for the API document.
fn example_view() -> serde_json::Value {
    json!({
        "key": "operator", "scopes": ["read", "operate", "config", "admin"], "expires_at": null, "mode": "paper",
        "bot": {"id": "paperbot", "version": "0.1.0", "presence": "connected",
            "capabilities": ["pause", "resume", "cancel-orders", "flatten", "shutdown", "events", "trades"]},
        "limits": {"requests_per_minute": 100, "body_bytes": 262_144, "wait_seconds": 30, "summary_bytes": 10_240,
            "summary_tokens": 1_200, "stream_clients": 12_000},
        "version": "0.1.0",
    })
}
