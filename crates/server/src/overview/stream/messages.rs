//! The messages of the stream.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::json;

use super::context::StreamContext;
use crate::events::Event;
use crate::overview::wording::to_seconds;
use botops_core::error::Code;

/// How often clients are asked whether they are there; two unanswered questions are enough.
pub(super) const PING_EVERY: Duration = Duration::from_secs(20);

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(super) fn hello(
    context: &StreamContext,
    cursor: u64,
    after: Option<u64>,
    lost: Option<&serde_json::Value>,
) -> String {
    let rendered = context.rendered.load();
    let replay = after.map(
        |after| json!({"after": after, "from": cursor + 1, "to": context.events.latest(), "lost": lost}),
    );
    json!({
        "type": "hello",
        "seq": cursor,
        "sent_at": now(),
        "mode": rendered.view.mode,
        "bot": {
            "id": rendered.view.bot.id,
            "presence": rendered.view.bot.presence,
            "boot_epoch": rendered.view.bot.boot_epoch,
        },
        "interval_seconds": to_seconds(context.interval),
        "ping_seconds": PING_EVERY.as_secs(),
        "replay": replay,
        "server": {"name": "botops", "version": env!("CARGO_PKG_VERSION")},
    })
    .to_string()
}

pub(super) fn snapshot(context: &StreamContext, cursor: u64) -> String {
    message("snapshot", cursor, "summary", text_of(context.rendered.load().summary.bytes()))
}

pub(super) fn metrics(context: &StreamContext) -> String {
    let seq = context.hub.seq.load(Ordering::Relaxed);
    message("metrics", seq, "metrics", text_of(context.rendered.load().metrics.bytes()))
}

pub(super) fn event(event: &Event) -> String {
    let body = serde_json::to_string(event).expect("an event has string keys only");
    message("event", event.seq, "event", &body)
}

pub(super) fn goodbye(seq: u64) -> String {
    let row = Code::Stopping.row();
    json!({
        "type": "goodbye",
        "seq": seq,
        "sent_at": now(),
        "reason": row.title,
        "error_code": row.code,
        "remediation": row.remediation,
        "resume": format!("/api/v1/stream?after={seq}"),
    })
    .to_string()
}

/// A message around a body that is JSON already. The stamp is taken here, right before the first send.
fn message(kind: &str, seq: u64, name: &str, body: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"seq\":{seq},\"sent_at\":\"{}\",\"{name}\":{body}}}", now())
}

fn text_of(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap_or("null")
}
