//! The one door for changes: what is checked before the bot hears of a change, for apply, rollback, plan and
//! validate alike. Nothing here changes anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::diff::{self, Apply, Line, Risk};
use super::document::{Change, Document};
use super::schema::{Finding, Level, of_violation};
use super::snapshot::Committed;
use super::txn::{Action, Confirm, Effects, Txn, TxnView, etag};
use super::versions;
use crate::bots::CallError;
use crate::operations_log::{OperationRow, StoredActor};
use botops_contract::{Check, CheckVerdict};
use botops_core::error::{Code, Error, FieldError};

/// The longest trial that may be asked for.
pub(super) const LONGEST_TRIAL: Duration = Duration::from_secs(900);

/// How a change is to be made.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Apply or rollback.
    pub action: Action,
    /// Why; kept in the audit.
    pub reason: String,
    /// Who makes it permanent.
    pub confirm: Confirm,
    /// How long the trial may take.
    pub confirm_within: Duration,
    /// Accept that some fields take effect only at the bot's next start.
    pub restart: bool,
    /// Try a document again although the bot died over it: its hash.
    pub acknowledge: Option<String>,
    /// The ETag the change is based on.
    pub if_match: Option<String>,
    /// The caller's idempotency key and the digest of the request.
    pub idempotency: Option<(String, String)>,
    /// The workflow run that asks, which holds the bot's lock for this change.
    pub parent_op: Option<String>,
}

/// A change on its way to the bot.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub change: Change,
    pub actor: StoredActor,
    pub options: ApplyOptions,
}

/// A change that passed everything but the bot's own check.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub base: Arc<Committed>,
    pub document: Document,
    pub diff: Vec<Line>,
    pub risk: Risk,
    pub restart: Vec<String>,
    pub restored_from: Option<u64>,
}

/// What the bot says about a document.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BotVerdict {
    /// Whether the bot was asked; it is not when an earlier level failed.
    pub asked: bool,
    /// Its answer; `null` when it gave none.
    pub ok: Option<bool>,
    /// Why there is no answer.
    pub reason: Option<String>,
    /// How long it took.
    pub ms: Option<u64>,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Verdict {
    /// True when nothing is wrong on any level that was checked.
    pub valid: bool,
    /// Everything that is wrong.
    pub errors: Vec<Finding>,
    /// What is allowed and worth a second look.
    pub warnings: Vec<Finding>,
    /// The levels that were checked to the end.
    pub checked: Vec<Level>,
    /// The bot's part.
    pub bot: BotVerdict,
}

/// What a change would do.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PlanView {
    /// Always true: nothing was changed.
    pub dry_run: bool,
    /// What the change is based on.
    pub base: String,
    /// Every difference.
    pub diff: Vec<Line>,
    /// When they take effect.
    pub effects: Effects,
    /// What they do to risk.
    pub risk: Risk,
    /// What the bot and the rules say.
    pub verdict: Verdict,
    /// Whether apply would begin a trial as things are.
    pub would_apply: bool,
    /// Why not.
    pub blocked_by: Option<String>,
}

impl Shared {
    /// See [`super::Configs::validate`].
    pub(super) async fn validate(&self, change: &Change, upto: Level) -> Result<Verdict, Error> {
        let base = self.head.load_full();
        let empty = Value::Null;
        let base_value = base.as_ref().map_or(&empty, |base| &base.document.value);
        let document = self.candidate(base_value, change).await?;
        Ok(self.judge_document(&document, base.as_deref(), upto).await)
    }

    async fn judge_document(&self, document: &Document, base: Option<&Committed>, upto: Level) -> Verdict {
        let base = base.map(|base| &base.document.value);
        let mut errors = self.schema.findings(&document.value, base, &self.facts());
        errors.retain(|finding| finding.level == Level::Schema || upto != Level::Schema);
        if errors.is_empty()
            && upto != Level::Schema
            && let Some(base) = base
        {
            errors.extend(self.fixed(&self.lines(base, &document.value)));
        }
        let mut checked = vec![Level::Schema];
        let fits = errors.iter().all(|finding| finding.level != Level::Schema);
        if upto != Level::Schema && fits {
            checked.push(Level::Semantic);
        }
        let mut bot = BotVerdict { asked: false, ok: None, reason: None, ms: None };
        if errors.is_empty() && upto == Level::Bot {
            let started = Instant::now();
            bot.asked = true;
            match self.ask_bot(document).await {
                Ok(verdict) => {
                    checked.push(Level::Bot);
                    bot.ok = Some(verdict.ok);
                    errors.extend(verdict.violations.into_iter().map(of_violation));
                }
                Err(error) => bot.reason = Some(Error::from(error).to_string()),
            }
            bot.ms = u64::try_from(started.elapsed().as_millis()).ok();
        } else if upto == Level::Bot {
            bot.reason = Some("the document is wrong before the bot is asked".to_owned());
        }
        let warnings = if fits { self.schema.warnings(&document.value) } else { Vec::new() };
        Verdict { valid: errors.is_empty(), errors, warnings, checked, bot }
    }

    /// The bot's own check. It changes nothing, whatever becomes of the call.
    pub(super) async fn ask_bot(&self, document: &Document) -> Result<CheckVerdict, CallError> {
        let mut verdict = self.bots.config_check(&Check { config: document.value.clone() }).await?;
        verdict.ok = verdict.ok && verdict.violations.is_empty();
        Ok(verdict)
    }

    /// See [`super::Configs::plan`].
    pub(super) async fn plan(&self, change: &Change, options: &ApplyOptions) -> Result<PlanView, Error> {
        let base = self.based_on(options).await?;
        let document = self.candidate(&base.document.value, change).await?;
        let verdict = self.judge_document(&document, Some(&base), Level::Bot).await;
        let diff = self.lines(&base.document.value, &document.value);
        let risk = diff::risk(&self.schema, &diff);
        let (hot, restart) = split(&diff);
        let blocked_by = if verdict.valid {
            let live =
                self.live.load_full().map(|live| format!("change {} is {}", live.txn, live.state.as_str()));
            let written = self.check_writable().err().map(|error| error.to_string());
            let unchanged = diff.is_empty().then(|| "nothing would change".to_owned());
            let waits = (!restart.is_empty() && !options.restart)
                .then(|| format!("`restart: true` is needed for {}", restart.join(", ")));
            let unanswered = verdict.bot.reason.clone();
            let crashed = self.guard(&document, options).await.err().map(|error| error.to_string());
            live.or(written).or(unchanged).or(waits).or(crashed).or(unanswered)
        } else {
            Some(format!("{} errors in `verdict.errors`", verdict.errors.len()))
        };
        Ok(PlanView {
            dry_run: true,
            base: etag(&base.head.as_ref()),
            diff,
            effects: Effects { hot, restart },
            risk,
            verdict,
            would_apply: blocked_by.is_none(),
            blocked_by,
        })
    }

    /// Everything that is checked before the bot is asked.
    pub(super) async fn prepare(&self, wish: &Wish) -> Result<Prepared, Error> {
        self.check_writable()?;
        let base = self.based_on(&wish.options).await?;
        let document = self.candidate(&base.document.value, &wish.change).await?;
        let findings = self.schema.findings(&document.value, Some(&base.document.value), &self.facts());
        if let Some(first) = findings.first() {
            let code = match first.level {
                Level::Schema => Code::ConfigSchemaInvalid,
                _ => Code::ConfigRuleBroken,
            };
            let detail = match findings.len() {
                1 => format!("{} is wrong", place(&first.pointer)),
                count => format!("{count} places are wrong, the first one at {}", place(&first.pointer)),
            };
            return Err(Error::new(code)
                .detail(detail)
                .fields(findings.into_iter().map(FieldError::from).collect()));
        }
        let diff = self.lines(&base.document.value, &document.value);
        let fixed = self.fixed(&diff);
        if !fixed.is_empty() {
            return Err(
                Error::new(Code::ConfigFieldFixed).fields(fixed.into_iter().map(FieldError::from).collect())
            );
        }
        // What is committed may be brought back where the bot runs something else.
        let drifted = self
            .running()
            .is_some_and(|running| running.sha256 != base.head.sha256 && self.live.load().is_none());
        if diff.is_empty() && !drifted {
            return Err(Error::new(Code::ConfigUnchanged).context("etag", etag(&base.head.as_ref())));
        }
        let (_, restart) = split(&diff);
        if !restart.is_empty() && !wish.options.restart {
            let fields = restart.iter().map(|pointer| FieldError {
                pointer: pointer.clone(),
                got: document.value.pointer(pointer).cloned().unwrap_or_default(),
                expected: "left as it is, or sent with `restart: true`".to_owned(),
            });
            return Err(Error::new(Code::ConfigRestartRequired).fields(fields.collect()));
        }
        self.guard(&document, &wish.options).await?;
        let seen = self.bots.snapshot();
        if !seen.presence.answers() {
            return Err(Error::new(Code::BotOffline)
                .detail(format!("the bot is {}: {}", seen.presence, seen.presence_reason)));
        }
        let risk = diff::risk(&self.schema, &diff);
        let restored_from = match wish.change {
            Change::Version(number) => Some(number),
            _ => None,
        };
        Ok(Prepared { base, document, diff, risk, restart, restored_from })
    }

    /// A document that the bot died over lately is tried again only by somebody who says so. No loop of agent, change
    /// and crash goes on by itself.
    async fn guard(&self, document: &Document, options: &ApplyOptions) -> Result<(), Error> {
        let sha256 = document.sha256.clone();
        if options.acknowledge.as_ref() == Some(&sha256) {
            return Ok(());
        }
        let hash = sha256.clone();
        let crashed =
            self.store.read(move |connection| Ok(versions::crashed_lately(connection, &hash)?)).await?;
        let Some(txn) = crashed else { return Ok(()) };
        Err(Error::new(Code::ConfigCrashedBefore)
            .detail(format!("the bot died during trial {txn} of this very document"))
            .context("txn", txn.clone())
            .context("acknowledge", sha256)
            .next("get_config_txn", "GET", format!("/api/v1/config/txns/{txn}"), None, Some("read")))
    }

    /// What the change must be based on: the committed version, which the caller has to name.
    async fn based_on(&self, options: &ApplyOptions) -> Result<Arc<Committed>, Error> {
        let committed = self.committed()?;
        let current = etag(&committed.head.as_ref());
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
        if let Ok(base) = self.resolve(&number).await {
            let since = self.lines(&base.value, &committed.document.value);
            error = error
                .detail(format!("{number} was the base, {} is committed now", bare(&current)))
                .context("diff", json!(since));
        }
        Err(error)
    }

    /// Lines about fields that cannot be changed.
    fn fixed(&self, lines: &[Line]) -> Vec<Finding> {
        let is_fixed = |line: &&Line| line.apply == Apply::Never;
        let finding = |line: &Line| Finding {
            pointer: line.path.clone(),
            level: Level::Semantic,
            rule: "fixed".to_owned(),
            got: line.new.clone(),
            expected: format!("{}, as it is", line.old),
            fix: self
                .schema
                .at(&line.path)
                .and_then(|node| node["x-help"].as_str())
                .unwrap_or_default()
                .to_owned(),
        };
        lines.iter().filter(is_fixed).map(finding).collect()
    }

    /// The answer to a request that came before.
    pub(super) fn answer_again(&self, op: &OperationRow) -> Result<TxnView, Error> {
        let txn = Txn::of(op).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        if let Some(live) = self.live.load_full().filter(|live| live.txn == txn.id) {
            return Ok(TxnView::clone(&live));
        }
        if let (super::TxnState::Rejected, Some(error)) = (txn.state, &txn.progress.error) {
            return Err(error.to_error().context("txn", txn.id));
        }
        Ok(txn.view(super::trial::SAMPLES))
    }
}

/// Pointers that take effect at once, and those that wait for a restart.
fn split(lines: &[Line]) -> (Vec<String>, Vec<String>) {
    let (restart, hot): (Vec<&Line>, Vec<&Line>) =
        lines.iter().partition(|line| line.apply == Apply::Restart);
    let paths = |lines: Vec<&Line>| lines.into_iter().map(|line| line.path.clone()).collect();
    (paths(hot), paths(restart))
}

/// An ETag without its quotes.
fn bare(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// A pointer in a sentence.
fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole document" } else { pointer }
}
