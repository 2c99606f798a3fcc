//! A checker that is to be added: its review, and the component it becomes.

use std::collections::BTreeMap;

use botops_core::text::clean;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::config::{COMPONENTS, ComponentSpec, MonitoringConfig};
use crate::health::checks::{CheckerReview, CheckerType};
use crate::health::defects::FieldDefects;
use crate::health::model::{Criticality, MetricLimits, RecoveryCandidate, RecoveryHandler};

/// A checker to add, with the component it watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckerRequest {
    /// Which kind of check to run.
    pub(crate) checker_type: CheckerType,
    /// The new component's id: 1 to 64 of `a-z 0-9 - _`.
    #[schema(example = "market_data")]
    pub(crate) component_id: String,
    /// The config of the check; its members depend on `checker_type`.
    #[schema(value_type = Object)]
    pub(crate) config: Value,
    /// How much the component's status counts for the system's status.
    #[serde(default = "optional")]
    pub(crate) criticality: Criticality,
    /// Seconds between checks; the monitoring config's `check_interval` when absent.
    #[serde(default)]
    pub(crate) interval: Option<f64>,
    /// Seconds a check may take, less than the interval; the monitoring config's `timeout` when absent.
    #[serde(default)]
    pub(crate) timeout: Option<f64>,
    /// Ids of the components it needs.
    #[serde(default)]
    pub(crate) depends_on: Vec<String>,
    /// A redundancy group that the component belongs to.
    #[serde(default)]
    pub(crate) group: Option<String>,
    /// How many members of the group must work; 1 when absent.
    #[serde(default)]
    pub(crate) quorum: Option<usize>,
    /// Limits by metric that replace the check's own.
    #[serde(default)]
    pub(crate) thresholds: BTreeMap<String, MetricLimits>,
    /// The id of a workflow that recovers it; none when absent. Recovery runs it with `{"reason": …}` (8 to 280
    /// characters), so it must take that and need nothing else.
    #[serde(default)]
    pub(crate) recovery_workflow: Option<String>,
}

fn optional() -> Criticality {
    Criticality::Optional
}

/// What a new checker is reviewed against.
pub(crate) struct CheckerSurroundings<'a> {
    /// Ids of the known components, each with the ids it needs.
    pub(crate) known: &'a BTreeMap<String, Vec<String>>,
    pub(crate) config: &'a MonitoringConfig,
    /// The workflows, and which of them recovery can run.
    pub(crate) candidates: &'a [RecoveryCandidate],
}

impl CheckerRequest {
    /// Reviews everything and makes a specification of it; `None` when the review has defects, which are all reported
    /// at once.
    pub(crate) fn specify(
        &self,
        around: &CheckerSurroundings<'_>,
        review: &mut CheckerReview<'_>,
    ) -> Option<ComponentSpec> {
        let id = &self.component_id;
        review_name("/component_id", id, NAME, &mut review.defects);
        let check = self.checker_type.read_config(&self.config, review);
        self.review_times(around.config, &mut review.defects);
        self.review_dependencies(around.known, &mut review.defects);
        self.review_group(&mut review.defects);
        self.review_thresholds(&mut review.defects);
        self.review_recovery(around.candidates, &mut review.defects);
        let check = check.filter(|_| review.defects.0.is_empty())?;
        Some(ComponentSpec {
            id: id.clone(),
            check,
            criticality: self.criticality,
            interval: self.interval,
            timeout: self.timeout,
            depends_on: self.depends_on.clone(),
            group: self.group.clone(),
            quorum: self.group.as_ref().map(|_| self.quorum.unwrap_or(1)),
            thresholds: self.thresholds.clone(),
            recovery: self.recovery_workflow.clone().map(RecoveryHandler::Workflow),
            built_in: false,
        })
    }

    fn review_times(&self, config: &MonitoringConfig, defects: &mut FieldDefects) {
        defects.seconds("/interval", self.interval, 1.0, 3_600.0);
        defects.seconds("/timeout", self.timeout, 0.1, 300.0);
        let interval = self.interval.unwrap_or(config.check_interval);
        if self.timeout.is_some_and(|timeout| timeout >= interval) {
            defects.wrong("/timeout", self.timeout, "less than the interval");
        }
    }

    fn review_dependencies(&self, known: &BTreeMap<String, Vec<String>>, defects: &mut FieldDefects) {
        for (index, parent) in self.depends_on.iter().enumerate() {
            let pointer = format!("/depends_on/{index}");
            if !known.contains_key(parent) {
                defects.wrong(pointer, clean(parent, 80), "a component that is watched");
            } else if *parent == self.component_id || needs(known, parent, &self.component_id, COMPONENTS) {
                defects.wrong(pointer, parent.clone(), "no circle of dependencies");
            }
        }
    }

    fn review_group(&self, defects: &mut FieldDefects) {
        if let Some(group) = &self.group {
            review_name("/group", group, NAME, defects);
        }
        let is_out_of_range = self.quorum.is_some_and(|quorum| quorum == 0 || quorum > COMPONENTS);
        if is_out_of_range || (self.quorum.is_some() && self.group.is_none()) {
            defects.wrong("/quorum", self.quorum, "1 or more, together with `group`");
        }
    }

    fn review_recovery(&self, candidates: &[RecoveryCandidate], defects: &mut FieldDefects) {
        let Some(workflow) = &self.recovery_workflow else { return };
        let why = match candidates.iter().find(|candidate| candidate.id == *workflow) {
            Some(RecoveryCandidate { refusal: None, .. }) => return,
            Some(RecoveryCandidate { refusal: Some(refusal), .. }) => refusal.clone(),
            None => "no workflow has this id".to_owned(),
        };
        let fit = candidates.iter().filter(|candidate| candidate.refusal.is_none());
        let fit: Vec<&str> = fit.map(|candidate| candidate.id.as_str()).collect();
        let expected =
            format!("a workflow that runs with {{\"reason\": text}} alone: {}; {why}", fit.join(", "));
        defects.wrong("/recovery_workflow", clean(workflow, 80), clean(&expected, 500));
    }

    fn review_thresholds(&self, defects: &mut FieldDefects) {
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
    }
}

/// What a name may consist of, for field errors.
const NAME: &str = "1 to 64 of a-z, 0-9, - and _";

fn review_name(pointer: &str, name: &str, expected: &str, defects: &mut FieldDefects) {
    if !is_name(name) {
        defects.wrong(pointer, clean(name, 80), expected);
    }
}

/// Whether `from` needs `to`, directly or through others. `limit` ends the walk if there is a circle.
fn needs(known: &BTreeMap<String, Vec<String>>, from: &str, to: &str, limit: usize) -> bool {
    let parents = known.get(from).map(Vec::as_slice).unwrap_or_default();
    limit > 0 && parents.iter().any(|parent| parent == to || needs(known, parent, to, limit - 1))
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}
