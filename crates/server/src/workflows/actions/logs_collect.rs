//! `logs.collect`: packs redacted log lines into a bundle.

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

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct CollectLogsOutput {
    /// The bundle's name; `GET artifacts/{id}` returns it.
    artifact: String,
    /// Where it is fetched from.
    url: String,
    /// The name that it is saved under.
    file_name: String,
    /// The scope of a key that may fetch it.
    read_scope: String,
    /// How long it is there.
    kept: String,
    sha256: String,
    bytes: u64,
    lines: u64,
    files: u32,
    /// Whether lines were left out because of the size limit.
    truncated: bool,
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
        let artifact = request.name.clone();
        let artifacts = world.artifacts.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopOnDrop(stop.clone());
        let packed =
            do_file_work("the bundle could not be written", move || artifacts.pack_bundle(&request, &stop))
                .await?;
        Ok(CollectLogsOutput {
            sha256: packed.sha256,
            bytes: packed.bytes,
            lines: packed.lines,
            files: packed.files,
            truncated: packed.truncated,
            ..CollectLogsOutput::named(artifact)
        })
    }

    async fn predict(
        world: &ActionServices,
        input: CollectLogsInput,
        call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<CollectLogsOutput, ActionFailure> {
        let request = bundle_request(world, &input, call)?;
        let artifact = request.name.clone();
        let max = request.max_bytes;
        let (files, bytes) = do_file_work("the logs could not be looked at", move || {
            Ok(ArtifactStore::estimate_size(&request))
        })
        .await?;
        let bytes = bytes.clamp(1, max);
        Ok(CollectLogsOutput { bytes, files, truncated: bytes >= max, ..CollectLogsOutput::named(artifact) })
    }
}

impl CollectLogsOutput {
    /// A bundle of which only the name is known.
    fn named(artifact: String) -> Self {
        Self {
            url: format!("/api/v1/artifacts/{artifact}"),
            file_name: format!("{artifact}{ENDING}"),
            read_scope: "read".to_owned(),
            kept: format!("until {KEEP} newer bundles are there"),
            artifact,
            sha256: String::new(),
            bytes: 0,
            lines: 0,
            files: 0,
            truncated: false,
        }
    }
}

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
