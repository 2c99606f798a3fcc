//! Routes of the config.

#![allow(unused_qualifications, reason = "the API macro writes the types of parameters in full")]

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use botops_core::reason::checked_reason;
use serde_json::json;

use super::admission::{ApplyOptions, ChangePlanView, ConfigValidationView, LONGEST_TRIAL};
use super::audit::{AuditHead, MOST_RECORDS};
use super::change_lines::ChangePage;
use super::current::{CurrentConfigView, SyncState};
use super::document::{ConfigChange, ValidationLevel, WrittenValue};
use super::handle::Configs;
use super::transaction::{ConfigAction, TransactionState, TransactionView};
use super::wire::{
    AcceptAuditRequest, ApplyConfigRequest, AuditPageQuery, AuditProof, ConfigAuditView, ConfigDiffView,
    ConfigDryRunQuery, ConfigPageQuery, ConfigVersionView, ConfigVersionsView, DiffConfigQuery,
    RollbackConfigRequest, TransactionWaitQuery, ValidateConfigQuery,
};
use crate::operations_log::StoredActor;
use botops_core::error::{Code, Error};
use botops_http::{
    self, Actor, FeatureRoutes, IdempotencyKey, Json, KeyScope, MethodRefusal, OperationIndex, Path, Query,
    parse_wait, routes,
};

/// A trial takes this long unless the caller says otherwise.
const USUAL_TRIAL_S: f64 = 60.0;

/// Versions of one page, unless the caller asks for fewer; each takes the read of a file.
const MOST_VERSIONS: u32 = 50;

/// Audit records of one page, unless the caller says otherwise.
const RECORDS: u32 = 100;

const AUDIT_HEAD: &str = "x-audit-head";

/// The routes of the config.
pub fn routes() -> FeatureRoutes<Configs> {
    FeatureRoutes::new([
        routes!(get_config),
        routes!(get_config_schema.refuses(BotNotCapable, BotOffline, ConfigSchemaUnusable, StoreUnavailable)),
        routes!(validate_config.refuses(
            ConfigPatchInvalid,
            BotNotCapable,
            BotOffline,
            ConfigSchemaUnusable,
            ConfigAuditUnavailable,
            StoreUnavailable
        )),
        routes!(
            diff_config.refuses(
                ConfigVersionUnknown,
                ConfigDamaged,
                BotNotCapable,
                BotOffline,
                ConfigSchemaUnusable,
                ConfigAuditUnavailable,
                StoreUnavailable
            ),
            diff_config_with.refuses(
                ConfigVersionUnknown,
                ConfigPatchInvalid,
                ConfigDamaged,
                BotNotCapable,
                BotOffline,
                ConfigSchemaUnusable,
                ConfigAuditUnavailable,
                StoreUnavailable
            )
        ),
        routes!(apply_config.refuses(
            ConfigBusy,
            ConfigRestartRequired,
            ConfigFieldFixed,
            ConfigCrashedBefore,
            ConfigStale,
            ConfigSchemaInvalid,
            ConfigRuleBroken,
            ConfigBotRejected,
            ConfigUnchanged,
            ConfigPatchInvalid,
            ConfigMatchRequired,
            BotNotCapable,
            BotOffline,
            ConfigSchemaUnusable,
            ConfigAuditUnavailable,
            ConfigAuditDamaged,
            ConfigDamaged,
            StoreUnavailable,
            ConfigOutcomeUnknown,
            BotTimeout,
            BotRefused
        )),
        routes!(rollback_config.refuses(
            ConfigVersionUnknown,
            ConfigBusy,
            ConfigRestartRequired,
            ConfigFieldFixed,
            ConfigCrashedBefore,
            ConfigStale,
            ConfigSchemaInvalid,
            ConfigRuleBroken,
            ConfigBotRejected,
            ConfigUnchanged,
            ConfigMatchRequired,
            BotNotCapable,
            BotOffline,
            ConfigSchemaUnusable,
            ConfigAuditUnavailable,
            ConfigAuditDamaged,
            ConfigDamaged,
            StoreUnavailable,
            ConfigOutcomeUnknown,
            BotTimeout,
            BotRefused
        )),
        routes!(get_config_txn.refuses(ConfigTxnUnknown, BotNotCapable, StoreUnavailable)),
        routes!(confirm_config_txn.refuses(
            ConfigTxnUnknown,
            ConfigBusy,
            ConfigConfirmTooLate,
            ConfigTxnOver,
            BotNotCapable,
            StoreUnavailable
        )),
        routes!(cancel_config_txn.refuses(ConfigTxnUnknown, ConfigTxnOver, BotNotCapable, StoreUnavailable)),
        routes!(list_config_versions.refuses(BotNotCapable, StoreUnavailable)),
        routes!(get_config_version.refuses(
            ConfigVersionUnknown,
            ConfigDamaged,
            BotNotCapable,
            BotOffline,
            StoreUnavailable
        )),
        routes!(list_config_audit.refuses(StoreUnavailable)),
        routes!(verify_config_audit.refuses(ConfigAuditUnavailable, StoreUnavailable)),
        routes!(accept_config_audit.refuses(StoreUnavailable)),
    ])
}

/// `operations`, with the reason for a change by a method that a path of the config does not take.
///
/// It is the refusal of `PUT config/apply` for a bot whose config is not kept here, and nothing for any other.
pub fn with_refusals(operations: OperationIndex, configs: &Configs) -> OperationIndex {
    ["/api/v1/config", "/api/v1/config/apply", "/api/v1/config/rollback"].into_iter().fold(
        operations,
        |operations, path| {
            let configs = configs.clone();
            operations.with_refusal(path, MethodRefusal::new(move || configs.not_offered()))
        },
    )
}

/// What is committed and what runs
///
/// `etag` is what a change must send as `If-Match`. `sync` says whether the bot runs what is committed.
#[utoipa::path(get, path = "/api/v1/config", tag = "config", security(("api_key" = ["read"])),
    responses((status = 200, description = "The config; `X-Audit-Head` names the last audit record", body = CurrentConfigView,
        example = json!({"version": 17, "etag": "\"v17-3fa9c1d2\"", "sync": "in_sync", "writable": true,
            "sync_reason": "the bot runs the committed version 17", "trial": null, "last_rejected": null})),
        (status = 304, description = "The same version, in sync, as the `If-None-Match` names")))]
async fn get_config(State(configs): State<Configs>, headers: HeaderMap) -> Result<Response, Error> {
    if configs.current().version.is_none() {
        // A bot that has a config and was just seen: its first version is made before the answer. Why there is none
        // otherwise is in the answer.
        let _ = configs.require_config().await;
    }
    let current = configs.current();
    let mut response = match &current.page {
        Some(page) => {
            let is_known =
                current.etag.as_deref().is_some_and(|etag| botops_http::is_known(&headers, etag.as_bytes()));
            let is_quiet = current.sync == SyncState::InSync && current.trial.is_none() && current.writable;
            if is_quiet && is_known {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            } else {
                page.respond(&HeaderMap::new(), Duration::ZERO)
            }
        }
        None => botops_http::json(&*current),
    };
    // The validator of the config is its version, which is what a change is based on.
    response.headers_mut().remove(header::ETAG);
    if let Some(Ok(etag)) = current.etag.as_deref().map(HeaderValue::from_str) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(with_audit_head(&configs, response))
}

/// The schema of the config
///
/// JSON Schema 2020-12, as the bot brought it. `x-apply` says when a field takes effect, `x-risk` which way it moves
/// risk. Rules between fields are not in it: the bot's own check has them (`config/validate`).
#[utoipa::path(get, path = "/api/v1/config/schema", tag = "config", security(("api_key" = ["read"])),
    responses((status = 200, description = "The schema", body = Value, content_type = "application/json",
        example = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}))))]
async fn get_config_schema(State(configs): State<Configs>, headers: HeaderMap) -> Result<Response, Error> {
    let schema = configs.schema_text().await?;
    let page = botops_http::RenderedDocument::new(schema, "application/json");
    Ok(page.respond(&headers, Duration::from_secs(60)))
}

/// Is a config good?
///
/// Checks a document (or a patch of the committed one) by the schema, the rules and the bot, and changes nothing. The
/// body is `{config}`, `{merge_patch}`, `{json_patch}`, or the document itself.
#[utoipa::path(post, path = "/api/v1/config/validate", tag = "config", security(("api_key" = ["read"])), params(ValidateConfigQuery),
    request_body(content = Value, description = "A document or a patch", content_type = "application/json",
        example = json!({"merge_patch": {"risk_management": {"risk_per_trade": 0.5}}})),
    responses((status = 200, description = "The verdict: `valid: false` is an answer, not a failure", body = ConfigValidationView,
        example = json!({"valid": false, "errors": [{"pointer": "/risk_management/risk_per_trade", "level": "schema",
            "rule": "maximum", "got": 0.5, "expected": "a number from 0.01 to 0.05 (part of equity)",
            "fix": "0.02 means 2 % of the equity."}], "warnings": [], "checked": ["schema"],
            "bot": {"asked": false, "ok": null, "reason": null, "ms": null}}))))]
async fn validate_config(
    State(configs): State<Configs>,
    Query(upto): Query<ValidateConfigQuery>,
    Json(body): Json<WrittenValue>,
) -> Result<Response, Error> {
    let change = candidate_change(body)?;
    let verdict = configs.validate(&change, upto.level.unwrap_or(ValidationLevel::Bot)).await?;
    Ok(botops_http::json(&verdict))
}

/// What differs between two configs
#[utoipa::path(get, path = "/api/v1/config/diff", tag = "config", security(("api_key" = ["read"])), params(DiffConfigQuery),
    responses((status = 200, description = "The differences", body = ConfigDiffView,
        example = json!({"from": "v16", "to": "committed", "no_changes": false, "diff": [], "risk":
            {"direction": "neutral", "class": "low", "reasons": []}}))))]
async fn diff_config(
    State(configs): State<Configs>,
    Query(names): Query<DiffConfigQuery>,
) -> Result<Response, Error> {
    let from = names.from.unwrap_or_else(|| "committed".to_owned());
    let to = names.to.unwrap_or_else(|| "running".to_owned());
    let diff = configs.diff(&from, &to).await?;
    let risk = Some(configs.risk(&diff));
    let no_changes = diff.is_empty();
    Ok(botops_http::json(&ConfigDiffView {
        from,
        to,
        no_changes,
        diff,
        risk,
        valid: None,
        errors: Vec::new(),
    }))
}

/// What would a candidate change?
///
/// The candidate is checked by schema, rules and bot; of one that cannot be, `errors` says why and nothing else is told.
#[utoipa::path(post, path = "/api/v1/config/diff", tag = "config", security(("api_key" = ["read"])), params(DiffConfigQuery),
    request_body(content = Value, description = "A document or a patch", content_type = "application/json",
        example = json!({"merge_patch": {"risk_management": {"risk_per_trade": 0.01}}})),
    responses((status = 200, description = "The differences", body = ConfigDiffView,
        example = json!({"from": "committed", "to": "candidate", "no_changes": true, "diff": [], "risk":
            {"direction": "neutral", "class": "low", "reasons": []}}))))]
async fn diff_config_with(
    State(configs): State<Configs>,
    Query(names): Query<DiffConfigQuery>,
    Json(body): Json<WrittenValue>,
) -> Result<Response, Error> {
    let from = names.from.unwrap_or_else(|| "committed".to_owned());
    let compared = configs.diff_to(&from, &candidate_change(body)?).await?;
    let valid = compared.verdict.valid;
    Ok(botops_http::json(&ConfigDiffView {
        from,
        to: "candidate".to_owned(),
        no_changes: compared.is_same,
        risk: valid.then(|| configs.risk(&compared.diff)),
        diff: compared.diff,
        valid: Some(valid),
        errors: compared.verdict.errors,
    }))
}

/// Apply a change as a trial
///
/// Answers 202 once the bot runs it. Unless it is confirmed (by itself, or by you with `confirm: manual`) it is
/// undone at `confirm_by`. `If-Match` must name the committed version; `Idempotency-Key` makes a repetition safe.
#[utoipa::path(put, path = "/api/v1/config/apply", tag = "config", security(("api_key" = ["config"])), params(ConfigDryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The `etag` the change is based on; 428 without"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 characters, kept for 24 hours")),
    request_body(content = ApplyConfigRequest, example = json!({"reason": "calm before the rate decision",
        "merge_patch": {"risk_management": {"max_position_size": 4000}}})),
    responses((status = 200, description = "With `dry_run=true`: what would happen", body = ChangePlanView,
            example = json!({"dry_run": true, "base": "\"v17-3fa9c1d2\"", "would_apply": true, "blocked_by": null})), (status = 202, description = "On trial; `Location` is the transaction", body = TransactionView,
            example = json!({"txn": "0199…", "state": "trial", "terminal": false, "confirm": "auto", "version": 18}))))]
async fn apply_config(
    State(configs): State<Configs>,
    actor: Actor,
    headers: HeaderMap,
    Query(query): Query<ConfigDryRunQuery>,
    IdempotencyKey(claim): IdempotencyKey,
    Json(body): Json<ApplyConfigRequest>,
) -> Result<Response, Error> {
    let change = change_of(body.config, body.merge_patch, body.json_patch)?;
    let options = ApplyOptions {
        action: ConfigAction::Apply,
        reason: checked_reason(&body.reason, Code::ArgumentInvalid)?,
        confirm: body.confirm,
        confirm_within: trial_window(&configs, body.confirm_within_s)?,
        restart: body.restart,
        acknowledge: body.acknowledge,
        if_match: if_match(&headers),
        begun_by: claim.map(|claim| claim.id),
        parent_op: None,
    };
    change_config(&configs, &actor, change, options, query.dry_run).await
}

/// Go back to an earlier version
///
/// The old document becomes a new version the same way: checked, on trial, undone unless it proves good.
#[utoipa::path(put, path = "/api/v1/config/rollback", tag = "config", security(("api_key" = ["config"])), params(ConfigDryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The `etag` of the committed version; 428 without"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 characters, kept for 24 hours")),
    request_body(content = RollbackConfigRequest, example = json!({"to": "previous", "reason": "more refused orders since v16"})),
    responses((status = 200, description = "With `dry_run=true`: what would happen", body = ChangePlanView,
            example = json!({"dry_run": true, "base": "\"v17-3fa9c1d2\"", "would_apply": true, "blocked_by": null})), (status = 202, description = "On trial; `Location` is the transaction", body = TransactionView,
            example = json!({"txn": "0199…", "state": "trial", "terminal": false, "restored_from": 15, "version": 18}))))]
async fn rollback_config(
    State(configs): State<Configs>,
    actor: Actor,
    headers: HeaderMap,
    Query(query): Query<ConfigDryRunQuery>,
    IdempotencyKey(claim): IdempotencyKey,
    Json(body): Json<RollbackConfigRequest>,
) -> Result<Response, Error> {
    let to = body.to.text();
    let options = ApplyOptions {
        action: ConfigAction::Rollback,
        reason: checked_reason(&body.reason, Code::ArgumentInvalid)?,
        confirm: body.confirm,
        confirm_within: trial_window(&configs, body.confirm_within_s)?,
        restart: body.restart,
        acknowledge: body.acknowledge,
        if_match: if_match(&headers),
        begun_by: claim.map(|claim| claim.id),
        parent_op: None,
    };
    configs.require_config().await?;
    let change = ConfigChange::Version(configs.version_number(&to).await?);
    change_config(&configs, &actor, change, options, query.dry_run).await
}

/// A config change, under way or ended
///
/// With `wait` it answers as soon as the trial begins or the change has ended.
#[utoipa::path(get, path = "/api/v1/config/txns/{txn}", tag = "config", security(("api_key" = ["read"])),
    params(("txn" = String, Path, description = "The transaction's id"), TransactionWaitQuery),
    responses((status = 200, description = "The transaction", body = TransactionView,
        example = json!({"txn": "0199…", "state": "committed", "terminal": true}))))]
async fn get_config_txn(
    State(configs): State<Configs>,
    Path(txn): Path<String>,
    Query(query): Query<TransactionWaitQuery>,
) -> Result<Response, Error> {
    let view = match query.wait.as_deref().map(parse_wait).transpose()? {
        Some(wait) => configs.wait_for_txn(&txn, wait).await?,
        None => configs.txn(&txn).await?,
    };
    Ok(with_audit_head(&configs, botops_http::json(&view)))
}

/// Make a trial permanent
#[utoipa::path(post, path = "/api/v1/config/txns/{txn}/confirm", tag = "config", security(("api_key" = ["config"])),
    params(("txn" = String, Path, description = "The transaction's id")),
    responses((status = 200, description = "It is permanent; the same again changes nothing", body = TransactionView,
        example = json!({"txn": "0199…", "state": "committed", "terminal": true}))))]
async fn confirm_config_txn(
    State(configs): State<Configs>,
    actor: Actor,
    Path(txn): Path<String>,
) -> Result<Response, Error> {
    let view = configs.confirm(&txn, StoredActor::from(&actor)).await?;
    Ok(with_audit_head(&configs, botops_http::json(&view)))
}

/// Undo a trial
#[utoipa::path(post, path = "/api/v1/config/txns/{txn}/cancel", tag = "config", security(("api_key" = ["config"])),
    params(("txn" = String, Path, description = "The transaction's id")),
    responses((status = 200, description = "It is undone; the same again changes nothing", body = TransactionView,
        example = json!({"txn": "0199…", "state": "rolled_back", "by": "operator", "terminal": true}))))]
async fn cancel_config_txn(
    State(configs): State<Configs>,
    actor: Actor,
    Path(txn): Path<String>,
) -> Result<Response, Error> {
    let view = configs.cancel(&txn, StoredActor::from(&actor)).await?;
    Ok(with_audit_head(&configs, botops_http::json(&view)))
}

/// Earlier versions, newest first
#[utoipa::path(get, path = "/api/v1/config/versions", tag = "config", security(("api_key" = ["read"])), params(ConfigPageQuery),
    responses((status = 200, description = "The versions, and whether each could come back", body = ConfigVersionsView,
        example = json!({"items": [], "next": null, "omitted": 0}))))]
async fn list_config_versions(
    State(configs): State<Configs>,
    Query(page): Query<ConfigPageQuery>,
) -> Result<Response, Error> {
    let limit = page_limit(page.limit, MOST_VERSIONS, MOST_VERSIONS)?;
    let (items, omitted) = configs.list_versions(page.after.unwrap_or(i64::MAX as u64), limit).await?;
    let next = items.last().filter(|_| omitted > 0).map(|last| last.version);
    Ok(botops_http::json(&ConfigVersionsView { items, next, omitted }))
}

/// One version with its document
#[utoipa::path(get, path = "/api/v1/config/versions/{version}", tag = "config", security(("api_key" = ["read"])),
    params(("version" = String, Path, description = "`v15`, `committed` or `previous`")),
    responses((status = 200, description = "The version", body = ConfigVersionView,
        example = json!({"version": 15, "etag": "\"v15-0badcafe\"", "rollbackable": true}))))]
async fn get_config_version(
    State(configs): State<Configs>,
    Path(version): Path<String>,
) -> Result<Response, Error> {
    let number = configs.version_number(&version).await?;
    let (version, document) = configs.version(number).await?;
    Ok(botops_http::json(&ConfigVersionView { version, config: configs.shown(&document) }))
}

/// The audit: records oldest first, or with `changes` one line a change, newest first
#[utoipa::path(get, path = "/api/v1/config/audit", tag = "config", security(("api_key" = ["read"])), params(AuditPageQuery),
    responses((status = 200, description = "Records as they were written, or changes", body = ConfigAuditView,
        example = json!({"items": [], "next": null, "omitted": 0, "head": {"seq": 0, "mac": ""}}))))]
async fn list_config_audit(
    State(configs): State<Configs>,
    Query(page): Query<AuditPageQuery>,
) -> Result<Response, Error> {
    let limit = page_limit(page.limit, RECORDS, MOST_RECORDS)?;
    let foreign = if page.changes { page.after.map(|_| "after") } else { page.before.map(|_| "before") };
    if let Some(name) = foreign {
        let why = "`before` goes with `changes`, and `after` without it";
        return Err(Error::new(Code::ArgumentInvalid).detail(why).field(
            format!("?{name}"),
            true,
            "left out",
        ));
    }
    let head = AuditHead::clone(&configs.audit_head());
    let view = if page.changes {
        let changes = configs.list_changes(page.before, limit as usize).await?;
        let ChangePage { items, older, omitted } = changes;
        ConfigAuditView { items, next: None, older: Some(older), omitted, head }
    } else {
        let (items, omitted) = configs.list_audit(page.after.unwrap_or(0), limit).await?;
        let next = items.last().filter(|_| omitted > 0).and_then(|last| last["seq"].as_u64());
        ConfigAuditView { items, next, older: None, omitted, head }
    };
    Ok(with_audit_head(&configs, botops_http::json(&view)))
}

/// Is the audit as it was written?
///
/// Reads the whole file. A line that is changed, missing, moved or not ours is named by its number, and config
/// changes are refused from then on.
#[utoipa::path(get, path = "/api/v1/config/audit/verify", tag = "config", security(("api_key" = ["read"])),
    responses((status = 200, description = "The verdict", body = AuditProof,
        example = json!({"valid": true, "records": 42, "head": {"seq": 42, "mac": "…"}, "first_bad_seq": null, "reason": null,
            "checked_at": "2026-03-02T14:00:00Z", "proves": AuditProof::PROVES}))))]
async fn verify_config_audit(State(configs): State<Configs>) -> Result<Response, Error> {
    let verdict = configs.verify_audit().await?;
    Ok(with_audit_head(&configs, botops_http::json(&AuditProof::of(verdict))))
}

/// Go on after the audit was changed
///
/// For a person who found out what happened: puts the damaged file aside and begins a new one that names it.
#[utoipa::path(post, path = "/api/v1/config/audit/accept", tag = "config", security(("api_key" = ["admin"])),
    request_body(content = AcceptAuditRequest, example = json!({"first_bad_seq": 7, "reason": "disk fault, see ticket 81"})),
    responses((status = 200, description = "Config changes are taken again; where the chain ends now", body = AuditHead,
        example = json!({"seq": 43, "mac": "…"}))))]
async fn accept_config_audit(
    State(configs): State<Configs>,
    actor: Actor,
    Json(body): Json<AcceptAuditRequest>,
) -> Result<Response, Error> {
    actor.require_scope(KeyScope::Admin)?;
    let bad = configs.first_bad_seq();
    if bad != Some(body.first_bad_seq) {
        return Err(Error::new(Code::ArgumentInvalid)
            .detail("the audit holds, or another line is the first bad one")
            .field(
                "/first_bad_seq",
                body.first_bad_seq,
                bad.map_or("nothing to accept".to_owned(), |bad| bad.to_string()),
            ));
    }
    let mut record = serde_json::Map::new();
    record.insert("actor".to_owned(), json!(StoredActor::from(&actor)));
    record.insert("reason".to_owned(), json!(checked_reason(&body.reason, Code::ArgumentInvalid)?));
    let head = configs.accept_audit(record).await?;
    Ok(with_audit_head(&configs, botops_http::json(&head)))
}

async fn change_config(
    configs: &Configs,
    actor: &Actor,
    change: ConfigChange,
    options: ApplyOptions,
    dry_run: bool,
) -> Result<Response, Error> {
    if dry_run {
        return Ok(botops_http::json(&configs.plan(&change, &options).await?));
    }
    let view = configs.apply(change, StoredActor::from(actor), options).await?;
    let mut response = botops_http::json_with_status(StatusCode::ACCEPTED, &view);
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/config/txns/{}", view.txn)) {
        headers.insert(header::LOCATION, location);
    }
    if view.state == TransactionState::Trial {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(with_audit_head(configs, response))
}

/// The change in the body of a check: wrapped, patched, or the document itself.
fn candidate_change(body: WrittenValue) -> Result<ConfigChange, Error> {
    let wrapped = |name: &str| body.member(name);
    let (config, merge_patch, json_patch) =
        (wrapped("config"), wrapped("merge_patch"), wrapped("json_patch"));
    if config.is_none() && merge_patch.is_none() && json_patch.is_none() {
        return Ok(ConfigChange::Config(body));
    }
    change_of(config, merge_patch, json_patch)
}

fn change_of(
    config: Option<WrittenValue>,
    merge_patch: Option<WrittenValue>,
    json_patch: Option<WrittenValue>,
) -> Result<ConfigChange, Error> {
    match (config, merge_patch, json_patch) {
        (Some(config), None, None) => Ok(ConfigChange::Config(config)),
        (None, Some(patch), None) => Ok(ConfigChange::MergePatch(patch)),
        (None, None, Some(patch)) => Ok(ConfigChange::JsonPatch(patch)),
        (config, merge_patch, json_patch) => {
            let count = [config, merge_patch, json_patch].iter().flatten().count();
            Err(Error::new(Code::ArgumentInvalid).detail("exactly one form of the change is needed").field(
                "",
                count,
                "one of `config`, `merge_patch`, `json_patch`",
            ))
        }
    }
}

fn page_limit(asked: Option<u32>, usual: u32, most: u32) -> Result<u32, Error> {
    match asked {
        None => Ok(usual),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(Error::new(Code::ArgumentInvalid).detail("`limit` is out of range").field(
            "?limit",
            limit,
            format!("a whole number from 1 to {most}"),
        )),
    }
}

fn trial_window(configs: &Configs, seconds: Option<f64>) -> Result<Duration, Error> {
    let shortest = configs.min_trial();
    let seconds = seconds.unwrap_or(USUAL_TRIAL_S);
    let window = Duration::try_from_secs_f64(seconds).ok();
    window.filter(|window| (shortest..=LONGEST_TRIAL).contains(window)).ok_or_else(|| {
        Error::new(Code::ArgumentInvalid).detail("the trial's time cannot be used").field(
            "/confirm_within_s",
            seconds,
            format!("from {} to {} seconds", shortest.as_secs_f64(), LONGEST_TRIAL.as_secs()),
        )
    })
}

fn if_match(headers: &HeaderMap) -> Option<String> {
    headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or("unreadable").to_owned())
}

/// Names the last audit record, so that a client that keeps it can find out a file that was cut shorter.
fn with_audit_head(configs: &Configs, mut response: Response) -> Response {
    let head = configs.audit_head();
    if let Ok(value) = HeaderValue::from_str(&format!("{}:{}", head.seq, head.mac)) {
        response.headers_mut().insert(AUDIT_HEAD, value);
    }
    response
}
