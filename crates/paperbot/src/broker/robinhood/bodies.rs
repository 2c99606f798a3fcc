//! The bodies of Robinhood's answers: token answers, refusals, accounts; and which of its ids are safe in a path.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::broker::error::BrokerError;
use crate::broker::http::BrokerAnswer;
use crate::broker::model::{ChallengeKind, SignInChallenge};

#[derive(Debug, Deserialize)]
pub(super) struct TokenGrant {
    pub(super) access_token: SecretString,
    #[serde(default)]
    pub(super) expires_in: Option<i64>,
    #[serde(default)]
    pub(super) refresh_token: Option<SecretString>,
}

/// Interprets a token answer by its body, because its status (200, 400, 401 or 403) says little.
pub(super) fn read_grant(answer: &BrokerAnswer) -> Result<TokenGrant, BrokerError> {
    let body: Value = answer.parse()?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let challenge = |kind, workflow| {
        Err(BrokerError::ChallengeRequired(SignInChallenge { kind, workflow, inquiry: None, id: None }))
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
        return Err(BrokerError::ChallengeRequired(SignInChallenge {
            kind,
            workflow: None,
            inquiry: None,
            id,
        }));
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

/// Interprets a refused read: a 403 is about permissions, about the token, or a temporary block after too many calls.
pub(super) fn refused_read(answer: &BrokerAnswer, generation: u64) -> BrokerError {
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

/// The `exp` of a JSON web token. Used only to plan the renewal, so its signature is not checked.
pub(super) fn jwt_end(token: &str) -> Option<DateTime<Utc>> {
    let payload = token.split('.').nth(1)?;
    let bytes = data_encoding::BASE64URL_NOPAD.decode(payload.trim_end_matches('=').as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    DateTime::from_timestamp(claims.get("exp")?.as_i64()?, 0)
}

#[derive(Debug, Deserialize)]
pub(super) struct ResultPage<T> {
    pub(super) results: Vec<T>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RobinhoodAccount {
    #[serde(default)]
    pub(super) account_number: Option<String>,
    #[serde(default)]
    pub(super) locked: bool,
    #[serde(default)]
    pub(super) deactivated: bool,
    #[serde(default)]
    pub(super) permanently_deactivated: bool,
    #[serde(default)]
    pub(super) only_position_closing_trades: bool,
}

impl RobinhoodAccount {
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

/// An id from an answer, checked to be safe as a part of a path.
pub(super) fn text_at(value: &Value, place: &str) -> Result<String, BrokerError> {
    let text = value.pointer(place).and_then(Value::as_str).ok_or(BrokerError::Protocol { what: "no id" })?;
    id_for_path(text).map(str::to_owned)
}

pub(super) fn id_for_path(id: &str) -> Result<&str, BrokerError> {
    let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if id.is_empty() || id.len() > 80 || !plain || id.contains("..") {
        return Err(BrokerError::Protocol { what: "an id that is none" });
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_web_token_is_read_and_of_an_opaque_one_not() {
        let payload = data_encoding::BASE64URL_NOPAD.encode(br#"{"exp":1772798400}"#);
        assert_eq!(jwt_end(&format!("eyJh.{payload}.sig")).unwrap().timestamp(), 1_772_798_400);
        for token in ["opaque", "a.b.c", "", "..", "eyJh.eyJhIjoxfQ.sig"] {
            assert_eq!(jwt_end(token), None, "{token}");
        }
    }

    #[test]
    fn an_id_cannot_leave_its_path() {
        for id in ["../x", "a/b", "", "a?b", "a%2f", "a..b"] {
            assert!(id_for_path(id).is_err(), "{id}");
        }
        assert!(id_for_path("5QR-123_4.B").is_ok());
    }
}
