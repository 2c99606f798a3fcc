//! The bot's config: checked, applied as a watched trial, undone by itself unless it proved good, audited.
//!
//! [`Configs::current`] is what runs and what is committed, without I/O. [`Configs::apply`] checks a change on three
//! levels and sends it to the bot as a trial with a deadline on both sides; it becomes permanent when `HEAD` is
//! replaced, and only then. Kept from users: the protocol with the bot and its durable points, files, the audit's
//! chain, recovery after a kill.
//!
//! | file or folder | what it holds | uses |
//! |---|---|---|
//! | `document/` | documents, patches, what a schema says of them, differences | |
//! | `bot_schema/` | the schema that the bot brought, kept and read again at each of its starts | `document`, `support` |
//! | `audit/` | the record of every transition, chained | |
//! | `head` | which version is committed | `document` |
//! | `support` | whether the bot has a config that is kept here | |
//! | `transaction/` | a change as it is kept and shown, and what a trial is watched for | `audit`, `document` |
//! | `current/` | what runs, what is committed, and whether the two are the same | the above |
//! | `versions/` | versions by name and number, their files and rows | the above |
//! | `admission` | what a change has to pass before the bot is told of it | the above |
//! | `trial/` | the task by which the config changes, with the table of its durable steps | the above |
//! | `change_lines` | the audit as one line a change | `audit`, `transaction` |
//! | `handle` | [`Configs`]: the verbs | the above |
//! | `api`, `wire` | routes, with their requests and answers | the above |

mod admission;
mod api;
mod audit;
mod bot_schema;
mod change_lines;
mod current;
mod document;
mod handle;
mod head;
mod support;
mod transaction;
mod trial;
mod versions;
mod wire;

pub use admission::{ApplyOptions, ChangePlanView};
pub use api::{routes, with_refusals};
pub use audit::{AuditHead, AuditVerdict, verify_audit_file};
pub use bot_schema::BotSchemaView;
pub use current::{CommittedConfigView, CurrentConfigView, SyncState};
pub(crate) use document::ConfigFinding;
pub use document::{ConfigChange, WrittenValue, read_bot_schema};
pub use handle::{Configs, ConfigsOptions};
pub use transaction::{ConfigAction, ConfirmMode, TransactionState, TransactionView};
