//! What Robinhood answers: token answers, refusals, accounts, positions, quotes.
//!
//! The body decides what a token answer means, its status hardly does. Deliberately absent: calls.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::super::http::Answer;
use super::super::{BrokerError, Challenge, ChallengeKind, lenient, lenient_required};
use super::text_at;
use botops_contract::Position;

#[derive(Debug, Deserialize)]
pub(super) struct Grant {
    pub(super) access_token: SecretString,
    #[serde(default)]
    pub(super) expires_in: Option<i64>,
    #[serde(default)]
    pub(super) refresh_token: Option<SecretString>,
}

/// The body decides what a token answer means; its status is 200, 400, 401 or 403.
pub(super) fn read_grant(answer: &Answer) -> Result<Grant, BrokerError> {
    let body: Value = answer.parse()?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let challenge = |kind, workflow| {
        Err(BrokerError::ChallengeRequired(Challenge { kind, workflow, inquiry: None, id: None }))
    };
    if let Some(workflow) = body.get("verification_workflow") {
        return challenge(ChallengeKind::Device, Some(text_at(workflow, "/id")?));
    }
    if body.get("mfa_required").and_then(Value::as_bool) == Some(true) {
        let is_sms = text("mfa_type") == "sms";
        return challenge(if is_sms { ChallengeKind::Sms } else { ChallengeKind::Totp }, None);
    }
    if let Some(legacy) = body.get("challenge") {
        let is_email = legacy.get("type").and_then(Value::as_str) == Some("email");
        let kind = if is_email { ChallengeKind::Email } else { ChallengeKind::Sms };
        let id = Some(text_at(legacy, "/id")?);
        return Err(BrokerError::ChallengeRequired(Challenge { kind, workflow: None, inquiry: None, id }));
    }
    let detail = text("detail").to_ascii_lowercase();
    if detail.contains("challenge type required") {
        return challenge(ChallengeKind::Sms, None);
    }
    if answer.status == 200 {
        return serde_json::from_value(body)
            .map_err(|_| BrokerError::Protocol { what: "a token answer without a token" });
    }
    if detail.contains("too many login attempts") {
        return Err(BrokerError::LoginLocked);
    }
    let refused = |hint| Err(BrokerError::CredentialsRejected { hint });
    match text("error") {
        "invalid_grant" => return Err(BrokerError::RefreshSpent),
        "invalid_client" | "unsupported_grant_type" => {
            return refused("the client id or the grant was refused");
        }
        _ => {}
    }
    match answer.status {
        400 | 401 | 403 => refused("user name or password is wrong, or the broker blocks this client"),
        _ => Err(BrokerError::Protocol { what: "a status that the API does not have here" }),
    }
}

/// A 403 on a read is about permissions, about the token, or a soft block after too many calls.
pub(super) fn refused_read(answer: &Answer, generation: u64) -> BrokerError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let detail = text("detail");
    if text("error_code").contains("permission") || detail.contains("permission") {
        return BrokerError::Forbidden;
    }
    if detail.contains("token") || detail.contains("credential") {
        return BrokerError::SessionInvalid { generation };
    }
    BrokerError::RateLimited { wait: Duration::from_secs(60) }
}

/// The `exp` of a web token; a hint, so its signature does not matter.
pub(super) fn jwt_end(token: &str) -> Option<DateTime<Utc>> {
    let payload = token.split('.').nth(1)?;
    let bytes = data_encoding::BASE64URL_NOPAD.decode(payload.trim_end_matches('=').as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    DateTime::from_timestamp(claims.get("exp")?.as_i64()?, 0)
}

#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) results: Vec<T>,
    #[serde(default)]
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AccountBody {
    #[serde(default)]
    pub(super) account_number: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) buying_power: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cash: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) portfolio_cash: Option<Decimal>,
    #[serde(default)]
    pub(super) locked: bool,
    #[serde(default)]
    pub(super) deactivated: bool,
    #[serde(default)]
    pub(super) permanently_deactivated: bool,
    #[serde(default)]
    pub(super) only_position_closing_trades: bool,
}

impl AccountBody {
    pub(super) fn number(&self) -> Result<&str, BrokerError> {
        let number = self.account_number.as_deref().filter(|number| !number.is_empty());
        number.ok_or(BrokerError::Protocol { what: "an account without a number" })
    }

    pub(super) fn restriction(&self) -> Option<&'static str> {
        if self.deactivated || self.permanently_deactivated {
            return Some("the account is deactivated");
        }
        if self.locked {
            return Some("the account is locked");
        }
        self.only_position_closing_trades.then_some("the account may only close positions")
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct PortfolioBody {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) equity: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) extended_hours_equity: Option<Decimal>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PositionBody {
    pub(super) instrument: String,
    #[serde(deserialize_with = "lenient_required")]
    pub(super) quantity: Decimal,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) average_buy_price: Option<Decimal>,
}

impl PositionBody {
    pub(super) fn into_position(
        self,
        symbol: String,
        prices: &BTreeMap<String, Decimal>,
        at: DateTime<Utc>,
    ) -> Position {
        let entry = self.average_buy_price.unwrap_or_default();
        let price = prices.get(&symbol).copied();
        let profit = price.and_then(|price| (price - entry).checked_mul(self.quantity));
        let cost = entry.checked_mul(self.quantity).map(|cost| cost.abs()).filter(|cost| !cost.is_zero());
        let percent = profit
            .zip(cost)
            .and_then(|(profit, cost)| profit.checked_div(cost)?.checked_mul(Decimal::ONE_HUNDRED));
        Position {
            symbol,
            quantity: self.quantity,
            entry_price: entry,
            current_price: price,
            unrealized_pl: profit,
            unrealized_pl_pct: percent,
            stop_price: None,
            target_price: None,
            last_updated: at,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct QuoteBody {
    pub(super) symbol: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) last_trade_price: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) last_extended_hours_trade_price: Option<Decimal>,
}
