//! Resources: the same reads under `bot://` names, for clients that attach resources instead of calling tools.

use rmcp::ErrorData;
use rmcp::model::{CacheScope, ErrorCode, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::Value;

use super::results::rpc_error;
use botops_http::{Actor, InternalCall, InternalCaller};

const JSON: &str = "application/json";

/// How long a client may keep a read, in milliseconds: by default the bot's state is read every second.
const FRESH_MS: u64 = 1_000;

pub(super) fn fixed_resources() -> Vec<Resource> {
    vec![
        Resource::new("bot://summary", "summary")
            .with_description("The bot at a glance, most important first")
            .with_mime_type(JSON),
        Resource::new("bot://whoami", "whoami")
            .with_description("What this key and this bot can do")
            .with_mime_type(JSON),
    ]
}

pub(super) fn resource_templates() -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str, what: &str| {
        ResourceTemplate::new(uri, name).with_description(what).with_mime_type(JSON)
    };
    vec![
        template("bot://state/{section}", "state", "One part of the state, such as positions or session"),
        template("bot://errors/{code}", "error", "What an error code means and what to do"),
        template("bot://workflows/{id}", "workflow", "What a workflow does, its parameters and its risk"),
    ]
}

pub(super) async fn read_resource(
    inside: &InternalCaller,
    actor: &Actor,
    uri: &str,
) -> Result<ReadResourceResult, ErrorData> {
    let Some(path) = path_of(uri) else {
        let known =
            "bot://summary, bot://whoami, bot://state/{section}, bot://errors/{code}, bot://workflows/{id}";
        return Err(ErrorData::new(
            ErrorCode::RESOURCE_NOT_FOUND,
            format!("there is no such resource; known: {known}"),
            Some(serde_json::json!({"uri": botops_core::text::clean(uri, 200)})),
        ));
    };
    let answer = inside.call(actor, InternalCall::get(path)).await.map_err(|problem| rpc_error(&problem))?;
    let text = match answer.body {
        Value::String(text) => text,
        body => body.to_string(),
    };
    let contents = ResourceContents::text(text, uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Private))
}

/// The REST path behind a name. Each part of a name must be one plain word, so it cannot change the rest of the path.
pub(super) fn path_of(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("bot://")?;
    match rest.split_once('/') {
        None if rest == "summary" => Some("/api/v1/summary".to_owned()),
        None if rest == "whoami" => Some("/api/v1/whoami".to_owned()),
        None => None,
        Some((kind, part)) => {
            let is_plain = !part.is_empty()
                && part.len() <= 64
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
                && !part.contains("..");
            match kind {
                _ if !is_plain => None,
                "state" => Some(format!("/api/v1/state?fields={part}")),
                "errors" => Some(format!("/api/v1/errors/catalogue/{part}")),
                "workflows" => Some(format!("/api/v1/workflows/{part}")),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_reads_and_nothing_else() {
        assert_eq!(path_of("bot://state/positions").as_deref(), Some("/api/v1/state?fields=positions"));
        assert_eq!(path_of("bot://errors/AUTH_001").as_deref(), Some("/api/v1/errors/catalogue/AUTH_001"));
        for uri in [
            "bot://",
            "bot://other",
            "bot://state/",
            "bot://state/a/b",
            "bot://workflows/..",
            "file:///etc/passwd",
        ] {
            assert_eq!(path_of(uri), None, "{uri}");
        }
    }
}
