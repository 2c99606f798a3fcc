//! The schema that the bot brought: read from it at each of its starts, kept beside the versions, told when it changes.

mod known_schema;
mod schema_file;
mod view;

pub(crate) use known_schema::{BotSchema, SchemaNews};
pub use view::BotSchemaView;
