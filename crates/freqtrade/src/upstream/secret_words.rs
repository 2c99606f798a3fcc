//! The password and the tokens taken out of texts that others are shown. What decides is read first and never touched: a
//! weak password may be a word of freqtrade's own, a key or a number.

use std::sync::Arc;

use botops_core::redact;
use secrecy::{ExposeSecret, SecretString};

use super::answers::{
    BalanceAnswer, ConfigEcho, HealthAnswer, LocksAnswer, LogsAnswer, OWN_LOCK, WhitelistAnswer,
};
use super::lenient::ReadList;
use super::trade_answers::{FreqtradeTrade, TradesAnswer};
use crate::credentials::UpstreamCredentials;

/// Shorter secrets are not looked for: a word of a few letters would hide ordinary text.
const SECRET_MIN: usize = 6;

/// What must not be in any text that is shown; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct SecretWords {
    words: Arc<[SecretString]>,
}

impl SecretWords {
    pub(super) fn of(credentials: &UpstreamCredentials) -> Self {
        let long =
            credentials.secrets().into_iter().filter(|secret| secret.expose_secret().len() >= SECRET_MIN);
        Self { words: long.collect() }
    }

    /// The text with every secret masked.
    pub(super) fn hide(&self, text: &str) -> String {
        self.words.iter().map(ExposeSecret::expose_secret).fold(text.to_owned(), |text, secret| {
            if text.contains(secret) { text.replace(secret, redact::MASK) } else { text }
        })
    }

    fn hide_in(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            *text = self.hide(text);
        }
    }
}

/// An answer whose texts for people are masked once it was read. States, names of pairs, currencies and orders decide, and
/// stay.
pub(crate) trait HideSecrets {
    /// Masks its texts for people.
    fn hide_secrets(&mut self, secrets: &SecretWords);
}

impl HideSecrets for ConfigEcho {
    fn hide_secrets(&mut self, secrets: &SecretWords) {
        secrets.hide_in(&mut self.bot_name);
        secrets.hide_in(&mut self.strategy_version);
    }
}

impl HideSecrets for LogsAnswer {
    fn hide_secrets(&mut self, secrets: &SecretWords) {
        // Of the others, only what the heartbeat says is used, and nothing is shown.
        let shown = self.logs.items.iter_mut().filter(|line| line.is_failure());
        shown.for_each(|line| line.message = secrets.hide(&line.message));
    }
}

impl HideSecrets for LocksAnswer {
    fn hide_secrets(&mut self, secrets: &SecretWords) {
        for reason in self.locks.items.iter_mut().filter_map(|lock| lock.reason.as_mut()) {
            // The mark of a durable pause says whose lock it is.
            let mark =
                if reason.starts_with(OWN_LOCK) { reason.find(':').unwrap_or(reason.len()) } else { 0 };
            let (mark, said) = reason.split_at(mark);
            *reason = format!("{mark}{}", secrets.hide(said));
        }
    }
}

impl HideSecrets for FreqtradeTrade {
    fn hide_secrets(&mut self, secrets: &SecretWords) {
        secrets.hide_in(&mut self.enter_tag);
        secrets.hide_in(&mut self.exit_reason);
    }
}

impl<T: HideSecrets> HideSecrets for ReadList<T> {
    fn hide_secrets(&mut self, secrets: &SecretWords) {
        self.items.iter_mut().for_each(|item| item.hide_secrets(secrets));
    }
}

impl HideSecrets for TradesAnswer {
    fn hide_secrets(&mut self, secrets: &SecretWords) {
        self.trades.hide_secrets(secrets);
    }
}

impl HideSecrets for HealthAnswer {
    fn hide_secrets(&mut self, _: &SecretWords) {}
}

impl HideSecrets for BalanceAnswer {
    fn hide_secrets(&mut self, _: &SecretWords) {}
}

impl HideSecrets for WhitelistAnswer {
    fn hide_secrets(&mut self, _: &SecretWords) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credentials::UpstreamProof;

    fn secrets(password: &str) -> SecretWords {
        let proof =
            UpstreamProof::Password { username: "a".to_owned(), password: password.to_owned().into() };
        SecretWords::of(&UpstreamCredentials { proof, websocket_token: None, is_shared: false })
    }

    #[test]
    fn a_password_that_is_an_ordinary_word_changes_no_data() {
        let mut echo: ConfigEcho =
            serde_json::from_value(json!({"state": "running", "bot_name": "running"})).unwrap();
        echo.hide_secrets(&secrets("running"));
        assert_eq!((echo.state.as_deref(), echo.bot_name.as_deref()), (Some("running"), Some("*****")));
    }

    #[test]
    fn the_mark_of_a_durable_pause_stays_and_its_reason_is_masked() {
        let text = r#"{"locks": [{"pair": "*", "reason": "botops durable pause 0123abcd: said botops"}]}"#;
        let mut locks: LocksAnswer = serde_json::from_str(text).unwrap();
        locks.hide_secrets(&secrets("botops"));
        let lock = &locks.locks.items[0];
        assert!(lock.is_marked("botops durable pause 0123abcd"));
        assert_eq!(lock.reason.as_deref(), Some("botops durable pause 0123abcd: said *****"));
    }
}
