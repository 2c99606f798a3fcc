//! The schema as it is known now: for reads the last one that could be used, for changes only what the bot gave at its
//! present start.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use botops_contract::Hello;
use chrono::Utc;
use tokio::sync::Mutex;

use super::schema_file::{SchemaFile, SchemaRecord};
use super::view::{BotSchemaView, SchemaFaultView};
use crate::bots::{Bots, CallError};
use crate::configs::document::{ConfigSchema, SchemaFault};
use crate::configs::support::ConfigSupport;
use botops_core::error::{Code, Error};

/// How long a bot that did not answer is left alone before it is asked again.
const SILENT_SCHEMA_RETRY: Duration = Duration::from_secs(5);

/// The same for a bot that answered with something that cannot be used.
const FAULTY_SCHEMA_RETRY: Duration = Duration::from_secs(60);

/// What reading the schema brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SchemaNews {
    /// Nothing that was not known.
    Nothing,
    /// The first one.
    First,
    /// Another one than before, whose hash this is.
    Changed(String),
    /// What the bot gives cannot be used.
    Faulty(SchemaFault),
    /// What it gives can be used again.
    Usable,
}

/// The schema of the bot's config.
#[derive(Debug)]
pub(crate) struct BotSchema {
    bots: Bots,
    file: SchemaFile,
    kept: ArcSwapOption<KeptSchema>,
    /// What describes documents of before bots brought a schema: nothing in them is secret.
    open: Arc<ConfigSchema>,
    /// What describes documents while it is not known what in them is secret.
    closed: Arc<ConfigSchema>,
    /// What was kept cannot be read any more.
    is_lost: bool,
    fault: ArcSwapOption<SchemaFault>,
    last: Mutex<LastReading>,
}

#[derive(Debug)]
struct KeptSchema {
    schema: Arc<ConfigSchema>,
    record: SchemaRecord,
}

/// When the bot was asked last, and by which of its starts it answered.
#[derive(Debug, Default)]
struct LastReading {
    answered_by: Option<Arc<Hello>>,
    again_at: Option<Instant>,
    failure: Option<String>,
}

impl BotSchema {
    /// The schema that was kept. One that cannot be read any more is as none, and nothing is shown by it.
    pub(crate) fn open(folder: &Path, bots: Bots) -> Self {
        let file = SchemaFile::in_folder(folder);
        let loaded = file.load();
        let was_kept = !matches!(loaded, Ok(None));
        let kept = match loaded.map_err(|error| error.to_string()) {
            Ok(Some(record)) => match ConfigSchema::compile(&record.schema) {
                Ok(schema) => Some(Arc::new(KeptSchema { schema: Arc::new(schema), record })),
                Err(fault) => {
                    tracing::warn!("the config schema that was kept cannot be used any more: {fault}");
                    None
                }
            },
            Ok(None) => None,
            Err(error) => {
                tracing::warn!("the config schema that was kept cannot be read: {error}");
                None
            }
        };
        Self {
            bots,
            file,
            is_lost: was_kept && kept.is_none(),
            kept: ArcSwapOption::new(kept),
            open: Arc::new(ConfigSchema::without_fields(true)),
            closed: Arc::new(ConfigSchema::without_fields(false)),
            fault: ArcSwapOption::empty(),
            last: Mutex::default(),
        }
    }

    /// The last schema that could be used; `None` while there is none.
    pub(crate) fn known(&self) -> Option<Arc<ConfigSchema>> {
        self.kept.load().as_ref().map(|kept| kept.schema.clone())
    }

    /// What documents are shown and compared by. Without a schema nobody knows what in them is secret.
    pub(crate) fn of_reads(&self) -> Arc<ConfigSchema> {
        let is_older = !self.is_lost && !offers_schema(&self.bots);
        self.known().unwrap_or_else(|| if is_older { self.open.clone() } else { self.closed.clone() })
    }

    /// The schema that a change is checked by.
    ///
    /// # Errors
    /// [`Code::ConfigSchemaUnusable`] when the bot gives none that can be used, [`Code::BotOffline`] when it was not
    /// read yet.
    pub(crate) fn of_changes(&self) -> Result<Arc<ConfigSchema>, Error> {
        self.refuse_fault()?;
        self.known().ok_or_else(|| {
            Error::new(Code::BotOffline).detail("the schema of its config has not been read yet")
        })
    }

    /// Refuses while what the bot gives at present cannot be used.
    ///
    /// # Errors
    /// [`Code::ConfigSchemaUnusable`].
    pub(crate) fn refuse_fault(&self) -> Result<(), Error> {
        self.fault.load().as_deref().map_or(Ok(()), |fault| Err(refusal_of(fault)))
    }

    /// Whether what the bot gives at present cannot be used.
    pub(crate) fn is_faulty(&self) -> bool {
        self.fault.load().is_some()
    }

    pub(crate) fn view(&self) -> Option<BotSchemaView> {
        let (kept, fault) = (self.kept.load_full(), self.fault.load_full());
        if kept.is_none() && fault.is_none() {
            return None;
        }
        let record = kept.as_deref().map(|kept| &kept.record);
        Some(BotSchemaView {
            sha256: record.map(|record| record.sha256.clone()),
            read_at: record.map(|record| record.read_at),
            bot_version: record.and_then(|record| record.bot_version.clone()),
            changed: record.is_some_and(|record| record.replaced.is_some()),
            replaced: record.and_then(|record| record.replaced.clone()),
            fault: fault.as_deref().map(SchemaFaultView::of),
        })
    }

    /// Asks the bot for its schema, unless it gave it since it was started. What is kept is durable on return.
    ///
    /// # Errors
    /// [`Code::BotOffline`] when it did not answer; [`Code::StoreUnavailable`].
    pub(crate) async fn read(&self) -> Result<SchemaNews, Error> {
        let seen = self.bots.snapshot();
        let offered = ConfigSupport::of(&seen) == ConfigSupport::Offered && seen.presence.answers();
        let Some(hello) = seen.hello.clone().filter(|_| offered) else {
            return Ok(SchemaNews::Nothing);
        };
        let mut last = self.last.lock().await;
        let is_answered = last.answered_by.as_ref().is_some_and(|known| known.is_same_start(&hello));
        if is_answered && (last.again_at.is_none_or(|at| Instant::now() < at)) {
            return Ok(SchemaNews::Nothing);
        }
        if let (Some(failure), Some(at)) = (&last.failure, last.again_at)
            && Instant::now() < at
        {
            return Err(Error::new(Code::BotOffline).detail(failure.clone()));
        }
        let text = match self.bots.config_schema().await {
            Ok(text) => Ok(text),
            Err(error) => match fault_of_failed_call(error) {
                Ok(fault) => Err(fault),
                Err(failure) => {
                    last.failure = Some(failure.clone());
                    last.again_at = Some(Instant::now() + SILENT_SCHEMA_RETRY);
                    return Err(Error::new(Code::BotOffline).detail(failure));
                }
            },
        };
        let news = self.take_in(text, &hello).await?;
        let is_faulty = self.is_faulty();
        *last = LastReading {
            answered_by: Some(hello),
            again_at: is_faulty.then(|| Instant::now() + FAULTY_SCHEMA_RETRY),
            failure: None,
        };
        Ok(news)
    }

    /// Works with what the bot gave from now on, or remembers why that cannot be.
    async fn take_in(&self, text: Result<String, SchemaFault>, hello: &Hello) -> Result<SchemaNews, Error> {
        let compiled = match text {
            // It is bounded what this takes, and it may still be long.
            Ok(text) => {
                tokio::task::spawn_blocking(move || ConfigSchema::compile(&text).map(|schema| (schema, text)))
                    .await
                    .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            }
            Err(fault) => Err(fault),
        };
        let (schema, text) = match compiled {
            Ok(compiled) => compiled,
            Err(fault) => {
                let before = self.fault.swap(Some(Arc::new(fault.clone())));
                let is_known = before.as_deref() == Some(&fault);
                return Ok(if is_known { SchemaNews::Nothing } else { SchemaNews::Faulty(fault) });
            }
        };
        let before = self.kept.load_full();
        let is_same = before.as_deref().is_some_and(|kept| kept.record.sha256 == schema.sha256);
        if !is_same {
            let replaced = before.as_deref().map(|kept| kept.record.sha256.clone());
            let record = SchemaRecord {
                sha256: schema.sha256.clone(),
                read_at: Utc::now(),
                bot_version: hello.version.clone(),
                boot_epoch: hello.boot_epoch.clone(),
                replaced,
                schema: text,
            };
            self.file.store(&record).map_err(|error| Error::new(Code::StoreUnavailable).caused_by(error))?;
            self.kept.store(Some(Arc::new(KeptSchema { schema: Arc::new(schema), record })));
        }
        let was_faulty = self.fault.swap(None).is_some();
        Ok(match before.map(|kept| kept.record.sha256.clone()) {
            None => SchemaNews::First,
            Some(before) if !is_same => SchemaNews::Changed(before),
            Some(_) if was_faulty => SchemaNews::Usable,
            Some(_) => SchemaNews::Nothing,
        })
    }
}

/// What a call that failed says of the bot's schema: that it is not given, or, as the error, nothing at all.
fn fault_of_failed_call(error: CallError) -> Result<SchemaFault, String> {
    if error.is_silence() {
        return Err(format!("the schema of its config could not be read: {}", Error::from(error)));
    }
    Ok(SchemaFault::new(
        "",
        format!("the bot does not give it ({})", Error::from(error)),
        "Answer `GET config/schema` with one JSON Schema document, or leave out `config-schema`",
    ))
}

fn offers_schema(bots: &Bots) -> bool {
    ConfigSupport::of(&bots.snapshot()) == ConfigSupport::Offered
}

/// The refusal of a change while the bot's schema cannot be used.
fn refusal_of(fault: &SchemaFault) -> Error {
    Error::new(Code::ConfigSchemaUnusable)
        .detail(format!("the schema that the bot brought cannot be used {fault}"))
        .context("pointer", fault.pointer.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bots::Presence;

    /// Whether this failure of the call is told as a fault of the schema.
    #[track_caller]
    fn check(error: &CallError, is_fault: bool) {
        let said = fault_of_failed_call(error.clone());
        assert_eq!(said.is_ok(), is_fault, "{error:?}: {said:?}");
    }

    #[test]
    fn a_bot_that_was_not_asked_or_did_not_answer_has_no_faulty_schema() {
        let refusal: botops_contract::ContractRefusal =
            serde_json::from_value(serde_json::json!({"code": "not_kept", "message": "there is none"}))
                .unwrap();
        let why = || "its process is gone".to_owned();
        for presence in [Presence::Hung, Presence::Exited, Presence::Incompatible, Presence::Reloading] {
            check(&CallError::NotSent(presence, why(), None), false);
        }
        check(&CallError::NotDelivered(why()), false);
        check(&CallError::TimedOut, false);
        check(&CallError::Refused(refusal.clone()), true);
        check(&CallError::Unproven(refusal), true);
        check(&CallError::Invalid("not UTF-8".to_owned()), true);
    }
}
