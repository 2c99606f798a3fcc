//! What health needs to know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::alerts::AlertReceiver;
use super::checks::AllowedAddress;

/// What health needs to know.
#[derive(Debug, Clone, Default)]
pub struct HealthOptions {
    /// The folder for the alert log.
    pub data_dir: PathBuf,
    /// Hosts and networks that checks may reach besides public ones.
    pub allowed: Vec<AllowedAddress>,
    /// Values of `BOT_CHECK_SECRET_*`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// A webhook that is told of alerts.
    pub webhook: Option<reqwest::Url>,
    /// What the webhook's messages are signed with.
    pub webhook_secret: Option<SecretString>,
    /// An Alertmanager that is told the present state.
    pub alertmanager: Option<reqwest::Url>,
    /// An address that is asked once a minute while everything moves on.
    pub watchdog: Option<reqwest::Url>,
}

impl HealthOptions {
    /// Who is told of alerts: always a file, and the webhook where there is one.
    pub(crate) fn receivers(&self) -> Vec<AlertReceiver> {
        let mut receivers = vec![AlertReceiver::File(self.data_dir.join("alerts.jsonl"))];
        let secret = self.webhook_secret.clone();
        receivers.extend(self.webhook.clone().map(|url| AlertReceiver::Webhook { url, secret }));
        receivers
    }
}
