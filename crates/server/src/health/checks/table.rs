//! The table of checks: one row each.
//!
//! A check from memory, or of something botops always watches, is a row with the component it makes; a check that
//! operators add for a component of theirs is a row with the config it takes. A row names the function that runs it,
//! in the file of its target.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::check_run::CheckRun;
use super::database::{self, DatabaseConfig};
use super::http::{self, ApiConfig, ExternalConfig};
use super::review::CheckerReview;
use super::sample::CheckSample;
use super::targets::CheckTargets;
use super::{bot, outbox, source, store, system, trading};
use crate::health::model::{Criticality, RecoveryHandler};

/// A component that botops watches from the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BuiltInHealthCheck {
    pub(crate) id: &'static str,
    pub(crate) component_type: &'static str,
    pub(crate) criticality: Criticality,
    pub(crate) depends_on: &'static [&'static str],
    pub(crate) recovery: Option<BuiltInRecovery>,
}

/// What recovers a built-in component.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BuiltInRecovery {
    Workflow(&'static str),
    CheckpointStore,
}

impl From<BuiltInRecovery> for RecoveryHandler {
    fn from(recovery: BuiltInRecovery) -> Self {
        match recovery {
            BuiltInRecovery::Workflow(id) => Self::Workflow(id.to_owned()),
            BuiltInRecovery::CheckpointStore => Self::CheckpointStore,
        }
    }
}

/// The component type of a part of botops that is not listed in [`SOURCE_TYPES`].
const OTHER_SOURCE: &str = "INTERNAL";

/// Component types of parts of botops that register themselves.
const SOURCE_TYPES: &[(&str, &str)] = &[("config_sync", "CONFIG_SYNC"), ("audit_chain", "AUDIT_CHAIN")];

type RunningCheck = Pin<Box<dyn Future<Output = CheckSample> + Send>>;

macro_rules! check_table {
    (
        from_memory { $($(#[$memory_doc:meta])* $memory:ident = $memory_row:expr, $from_memory:expr;)* }
        probes { $($(#[$probe_doc:meta])* $probe:ident = $probe_row:expr, $run_probe:expr;)* }
        addable { $($(#[$added_doc:meta])* $added:ident($config:ty) = $added_type:literal, $run_added:expr;)* }
    ) => {
        /// What a check is about, with its config.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "checker_type", content = "config", rename_all = "snake_case")]
        pub(crate) enum CheckKind {
            $($(#[$memory_doc])* $memory,)*
            $($(#[$probe_doc])* $probe,)*
            $($(#[$added_doc])* $added($config),)*
            /// A part of botops that answers from memory, by its name.
            Source(String),
        }

        /// The kinds of checks that operators can add.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum CheckerType {
            $($(#[$added_doc])* $added,)*
        }

        impl CheckKind {
            /// The component type on the wire.
            pub(crate) fn component_type(&self) -> &'static str {
                match self {
                    $(Self::$memory => $memory_row.component_type,)*
                    $(Self::$probe => $probe_row.component_type,)*
                    $(Self::$added(_) => $added_type,)*
                    Self::Source(name) => source_type(name),
                }
            }

            /// Whether the check answers from memory: it costs so little that it needs no permit and runs often.
            pub(crate) fn is_from_memory(&self) -> bool {
                matches!(self, $(Self::$memory |)* Self::Source(_))
            }
        }

        /// Every component type that a component can have.
        pub(crate) fn component_types() -> Vec<&'static str> {
            let own = [$($memory_row.component_type,)* $($probe_row.component_type,)* $($added_type,)* OTHER_SOURCE];
            let mut types: Vec<_> = own.into_iter().chain(SOURCE_TYPES.iter().map(|(_, known)| *known)).collect();
            types.sort_unstable();
            types.dedup();
            types
        }

        impl CheckerType {
            /// Parses and reviews the config of a checker; defects go into the review.
            pub(crate) fn read_config(self, config: &Value, review: &mut CheckerReview<'_>) -> Option<CheckKind> {
                match self {
                    $(Self::$added => {
                        let config: $config = review.defects.parse(config)?;
                        config.review(review);
                        Some(CheckKind::$added(config))
                    })*
                }
            }
        }

        /// The checks that botops always runs, with their components.
        pub(crate) fn built_in_health_checks() -> Vec<(CheckKind, BuiltInHealthCheck)> {
            vec![
                $((CheckKind::$memory, $memory_row),)*
                $((CheckKind::$probe, $probe_row),)*
            ]
        }

        /// Runs one check. The caller limits its time and catches panics.
        pub(crate) fn run_health_check(kind: CheckKind, targets: Arc<CheckTargets>, run: CheckRun) -> RunningCheck {
            match kind {
                $(CheckKind::$memory => {
                    let check: fn(&CheckTargets) -> CheckSample = $from_memory;
                    Box::pin(async move { check(&targets) })
                })*
                $(CheckKind::$probe => {
                    let check: fn(Arc<CheckTargets>, CheckRun) -> RunningCheck = $run_probe;
                    check(targets, run)
                })*
                $(CheckKind::$added(config) => {
                    let check: fn($config, Arc<CheckTargets>, CheckRun) -> RunningCheck = $run_added;
                    check(config, targets, run)
                })*
                CheckKind::Source(name) => Box::pin(async move { source::check_source(&targets, &name) }),
            }
        }
    };
}

check_table! {
    from_memory {
        /// The bot: its presence, the age of its data, its loops.
        Bot = BuiltInHealthCheck {
            id: "bot",
            component_type: "BOT",
            criticality: Criticality::Required,
            depends_on: &[],
            recovery: Some(BuiltInRecovery::Workflow("restart-bot")),
        }, |targets| bot::check_bot(&targets.bots.snapshot());
        /// The bot's broker session.
        BrokerSession = BuiltInHealthCheck {
            id: "broker_session",
            component_type: "BROKER_SESSION",
            criticality: Criticality::Important,
            depends_on: &["bot"],
            recovery: None,
        }, |targets| bot::check_session(&targets.bots.snapshot());
        /// Whether the bot manages what it holds and may open more.
        Trading = BuiltInHealthCheck {
            id: "trading",
            component_type: "TRADING",
            criticality: Criticality::Important,
            depends_on: &["bot"],
            recovery: None,
        }, |targets| trading::check_trading(&targets.bots.snapshot());
        /// Notices that wait for their receivers.
        Outbox = BuiltInHealthCheck {
            id: "outbox",
            component_type: "OUTBOX",
            criticality: Criticality::Optional,
            depends_on: &[],
            recovery: None,
        }, |targets| outbox::check_outbox((targets.outbox_backlog)());
    }
    probes {
        /// botops' own store: opening, writing, size, damage.
        Store = BuiltInHealthCheck {
            id: "store",
            component_type: "STORE",
            criticality: Criticality::Important,
            depends_on: &[],
            recovery: Some(BuiltInRecovery::CheckpointStore),
        }, |targets, run| Box::pin(store::check_store(targets, run));
        /// botops' own API, requested over the network.
        OwnApi = BuiltInHealthCheck {
            id: "api_server",
            component_type: "API_SERVER",
            criticality: Criticality::Important,
            depends_on: &[],
            recovery: None,
        }, |targets, _| Box::pin(http::check_own_api(targets));
        /// The machine: CPU, memory, disk and the like.
        SystemResources = BuiltInHealthCheck {
            id: "system_resources",
            component_type: "SYSTEM_RESOURCES",
            criticality: Criticality::Optional,
            depends_on: &[],
            recovery: None,
        }, |targets, run| {
            let (threads, readings) = (targets.own_threads.clone(), targets.machine.clone());
            Box::pin(system::check_machine(threads, readings, targets.data_folder(), run))
        };
    }
    addable {
        /// A database, an SQLite file or a PostgreSQL server: `{db_path}` or `{url_env}`.
        Database(DatabaseConfig) = "DATABASE",
            |config, targets, run| Box::pin(database::check_database(config, targets, run));
        /// An API of ours: `{base_url, endpoints}`.
        ApiServer(ApiConfig) = "API_SERVER", |config, targets, _| Box::pin(http::check_api(config, targets));
        /// An API of another party: `{api_url, expected_status, api_key_env, …}`.
        ExternalApi(ExternalConfig) = "EXTERNAL_API",
            |config, targets, _| Box::pin(http::check_external(config, targets));
    }
}

fn source_type(name: &str) -> &'static str {
    SOURCE_TYPES.iter().find(|(source, _)| *source == name).map_or(OTHER_SOURCE, |(_, known)| known)
}
