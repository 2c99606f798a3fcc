//! Sends alerts to Alertmanager, which takes the present state rather than notices: at each change, and once a
//! minute.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::receiver_log::ReceiverLog;
use super::receivers::{ALERTMANAGER, DEADLINE, describe_answer, describe_failure};
use super::view::{AlertView, severity_name};
use crate::health::limit_rules::LimitRuleView;

/// How often the present state is sent when nothing changes.
const PUSH_EVERY: Duration = Duration::from_secs(60);

/// How soon it is sent again after a failure.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// How long Alertmanager keeps an alert firing without another push: it survives two missed ones.
const PUSH_HOLDS: chrono::Duration = chrono::Duration::seconds(180);

/// How long after its end an alert is still sent as resolved.
const PUSH_END: chrono::Duration = chrono::Duration::seconds(300);

/// The limits of this file.
pub(crate) fn push_rules() -> Vec<LimitRuleView> {
    let holds = "how long Alertmanager keeps an alert firing without another push";
    vec![
        LimitRuleView::fixed(
            "alertmanager_push",
            PUSH_EVERY.as_secs(),
            "s",
            "how often alerts are sent when nothing changes",
        ),
        LimitRuleView::fixed(
            "alertmanager_retry",
            RETRY_EVERY.as_secs(),
            "s",
            "how soon they are sent again after a failure",
        ),
        LimitRuleView::fixed("alertmanager_holds", PUSH_HOLDS.num_seconds(), "s", holds),
        LimitRuleView::fixed(
            "alertmanager_end",
            PUSH_END.num_seconds(),
            "s",
            "how long after its end an alert is sent as resolved",
        ),
    ]
}

/// Pushes to Alertmanager the present state: at each change, and once a minute.
pub(crate) async fn push_to_alertmanager(
    url: Url,
    read: impl Fn() -> Vec<AlertView> + Send,
    changed: Arc<Notify>,
    receivers: Arc<ReceiverLog>,
    http: reqwest::Client,
    stopping: CancellationToken,
) {
    let mut is_away = false;
    loop {
        let alerts: Vec<Value> = read().iter().filter_map(pushed_alert).collect();
        if !alerts.is_empty() || is_away {
            let sent = http.post(url.clone()).timeout(DEADLINE).json(&alerts).send().await;
            let problem = match sent {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(describe_answer(answer).await),
                Err(error) => Some(describe_failure(&error).to_owned()),
            };
            match &problem {
                None => receivers.record_delivered(ALERTMANAGER),
                Some(problem) => receivers.record_failed(ALERTMANAGER, problem, RETRY_EVERY),
            }
            if let Some(problem) = &problem
                && !is_away
            {
                tracing::warn!("Alertmanager cannot be told: {problem}; it is tried again");
            }
            is_away = problem.is_some();
        }
        let again = if is_away { RETRY_EVERY } else { PUSH_EVERY };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// An alert in Alertmanager's form; `None` for one whose firing was never notified.
fn pushed_alert(alert: &AlertView) -> Option<Value> {
    if alert.notices.is_empty() {
        return None;
    }
    let ends_at = match alert.ends_at {
        None => Utc::now() + PUSH_HOLDS,
        Some(ended) if Utc::now() - ended < PUSH_END => ended,
        Some(_) => return None,
    };
    let mut labels = alert.labels.clone();
    labels.insert("severity".to_owned(), severity_name(alert.severity).to_owned());
    labels.insert("service".to_owned(), "botops".to_owned());
    Some(json!({
        "labels": labels,
        "annotations": {"summary": alert.summary, "alert_id": alert.alert_id},
        "startsAt": alert.starts_at,
        "endsAt": ends_at,
    }))
}
