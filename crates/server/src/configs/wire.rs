//! What the config's routes take and answer beside the views of the feature itself: requests, queries, pages.

use botops_core::exact_number::whole_number;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use utoipa::{IntoParams, ToSchema};

use super::audit::{AuditHead, AuditVerdict};
use super::document::{ChangeRisk, ConfigFinding, DiffLine, ValidationLevel, WrittenValue};
use super::transaction::ConfirmMode;
use super::versions::VersionSummaryView;

/// A change: exactly one of `config`, `merge_patch` and `json_patch`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyConfigRequest {
    /// The whole new document.
    pub config: Option<WrittenValue>,
    /// RFC 7396: only what changes; `null` removes. Lists are replaced whole.
    pub merge_patch: Option<WrittenValue>,
    /// RFC 6902: operations, all or none; `test` guards them.
    pub json_patch: Option<WrittenValue>,
    /// Why, for the audit: 3 to 500 characters.
    #[schema(min_length = 3, max_length = 500, example = "calm before the rate decision")]
    pub reason: String,
    /// Who makes it permanent: `auto` when all criteria held, `manual` with confirm.
    #[serde(default)]
    pub confirm: ConfirmMode,
    /// How long the trial may take, in seconds: 15 to 900.
    #[schema(minimum = 15, maximum = 900, default = 60)]
    pub confirm_within_s: Option<f64>,
    /// Accept that some fields take effect only at the bot's next start.
    #[serde(default)]
    pub restart: bool,
    /// Try a document again although the bot died over it in the last 24 hours: `context.acknowledge` of `CFG_019`.
    #[schema(example = "3fa9c1d2…")]
    pub acknowledge: Option<String>,
}

/// Back to an earlier version, as a new one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackConfigRequest {
    /// A version such as `v15`, `previous`, or `committed` (to re-assert it after a drift).
    #[schema(value_type = String, example = "previous")]
    pub to: VersionName,
    /// Why, for the audit: 3 to 500 characters.
    #[schema(min_length = 3, max_length = 500, example = "more refused orders since v16")]
    pub reason: String,
    /// Who makes it permanent: `auto` when all criteria held, `manual` with confirm.
    #[serde(default)]
    pub confirm: ConfirmMode,
    /// How long the trial may take, in seconds: 15 to 900.
    #[schema(minimum = 15, maximum = 900, default = 60)]
    pub confirm_within_s: Option<f64>,
    /// Accept that some fields take effect only at the bot's next start.
    #[serde(default)]
    pub restart: bool,
    /// Try a document again although the bot died over it in the last 24 hours: `context.acknowledge` of `CFG_019`.
    #[schema(example = "3fa9c1d2…")]
    pub acknowledge: Option<String>,
}

/// A version by name or number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum VersionName {
    Number(Number),
    Name(String),
}

impl VersionName {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(number) => {
                whole_number(number).map_or_else(|| number.to_string(), |one| one.to_string())
            }
            Self::Name(name) => name.clone(),
        }
    }
}

/// How long to wait for a config change.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TransactionWaitQuery {
    /// Answer as soon as its trial begins or it has ended, at the latest after this time, such as `30s`; at most 5
    /// minutes.
    #[param(example = "30s")]
    pub wait: Option<String>,
}

/// Query of the routes that can say what they would do: `?dry_run=true`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConfigDryRunQuery {
    /// Say what would happen, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Query of the check: `?level=`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ValidateConfigQuery {
    /// How far to check: `schema`, `semantic`, or `bot` (the default).
    pub level: Option<ValidationLevel>,
}

/// Query of the differences: `?from=&to=`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DiffConfigQuery {
    /// `committed` (the default), `running`, `trial`, `previous` or a version such as `v15`.
    pub from: Option<String>,
    /// What to compare it with, by the same names; `running` is the default.
    pub to: Option<String>,
}

/// Query of lists: `?after=&limit=`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConfigPageQuery {
    /// The `next` of the page before.
    pub after: Option<u64>,
    /// Items of a page, 1 to 50 [50]; more is refused.
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 50>")]
    pub limit: Option<u32>,
}

/// The differences between two configs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigDiffView {
    /// The name of the config that is compared, such as `committed`.
    pub from: String,
    /// The name of the config that it is compared with, or of the candidate.
    pub to: String,
    /// True when nothing differs.
    pub no_changes: bool,
    /// Every difference; empty for a candidate that cannot be.
    pub diff: Vec<DiffLine>,
    /// What the differences do to risk; `null` for a candidate that cannot be.
    #[schema(required)]
    pub risk: Option<ChangeRisk>,
    /// Whether the candidate can be, by schema, rules and bot; `null` when two versions are compared.
    pub valid: Option<bool>,
    /// Everything that is wrong with the candidate.
    pub errors: Vec<ConfigFinding>,
}

/// A page of versions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigVersionsView {
    /// Versions without their documents, newest first.
    pub items: Vec<VersionSummaryView>,
    /// The cursor of the next page; `null` at the end.
    pub next: Option<u64>,
    /// How many older ones were left out.
    pub omitted: u64,
}

/// A version with its document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigVersionView {
    /// The version without its document.
    #[serde(flatten)]
    pub version: VersionSummaryView,
    /// The document of the version, its digits as they were written and its secrets masked.
    #[schema(value_type = Object)]
    pub config: WrittenValue,
}

/// Which page of the audit, and in which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditPageQuery {
    /// The `next` of the page before: records behind it. Not with `changes`.
    pub after: Option<u64>,
    /// With `changes`: the `older` of the page before.
    pub before: Option<u64>,
    /// One line a change, newest first, in place of the records as they were written, oldest first.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>, example = true)]
    pub changes: bool,
    /// Items of a page, 1 to 500 [100]; more is refused.
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 500>")]
    pub limit: Option<u32>,
}

/// `changes`, `changes=true` or `changes=false`.
fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(serde::de::Error::custom("true or false")),
    }
}

/// A page of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigAuditView {
    /// The records as they were written, oldest first; with `changes` one object a change, newest first: `at`, `actor`,
    /// `action`, `changes` (a sentence each), `reason`, `from_version`, `version`, `state` (how it ended), `by`, `outcome`.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Value>,
    /// The cursor of the next page; `null` at the end.
    pub next: Option<u64>,
    /// What to send as `before` for older changes; `null` at the end. With `changes` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub older: Option<Option<u64>>,
    /// How many newer records were left out; with `changes`, how many records lie before the page.
    pub omitted: usize,
    /// The last line of the audit file and its MAC, at the time of this answer.
    pub head: AuditHead,
}

/// Confirms that a person looked at an audit file that was changed by something other than botops.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptAuditRequest {
    /// The number of the first bad line, as `verify` says: proof that it was looked at.
    pub first_bad_seq: u64,
    /// What was found out about the change, for the audit: 3 to 500 characters.
    #[schema(min_length = 3, max_length = 500)]
    pub reason: String,
}

/// A verdict on the audit, with when it was reached and what it proves.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditProof {
    /// What was found.
    #[serde(flatten)]
    verdict: AuditVerdict,
    /// When the file was read (UTC).
    checked_at: DateTime<Utc>,
    /// What the verdict proves, and what it does not.
    proves: &'static str,
}

impl AuditProof {
    /// What a verdict means, for whoever reads it alone.
    pub(super) const PROVES: &str = "No line was changed, moved or taken out by anybody without the audit's key. Whoever has the \
     key and the folder could write all of it anew: note `head` somewhere else, and compare.";

    /// A verdict that was reached now.
    pub(super) fn of(verdict: AuditVerdict) -> Self {
        Self { verdict, checked_at: Utc::now(), proves: Self::PROVES }
    }
}
