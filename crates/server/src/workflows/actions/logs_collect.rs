//! `logs.collect`: packs redacted log lines into a bundle.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::WorkflowAction;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::{ActionFailure, StepFailureClass};
use super::file_work::do_file_work;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use crate::workflows::artifacts::{ArtifactStore, BundleRequest, ENDING, KEEP, SOURCES};
use botops_core::duration::parse_duration;
use botops_core::error::Code;

pub(super) struct CollectLogs;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectLogsInput {
    /// The first instant; with `last` it is left out.
    from: Option<DateTime<Utc>>,
    /// The end of the range, not included; now when it is left out.
    to: Option<DateTime<Utc>>,
    /// How far the range reaches back from its end, in place of `from`, such as `24h`.
    last: Option<String>,
    sources: Vec<LogSourceName>,
    #[schemars(range(min = 1, max = 256))]
    max_mib: u64,
    /// How lines are redacted; only `strict` exists: everything that looks like a secret is removed.
    #[serde(default, rename = "redact")]
    #[expect(dead_code, reason = "it is written so that a reader of the file sees it")]
    redaction: LogRedaction,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LogRedaction {
    #[default]
    Strict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LogSourceName {
    Trades,
    Errors,
    Health,
    Api,
    Workflows,
    Bot,
}

/// What only the run can tell is left out of a prediction. The schema has it as given, since later steps refer to it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct CollectLogsOutput {
    /// The bundle's name; `GET artifacts/{id}` returns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    artifact: Option<String>,
    /// Where it is fetched from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    url: Option<String>,
    /// How it is fetched, and what somebody without a key needs, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    fetch: Option<String>,
    /// The name that it is saved under.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    file_name: Option<String>,
    /// The scope of a key that may fetch it.
    read_scope: String,
    /// How long it is there.
    kept: String,
    /// The first instant of the range.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DateTime<Utc>")]
    from: Option<DateTime<Utc>>,
    /// The end of the range, not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DateTime<Utc>")]
    to: Option<DateTime<Utc>>,
    /// Each source that was asked for, with its lines of the range.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, u64>")]
    sources: Option<BTreeMap<String, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    sha256: Option<String>,
    /// Its size, compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    files: Option<u32>,
    /// Whether lines were left out because of the size limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    truncated: Option<bool>,
    /// In a prediction: how many log files are looked through for lines of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files_at_most: Option<u32>,
    /// In a prediction: the size of those files as they lie there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_before_compression_at_most: Option<u64>,
}

impl WorkflowAction for CollectLogs {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 240,
        summary: "bundle redacted log lines",
        ..ActionSpec::new("logs.collect", ActionClass::LocalWrite, ActionRepeat::Keyed)
    };
    type Input = CollectLogsInput;
    type Output = CollectLogsOutput;

    async fn perform(
        world: &ActionServices,
        input: CollectLogsInput,
        call: &ActionCall,
    ) -> Result<CollectLogsOutput, ActionFailure> {
        let request = bundle_request(world, &input, call)?;
        let (artifact, range) = (request.name.clone(), (request.from, request.to));
        let artifacts = world.artifacts.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopOnDrop(stop.clone());
        let packed =
            do_file_work("the bundle could not be written", move || artifacts.pack_bundle(&request, &stop))
                .await?;
        Ok(CollectLogsOutput {
            fetch: Some(HOW_TO_FETCH.to_owned()),
            url: Some(format!("/api/v1/artifacts/{artifact}")),
            file_name: Some(format!("{artifact}{ENDING}")),
            artifact: Some(artifact),
            sources: Some(packed.lines_by_source),
            sha256: Some(packed.sha256),
            bytes: Some(packed.bytes),
            lines: Some(packed.lines),
            files: Some(packed.files),
            truncated: Some(packed.truncated),
            ..CollectLogsOutput::of_range(range)
        })
    }

    async fn predict(
        world: &ActionServices,
        input: CollectLogsInput,
        call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<CollectLogsOutput, ActionFailure> {
        let request = bundle_request(world, &input, call)?;
        let (range, most_bytes) = ((request.from, request.to), request.max_bytes);
        let (files, bytes) = do_file_work("the logs could not be looked at", move || {
            Ok(ArtifactStore::estimate_size(&request))
        })
        .await?;
        Ok(CollectLogsOutput {
            files_at_most: Some(files),
            bytes_before_compression_at_most: Some(bytes),
            // Of larger files it depends on how many of their lines are of the range.
            truncated: (bytes <= most_bytes).then_some(false),
            ..CollectLogsOutput::of_range(range)
        })
    }
}

impl CollectLogsOutput {
    /// What is known before anything is read.
    fn of_range((from, to): (DateTime<Utc>, DateTime<Utc>)) -> Self {
        Self {
            read_scope: READ_SCOPE.to_owned(),
            kept: format!("until {KEEP} newer bundles are there"),
            from: Some(from),
            to: Some(to),
            artifact: None,
            url: None,
            fetch: None,
            file_name: None,
            sources: None,
            sha256: None,
            bytes: None,
            lines: None,
            files: None,
            truncated: None,
            files_at_most: None,
            bytes_before_compression_at_most: None,
        }
    }
}

/// The scope of a key that may fetch a bundle.
const READ_SCOPE: &str = "read";

/// How a bundle is fetched. Every client has a key of its own, so there is no link without one.
const HOW_TO_FETCH: &str = "GET the url with the header X-API-Key, a key of scope read; for somebody without one: `botops key new \
                            --scopes read --expires 7d` (docs/agents.md)";

/// How far a bundle reaches back where nothing is said.
const USUAL_RANGE: &str = "24h";

/// The range of times that a request means.
fn range_of(input: &CollectLogsInput) -> Result<(DateTime<Utc>, DateTime<Utc>), ActionFailure> {
    let invalid =
        |message: &str| ActionFailure::new(StepFailureClass::Invalid, Code::WorkflowStepFailed, message);
    let to = input.to.unwrap_or_else(Utc::now);
    let from = match (&input.from, &input.last) {
        (Some(from), None) => *from,
        (None, last) => parse_duration(last.as_deref().unwrap_or(USUAL_RANGE))
            .and_then(|last| to.checked_sub_signed(TimeDelta::from_std(last).ok()?))
            .ok_or_else(|| invalid("`last` is no duration; write it as 24h, 90m or 7d"))?,
        (Some(_), Some(_)) => return Err(invalid("`from` and `last` do not go together: leave one out")),
    };
    if from >= to {
        return Err(invalid("`from` must be before `to`"));
    }
    Ok((from, to))
}

fn bundle_request(
    world: &ActionServices,
    input: &CollectLogsInput,
    call: &ActionCall,
) -> Result<BundleRequest, ActionFailure> {
    let (from, to) = range_of(input)?;
    let seen = world.bots.snapshot();
    let bot_logs = seen.hello.as_ref().and_then(|hello| hello.log_dir.clone()).map(PathBuf::from);
    let folders = world.artifacts.own_logs().iter().cloned().chain(bot_logs.clone()).collect();
    let name = |source: &LogSourceName| serde_json::to_value(source).unwrap_or_default();
    let wanted: Vec<_> = input.sources.iter().map(name).collect();
    let sources =
        SOURCES.into_iter().filter(|source| wanted.iter().any(|wanted| wanted == source.name)).collect();
    Ok(BundleRequest {
        name: format!("{}-{}", call.run, call.step),
        from,
        to,
        sources,
        folders,
        bot_folder: bot_logs,
        max_bytes: input.max_mib * 1024 * 1024,
        about: json!({"run_id": call.run, "workflow_id": call.workflow, "bot": seen.id}),
    })
}

/// Sets the flag when it is dropped, so that the thread of a step that was cut off ends as well.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
