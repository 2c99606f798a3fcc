//! Who answers on a socket: the bot, the kind of its account, what it can do.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::words::closed_words;

/// A bot's name in paths, lock keys and tables: 1 to 64 characters of `a-z A-Z 0-9 - _`, not starting with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "paperbot"))]
pub struct BotId(String);

impl BotId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BotId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if text.is_empty() || text.len() > 64 || !plain || text.starts_with('-') {
            return Err("a bot id is 1 to 64 letters, digits, `-` or `_`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for BotId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BotId> for String {
    fn from(id: BotId) -> Self {
        id.0
    }
}

closed_words! {
    /// Whether orders move real money. Every answer of botops names it.
    #[derive(Default)]
    pub enum TradingMode {
        /// Current prices, simulated orders: no money is at risk.
        Paper = "paper",
        /// Orders reach a broker and cost money.
        Live = "live",
        /// Past prices, simulated orders.
        Backtest = "backtest",
        /// A word that is not in this list; it stands in `mode_raw`. Real money may be at risk.
        #[default]
        Other = "other",
    }
}

closed_words! {
    /// Who keeps the promise of a capability.
    #[derive(Default)]
    pub enum CapabilityGuarantee {
        /// The bot itself, whatever becomes of anything beside it.
        #[default]
        Bot = "bot",
        /// A program beside the bot: it holds as long as that program runs.
        Adapter = "adapter",
        /// A word that is not in this list; it stands in `guarantee_raw`.
        Other = "other",
    }
}

/// Something that the bot can do. On the wire it is a text, or an object where the bot itself does not guarantee it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenCapability", into = "WrittenCapability")]
pub struct Capability {
    /// Its name, such as `pause` or `trades`.
    pub name: String,
    /// Who keeps the promise.
    pub guarantee: CapabilityGuarantee,
    /// The bot's own word for that, where `guarantee` is `other`.
    pub guarantee_raw: Option<String>,
}

impl Capability {
    /// A capability that an adapter keeps.
    pub fn by_adapter(name: &str) -> Self {
        Self { name: name.to_owned(), guarantee: CapabilityGuarantee::Adapter, guarantee_raw: None }
    }
}

impl From<&str> for Capability {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), guarantee: CapabilityGuarantee::Bot, guarantee_raw: None }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenCapability {
    Name(String),
    Guaranteed {
        name: String,
        /// Read as it is: a word that is not known costs the word, and not the capability.
        #[serde(default)]
        guarantee: serde_json::Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guarantee_raw: Option<String>,
    },
}

impl From<WrittenCapability> for Capability {
    fn from(written: WrittenCapability) -> Self {
        match written {
            WrittenCapability::Name(name) => Self::from(name.as_str()),
            WrittenCapability::Guaranteed { name, guarantee, guarantee_raw } => {
                let known = match &guarantee {
                    serde_json::Value::Null => Some(CapabilityGuarantee::Bot),
                    word => CapabilityGuarantee::deserialize(word).ok(),
                };
                let own_word = || guarantee.as_str().map_or_else(|| guarantee.to_string(), str::to_owned);
                match known {
                    Some(known) => Self { name, guarantee: known, guarantee_raw },
                    None => Self {
                        name,
                        guarantee: CapabilityGuarantee::Other,
                        guarantee_raw: guarantee_raw.or_else(|| Some(own_word())),
                    },
                }
            }
        }
    }
}

impl From<Capability> for WrittenCapability {
    fn from(capability: Capability) -> Self {
        match capability.guarantee {
            CapabilityGuarantee::Bot => Self::Name(capability.name),
            guarantee => Self::Guaranteed {
                name: capability.name,
                guarantee: guarantee.as_str().into(),
                guarantee_raw: capability.guarantee_raw,
            },
        }
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Capability {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let guaranteed = ObjectBuilder::new()
            .property("name", text())
            .property(
                "guarantee",
                text().description(Some("`bot` or `adapter`; another word is taken as `other`")),
            )
            .property("guarantee_raw", text())
            .required("name");
        Schema::from(OneOfBuilder::new().item(text()).item(guaranteed)).into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Capability {}

/// The program that answers in the place of a bot that cannot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct AdapterIdentity {
    /// Its name, such as `botops freqtrade`.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub name: String,
    /// Its version.
    #[serde(default, deserialize_with = "crate::tolerance::optional_text_or_digits")]
    pub version: Option<String>,
    /// Id of its process.
    #[serde(default, deserialize_with = "crate::tolerance::optional_whole_number")]
    pub pid: Option<u32>,
    /// When it was started.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub started_at: Option<DateTime<Utc>>,
}

/// `GET hello`: who answers on this socket.
///
/// Required are `contract`, `bot_id`, `version` and `mode`. Where an adapter answers, `pid`, `boot_epoch` and
/// `started_at` are those of the bot, and `null` when the adapter does not know them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hello {
    /// The contract version the bot speaks; `null` when it does not say.
    #[serde(default, deserialize_with = "crate::tolerance::optional_whole_number")]
    pub contract: Option<u32>,
    /// The bot's id; botops refuses a socket that answers with another bot's id.
    #[serde(deserialize_with = "crate::tolerance::parsed_text_or_digits")]
    pub bot_id: BotId,
    /// The bot's name for people; any text, not unique.
    #[serde(default, deserialize_with = "crate::tolerance::optional_text_or_digits")]
    pub name: Option<String>,
    /// Version of the bot's program, in the bot's own numbering.
    #[serde(default, deserialize_with = "crate::tolerance::optional_text_or_digits")]
    pub version: Option<String>,
    /// Id of the process that answers, as its operating system numbers it.
    #[serde(default, deserialize_with = "crate::tolerance::optional_whole_number")]
    pub pid: Option<u32>,
    /// Identifies one start of the process: a new value at each start, so two answers with the same value come from the
    /// same process. `null` when the bot does not tell its starts apart.
    #[serde(default, deserialize_with = "crate::tolerance::optional_text_or_digits")]
    pub boot_epoch: Option<String>,
    /// When the process that answers was started.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub started_at: Option<DateTime<Utc>>,
    /// Whether the bot's orders move real money; fixed while the process runs.
    #[serde(default)]
    pub mode: TradingMode,
    /// The bot's own word for the mode, where `mode` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_raw: Option<String>,
    /// What the bot can do, by name: the command verbs, `command-status`, `config`, `config-schema`,
    /// `config-boot-once`, `session`, `events`, `trades`, `durable-pause`.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub capabilities: Vec<Capability>,
    /// Folder of the bot's JSONL logs, as a path on the bot's machine; `null` when the bot does not tell.
    #[serde(default)]
    pub log_dir: Option<String>,
    /// The adapter, when one answers for the bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterIdentity>,
}

impl Hello {
    /// What is required of a bot, with what it has to be in words: the members of the core.
    pub const REQUIRED: [(&'static str, &'static str); 4] = [
        ("contract", "the version of the contract that the bot speaks, such as 2"),
        ("bot_id", "the id of the bot, as BOT_ID names it"),
        ("version", "the version of the bot's program, as a text"),
        ("mode", "one of `paper`, `live`, `backtest`"),
    ];

    /// Whether both name the same start of the bot: by its boot epoch, and by process and start time where a bot gives
    /// none.
    pub fn is_same_start(&self, other: &Self) -> bool {
        match (&self.boot_epoch, &other.boot_epoch) {
            (Some(one), Some(two)) => one == two,
            _ => self.pid == other.pid && self.started_at == other.started_at,
        }
    }

    /// Whether it says which start of the bot answers.
    pub fn names_its_start(&self) -> bool {
        self.boot_epoch.is_some() || self.pid.is_some() || self.started_at.is_some()
    }

    /// Whether the bot lists this capability.
    pub fn offers(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|offered| offered.name == capability)
    }
}
