//! What is watched and how: the specification of a component, the built-in ones, the monitoring config, and what may
//! be wrong with them. Deliberately absent: anything that changes while a check runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::aggregate::Criticality;
use super::alerts::Timing;
use super::checks::{ApiConfig, DatabaseConfig, ExternalConfig, Probe};
use super::ssrf::AddressGuard;
use super::status::{Limits, Rules};
use botops_core::error::FieldError;

/// Components at most: more than any one machine needs, few enough to render in a moment.
pub(super) const COMPONENTS: usize = 500;

/// A variable that a checker may name begins so: the API must not be a way to send any other secret anywhere.
pub(super) const SECRET_PREFIX: &str = "BOT_CHECK_SECRET_";

/// Checks of what lies in memory are run this often.
const CHEAP_INTERVAL: f64 = 2.0;

/// How a component is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Handler {
    /// A workflow of the workflow engine, by id.
    Workflow(String),
    /// Fold the store's log into its file.
    CheckpointStore,
}

impl Handler {
    /// The name on the wire.
    pub fn name(&self) -> String {
        match self {
            Self::Workflow(id) => format!("workflow:{id}"),
            Self::CheckpointStore => "checkpoint_store".to_owned(),
        }
    }
}

/// A component as it is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Its id.
    pub id: String,
    /// What is looked at.
    #[serde(flatten)]
    pub probe: Probe,
    /// How far its trouble reaches.
    pub criticality: Criticality,
    /// Seconds between checks; the monitoring config's when absent.
    #[serde(default)]
    pub interval: Option<f64>,
    /// Seconds a check may take; the monitoring config's when absent.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// What it needs.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// A redundancy group it belongs to.
    #[serde(default)]
    pub group: Option<String>,
    /// How many members of the group must work.
    #[serde(default)]
    pub quorum: Option<usize>,
    /// Limits that replace the check's own, by metric.
    #[serde(default)]
    pub thresholds: BTreeMap<String, Limits>,
    /// How it is mended.
    #[serde(default)]
    pub recovery: Option<Handler>,
    /// Part of botops: cannot be removed.
    #[serde(default)]
    pub built_in: bool,
}

impl Spec {
    /// A part that botops always watches.
    pub fn built_in(id: &str, probe: Probe, criticality: Criticality, depends_on: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            probe,
            criticality,
            interval: None,
            timeout: None,
            depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
            group: None,
            quorum: None,
            thresholds: BTreeMap::new(),
            recovery: None,
            built_in: true,
        }
    }

    /// What botops watches from the start.
    pub fn all_built_in() -> Vec<Self> {
        let mut store = Self::built_in("store", Probe::Store, Criticality::Important, &[]);
        store.recovery = Some(Handler::CheckpointStore);
        let mut bot = Self::built_in("bot", Probe::Bot, Criticality::Required, &[]);
        bot.recovery = Some(Handler::Workflow("restart-bot".to_owned()));
        vec![
            store,
            bot,
            Self::built_in("api_server", Probe::OwnApi, Criticality::Important, &[]),
            Self::built_in("system_resources", Probe::SystemResources, Criticality::Optional, &[]),
            Self::built_in("broker_session", Probe::BrokerSession, Criticality::Important, &["bot"]),
            Self::built_in("outbox", Probe::Outbox, Criticality::Optional, &[]),
        ]
    }

    /// Milliseconds between checks.
    pub fn interval_ms(&self, config: &MonitoringConfig) -> i64 {
        let general = if self.probe.is_cheap() {
            config.check_interval.min(CHEAP_INTERVAL)
        } else {
            config.check_interval
        };
        milliseconds(self.interval.unwrap_or(general))
    }

    /// Milliseconds a check may take: always less than its interval.
    pub fn timeout_ms(&self, config: &MonitoringConfig) -> i64 {
        let interval = self.interval_ms(config);
        milliseconds(self.timeout.unwrap_or(config.timeout)).min(interval * 9 / 10).max(50)
    }

    /// Milliseconds to the next check while the last one differs from what is confirmed.
    pub fn confirm_ms(&self, config: &MonitoringConfig) -> i64 {
        let half = if self.probe.is_cheap() { self.interval_ms(config) / 2 } else { i64::MAX };
        milliseconds(config.confirm_interval).min(self.interval_ms(config)).min(half)
    }

    /// Age beyond which the last valid sample says nothing.
    pub fn stale_ms(&self, config: &MonitoringConfig) -> i64 {
        3 * self.interval_ms(config) + self.timeout_ms(config)
    }
}

/// Seconds as milliseconds; what is out of range was refused before.
pub(super) fn milliseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a day")]
    let milliseconds = (seconds.clamp(0.0, 86_400.0) * 1000.0).round() as i64;
    milliseconds
}

/// How everything is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MonitoringConfig {
    /// Whether checks run.
    pub enable_monitoring: bool,
    /// Seconds between checks; parts that lie in memory are looked at at least every two.
    pub check_interval: f64,
    /// Seconds a check may take; less than `check_interval`.
    pub timeout: f64,
    /// Seconds to the next check while a change is being confirmed.
    pub confirm_interval: f64,
    /// Seconds after a start in which nothing fires.
    pub startup_grace: f64,
    /// How many samples change a status.
    pub rules: Rules,
    /// When alerts fire and are told.
    pub alerting: Timing,
    /// Whether recovery starts by itself.
    pub enable_recovery: bool,
    /// Availability aimed at, in per cent.
    pub objective_pct: f64,
}

impl Default for MonitoringConfig {
    fn default() -> Self {
        Self {
            enable_monitoring: true,
            check_interval: 30.0,
            timeout: 10.0,
            confirm_interval: 5.0,
            startup_grace: 60.0,
            rules: Rules::default(),
            alerting: Timing::default(),
            enable_recovery: true,
            objective_pct: 99.5,
        }
    }
}

impl MonitoringConfig {
    /// What is wrong with it.
    pub fn defects(&self) -> Vec<FieldError> {
        let mut defects = Defects::default();
        defects.seconds("/check_interval", Some(self.check_interval), 0.2, 3_600.0);
        defects.seconds("/timeout", Some(self.timeout), 0.05, 300.0);
        defects.seconds("/confirm_interval", Some(self.confirm_interval), 0.1, 300.0);
        defects.seconds("/startup_grace", Some(self.startup_grace), 0.0, 3_600.0);
        if self.timeout >= self.check_interval {
            defects.wrong("/timeout", self.timeout, "less than `check_interval`");
        }
        if !(self.objective_pct.is_finite() && (50.0..100.0).contains(&self.objective_pct)) {
            defects.wrong("/objective_pct", self.objective_pct, "50 up to, but not, 100");
        }
        let rules = self.rules;
        for (name, count) in [
            ("warning_after", rules.warning_after),
            ("critical_after", rules.critical_after),
            ("down_after", rules.down_after),
            ("ok_after", rules.ok_after),
        ] {
            if count == 0 || count > Rules::MOST {
                defects.wrong(format!("/rules/{name}"), count, "1 to 10");
            }
        }
        let timing = self.alerting;
        for (name, wait) in [
            ("for_warning_ms", timing.for_warning_ms),
            ("for_critical_ms", timing.for_critical_ms),
            ("for_down_ms", timing.for_down_ms),
            ("keep_firing_for_ms", timing.keep_firing_for_ms),
            ("group_wait_ms", timing.group_wait_ms),
            ("change_gap_ms", timing.change_gap_ms),
        ] {
            if !(0..=86_400_000).contains(&wait) {
                defects.wrong(format!("/alerting/{name}"), wait, "0 to 86400000");
            }
        }
        if !(60_000..=7 * 86_400_000).contains(&timing.reminder_ms) {
            defects.wrong("/alerting/reminder_ms", timing.reminder_ms, "60000 to 604800000");
        }
        defects.0
    }
}

/// What a checker may be asked to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckerType {
    /// An SQLite file or a PostgreSQL server: `{db_path}` or `{url_env}`.
    Database,
    /// An API of ours: `{base_url, endpoints}`.
    ApiServer,
    /// An API of somebody else: `{api_url, expected_status, api_key_env, …}`.
    ExternalApi,
}

/// A checker to add.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckerRequest {
    /// What kind of check.
    pub checker_type: CheckerType,
    /// The new component's id: 1 to 64 of `a-z 0-9 - _`.
    #[schema(example = "market_data")]
    pub component_id: String,
    /// What the check needs to know, by type.
    #[schema(value_type = Object)]
    pub config: Value,
    /// How far its trouble reaches.
    #[serde(default = "optional")]
    pub criticality: Criticality,
    /// Seconds between checks.
    #[serde(default)]
    pub interval: Option<f64>,
    /// Seconds a check may take; less than the interval.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// Components it needs.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// A redundancy group it belongs to.
    #[serde(default)]
    pub group: Option<String>,
    /// How many members of the group must work.
    #[serde(default)]
    pub quorum: Option<usize>,
    /// Limits that replace the check's own, by metric.
    #[serde(default)]
    pub thresholds: BTreeMap<String, Limits>,
    /// A workflow that mends it.
    #[serde(default)]
    pub recovery_workflow: Option<String>,
}

fn optional() -> Criticality {
    Criticality::Optional
}

/// What surrounds a new checker.
pub(super) struct Surroundings<'a> {
    /// Known components and what they need.
    pub known: &'a BTreeMap<String, Vec<String>>,
    pub guard: &'a AddressGuard,
    pub config: &'a MonitoringConfig,
    /// Names of the secrets there are.
    pub secrets: &'a BTreeSet<String>,
}

/// What is wrong with a checker, all at once. `closed`: an address that only `BOT_CHECK_ALLOW` opens is among it.
pub(super) struct Refusal {
    pub errors: Vec<FieldError>,
    pub closed: bool,
}

impl CheckerRequest {
    /// Checks everything and makes a specification of it.
    ///
    /// # Errors
    /// All that is wrong.
    pub(super) fn check(&self, around: &Surroundings<'_>) -> Result<Spec, Refusal> {
        let mut defects = Defects::default();
        let id = &self.component_id;
        if !is_name(id) {
            defects.wrong("/component_id", botops_core::text::clean(id, 80), "1 to 64 of a-z, 0-9, - and _");
        }
        let mut closed = false;
        let probe = self.probe(around, &mut defects, &mut closed);
        defects.seconds("/interval", self.interval, 1.0, 3_600.0);
        defects.seconds("/timeout", self.timeout, 0.1, 300.0);
        let interval = self.interval.unwrap_or(around.config.check_interval);
        if self.timeout.is_some_and(|timeout| timeout >= interval) {
            defects.wrong("/timeout", self.timeout, "less than the interval");
        }
        for (index, parent) in self.depends_on.iter().enumerate() {
            if !around.known.contains_key(parent) {
                let pointer = format!("/depends_on/{index}");
                defects.wrong(pointer, botops_core::text::clean(parent, 80), "a component that is watched");
            } else if parent == id || needs(around.known, parent, id, COMPONENTS) {
                defects.wrong(format!("/depends_on/{index}"), parent.clone(), "no circle of dependencies");
            }
        }
        if let Some(group) = &self.group
            && !is_name(group)
        {
            defects.wrong("/group", botops_core::text::clean(group, 80), "1 to 64 of a-z, 0-9, - and _");
        }
        if self.quorum.is_some_and(|quorum| quorum == 0 || quorum > COMPONENTS)
            || (self.quorum.is_some() && self.group.is_none())
        {
            defects.wrong("/quorum", self.quorum, "1 or more, together with `group`");
        }
        for (metric, limits) in &self.thresholds {
            for (member, expected) in limits.defects() {
                let pointer =
                    format!("/thresholds/{}/{member}", metric.replace('~', "~0").replace('/', "~1"));
                let got = if member == "warning" { limits.warning } else { limits.critical };
                defects.wrong(pointer, got, expected);
            }
        }
        if self.thresholds.len() > 50 {
            defects.wrong("/thresholds", self.thresholds.len(), "at most 50");
        }
        if let Some(workflow) = &self.recovery_workflow
            && !is_name(workflow)
        {
            defects.wrong(
                "/recovery_workflow",
                botops_core::text::clean(workflow, 80),
                "the id of a workflow",
            );
        }
        let Some(probe) = probe.filter(|_| defects.0.is_empty()) else {
            return Err(Refusal { errors: defects.0, closed });
        };
        Ok(Spec {
            id: id.clone(),
            probe,
            criticality: self.criticality,
            interval: self.interval,
            timeout: self.timeout,
            depends_on: self.depends_on.clone(),
            group: self.group.clone(),
            quorum: self.group.as_ref().map(|_| self.quorum.unwrap_or(1)),
            thresholds: self.thresholds.clone(),
            recovery: self.recovery_workflow.clone().map(Handler::Workflow),
            built_in: false,
        })
    }

    fn probe(&self, around: &Surroundings<'_>, defects: &mut Defects, closed: &mut bool) -> Option<Probe> {
        match self.checker_type {
            CheckerType::Database => {
                let config: DatabaseConfig = defects.parse(&self.config)?;
                match (&config.db_path, &config.url_env) {
                    (Some(path), None) => check_path(path, defects),
                    (None, Some(name)) => check_secret("/config/url_env", name, around, defects),
                    _ => defects.wrong("/config", self.config.clone(), "either `db_path` or `url_env`"),
                }
                Some(Probe::Database(config))
            }
            CheckerType::ApiServer => {
                let config: ApiConfig = defects.parse(&self.config)?;
                check_url("/config/base_url", &config.base_url, around, defects, closed);
                if config.endpoints.is_empty() || config.endpoints.len() > 20 {
                    defects.wrong("/config/endpoints", config.endpoints.len(), "1 to 20 paths");
                }
                for (index, path) in config.endpoints.iter().enumerate() {
                    let is_path =
                        path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/\\");
                    if !is_path || path.len() > 500 {
                        let pointer = format!("/config/endpoints/{index}");
                        defects.wrong(
                            pointer,
                            botops_core::text::clean(path, 80),
                            "a path that begins with one /",
                        );
                    }
                }
                Some(Probe::ApiServer(config))
            }
            CheckerType::ExternalApi => {
                let config: ExternalConfig = defects.parse(&self.config)?;
                check_url("/config/api_url", &config.api_url, around, defects, closed);
                if let Some(name) = &config.api_key_env {
                    check_secret("/config/api_key_env", name, around, defects);
                    let is_open = config.api_url.starts_with("http://");
                    let is_local = ["http://127.", "http://localhost", "http://[::1]"]
                        .iter()
                        .any(|start| config.api_url.starts_with(start));
                    if is_open && !is_local {
                        defects.wrong("/config/api_url", "http", "https, since a key is sent");
                    }
                }
                let is_header =
                    reqwest::header::HeaderName::from_bytes(config.api_key_header.as_bytes()).is_ok();
                if !is_header {
                    let got = botops_core::text::clean(&config.api_key_header, 60);
                    defects.wrong("/config/api_key_header", got, "the name of a header");
                }
                if config.api_key_prefix.len() > 40
                    || !config.api_key_prefix.chars().all(|c| c == ' ' || c.is_ascii_graphic())
                {
                    defects.wrong("/config/api_key_prefix", "", "at most 40 visible ASCII characters");
                }
                if config.expected_status.iter().any(|status| !(100..600).contains(status)) {
                    defects.wrong(
                        "/config/expected_status",
                        serde_json::json!(config.expected_status),
                        "HTTP statuses",
                    );
                }
                Some(Probe::ExternalApi(config))
            }
        }
    }
}

fn check_path(path: &Path, defects: &mut Defects) {
    if !path.is_absolute() || !path.is_file() {
        let got = botops_core::text::clean(&path.display().to_string(), 120);
        defects.wrong("/config/db_path", got, "the absolute path of an existing file");
    }
}

fn check_secret(pointer: &str, name: &str, around: &Surroundings<'_>, defects: &mut Defects) {
    let plain = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !plain || !name.starts_with(SECRET_PREFIX) || name.len() > 100 {
        // Perhaps somebody sent the secret itself: it is not repeated.
        defects.wrong(
            pointer,
            Value::Null,
            "the NAME of an environment variable that begins with BOT_CHECK_SECRET_",
        );
    } else if !around.secrets.contains(name) {
        defects.wrong(pointer, name, "a variable that is set in botops' environment");
    }
}

fn check_url(pointer: &str, text: &str, around: &Surroundings<'_>, defects: &mut Defects, closed: &mut bool) {
    let shown = || botops_core::text::clean(text.split(['?', '#']).next().unwrap_or_default(), 120);
    match text.parse::<reqwest::Url>() {
        Err(_) => defects.wrong(pointer, shown(), "an http or https URL"),
        Ok(_) if text.len() > 1_000 => defects.wrong(pointer, shown(), "at most 1000 characters"),
        Ok(url) => {
            if let Err(expected) = around.guard.check_url(&url) {
                *closed |= expected.contains("address");
                // User and password are not repeated.
                let host = url.host_str().unwrap_or_default().to_owned();
                defects.wrong(pointer, format!("{}://{host}", url.scheme()), expected);
            }
        }
    }
}

/// Whether `from` needs `to`, directly or through others.
fn needs(known: &BTreeMap<String, Vec<String>>, from: &str, to: &str, limit: usize) -> bool {
    let parents = known.get(from).map(Vec::as_slice).unwrap_or_default();
    limit > 0 && parents.iter().any(|parent| parent == to || needs(known, parent, to, limit - 1))
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

/// Collects what is wrong.
#[derive(Default)]
struct Defects(Vec<FieldError>);

impl Defects {
    fn wrong(&mut self, pointer: impl Into<String>, got: impl Into<Value>, expected: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.into(), got: got.into(), expected: expected.into() });
    }

    fn seconds(&mut self, pointer: &str, value: Option<f64>, least: f64, most: f64) {
        if let Some(value) = value
            && !(value.is_finite() && (least..=most).contains(&value))
        {
            self.wrong(pointer, value, format!("{least} to {most} seconds"));
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&mut self, config: &Value) -> Option<T> {
        match serde_path_to_error::deserialize(config) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let mut pointer = "/config".to_owned();
                for segment in error.path() {
                    if let serde_path_to_error::Segment::Map { key } = segment {
                        pointer.push('/');
                        pointer.push_str(key);
                    }
                }
                self.wrong(
                    pointer,
                    Value::Null,
                    botops_core::text::clean(&error.into_inner().to_string(), 200),
                );
                None
            }
        }
    }
}
