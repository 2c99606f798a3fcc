//! Settings of health: the addresses that checks may reach, and the receivers of alerts.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use botops_server::health::AllowedAddress;

use super::reader::SettingsReader;
use super::table::{
    BOT_ALERT_WATCHDOG_URL, BOT_ALERT_WEBHOOK_SECRET, BOT_ALERT_WEBHOOK_URL, BOT_ALERTMANAGER_URL,
    BOT_CHECK_ALLOW, BOT_CHECK_SECRET_,
};

/// The addresses that checks may reach, and the receivers of alerts.
#[derive(Clone, Default)]
pub struct HealthSettings {
    /// Hosts and networks that checks may reach in addition to public addresses.
    pub allowed: Vec<AllowedAddress>,
    /// Secrets for checks: the values of `BOT_CHECK_SECRET_*`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// URL of a webhook that receives alerts; `None` for no webhook.
    pub webhook: Option<reqwest::Url>,
    /// Secret that the webhook's messages are signed with; `None` leaves them unsigned.
    pub webhook_secret: Option<SecretString>,
    /// URL of an Alertmanager that receives alerts; `None` for none.
    pub alertmanager: Option<reqwest::Url>,
    /// URL that is requested once a minute while health makes progress, so that a watchdog notices when it stops.
    pub watchdog: Option<reqwest::Url>,
}

/// Leaves out the receivers' URLs, which may contain a token.
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

/// Taken verbatim, blanks included, since the receiver computes its signature with every character.
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
