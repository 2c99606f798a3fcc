//! What a change has to pass before the bot is told of it: the same way for apply, rollback, plan and validate.
//!
//! Nothing here changes anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::audit::ConfigAudit;
use super::bot_schema::BotSchema;
use super::current::CurrentConfig;
use super::document::{
    ApplyTiming, ChangeRisk, ConfigChange, ConfigDocument, ConfigFinding, ConfigSchema, DiffLine,
    ValidationLevel, WrittenValue, change_risk, diff_documents, version_etag,
};
use super::head::CommittedConfig;
use super::transaction::{
    ChangeEffects, ConfigAction, ConfigTransaction, ConfirmMode, TransactionState, TransactionView,
};
use super::versions::ConfigVersions;
use crate::bots::{Bots, CallError};
use crate::operations_log::{self, OperationRow, StoredActor};
use crate::store::Store;
use botops_contract::{CheckConfigRequest, CheckVerdict};
use botops_core::error::{Code, Error, FieldError};

/// The longest trial that may be asked for.
pub(crate) const LONGEST_TRIAL: Duration = Duration::from_secs(900);

/// How a change is to be made.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Whether a change or an earlier version is applied.
    pub action: ConfigAction,
    /// Why it is made; kept in the audit.
    pub reason: String,
    /// Who makes it permanent: botops or the caller.
    pub confirm: ConfirmMode,
    /// How long the trial may take.
    pub confirm_within: Duration,
    /// Accept that some fields take effect only at the bot's next start.
    pub restart: bool,
    /// The hash of the document, to try it again although the bot died over it.
    pub acknowledge: Option<String>,
    /// The ETag the change is based on.
    pub if_match: Option<String>,
    /// The claim of the caller's idempotency key, or the step that asks: the same begins no second transaction.
    pub begun_by: Option<String>,
    /// The workflow run that asks, which holds the bot's lock for this change.
    pub parent_op: Option<String>,
}

/// A change on its way to the bot.
#[derive(Debug, Clone)]
pub(crate) struct ChangeRequest {
    pub change: ConfigChange,
    pub actor: StoredActor,
    pub options: ApplyOptions,
}

/// A change that passed everything but the bot's own check.
#[derive(Debug, Clone)]
pub(crate) struct PreparedChange {
    /// By what it was checked.
    pub schema: Arc<ConfigSchema>,
    pub base: Arc<CommittedConfig>,
    pub document: ConfigDocument,
    pub diff: Vec<DiffLine>,
    pub risk: ChangeRisk,
    pub restart: Vec<String>,
    pub restored_from: Option<u64>,
}

/// The bot's own check of a document.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BotValidationView {
    /// Whether the bot was asked; it is not when an earlier level failed.
    pub asked: bool,
    /// Whether the bot would accept it; `null` when it gave no answer.
    pub ok: Option<bool>,
    /// Why there is no answer; `null` when there is one or none was wanted.
    pub reason: Option<String>,
    /// How long the bot's check took, in milliseconds; `null` when the bot was not asked.
    pub ms: Option<u64>,
}

/// What is wrong with a document, by level.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ConfigValidationView {
    /// True when nothing is wrong on any level that was checked.
    pub valid: bool,
    /// Everything that is wrong, in the order of the levels.
    pub errors: Vec<ConfigFinding>,
    /// What is allowed and may yet be a mistake.
    pub warnings: Vec<ConfigFinding>,
    /// The levels that were checked to the end.
    pub checked: Vec<ValidationLevel>,
    /// The bot's own check.
    pub bot: BotValidationView,
}

/// What a change would do, for a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChangePlanView {
    /// Always true: nothing was changed.
    pub dry_run: bool,
    /// The ETag of the version that the change is based on.
    pub base: String,
    /// Every difference between the base and the candidate; empty while the candidate cannot be.
    pub diff: Vec<DiffLine>,
    /// When the differences take effect; `null` while the candidate cannot be.
    #[schema(required)]
    pub effects: Option<ChangeEffects>,
    /// What the differences do to risk; `null` while the candidate cannot be.
    #[schema(required)]
    pub risk: Option<ChangeRisk>,
    /// What schema, rules and bot say about the candidate.
    pub verdict: ConfigValidationView,
    /// Whether apply would begin a trial as things are.
    pub would_apply: bool,
    /// Why it would not; `null` when it would.
    pub blocked_by: Option<String>,
}

/// A candidate compared with another document.
#[derive(Debug)]
pub(crate) struct ConfigComparison {
    /// Whether nothing differs.
    pub is_same: bool,
    /// Every difference; empty for a candidate that cannot be.
    pub diff: Vec<DiffLine>,
    pub verdict: ConfigValidationView,
}

/// The checks that a change has to pass before the bot is told of it.
#[derive(Debug)]
pub(crate) struct ChangeAdmission {
    bots: Bots,
    store: Store,
    audit: ConfigAudit,
    schema: Arc<BotSchema>,
    current: Arc<CurrentConfig>,
    versions: Arc<ConfigVersions>,
}

impl ChangeAdmission {
    /// An admission that reads from these.
    pub(crate) fn new(
        bots: Bots,
        store: Store,
        audit: ConfigAudit,
        schema: Arc<BotSchema>,
        current: Arc<CurrentConfig>,
        versions: Arc<ConfigVersions>,
    ) -> Self {
        Self { bots, store, audit, schema, current, versions }
    }

    /// Refuses when a change could not be recorded.
    fn check_writable(&self) -> Result<(), Error> {
        if let Some(damage) = self.audit.damage() {
            return Err(Error::new(Code::ConfigAuditDamaged)
                .detail(format!(
                    "line {} of the audit does not hold: {}",
                    damage.first_bad_seq, damage.reason
                ))
                .context("first_bad_seq", damage.first_bad_seq));
        }
        Ok(())
    }

    /// What the same request started before.
    pub(crate) async fn find_earlier(
        &self,
        actor: &StoredActor,
        options: &ApplyOptions,
    ) -> Result<Option<OperationRow>, Error> {
        let Some(begun_by) = options.begun_by.clone() else { return Ok(None) };
        let key_id = actor.key_id.clone();
        self.store
            .read(move |connection| Ok(operations_log::begun_operation(connection, &key_id, &begun_by)?))
            .await
    }

    /// The differences, with secrets masked.
    pub(crate) fn diff(&self, schema: &ConfigSchema, from: &Value, to: &Value) -> Vec<DiffLine> {
        diff_documents(schema, from, to, &|value| self.audit.mask(value))
    }

    /// What the differences do to risk.
    pub(crate) fn risk(&self, schema: &ConfigSchema, lines: &[DiffLine]) -> ChangeRisk {
        change_risk(schema, lines)
    }

    /// Checks a document or patch on up to three levels.
    pub(crate) async fn validate(
        &self,
        change: &ConfigChange,
        upto: ValidationLevel,
    ) -> Result<ConfigValidationView, Error> {
        let base = self.current.head();
        let document = match &base {
            Some(base) => self.versions.candidate(&base.document, change).await?,
            // Of a committed version that cannot be read, nothing is patched; a whole document can be checked.
            None => {
                let nothing = ConfigDocument::of(WrittenValue::of_plain(&Value::Null));
                self.versions.candidate(&nothing, change).await?
            }
        };
        let schema = self.schema.of_changes()?;
        Ok(self.validate_document(&schema, &document, base.as_deref(), upto).await)
    }

    /// What is wrong with a document that is compared with another one, and what differs. Of a document that cannot
    /// be, no differences are told: they would have no effect and no risk.
    ///
    /// # Errors
    /// Those of [`BotSchema::of_changes`].
    pub(crate) async fn compare(
        &self,
        from: &ConfigDocument,
        to: &ConfigDocument,
    ) -> Result<ConfigComparison, Error> {
        let (base, schema) = (self.current.head(), self.schema.of_changes()?);
        let verdict = self.validate_document(&schema, to, base.as_deref(), ValidationLevel::Bot).await;
        let diff = self.diff(&schema, &from.value, &to.value);
        Ok(ConfigComparison {
            is_same: diff.is_empty(),
            diff: if verdict.valid { diff } else { Vec::new() },
            verdict,
        })
    }

    async fn validate_document(
        &self,
        schema: &ConfigSchema,
        document: &ConfigDocument,
        base: Option<&CommittedConfig>,
        upto: ValidationLevel,
    ) -> ConfigValidationView {
        let base = base.map(|base| &base.document.value);
        let mut errors = schema.check(&document.value);
        errors.retain(|finding| finding.level == ValidationLevel::Schema || upto != ValidationLevel::Schema);
        if errors.is_empty()
            && upto != ValidationLevel::Schema
            && let Some(base) = base
        {
            errors.extend(findings_of_fixed_fields(schema, &self.diff(schema, base, &document.value)));
        }
        let mut checked = vec![ValidationLevel::Schema];
        let fits = errors.iter().all(|finding| finding.level != ValidationLevel::Schema);
        if upto != ValidationLevel::Schema && fits {
            checked.push(ValidationLevel::Semantic);
        }
        let mut warnings = if fits { schema.warnings(&document.value) } else { Vec::new() };
        let mut bot = BotValidationView { asked: false, ok: None, reason: None, ms: None };
        if errors.is_empty() && upto == ValidationLevel::Bot {
            let started = Instant::now();
            bot.asked = true;
            match self.ask_bot(document).await {
                Ok(verdict) => {
                    checked.push(ValidationLevel::Bot);
                    bot.ok = Some(verdict.ok);
                    let finding = |violation| schema.finding_of_bot(violation, &document.value);
                    errors.extend(verdict.violations.into_iter().map(finding));
                    warnings.extend(verdict.warnings.into_iter().map(finding));
                }
                Err(error) => bot.reason = Some(Error::from(error).to_string()),
            }
            bot.ms = u64::try_from(started.elapsed().as_millis()).ok();
        } else if upto == ValidationLevel::Bot {
            bot.reason = Some("the document is wrong before the bot is asked".to_owned());
        }
        ConfigValidationView { valid: errors.is_empty(), errors, warnings, checked, bot }
    }

    /// The bot's own check. It changes nothing, whatever becomes of the call.
    pub(crate) async fn ask_bot(&self, document: &ConfigDocument) -> Result<CheckVerdict, CallError> {
        let mut verdict =
            self.bots.config_check(&CheckConfigRequest { config: document.value.clone() }).await?;
        verdict.ok = verdict.ok && verdict.violations.is_empty();
        Ok(verdict)
    }

    /// What a change would do, with the bot's own answer.
    pub(crate) async fn plan(
        &self,
        change: &ConfigChange,
        options: &ApplyOptions,
    ) -> Result<ChangePlanView, Error> {
        let base = self.based_on(options).await?;
        let schema = self.schema.of_changes()?;
        let document = self.versions.candidate(&base.document, change).await?;
        let verdict = self.validate_document(&schema, &document, Some(&base), ValidationLevel::Bot).await;
        let mut plan = ChangePlanView {
            dry_run: true,
            base: version_etag(&base.head.version_ref()),
            diff: Vec::new(),
            effects: None,
            risk: None,
            blocked_by: Some(format!("{} errors in `verdict.errors`", verdict.errors.len())),
            would_apply: false,
            verdict,
        };
        if !plan.verdict.valid {
            return Ok(plan);
        }
        plan.diff = self.diff(&schema, &base.document.value, &document.value);
        let (hot, restart) = split_by_timing(&plan.diff);
        let live = self.current.live().map(|live| format!("change {} is {}", live.txn, live.state.as_str()));
        let written = self.check_writable().err().map(|error| error.to_string());
        let unchanged = plan.diff.is_empty().then(|| "nothing would change".to_owned());
        let waits = (!restart.is_empty() && !options.restart)
            .then(|| format!("`restart: true` is needed for {}", restart.join(", ")));
        let unanswered = plan.verdict.bot.reason.clone();
        let crashed = self.refuse_crashed(&document, options).await.err().map(|error| error.to_string());
        plan.blocked_by = live.or(written).or(unchanged).or(waits).or(crashed).or(unanswered);
        plan.would_apply = plan.blocked_by.is_none();
        plan.risk = Some(self.risk(&schema, &plan.diff));
        plan.effects = Some(ChangeEffects { hot, restart });
        Ok(plan)
    }

    /// Everything that is checked before the bot is asked.
    pub(crate) async fn prepare(&self, request: &ChangeRequest) -> Result<PreparedChange, Error> {
        self.check_writable()?;
        let base = self.based_on(&request.options).await?;
        let schema = self.schema.of_changes()?;
        let document = self.versions.candidate(&base.document, &request.change).await?;
        refuse_findings(&schema, &document)?;
        let diff = self.diff(&schema, &base.document.value, &document.value);
        let fixed = findings_of_fixed_fields(&schema, &diff);
        if !fixed.is_empty() {
            return Err(
                Error::new(Code::ConfigFieldFixed).fields(fixed.into_iter().map(FieldError::from).collect())
            );
        }
        self.refuse_unchanged(&diff, &base)?;
        let (_, restart) = split_by_timing(&diff);
        if !request.options.restart {
            refuse_restart(&schema, &document, &restart)?;
        }
        self.refuse_crashed(&document, &request.options).await?;
        let seen = self.bots.snapshot();
        if !seen.presence.answers() {
            return Err(Error::new(Code::BotOffline)
                .detail(format!("the bot is {}: {}", seen.presence, seen.presence_reason)));
        }
        let risk = self.risk(&schema, &diff);
        let restored_from = match request.change {
            ConfigChange::Version(number) => Some(number),
            _ => None,
        };
        Ok(PreparedChange { schema, base, document, diff, risk, restart, restored_from })
    }

    /// What is committed may be brought back where the bot runs something else; otherwise something has to change.
    fn refuse_unchanged(&self, diff: &[DiffLine], base: &CommittedConfig) -> Result<(), Error> {
        let drifted = self
            .current
            .running()
            .is_some_and(|running| running.sha256 != base.head.sha256 && self.current.live().is_none());
        if !diff.is_empty() || drifted {
            return Ok(());
        }
        Err(Error::new(Code::ConfigUnchanged).context("etag", version_etag(&base.head.version_ref())))
    }

    /// A document that the bot died over lately is tried again only by somebody who says so. No loop of agent, change
    /// and crash goes on by itself.
    async fn refuse_crashed(&self, document: &ConfigDocument, options: &ApplyOptions) -> Result<(), Error> {
        let sha256 = document.sha256.clone();
        if options.acknowledge.as_ref() == Some(&sha256) {
            return Ok(());
        }
        let Some(txn) = self.versions.find_crashed(document).await? else { return Ok(()) };
        Err(Error::new(Code::ConfigCrashedBefore)
            .detail(format!("the bot died during trial {txn} of this very document"))
            .context("txn", txn.clone())
            .context("acknowledge", sha256)
            .next("get_config_txn", "GET", format!("/api/v1/config/txns/{txn}"), None, Some("read")))
    }

    /// What the change must be based on: the committed version, which the caller has to name.
    async fn based_on(&self, options: &ApplyOptions) -> Result<Arc<CommittedConfig>, Error> {
        let committed = self.current.committed()?;
        let current = version_etag(&committed.head.version_ref());
        let Some(named) = options.if_match.as_deref().map(str::trim) else {
            return Err(Error::new(Code::ConfigMatchRequired).context("etag", current));
        };
        if named == "*" || named.is_empty() {
            return Err(Error::new(Code::ConfigMatchRequired)
                .detail("`If-Match` must name a version; `*` would overwrite a change nobody has seen")
                .context("etag", current));
        }
        if named.split(',').any(|one| bare(one) == bare(&current)) {
            return Ok(committed);
        }
        let mut error = Error::new(Code::ConfigStale)
            .context("etag", current.clone())
            .context("named", botops_core::text::clean(named, 60));
        let number = bare(named).split('-').next().map(str::to_owned).unwrap_or_default();
        if let Ok(base) = self.versions.resolve(&number).await {
            let since = self.diff(&self.schema.of_reads(), &base.value, &committed.document.value);
            error = error
                .detail(format!("{number} was the base, {} is committed now", bare(&current)))
                .context("diff", json!(since));
        }
        Err(error)
    }

    /// The answer to a request that came before.
    pub(crate) fn answer_again(&self, op: &OperationRow) -> Result<TransactionView, Error> {
        let txn = ConfigTransaction::of(op).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        if let Some(live) = self.current.live().filter(|live| live.txn == txn.id) {
            return Ok(TransactionView::clone(&live));
        }
        if let (TransactionState::Rejected, Some(error)) = (txn.state, &txn.progress.error) {
            return Err(error.to_error().context("txn", txn.id));
        }
        Ok(TransactionView::of(&txn))
    }
}

/// Refuses a document that the schema finds something wrong with.
fn refuse_findings(schema: &ConfigSchema, document: &ConfigDocument) -> Result<(), Error> {
    let findings = schema.check(&document.value);
    let Some(first) = findings.first() else { return Ok(()) };
    let code = match first.level {
        ValidationLevel::Schema => Code::ConfigSchemaInvalid,
        _ => Code::ConfigRuleBroken,
    };
    let first = shown_pointer(&first.pointer);
    let detail = match findings.len() {
        1 => format!("{first} is wrong"),
        count => format!("{count} places are wrong, the first one at {first}"),
    };
    Err(Error::new(code).detail(detail).fields(findings.into_iter().map(FieldError::from).collect()))
}

/// Lines about fields that cannot be changed.
fn findings_of_fixed_fields(schema: &ConfigSchema, lines: &[DiffLine]) -> Vec<ConfigFinding> {
    let is_fixed = |line: &&DiffLine| line.apply == ApplyTiming::Never;
    let help = |line: &DiffLine| schema.at(&line.path).and_then(|node| node["x-help"].as_str());
    let finding = |line: &DiffLine| ConfigFinding {
        pointer: line.path.clone(),
        level: ValidationLevel::Semantic,
        rule: "fixed".to_owned(),
        got: line.new.clone(),
        expected: format!("{}, as it is", line.old),
        fix: help(line)
            .unwrap_or("Leave this field as it is: the bot's schema says that it never changes.")
            .to_owned(),
        reason: None,
    };
    lines.iter().filter(is_fixed).map(finding).collect()
}

/// The refusal of a change while another operation holds the bot.
pub(crate) fn bot_busy(kind: &str, id: &str, actor: &StoredActor, state: &str) -> Error {
    let (operation, path) = match kind {
        "workflow" => ("get_workflow_run", format!("/api/v1/workflows/runs/{id}")),
        _ => ("get_config_txn", format!("/api/v1/config/txns/{id}")),
    };
    Error::new(Code::ConfigBusy)
        .detail(format!("{kind} {id} of key `{}` is {state}", actor.key_id))
        .context("holder", json!({"kind": kind, "id": id, "actor": actor.key_id, "state": state}))
        .next(operation, "GET", path, None, Some("read"))
}

/// Refuses fields that wait for a restart of the bot, which the caller has not accepted.
fn refuse_restart(schema: &ConfigSchema, document: &ConfigDocument, restart: &[String]) -> Result<(), Error> {
    if restart.is_empty() {
        return Ok(());
    }
    let fields = restart.iter().map(|pointer| FieldError {
        pointer: pointer.clone(),
        got: schema.shown(pointer, document.value.pointer(pointer).unwrap_or(&Value::Null)),
        expected: "left as it is, or sent with `restart: true`".to_owned(),
        ..FieldError::default()
    });
    Err(Error::new(Code::ConfigRestartRequired).fields(fields.collect()))
}

/// Pointers that take effect at once, and those that wait for a restart.
fn split_by_timing(lines: &[DiffLine]) -> (Vec<String>, Vec<String>) {
    let (restart, hot): (Vec<&DiffLine>, Vec<&DiffLine>) =
        lines.iter().partition(|line| line.apply == ApplyTiming::Restart);
    let paths = |lines: Vec<&DiffLine>| lines.into_iter().map(|line| line.path.clone()).collect();
    (paths(hot), paths(restart))
}

/// An ETag without its quotes.
fn bare(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// A pointer in a sentence.
fn shown_pointer(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole document" } else { pointer }
}
