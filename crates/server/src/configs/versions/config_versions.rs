//! The versions by name and number: found, read, listed, and `HEAD` opened at the start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone, Utc};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::version_files::VersionFiles;
use super::version_rows::{
    NewVersionRow, VersionRow, all_numbers, committed_before, crashed_lately, highest_number, insert_version,
    last_committed, mark_committed, outlived_versions, page_of_rows, row_by_hash, row_by_number,
};
use crate::bots::{Bots, CallError};
use crate::configs::audit::{ConfigAudit, stamped_record};
use crate::configs::bot_schema::BotSchema;
use crate::configs::current::CurrentConfig;
use crate::configs::document::{
    ConfigChange, ConfigDocument, MOST_DOCUMENT_BYTES, apply_change, same_value, version_etag,
};
use crate::configs::head::VersionHead;
use crate::configs::support::ConfigSupport;
use crate::store::{Store, retention_ms};
use botops_contract::VersionRef;
use botops_core::error::{Code, Error};

/// How long a first version that could not be made waits for the next try.
const FIRST_VERSION_RETRY: Duration = Duration::from_secs(5);

/// A version without its document.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct VersionSummaryView {
    /// The number of the version; it grows with each candidate.
    pub version: u64,
    /// The ETag of the version, quotes included.
    pub etag: String,
    /// SHA-256 of the document's exact bytes, lower-case hex.
    pub sha256: String,
    /// The id of the transaction that made it.
    pub txn: String,
    /// The reason that was given for the change.
    pub reason: String,
    /// The name of the key that asked for it.
    pub actor: String,
    /// The earlier version that a rollback brought back; `null` for other changes.
    pub restored_from: Option<u64>,
    /// How many differences it has to the version before.
    pub lines: u64,
    /// When it was made (UTC).
    pub created_at: DateTime<Utc>,
    /// When it was committed; `null` for a candidate that was not.
    pub committed_at: Option<DateTime<Utc>>,
    /// True for the version that is committed now.
    pub is_committed: bool,
    /// Whether it fits the schema that the bot brings now; `null` while the schema is not known.
    #[schema(required)]
    pub fits: Option<bool>,
    /// The first place where it does not fit, and what is expected there; `null` when it fits.
    pub does_not_fit_because: Option<String>,
    /// Whether nothing that is known here speaks against a rollback to it; the bot's own check is asked by the rollback.
    pub rollbackable: bool,
    /// Why such a rollback would be refused; `null` when nothing is known against it.
    pub not_rollbackable_because: Option<String>,
}

/// The versions of the config: those on disk, with what the store knows of them.
#[derive(Debug)]
pub(crate) struct ConfigVersions {
    bots: Bots,
    store: Store,
    audit: ConfigAudit,
    schema: Arc<BotSchema>,
    files: VersionFiles,
    current: Arc<CurrentConfig>,
    /// Version 1 is made once, whoever needs it first; and when that failed last, and why.
    first_version: Mutex<Option<(Instant, Code, String)>>,
}

impl ConfigVersions {
    /// Works on an open folder. [`Self::open_head`] must be called before anything else.
    pub(crate) fn new(
        bots: Bots,
        store: Store,
        audit: ConfigAudit,
        schema: Arc<BotSchema>,
        files: VersionFiles,
        current: Arc<CurrentConfig>,
    ) -> Self {
        Self { bots, store, audit, schema, files, current, first_version: Mutex::default() }
    }

    pub(crate) fn files(&self) -> &VersionFiles {
        &self.files
    }

    /// Finds what is committed: `HEAD`, or what the store knows was `HEAD`. Nothing is made where nothing ever was: that
    /// waits until the bot says that it has a config.
    pub(crate) async fn open_head(&self) -> Result<(), Error> {
        let row = self.store.read(|connection| Ok(last_committed(connection)?)).await?;
        match (self.files.head(), row) {
            (Ok(Some((head, document))), _) => {
                self.current.set_committed(head.clone(), document);
                self.record_commit(head).await?;
            }
            (Ok(None), None) if self.files.highest().is_ok_and(|highest| highest == 0) => {}
            (found, Some(row)) => self.restore_head(found.err(), &row).await?,
            (found, None) => {
                let problem =
                    found.err().unwrap_or_else(|| "HEAD is missing beside the folder versions".to_owned());
                self.restore_head_from_copy(problem).await?;
            }
        }
        self.prune().await
    }

    /// `HEAD` is gone or does not hold, and so is what the store knew: the copy of the committed document says which
    /// version it is.
    async fn restore_head_from_copy(&self, problem: String) -> Result<(), Error> {
        let Some((reference, document)) = self.files.find_copied_version() else {
            self.give_up_head(problem);
            return Ok(());
        };
        let head = VersionHead::naming(&reference, "restored");
        if let Err(error) = self.files.commit(&head, &document) {
            self.give_up_head(format!("{problem}, and it cannot be put back ({error})"));
            return Ok(());
        }
        tracing::warn!(
            "{problem}; it names version {} again, of which config/current.json is the copy",
            head.version
        );
        self.current.set_committed(head.clone(), document);
        self.record_commit(head).await
    }

    /// What is committed is not known, or could not be what the bot boots from: changes are refused until a person has
    /// looked, and everything else is served.
    fn give_up_head(&self, problem: String) {
        tracing::error!(error.code = "CFG_018", "the committed config cannot be read: {problem}");
        self.current.set_damaged(problem);
    }

    /// `HEAD` is gone or does not hold, and the store knows what it named.
    async fn restore_head(&self, problem: Option<String>, row: &VersionRow) -> Result<(), Error> {
        let problem = problem.unwrap_or_else(|| "config/HEAD is missing".to_owned());
        let document = match self.files.load(&row.reference) {
            Ok(document) => document,
            Err(also) => {
                self.give_up_head(format!("{problem}; {also}"));
                return Ok(());
            }
        };
        let head = VersionHead::naming(&row.reference, &row.txn);
        if let Err(error) = self.files.commit(&head, &document) {
            self.give_up_head(format!("{problem}, and it cannot be put back ({error})"));
            return Ok(());
        }
        tracing::warn!("{problem}; it names version {} again, as the store knows", head.version);
        let mut record = stamped_record("head_restored");
        record.insert("new".to_owned(), serde_json::json!(row.reference));
        record.insert("outcome".to_owned(), serde_json::json!(problem));
        let queue = self.audit.queue();
        self.store.write(move |connection| Ok(queue(connection, record)?)).await?;
        self.current.set_committed(head, document);
        Ok(())
    }

    /// Makes version 1 for a bot that says it has a config and of which none was ever kept.
    ///
    /// # Errors
    /// [`Code::BotOffline`] and [`Code::ConfigSchemaUnusable`] when the bot does not say what it runs;
    /// [`Code::StoreUnavailable`], [`Code::ConfigAuditUnavailable`].
    pub(crate) async fn ensure_first_version(&self) -> Result<(), Error> {
        let is_needed = || self.current.support() == ConfigSupport::Offered && !self.current.was_ever_made();
        if !is_needed() {
            return Ok(());
        }
        let mut failed = self.first_version.lock().await;
        if !is_needed() {
            return Ok(());
        }
        // Whoever asks for the config and however often: the bot is asked once in a while.
        if let Some((at, code, why)) = failed.as_ref()
            && at.elapsed() < FIRST_VERSION_RETRY
        {
            return Err(Error::new(*code).detail(why.clone()));
        }
        let made = self.make_first_version().await;
        *failed = made.as_ref().err().map(|error| (Instant::now(), error.code(), error.to_string()));
        self.current.set_first_version_problem(made.as_ref().err().map(Error::to_string));
        self.current.refresh();
        made
    }

    /// The document that the bot runs and boots, byte for byte: it is in sync with it.
    async fn ask_bot_for_document(&self) -> Result<ConfigDocument, Error> {
        let silent = |error: CallError| {
            if error.is_silence() {
                return Error::new(Code::BotOffline).detail(Error::from(error).to_string());
            }
            unusable(&format!("the bot does not give it ({})", Error::from(error)))
        };
        let state = self.bots.config_state().await.map_err(silent)?;
        if let Some(trial) = state.trial {
            let txn = botops_core::text::clean(&trial.txn, 80);
            return Err(unusable(&format!("the bot runs trial {txn}, which botops does not lead")));
        }
        let sent = self.bots.config_document().await.map_err(silent)?;
        if sent.document.len() > MOST_DOCUMENT_BYTES {
            return Err(unusable(&format!("it has more than {MOST_DOCUMENT_BYTES} bytes")));
        }
        let document = ConfigDocument::read(sent.document)
            .map_err(|_| unusable("it is not JSON, or a key stands twice"))?;
        if document.sha256 != sent.running.sha256 || document.sha256 != state.running.sha256 {
            return Err(unusable("it does not have the hash of what the bot says it runs"));
        }
        Ok(document)
    }

    /// Version 1 from what the bot runs.
    async fn make_first_version(&self) -> Result<(), Error> {
        let unavailable = |error: std::io::Error| Error::new(Code::StoreUnavailable).caused_by(error);
        let document = self.ask_bot_for_document().await?;
        let version = self.files.highest().map_err(unavailable)? + 1;
        let reference = document.as_version(version);
        self.files.store(version, &document).map_err(unavailable)?;
        let head = VersionHead::naming(&reference, "first-start");
        self.files.commit(&head, &document).map_err(unavailable)?;
        let mut record = stamped_record("first_version");
        record.insert("new".to_owned(), serde_json::json!(reference));
        record.insert("reason".to_owned(), serde_json::json!("what the bot ran when it was first seen"));
        let queue = self.audit.queue();
        self.store.write(move |connection| Ok(queue(connection, record)?)).await?;
        self.current.set_committed(head.clone(), document);
        self.record_commit(head).await?;
        self.audit.flush().await
    }

    /// Makes sure the store knows what `HEAD` names.
    async fn record_commit(&self, head: VersionHead) -> Result<(), Error> {
        let row = NewVersionRow {
            reference: head.version_ref(),
            file: head.file.clone(),
            txn: head.txn.clone(),
            reason: String::new(),
            actor: "botops".to_owned(),
            restored_from: None,
            lines: 0,
        };
        self.store
            .write(move |connection| {
                insert_version(connection, &row)?;
                Ok(mark_committed(connection, head.version, head.at.timestamp_millis())?)
            })
            .await
    }

    /// Removes files without a row, and versions that are old and many.
    async fn prune(&self) -> Result<(), Error> {
        let now = self.store.write(|connection| Ok(retention_ms(connection)?)).await?;
        let (known, old) = self
            .store
            .read(move |connection| Ok((all_numbers(connection)?, outlived_versions(connection, now)?)))
            .await?;
        let committed = self.current.head().map(|committed| committed.head.version);
        let mut known = known;
        known.extend(committed);
        let collected = self.files.collect_orphans(&known);
        let removed: std::io::Result<()> = old
            .iter()
            .filter(|version| Some(version.version) != committed)
            .try_for_each(|version| self.files.remove(version));
        if let Err(error) = collected.map(drop).and(removed) {
            tracing::warn!("old config versions could not be removed: {error}");
        }
        Ok(())
    }

    /// The next version number.
    pub(crate) async fn next_version(&self) -> Result<u64, Error> {
        let highest = self.store.read(|connection| Ok(highest_number(connection)?)).await?;
        let files =
            self.files.highest().map_err(|error| Error::new(Code::StoreUnavailable).caused_by(error))?;
        Ok(files.max(highest) + 1)
    }

    /// The trial of this very document that ended because the bot died, if that was lately. Other digits of the same
    /// amounts are the same document.
    pub(crate) async fn find_crashed(&self, document: &ConfigDocument) -> Result<Option<String>, Error> {
        let crashed = self.store.read(|connection| Ok(crashed_lately(connection)?)).await?;
        let schema = self.schema.of_reads();
        let is_same = |version: &VersionRef| {
            version.sha256 == document.sha256
                || self
                    .files
                    .load(version)
                    .is_ok_and(|crashed| same_value(schema.root(), &crashed.value, &document.value))
        };
        Ok(crashed.into_iter().find(|(_, version)| is_same(version)).map(|(txn, _)| txn))
    }

    /// A document by name: `running`, `committed`, `trial`, `previous` or `v17`.
    pub(crate) async fn resolve(&self, name: &str) -> Result<ConfigDocument, Error> {
        let unknown = |detail: &str| {
            let name = botops_core::text::clean(name, 40);
            Error::new(Code::ConfigVersionUnknown).detail(detail.to_owned()).context("version", name)
        };
        match name {
            "committed" => Ok(self.current.committed()?.document.clone()),
            "running" => {
                let running =
                    self.current.running().ok_or_else(|| unknown("the bot has not said what it runs"))?;
                let committed = self.current.head();
                if let Some(committed) = committed.filter(|head| head.head.sha256 == running.sha256) {
                    return Ok(committed.document.clone());
                }
                let sha256 = running.sha256;
                let row = self.store.read(move |connection| Ok(row_by_hash(connection, &sha256)?)).await?;
                let row =
                    row.ok_or_else(|| unknown("what the bot runs is not among the versions kept here"))?;
                self.files.load(&row.reference).map_err(|problem| unknown(&problem))
            }
            "trial" => {
                let live = self.current.live().ok_or_else(|| unknown("no trial runs"))?;
                self.files.load(&live.candidate).map_err(|problem| unknown(&problem))
            }
            _ => {
                let number = self.number_of(name).await?;
                self.load(number).await
            }
        }
    }

    /// The number behind `v17`, `17`, `committed` or `previous`.
    pub(crate) async fn number_of(&self, name: &str) -> Result<u64, Error> {
        match name {
            "committed" => Ok(self.current.committed()?.head.version),
            "previous" => {
                let current = self.current.committed()?.head.version;
                let previous =
                    self.store.read(move |connection| Ok(committed_before(connection, current)?)).await?;
                previous.ok_or_else(|| {
                    Error::new(Code::ConfigVersionUnknown).detail("nothing was committed before")
                })
            }
            _ => name.strip_prefix('v').unwrap_or(name).parse().map_err(|_| {
                Error::new(Code::ConfigVersionUnknown)
                    .detail("no such version")
                    .context("version", botops_core::text::clean(name, 40))
            }),
        }
    }

    /// The refusal for a version that is not there. Of a bot without a config there are none to choose from.
    fn unknown_version(&self, number: u64) -> Error {
        if self.current.support().takes_no_change() && !self.current.was_ever_made() {
            return self.current.refusal_without_config();
        }
        Error::new(Code::ConfigVersionUnknown).context("version", number)
    }

    /// A version's document.
    pub(crate) async fn load(&self, number: u64) -> Result<ConfigDocument, Error> {
        let unknown = || self.unknown_version(number);
        let row = self.store.read(move |connection| Ok(row_by_number(connection, number)?)).await?;
        let row = row.ok_or_else(unknown)?;
        self.files.load(&row.reference).map_err(|problem| unknown().detail(problem))
    }

    /// The document a change makes of another.
    pub(crate) async fn candidate(
        &self,
        base: &ConfigDocument,
        change: &ConfigChange,
    ) -> Result<ConfigDocument, Error> {
        match change {
            ConfigChange::Version(number) => self.load(*number).await,
            change => Ok(ConfigDocument::of(apply_change(&self.schema.of_reads(), &base.written, change)?)),
        }
    }

    /// At most `limit` versions below `below`, newest first, and how many older ones were left out.
    ///
    /// # Errors
    /// [`Code::BotNotCapable`] for a bot without a config of which none was ever kept.
    pub(crate) async fn list(&self, below: u64, limit: u32) -> Result<(Vec<VersionSummaryView>, u64), Error> {
        let (rows, omitted) =
            self.store.read(move |connection| Ok(page_of_rows(connection, below, limit)?)).await?;
        if rows.is_empty() && !self.current.was_ever_made() && self.current.support().takes_no_change() {
            return Err(self.current.refusal_without_config());
        }
        Ok((rows.iter().map(|row| self.summary(row)).collect(), omitted))
    }

    /// One version with its document.
    pub(crate) async fn load_with_summary(
        &self,
        number: u64,
    ) -> Result<(VersionSummaryView, ConfigDocument), Error> {
        let unknown = || self.unknown_version(number);
        let row = self.store.read(move |connection| Ok(row_by_number(connection, number)?)).await?;
        let row = row.ok_or_else(unknown)?;
        let document = self.files.load(&row.reference).map_err(|problem| unknown().detail(problem))?;
        Ok((self.summary(&row), document))
    }

    fn summary(&self, row: &VersionRow) -> VersionSummaryView {
        let committed = self.current.head();
        let is_committed =
            committed.as_ref().is_some_and(|committed| committed.head.version == row.reference.version);
        let (misfit, unreadable) = match (self.files.load(&row.reference), self.schema.known()) {
            (Err(problem), _) => (None, Some(problem)),
            (Ok(_), None) => (None, None),
            (Ok(document), Some(schema)) => {
                let first = schema.check(&document.value).into_iter().next();
                (Some(first.map(|finding| format!("{}: {}", finding.pointer, finding.expected))), None)
            }
        };
        let problem = match unreadable.or_else(|| misfit.clone().flatten()) {
            _ if is_committed => Some("it is the committed one".to_owned()),
            problem => problem,
        };
        VersionSummaryView {
            version: row.reference.version,
            etag: version_etag(&row.reference),
            sha256: row.reference.sha256.clone(),
            txn: row.txn.clone(),
            reason: row.reason.clone(),
            actor: row.actor.clone(),
            restored_from: row.restored_from,
            lines: row.lines,
            created_at: time_of(row.created_ms),
            committed_at: row.committed_ms.map(time_of),
            is_committed,
            fits: misfit.as_ref().map(Option::is_none),
            does_not_fit_because: misfit.flatten(),
            rollbackable: problem.is_none(),
            not_rollbackable_because: problem,
        }
    }
}

/// The refusal of a first version for what the bot gave.
fn unusable(what: &str) -> Error {
    Error::new(Code::ConfigSchemaUnusable)
        .detail(format!("the document that the bot runs (`GET config/document`) cannot be used: {what}"))
}

fn time_of(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(ms).single().unwrap_or_default()
}
