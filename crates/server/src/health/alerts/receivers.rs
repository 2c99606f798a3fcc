//! Receivers of alerts: a webhook (signed) or a JSONL file.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

use crate::health::limit_rules::LimitRuleView;
use botops_core::regular_file::open_regular;

/// How long a receiver may take to accept a message.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Size in bytes at which the file of alerts is renamed to `<name>.1`; an older `<name>.1` is overwritten.
const FILE_LIMIT: u64 = 32 * 1024 * 1024;

/// The limits of this file.
pub(crate) fn receiver_rules() -> Vec<LimitRuleView> {
    let decides = "a receiver that takes longer did not take the message";
    vec![LimitRuleView::fixed("receiver_deadline", DEADLINE.as_secs(), "s", decides)]
}

/// The name of Alertmanager among the receivers; it is sent the present state, and has no queue.
pub(crate) const ALERTMANAGER: &str = "alertmanager";

/// Bytes of a refusal's body that are shown.
const BODY_SHOWN: usize = 200;

/// One receiver of notices.
#[derive(Debug, Clone)]
pub(crate) enum AlertReceiver {
    /// `POST`s JSON, signed with HMAC-SHA256.
    Webhook {
        /// The address that is posted to.
        url: Url,
        /// The HMAC key; without one, messages are not signed.
        secret: Option<SecretString>,
    },
    /// Appends a line to a file.
    File(PathBuf),
}

impl AlertReceiver {
    /// The receiver's name in the outbox and in answers of the API.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::File(_) => "jsonl",
        }
    }
}

/// Sends one message to a receiver, within [`DEADLINE`].
///
/// # Errors
/// What went wrong, as a text for the log.
pub(crate) async fn send_message(
    receiver: &AlertReceiver,
    message: &Value,
    http: &reqwest::Client,
) -> Result<(), String> {
    match receiver {
        AlertReceiver::Webhook { url, secret } => {
            let body = message.to_string();
            let mut request = http
                .post(url.clone())
                .timeout(DEADLINE)
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", message["key"].as_str().unwrap_or_default());
            if let Some(secret) = secret {
                request =
                    request.header("X-Botops-Signature", signature(secret, &body, Utc::now().timestamp()));
            }
            let answer =
                request.body(body).send().await.map_err(|error| describe_failure(&error).to_owned())?;
            if answer.status().is_success() { Ok(()) } else { Err(describe_answer(answer).await) }
        }
        AlertReceiver::File(path) => {
            let (path, line) = (path.clone(), message.to_string());
            let written = tokio::task::spawn_blocking(move || append_line(&path, &line)).await;
            written.map_err(|_| "the write broke off".to_owned())?.map_err(|error| error.to_string())
        }
    }
}

/// `t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`. The time is signed too, so that the receiver can refuse an
/// old message that is replayed.
fn signature(secret: &SecretString, body: &str, at: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// What a receiver answered that did not take a message: the status and the beginning of the body, without secrets.
pub(crate) async fn describe_answer(mut answer: reqwest::Response) -> String {
    let status = answer.status().as_u16();
    let first = tokio::time::timeout(DEADLINE, answer.chunk()).await;
    let body = first.ok().and_then(Result::ok).flatten().unwrap_or_default();
    let body = String::from_utf8_lossy(body.get(..BODY_SHOWN * 4).unwrap_or(&body)).into_owned();
    let words = botops_core::redact::line(&botops_core::text::clean(body.trim(), BODY_SHOWN));
    if words.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {words}") }
}

/// A name for a failed exchange that is safe to log: it contains no URL.
pub(crate) fn describe_failure(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it does not answer in time, so whether it took the message is not known"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the exchange broke off, so whether it took the message is not known"
    }
}

fn append_line(path: &std::path::Path, line: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if std::fs::metadata(path).is_ok_and(|file| file.len() >= FILE_LIMIT) {
        std::fs::rename(path, path.with_extension("jsonl.1"))?;
    }
    let mut file = open_regular(path, std::fs::OpenOptions::new().create(true).append(true).mode(0o600))?;
    let before = file.metadata()?.len();
    let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        // When the disk became full within the line, the next attempt would append to half a line.
        file.set_len(before)?;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_over_time_and_body() {
        let secret = SecretString::from("k");
        assert_eq!(signature(&secret, "{}", 1), signature(&secret, "{}", 1));
        assert_ne!(signature(&secret, "{}", 1), signature(&secret, "{}", 2));
        assert!(signature(&secret, "{}", 1).starts_with("t=1,v1="));
    }
}
