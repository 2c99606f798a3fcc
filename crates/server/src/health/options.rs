//! The settings of health, as plain values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::alerts::{ALERTMANAGER, AlertReceiver};
use super::checks::AllowedAddress;

/// The settings of health, as plain values.
#[derive(Debug, Clone, Default)]
pub struct HealthOptions {
    /// The data folder; the alert log is written there.
    pub data_dir: PathBuf,
    /// Hosts and networks that checks may reach in addition to public addresses.
    pub allowed: Vec<AllowedAddress>,
    /// Values of `BOT_CHECK_SECRET_*`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// A webhook that is notified of alerts.
    pub webhook: Option<reqwest::Url>,
    /// The HMAC key for the webhook's messages; without one, they are not signed.
    pub webhook_secret: Option<SecretString>,
    /// An Alertmanager that is sent the present alerts.
    pub alertmanager: Option<reqwest::Url>,
    /// An address that is requested once a minute while the loops of health make progress.
    pub watchdog: Option<reqwest::Url>,
}

impl HealthOptions {
    /// The receivers of alerts: always a file, and the webhook when there is one.
    pub(crate) fn receivers(&self) -> Vec<AlertReceiver> {
        let mut receivers = vec![AlertReceiver::File(self.data_dir.join("alerts.jsonl"))];
        let secret = self.webhook_secret.clone();
        receivers.extend(self.webhook.clone().map(|url| AlertReceiver::Webhook { url, secret }));
        receivers
    }

    /// The names under which receivers are shown, Alertmanager's included.
    pub(crate) fn receiver_names(&self) -> Vec<&'static str> {
        let alertmanager = self.alertmanager.as_ref().map(|_| ALERTMANAGER);
        self.receivers().iter().map(AlertReceiver::name).chain(alertmanager).collect()
    }
}
