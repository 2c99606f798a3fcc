//! Actions on log bundles.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Call, Failure, World};
use crate::workflows::artifacts::{Artifacts, SOURCES, Wish};
use crate::workflows::definition::FailureClass;
use botops_core::error::Code;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Collect {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    sources: Vec<SourceName>,
    #[schemars(range(min = 1, max = 256))]
    max_mib: u64,
    /// There is one way: everything that looks like a secret goes.
    #[serde(default, rename = "redact")]
    #[expect(dead_code, reason = "it is written so that a reader of the file sees it")]
    redaction: Redaction,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Redaction {
    #[default]
    Strict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SourceName {
    Trades,
    Errors,
    Health,
    Api,
    Workflows,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Collected {
    /// The bundle's name; `GET artifacts/{id}` returns it.
    pub artifact: String,
    pub sha256: String,
    pub bytes: u64,
    pub lines: u64,
    pub files: u32,
    /// True when the size limit cut it off.
    pub truncated: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    artifact: String,
    sha256: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Verified {
    /// The hash is what it was.
    #[serde(rename = "match")]
    pub matches: bool,
    pub secrets_found: u64,
    pub files: u32,
    pub lines: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Delete {
    /// Left out (a step that was cut off put nothing out), every bundle of the run goes.
    #[serde(default)]
    artifact: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Deleted {
    pub deleted: bool,
}

fn wish(world: &World, input: &Collect, call: &Call) -> Result<Wish, Failure> {
    if input.from >= input.to {
        let message = "`from` must be before `to`";
        return Err(Failure::new(FailureClass::Invalid, Code::WorkflowStepFailed, message));
    }
    let seen = world.bots.snapshot();
    let bot_logs = seen.hello.as_ref().and_then(|hello| hello.log_dir.clone()).map(PathBuf::from);
    let folders = world.artifacts.own_logs().iter().cloned().chain(bot_logs).collect();
    let name = |source: &SourceName| serde_json::to_value(source).unwrap_or_default();
    let wanted: Vec<_> = input.sources.iter().map(name).collect();
    let sources =
        SOURCES.into_iter().filter(|source| wanted.iter().any(|wanted| wanted == source.name)).collect();
    Ok(Wish {
        name: format!("{}-{}", call.run, call.step),
        from: input.from,
        to: input.to,
        sources,
        folders,
        max_bytes: input.max_mib * 1024 * 1024,
        about: json!({"run_id": call.run, "workflow_id": call.workflow, "bot": seen.id}),
    })
}

/// Sets the flag when it is dropped: a step that is given up ends its thread as well.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs file work away from the async threads.
async fn off_loop<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let joined = tokio::task::spawn_blocking(work).await;
    let result =
        joined.map_err(|_| Failure::new(FailureClass::Unknown, Code::Internal, "the file work panicked"))?;
    result.map_err(|error| Failure::io(what, &error))
}

pub(super) async fn collect(world: &World, input: Collect, call: &Call) -> Result<Collected, Failure> {
    let wish = wish(world, &input, call)?;
    let artifact = wish.name.clone();
    let artifacts = world.artifacts.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let _guard = StopOnDrop(stop.clone());
    let packed = off_loop("the bundle could not be written", move || artifacts.pack(&wish, &stop)).await?;
    Ok(Collected {
        artifact,
        sha256: packed.sha256,
        bytes: packed.bytes,
        lines: packed.lines,
        files: packed.files,
        truncated: packed.truncated,
    })
}

pub(super) async fn predict_collect(
    world: &World,
    input: Collect,
    call: &Call,
) -> Result<Collected, Failure> {
    let wish = wish(world, &input, call)?;
    let artifact = wish.name.clone();
    let max = wish.max_bytes;
    let (files, bytes) =
        off_loop("the logs could not be looked at", move || Ok(Artifacts::estimate(&wish))).await?;
    let bytes = bytes.clamp(1, max);
    Ok(Collected { artifact, sha256: String::new(), bytes, lines: 0, files, truncated: bytes >= max })
}

pub(super) async fn verify(world: &World, input: Verify) -> Result<Verified, Failure> {
    let artifacts = world.artifacts.clone();
    let name = input.artifact;
    let inspected = off_loop("the bundle could not be read", move || artifacts.inspect(&name)).await?;
    Ok(Verified {
        matches: inspected.sha256 == input.sha256,
        secrets_found: inspected.secrets,
        files: inspected.files,
        lines: inspected.lines,
    })
}

pub(super) fn predict_verify() -> Verified {
    Verified { matches: true, secrets_found: 0, files: 0, lines: 0 }
}

pub(super) async fn delete(world: &World, input: Delete, call: &Call) -> Result<Deleted, Failure> {
    let of_this_run = |name: &String| name.starts_with(&call.run);
    if input.artifact.as_ref().is_some_and(|name| !of_this_run(name)) {
        return Err(Failure::precondition("the artifact belongs to another run"));
    }
    let name = input.artifact.unwrap_or_else(|| format!("{}-{}", call.run, call.step));
    let artifacts = world.artifacts.clone();
    let deleted = off_loop("the bundle could not be deleted", move || artifacts.delete(&name)).await?;
    Ok(Deleted { deleted })
}
