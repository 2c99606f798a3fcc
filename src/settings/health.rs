//! What health checks may reach, and who is told of alerts.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use botops_server::health::AllowedAddress;

use super::reader::SettingsReader;
use super::table::{
    BOT_ALERT_WATCHDOG_URL, BOT_ALERT_WEBHOOK_SECRET, BOT_ALERT_WEBHOOK_URL, BOT_ALERTMANAGER_URL,
    BOT_CHECK_ALLOW, BOT_CHECK_SECRET_,
};

/// What checks may reach and who is told of alerts.
#[derive(Clone, Default)]
pub struct HealthSettings {
    /// Hosts and networks that checks may reach besides public addresses.
    pub allowed: Vec<AllowedAddress>,
    /// Values of `BOT_CHECK_SECRET_*`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// A webhook for alerts.
    pub webhook: Option<reqwest::Url>,
    /// What the webhook's messages are signed with.
    pub webhook_secret: Option<SecretString>,
    /// An Alertmanager.
    pub alertmanager: Option<reqwest::Url>,
    /// An address asked once a minute while health moves on.
    pub watchdog: Option<reqwest::Url>,
}

/// Addresses of receivers may hold a token.
impl fmt::Debug for HealthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthSettings")
            .field("allowed", &self.allowed)
            .field("secrets", &self.secrets.keys())
            .field("webhook", &self.webhook.is_some())
            .field("alertmanager", &self.alertmanager.is_some())
            .field("watchdog", &self.watchdog.is_some())
            .finish_non_exhaustive()
    }
}

pub(super) fn read_health(reader: &mut SettingsReader<'_>) -> HealthSettings {
    let remedy = "Name hosts, addresses and networks, separated by commas.";
    let problem = "is no host, address or network";
    let allowed = reader.list(&BOT_CHECK_ALLOW, problem, remedy, |entry| entry.parse().ok());
    let webhook_secret = read_webhook_secret(reader);
    let secrets = reader.sources.beginning_with(BOT_CHECK_SECRET_.name);
    let secrets = secrets.map(|(name, value)| (name.to_owned(), SecretString::from(value.to_owned())));
    HealthSettings {
        allowed,
        secrets: secrets.collect(),
        webhook: reader.url(&BOT_ALERT_WEBHOOK_URL),
        webhook_secret,
        alertmanager: reader.url(&BOT_ALERTMANAGER_URL).map(|mut url| {
            if !url.path().ends_with('/') {
                let path = format!("{}/", url.path());
                url.set_path(&path);
            }
            url
        }),
        watchdog: reader.url(&BOT_ALERT_WATCHDOG_URL),
    }
}

/// As it was given: the receiver signs with every character of it.
fn read_webhook_secret(reader: &mut SettingsReader<'_>) -> Option<SecretString> {
    let row = &BOT_ALERT_WEBHOOK_SECRET;
    let secret = SecretString::from(reader.sources.get_verbatim(row)?.to_owned());
    let given = secret.expose_secret();
    if given.len() < 16 {
        reader.refuse(row, "it is shorter than 16 characters", "`botops key random` prints a good one.");
    } else if given.trim().len() != given.len() {
        let problem = "it begins or ends with a blank or a line end, which few receivers sign with";
        reader.refuse(row, problem, "Take it away here and at the receiver.");
    }
    Some(secret)
}
