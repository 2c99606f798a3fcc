//! Calls of the API as `curl` commands for a terminal.

use super::plan::PlannedCall;

/// Writes calls of the API as commands for a terminal.
pub(super) struct CommandWriter<'a> {
    pub(super) host: &'a str,
    pub(super) etag: Option<&'a str>,
}

impl CommandWriter<'_> {
    pub(super) fn command(&self, call: &PlannedCall) -> String {
        let mut command = String::from("curl -sS -H \"X-API-Key: $BOT_API_AUTH_TOKEN\"");
        if call.method != "GET" {
            command.push_str(&format!(" -X {}", call.method));
        }
        let is_dry = call.path.contains("dry_run=true") || call.path.ends_with("/validate");
        if call.method != "GET" && !is_dry {
            command.push_str(" -H \"Idempotency-Key: $(uuidgen)\"");
        }
        if call.if_match {
            let etag = self.etag.unwrap_or("\"<etag of GET /api/v1/config>\"");
            command.push_str(&format!(" -H {}", quoted(&format!("If-Match: {etag}"))));
        }
        if let Some(body) = &call.body {
            command
                .push_str(&format!(" -H 'Content-Type: application/json' -d {}", quoted(&body.to_string())));
        }
        command.push_str(&format!(" {}", quoted(&format!("http://{}{}", self.host, call.path))));
        command
    }
}

/// The text quoted as one word for a POSIX shell, whatever it contains.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
