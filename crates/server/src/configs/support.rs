//! Whether the bot has a config that is kept here. The bot says so itself: it lists `config` and `config-schema` in its
//! `hello`, or not.

use crate::bots::BotSnapshot;
use botops_contract::{CONFIG_SCHEMA, EchoedConfig};
use botops_core::error::{Code, Error};

/// The capability of a bot whose config is kept here.
const CONFIG: &str = "config";

/// What the bot said of its config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigSupport {
    /// The bot was never seen, so it is not known.
    Unknown,
    /// It lists both capabilities.
    Offered,
    /// It lists `config` without `config-schema`: what runs is known by its hash, and nothing of what is in it.
    Schemaless,
    /// It does not: its config, if it has one, is its own business.
    Missing,
}

impl ConfigSupport {
    /// From the last `hello`, be it of an earlier run of botops.
    pub(crate) fn of(seen: &BotSnapshot) -> Self {
        match &seen.hello {
            None => Self::Unknown,
            Some(hello) if !hello.offers(CONFIG) => Self::Missing,
            Some(hello) if hello.offers(CONFIG_SCHEMA) => Self::Offered,
            Some(_) => Self::Schemaless,
        }
    }

    /// Whether it is known that no change can be made.
    pub(crate) fn takes_no_change(self) -> bool {
        matches!(self, Self::Missing | Self::Schemaless)
    }
}

/// The refusal of an operation on a config that the bot does not offer, with the bot's own reason where it gives one.
pub(crate) fn not_offered(seen: &BotSnapshot) -> Error {
    if ConfigSupport::of(seen) == ConfigSupport::Schemaless {
        let detail = "the bot lists `config` in its hello and not `config-schema`, so nobody here knows what its config \
                      may hold: it is neither checked nor changed. Change it where the bot keeps it; a bot that serves \
                      `GET config/schema` and `GET config/document` lists `config-schema`";
        let error = Error::new(Code::BotNotCapable).detail(detail).context("capability", CONFIG_SCHEMA);
        return error.remedy(read_only_remedy(seen));
    }
    let missing = "the bot does not list `config` in its hello, so its config is not kept here and is";
    let detail = match echoed_config(seen) {
        Some(echoed) => format!("{missing} not changed. It says: {}", echoed.reason),
        None => format!(
            "{missing} neither read nor changed. Change it where the bot keeps it; a bot that serves the config calls \
             and lists `config` when it starts again has one here from then on"
        ),
    };
    let error = Error::new(Code::BotNotCapable).detail(detail).context("capability", CONFIG);
    error.remedy(read_only_remedy(seen))
}

/// What to do instead of a change that is never made here.
fn read_only_remedy(seen: &BotSnapshot) -> String {
    let shown = if echoed_config(seen).is_some() {
        " `GET /api/v1/config` shows under `echoed` what the bot says that it runs."
    } else {
        ""
    };
    format!(
        "This bot's config is read-only for botops: no call of this API changes it, with any key. Change it where the bot \
         keeps it, in its own file, and let the bot take it as it does without botops (`cause` says more).{shown}"
    )
}

/// What the bot shows of a config that is not kept here.
pub(crate) fn echoed_config(seen: &BotSnapshot) -> Option<&EchoedConfig> {
    seen.report.as_ref()?.echoed_config.as_ref()
}

/// The refusal of an operation while it is not known whether there is a config.
pub(crate) fn not_known(seen: &BotSnapshot) -> Error {
    Error::new(Code::BotOffline).detail(format!(
        "the bot was never seen, so it is not known whether it has a config here ({})",
        seen.presence_reason
    ))
}
