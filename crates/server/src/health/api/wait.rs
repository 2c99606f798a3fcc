//! Reads that wait: until a component works again, until an alert changes.

use std::time::Duration;

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use botops_core::error::{Code, Error};
use botops_http::parse_wait;

use crate::health::handle::{AlertFilter, Health};
use crate::health::model::HealthStatus;
use crate::health::render::ComponentView;

/// How often a waiting request looks: answers change once a second at most.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// What a request for a component waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ComponentUntil {
    /// Its status is HEALTHY.
    Green,
    /// Its status is HEALTHY or WARNING.
    Up,
    /// Its status is another than now.
    Changed,
}

/// How long to wait, and for what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ComponentWaitQuery {
    /// Wait this long for what `until` names: `30s`, `5m` or bare seconds, at most 5 minutes. The answer comes as soon as it
    /// is so, or after the wait as things are then.
    #[param(example = "30s")]
    wait: Option<String>,
    /// `green` (HEALTHY), `up` (HEALTHY or WARNING) or `changed`, which is the default; only with `wait`.
    #[param(inline)]
    until: Option<ComponentUntil>,
}

impl ComponentWaitQuery {
    /// The component, when it is as was asked or the wait is over.
    ///
    /// # Errors
    /// [`Code::ComponentUnknown`]; [`Code::ArgumentInvalid`] for a wait that cannot be used.
    pub(super) async fn component(&self, health: &Health, id: &str) -> Result<ComponentView, Error> {
        let Some(wait) = &self.wait else {
            if self.until.is_some() {
                return Err(Error::new(Code::ArgumentInvalid)
                    .detail("`until` says what `wait` waits for")
                    .field("?wait", serde_json::Value::Null, "how long to wait, such as 30s or 5m"));
            }
            return health.component(id);
        };
        let before = health.component(id)?.status;
        let is_so = |status: HealthStatus| match self.until.unwrap_or(ComponentUntil::Changed) {
            ComponentUntil::Green => status == HealthStatus::Healthy,
            ComponentUntil::Up => matches!(status, HealthStatus::Healthy | HealthStatus::Warning),
            ComponentUntil::Changed => status != before,
        };
        look_until(health, parse_wait(wait)?, || {
            health.component(id).map_or(true, |component| is_so(component.status))
        })
        .await;
        let component = health.component(id)?;
        Ok(ComponentView { until_met: Some(is_so(component.status)), ..component })
    }
}

/// Waits until one of the alerts that are asked for begins, ends or changes its state.
pub(super) async fn until_alerts_change(health: &Health, filter: &AlertFilter, wait: Duration) {
    let seen = || -> Vec<_> {
        let alerts = health.alerts(filter).0.into_iter();
        alerts.map(|alert| (alert.alert_id, alert.state)).collect()
    };
    let before = seen();
    look_until(health, wait, || seen() != before).await;
}

/// Looks again and again until it is so, the wait is over, or botops stops.
async fn look_until(health: &Health, wait: Duration, is_so: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + wait;
    while !is_so() && tokio::time::Instant::now() < end {
        tokio::select! {
            () = tokio::time::sleep(LOOKS_EVERY) => {}
            () = health.stopping.cancelled() => return,
        }
    }
}
