//! What an action needs before it can be performed, and whether it is known to be missing.

use super::context::ActionServices;
use botops_contract::{FieldRole, Verb};

/// Something without which an action cannot be performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActionNeed {
    /// The bot lists this verb among its capabilities.
    Verb(Verb),
    /// The bot has a config that botops can change: it lists `config` and `config-schema`.
    Config,
    /// A field of the bot's config has this role.
    Role(FieldRole),
    /// The bot names each of its starts: without that, nothing shows that it was restarted.
    BootEpoch,
    /// Somebody can start the bot again.
    Supervisor,
}

impl ActionNeed {
    /// Its name on the wire: the capability, or what is missing instead of one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Verb(verb) => verb.as_str(),
            Self::Config => "config",
            Self::Role(role) => role.as_str(),
            Self::BootEpoch => "boot_epoch",
            Self::Supervisor => "supervisor",
        }
    }

    /// Whether it is known to be missing, from what the bot last said of itself. Of a bot that never answered nothing is
    /// known.
    pub(crate) fn is_missing(self, world: &ActionServices) -> bool {
        let seen = world.bots.snapshot();
        match self {
            Self::Verb(_) => seen.hello.as_ref().is_some_and(|hello| !hello.offers(self.name())),
            Self::Config => world.configs.not_offered().is_some(),
            Self::Role(role) => world.configs.lacks_role(role),
            Self::BootEpoch => seen.report.as_ref().is_some_and(|report| report.boot_epoch.is_none()),
            Self::Supervisor => !world.supervisor.can_start(),
        }
    }

    /// That it is missing, as a part of a sentence.
    pub(crate) fn describe_missing(self) -> String {
        match self {
            Self::Verb(_) => format!("the bot does not offer `{}`", self.name()),
            Self::Config => "the bot does not list `config` and `config-schema` in its hello".to_owned(),
            Self::Role(role) => {
                format!("no field of the bot's config has the role `{role}` (`x-role` of its schema)")
            }
            Self::BootEpoch => {
                "the bot names no `boot_epoch`, so nothing would show that it was restarted".to_owned()
            }
            Self::Supervisor => "no supervisor (BOT_SUPERVISOR) can start the bot again".to_owned(),
        }
    }
}
