//! The fault script of the paper broker: which calls fail, how, and when.

use std::path::Path;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer};

/// A list of faults, in order: YAML or JSON.
///
/// ```yaml
/// - {after_s: 5, do: expire_token}
/// - {do: "503", times: 8}
/// - {after_s: 60, do: "429", retry_after_s: 20}
/// - {on: reauth, do: credentials_rejected}
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    pub(super) faults: Vec<ScriptedFault>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptedFault {
    /// Seconds after the broker's start before which the fault does nothing.
    #[serde(default)]
    pub(super) after_s: f64,
    /// Which calls it affects; by default those where the fault makes sense.
    #[serde(default)]
    pub(super) on: Option<FaultRoute>,
    #[serde(rename = "do", deserialize_with = "word_or_status")]
    pub(super) what: FaultKind,
    /// How many calls it affects.
    #[serde(default = "once")]
    pub(super) times: u32,
    /// For `429`: the seconds that the answer tells the client to wait.
    #[serde(default)]
    pub(super) retry_after_s: Option<f64>,
    /// For a skewed clock: the seconds by which the broker's clock is ahead.
    #[serde(default)]
    pub(super) seconds: Option<f64>,
    /// For a challenge: it is approved after this many seconds; without it, never.
    #[serde(default)]
    pub(super) approve_after_s: Option<f64>,
}

fn once() -> u32 {
    1
}

/// `do: 503` and `do: "503"` mean the same.
fn word_or_status<'de, D: Deserializer<'de>>(input: D) -> Result<FaultKind, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Word(String),
        Status(u16),
    }
    let word = match Written::deserialize(input)? {
        Written::Word(word) => word,
        Written::Status(status) => status.to_string(),
    };
    FaultKind::deserialize(word.into_deserializer())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultRoute {
    Probe,
    Reauth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultKind {
    Ok,
    ExpireToken,
    Lock,
    Unlock,
    Skew,
    #[serde(rename = "401")]
    Unauthorized,
    #[serde(rename = "403")]
    Forbidden,
    #[serde(rename = "429")]
    RateLimited,
    #[serde(rename = "500", alias = "502", alias = "503", alias = "504")]
    ServerError,
    #[serde(alias = "drip")]
    Hang,
    #[serde(alias = "truncate")]
    Truncated,
    Reset,
    #[serde(alias = "closed_port")]
    Connect,
    Dns,
    Tls,
    Redirect,
    #[serde(alias = "html", alias = "oversize", alias = "empty_results")]
    Malformed,
    CredentialsRejected,
    RefreshSpent,
    LoginLocked,
    Challenge,
    Code,
    TokenStore,
    Panic,
}

impl FaultKind {
    /// Whether the fault changes the session at its time instead of failing a call.
    pub(super) fn changes_session(self) -> bool {
        matches!(self, Self::ExpireToken | Self::Lock | Self::Unlock | Self::Skew)
    }

    fn default_route(self) -> FaultRoute {
        match self {
            Self::CredentialsRejected
            | Self::RefreshSpent
            | Self::LoginLocked
            | Self::Challenge
            | Self::Code
            | Self::TokenStore => FaultRoute::Reauth,
            _ => FaultRoute::Probe,
        }
    }
}

impl FaultScript {
    pub fn load(path: &Path) -> Result<Self, String> {
        Self::parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?)
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let faults: Vec<ScriptedFault> = crate::yaml_records::list_of_records(text)?;
        for fault in &faults {
            let times = [Some(fault.after_s), fault.retry_after_s, fault.approve_after_s];
            if times.into_iter().flatten().any(|seconds| !(0.0..=1e7).contains(&seconds)) {
                return Err("times are seconds from 0 to 10,000,000".to_owned());
            }
        }
        Ok(Self { faults })
    }
}

impl ScriptedFault {
    /// Whether its time has come and it affects this route.
    pub(super) fn hits(&self, route: FaultRoute, elapsed: f64) -> bool {
        self.after_s <= elapsed && self.on.unwrap_or_else(|| self.what.default_route()) == route
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_with_an_unknown_word_is_refused() {
        for text in ["[{do: explode}]", "[{doo: ok}]", "[{do: ok, after_s: -1}]", "{do: ok}"] {
            assert!(FaultScript::parse(text).is_err(), "{text}");
        }
    }
}
