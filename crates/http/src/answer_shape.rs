//! Shorter answers (`budget_tokens`, `fields`, `detail`) and tables instead of JSON, the same way for every read.
//!
//! The handler makes the whole answer, which is shaped afterwards, so no handler deals with it. To fit a budget, lists
//! lose items from their end; `omitted` then says how many, and `continue` is the call that returns the next ones. A
//! request that asks for none of this passes unchanged.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Request, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use super::document::{RenderedDocument, accepts};
use botops_core::error::{Code, Error};

/// Bytes per token of numeric JSON, as a fraction (5/2). Measured are 2.7 to 2.9; fewer keeps answers within the
/// budget.
const BYTES_PER_TOKEN: (usize, usize) = (5, 2);

/// Smallest budget in tokens: less has no room for a note about what was left out.
const BUDGET_MIN: u64 = 50;

/// Longest text with `detail=concise`, in characters.
const CONCISE_TEXT: usize = 160;

const TSV: &str = "text/tab-separated-values";
const MARKDOWN: &str = "text/markdown";

/// The media types of tables that any read can be shaped into.
pub const FORMS: [&str; 2] = [MARKDOWN, TSV];

/// The query parameters that shape answers, as entries of the API document.
pub fn parameters() -> Value {
    json!([
        {"name": "budget_tokens", "in": "query", "required": false, "schema": {"type": "integer", "minimum": BUDGET_MIN},
         "description": "Cut the answer to about this many tokens: the largest prefix that fits; `omitted` says what was left out."},
        {"name": "detail", "in": "query", "required": false, "schema": {"type": "string", "enum": ["concise", "full"]},
         "description": "`concise` leaves out what is null or empty and shortens long texts."},
        {"name": "fields", "in": "query", "required": false, "schema": {"type": "string"},
         "description": "Only these members, by dotted names: `items.seq,items.message,next`."},
    ])
}

/// The form of the answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerForm {
    Json,
    Markdown,
    Tsv,
}

/// What a request asks of the size and form of its answer.
#[derive(Debug)]
pub(super) struct ShapeRequest {
    budget: Option<usize>,
    concise: bool,
    fields: Option<String>,
    form: AnswerForm,
    /// The request's path and query without the parameters taken here.
    path: String,
    if_none_match: Option<HeaderValue>,
}

impl ShapeRequest {
    /// Takes the parameters for the answer's form out of a request; the handler sees the rest.
    ///
    /// With `own_fields` the parameter `fields` stays, since the handler reads it itself. `None` when nothing is to be
    /// shaped.
    ///
    /// # Errors
    /// [`Code::ArgumentInvalid`] for a budget or a detail that cannot be read.
    pub(super) fn take<B>(request: &mut Request<B>, own_fields: bool) -> Result<Option<Self>, Error> {
        let query = request.uri().query().unwrap_or_default();
        // The common case, checked first: this runs for every request.
        if query.is_empty() && !request.headers().contains_key(header::ACCEPT) {
            return Ok(None);
        }
        let form = form(request.headers());
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let shaped = has("budget_tokens") || has("detail") || (has("fields") && !own_fields);
        if !shaped && form == AnswerForm::Json {
            return Ok(None);
        }
        let mut shape = Self {
            budget: None,
            concise: false,
            fields: None,
            form,
            path: String::new(),
            if_none_match: None,
        };
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "budget_tokens" => {
                    let budget = value.parse::<u64>().ok().filter(|budget| *budget >= BUDGET_MIN);
                    let budget =
                        budget.ok_or_else(|| wrong("?budget_tokens", value, "a whole number, 50 or more"))?;
                    shape.budget = Some(usize::try_from(budget).unwrap_or(usize::MAX));
                }
                "detail" => match value {
                    "concise" => shape.concise = true,
                    "full" => {}
                    _ => return Err(wrong("?detail", value, "concise or full")),
                },
                "fields" if !own_fields => shape.fields = Some(value.replace("%2C", ",").replace("%2c", ",")),
                _ => kept.push(pair),
            }
        }
        let path = request.uri().path();
        shape.path = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
        if let Ok(uri) = shape.path.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
        // The handler compares with the ETag of the whole answer; the shaped one gets an ETag of its own.
        shape.if_none_match = request.headers_mut().remove(header::IF_NONE_MATCH);
        Ok(Some(shape))
    }

    /// Gives a successful JSON answer the form that was asked for. Anything else passes unchanged.
    pub(super) async fn shape(self, response: Response) -> Response {
        let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|media| {
            media.to_str().is_ok_and(|media| {
                media.starts_with("application/json") || media.starts_with("application/health+json")
            })
        });
        if !response.status().is_success() || !is_json {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(collected) = body.collect().await else {
            return refused(Error::new(Code::Internal).caused_by("the answer broke off"));
        };
        let bytes = collected.to_bytes();
        match self.render(&bytes) {
            Ok((bytes, media)) => {
                let estimate = bytes.len() * BYTES_PER_TOKEN.1 / BYTES_PER_TOKEN.0;
                let document = RenderedDocument::new(bytes, media);
                let mut asked = HeaderMap::new();
                asked.extend(self.if_none_match.map(|tags| (header::IF_NONE_MATCH, tags)));
                let mut response = document.respond(&asked, Duration::ZERO);
                if response.status().is_success() {
                    *response.status_mut() = parts.status;
                }
                for name in [header::CACHE_CONTROL, header::LOCATION, header::RETRY_AFTER] {
                    if let Some(value) = parts.headers.get(&name) {
                        response.headers_mut().insert(name, value.clone());
                    }
                }
                response.headers_mut().insert("x-token-estimate", HeaderValue::from(estimate));
                response
            }
            Err(error) => refused(error),
        }
    }

    fn render(&self, bytes: &Bytes) -> Result<(Vec<u8>, &'static str), Error> {
        let mut value: Value =
            serde_json::from_slice(bytes).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        if let Some(fields) = &self.fields {
            value = select(&value, fields)?;
        }
        if self.concise {
            shorten(&mut value);
        }
        let text = |value: &Value| match self.form {
            AnswerForm::Json => value.to_string(),
            AnswerForm::Markdown => markdown(value),
            AnswerForm::Tsv => tsv(value),
        };
        if let Some(budget) = self.budget {
            let limit = budget * BYTES_PER_TOKEN.0 / BYTES_PER_TOKEN.1;
            trim(&mut value, limit, &self.path, &text);
        }
        let media = match self.form {
            AnswerForm::Json => "application/json",
            AnswerForm::Markdown => "text/markdown; charset=utf-8",
            AnswerForm::Tsv => "text/tab-separated-values; charset=utf-8",
        };
        Ok((text(&value).into_bytes(), media))
    }
}

fn refused(error: Error) -> Response {
    axum::response::IntoResponse::into_response(error)
}

fn wrong(pointer: &str, got: &str, expected: &str) -> Error {
    Error::new(Code::ArgumentInvalid)
        .detail(format!("`{}` cannot be used", pointer.trim_start_matches('?')))
        .field(pointer, botops_core::text::clean(got, 40), expected)
}

/// JSON, unless `Accept` names a table's media type and not JSON.
fn form(headers: &HeaderMap) -> AnswerForm {
    if !headers.contains_key(header::ACCEPT) || accepts(headers, "application/json") {
        AnswerForm::Json
    } else if accepts(headers, TSV) {
        AnswerForm::Tsv
    } else if accepts(headers, MARKDOWN) {
        AnswerForm::Markdown
    } else {
        AnswerForm::Json
    }
}

/// Marks an answer as depending on `Accept`, with the header `Vary`.
pub(super) fn vary(headers: &mut HeaderMap) {
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("accept"));
}

/// Keeps the members that `fields` names. In a list the names apply to each item.
fn select(value: &Value, fields: &str) -> Result<Value, Error> {
    let mut out = Value::Object(Map::new());
    for name in fields.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let parts: Vec<&str> = name.split('.').collect();
        let found = pick(value, &parts).map_err(|allowed| {
            Error::new(Code::FieldUnknown)
                .detail(format!("there is no `{}`", botops_core::text::clean(name, 80)))
                .field("?fields", botops_core::text::clean(name, 80), "a name of `context.allowed`")
                .context("allowed", allowed)
        })?;
        merge(&mut out, found);
    }
    Ok(out)
}

/// The value at a dotted name, with the objects and lists around it. On failure the names that exist there.
fn pick(value: &Value, parts: &[&str]) -> Result<Value, Vec<String>> {
    let Some((first, rest)) = parts.split_first() else { return Ok(value.clone()) };
    match value {
        Value::Object(members) => match members.get(*first) {
            Some(member) => Ok(json!({*first: pick(member, rest)?})),
            None => Err(members.keys().take(60).cloned().collect()),
        },
        // Items may differ: one without the member is left empty; it is an error only when none has it.
        Value::Array(items) => {
            let picked: Vec<_> = items.iter().map(|item| pick(item, parts)).collect();
            match picked.iter().find_map(|one| one.as_ref().err()) {
                Some(allowed) if picked.iter().all(Result::is_err) => Err(allowed.clone()),
                _ => Ok(Value::Array(
                    picked.into_iter().map(|one| one.unwrap_or_else(|_| json!({}))).collect(),
                )),
            }
        }
        Value::Null => Ok(Value::Null),
        _ => Err(Vec::new()),
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, member) in from {
                match into.get_mut(&name) {
                    Some(known) => merge(known, member),
                    None => {
                        into.insert(name, member);
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            into.iter_mut().zip(from).for_each(|(into, from)| merge(into, from));
        }
        (into, from) => *into = from,
    }
}

/// `detail=concise`: removes null and empty members and cuts long texts.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(shorten);
            members.retain(|name, member| name == "next" || !is_empty(member));
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::String(text) if text.chars().count() > CONCISE_TEXT => {
            *text = botops_core::text::clean(text, CONCISE_TEXT);
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Members that are removed last: without them the rest cannot be interpreted or continued.
const KEPT: [&str; 22] = [
    "mode",
    "health_status",
    "health_reason",
    "next",
    "omitted",
    "continue",
    "truncated",
    "as_of",
    "data_age_seconds",
    "is_data_stale",
    "timestamp",
    "generated_at",
    "run_id",
    "workflow_id",
    "state",
    "terminal",
    "seq",
    "next_poll_ms",
    "failed_step",
    "txn",
    "etag",
    "version",
];

/// Shortens a value until its text fits: first lists from their end, the longest first, then whole members, the largest
/// first.
fn trim(value: &mut Value, limit: usize, path: &str, text: &dyn Fn(&Value) -> String) {
    if text(value).len() <= limit {
        return;
    }
    let whole = value.clone();
    // The note about what was left out takes room as well.
    let Value::Object(_) = value else {
        *value = json!({"items": value.take()});
        return trim(value, limit, path, text);
    };
    value["truncated"] = json!(true);
    for _ in 0..64 {
        let size = text(value).len();
        if size <= limit {
            return;
        }
        if !cut_longest_list(value, size - limit, path) {
            break;
        }
    }
    while text(value).len() > limit {
        let Some(name) = largest_member(value) else { break };
        if let Some(members) = value.as_object_mut() {
            members.remove(&name);
        }
        record_omitted(value, &name, 1, path);
    }
    if text(value).len() > limit {
        *value = smallest_answer(&whole, limit, path, text);
    }
}

/// The smallest answer: the call that returns the whole, and as many of the members in [`KEPT`] as fit.
fn smallest_answer(whole: &Value, limit: usize, path: &str, text: &dyn Fn(&Value) -> String) -> Value {
    let mut least = json!({"truncated": true, "continue": {"method": "GET", "path": path}});
    for name in KEPT {
        let Some(member) = whole.get(name).filter(|member| !member.is_array() && !member.is_object()) else {
            continue;
        };
        least[name] = member.clone();
        if text(&least).len() > limit
            && let Some(members) = least.as_object_mut()
        {
            members.remove(name);
        }
    }
    least
}

/// Removes items from the end of the longest list until `excess` bytes are free. False when no list is left to shorten.
fn cut_longest_list(value: &mut Value, excess: usize, path: &str) -> bool {
    let Some(members) = value.as_object_mut() else { return false };
    let mut longest: Option<(usize, String)> = None;
    for (name, member) in members.iter() {
        let Value::Array(items) = member else { continue };
        let size = member.to_string().len();
        if name != "omitted" && !items.is_empty() && longest.as_ref().is_none_or(|(known, _)| size > *known) {
            longest = Some((size, name.clone()));
        }
    }
    let Some((_, name)) = longest else { return false };
    let Some(items) = members.get_mut(&name).and_then(Value::as_array_mut) else { return false };
    let mut freed = 0;
    let mut dropped = 0;
    while freed <= excess
        && let Some(item) = items.pop()
    {
        // Counts the bytes of JSON. A table needs fewer per item, so too little may be freed; the caller then repeats.
        freed += item.to_string().len() + 1;
        dropped += 1;
    }
    let last = items.last().cloned();
    record_omitted(value, &name, dropped, path);
    if name == "items" {
        set_continuation(value, last.as_ref(), path);
    }
    true
}

/// Records in `omitted` that something was left out: adds to it where it is a count, appends an entry where it is a
/// list.
fn record_omitted(value: &mut Value, what: &str, count: usize, path: &str) {
    match &mut value["omitted"] {
        Value::Number(known) if what == "items" => {
            let sum = known.as_u64().unwrap_or_default() + u64::try_from(count).unwrap_or_default();
            value["omitted"] = json!(sum);
        }
        Value::Array(entries) => {
            let new = entry(what, count, path);
            match entries.iter_mut().find(|entry| entry["call"] == new["call"]) {
                // The same call returns both, so they share an entry.
                Some(known) => {
                    let names = known["what"].as_str().unwrap_or_default();
                    if names.split(", ").all(|name| name != what) {
                        known["what"] = json!(format!("{names}, {what}"));
                    }
                    let sum = known["count"].as_u64().unwrap_or_default()
                        + u64::try_from(count).unwrap_or_default();
                    known["count"] = json!(sum);
                }
                None => entries.push(new),
            }
        }
        // Some lists have only a flag for whether there is more.
        Value::Bool(more) => *more = true,
        other => *other = json!([entry(what, count, path)]),
    }
}

fn entry(what: &str, count: usize, path: &str) -> Value {
    let call = if path.starts_with("/api/v1/state") {
        format!("/api/v1/state?fields={what}")
    } else {
        path.to_owned()
    };
    json!({"what": what, "count": count, "call": {"method": "GET", "path": call}})
}

/// Names of the members that serve as a list's cursor.
const CURSORS: [&str; 3] = ["seq", "version", "run_id"];

/// Sets the cursor from which a shortened list continues: after the last item that is left.
fn set_continuation(value: &mut Value, last: Option<&Value>, path: &str) {
    let cursor = last.and_then(|item| CURSORS.iter().find_map(|name| item.get(*name))).cloned();
    let (base, query) = path.split_once('?').unwrap_or((path, ""));
    let others: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after=")).collect();
    let Some(cursor) = cursor else {
        value["continue"] = json!({"method": "GET", "path": path});
        return;
    };
    let shown = cursor.as_str().map_or_else(|| cursor.to_string(), str::to_owned);
    let mut pairs = vec![format!("after={shown}")];
    pairs.extend(others.into_iter().map(str::to_owned));
    value["next"] = cursor;
    value["continue"] = json!({"method": "GET", "path": format!("{base}?{}", pairs.join("&"))});
}

fn largest_member(value: &Value) -> Option<String> {
    let members = value.as_object()?.iter().filter(|(name, _)| !KEPT.contains(&name.as_str()));
    members.max_by_key(|(_, member)| member.to_string().len()).map(|(name, _)| name.clone())
}

/// The list inside an answer: its `items`, or the answer itself.
fn rows(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().or_else(|| value.get("items")?.as_array())
}

/// The columns of a list: the names of its items, in order of first appearance.
fn columns(rows: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The members beside the list, as names and texts.
fn fields_outside_items(value: &Value) -> Vec<(String, String)> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| *name != "items")
        .map(|(name, member)| (name.clone(), cell(Some(member))))
        .collect()
}

fn tsv(value: &Value) -> String {
    let plain = |text: String| {
        text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
    };
    let mut out = String::new();
    let Some(rows) = rows(value) else {
        for (name, member) in fields_outside_items(value) {
            out.push_str(&format!("{name}\t{}\n", plain(member)));
        }
        return out;
    };
    let columns = columns(rows);
    out.push_str(&columns.join("\t"));
    out.push('\n');
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|name| plain(cell(row.get(name)))).collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    for (name, member) in fields_outside_items(value) {
        out.push_str(&format!("# {name}\t{}\n", plain(member)));
    }
    out
}

fn markdown(value: &Value) -> String {
    // Text from a peer must not end its cell or form a link.
    let plain = |text: String| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '|' | '`' | '[' | ']' | '<' | '>' | '*' | '\\') {
                out.push('\\');
            }
            out.push(if matches!(c, '\n' | '\r') { ' ' } else { c });
        }
        out
    };
    let mut out = String::new();
    for (name, member) in fields_outside_items(value) {
        out.push_str(&format!("- {name}: {}\n", plain(member)));
    }
    let Some(rows) = rows(value) else { return out };
    let columns = columns(rows);
    if columns.is_empty() {
        return out;
    }
    out.push_str(&format!("\n| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len())));
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|name| plain(cell(row.get(name)))).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(count: u64) -> Value {
        let items: Vec<_> = (1..=count)
            .map(|seq| json!({"seq": seq, "message": "x".repeat(20 + usize::try_from(seq % 40).unwrap())}))
            .collect();
        json!({"items": items, "next": count, "omitted": 5, "latest": count + 5})
    }

    fn cut(value: &Value, budget: usize) -> Value {
        let mut value = value.clone();
        trim(&mut value, budget * 5 / 2, "/api/v1/events?kind=fill", &|value| value.to_string());
        value
    }

    #[test]
    fn a_cut_list_goes_on_where_it_ends() {
        let whole = page(100);
        let cut = cut(&whole, 400);
        let kept = cut["items"].as_array().unwrap().len();
        assert!(kept > 3 && kept < 100, "{kept}");
        assert_eq!(cut["next"], cut["items"][kept - 1]["seq"]);
        assert_eq!(cut["omitted"], json!(5 + 100 - kept));
        assert_eq!(cut["continue"]["path"], format!("/api/v1/events?after={kept}&kind=fill"));
        for (left, right) in cut["items"].as_array().unwrap().iter().zip(whole["items"].as_array().unwrap()) {
            assert_eq!(left, right, "what is kept is a prefix");
        }
    }

    #[test]
    fn fields_reach_into_lists_and_a_wrong_one_lists_the_right_ones() {
        let picked = select(&page(2), "items.seq,next").unwrap();
        assert_eq!(picked, json!({"items": [{"seq": 1}, {"seq": 2}], "next": 2}));
        let problem = select(&page(2), "items.sequence").unwrap_err().problem("r", chrono::Utc::now());
        assert_eq!(problem.error_code, "API_010");
        assert_eq!(problem.context["allowed"], json!(["message", "seq"]));
    }

    #[test]
    fn tables_escape_what_would_end_a_cell() {
        let value = json!({"items": [{"a": "x\ty|z", "b": null}], "next": 1});
        assert_eq!(tsv(&value), "a\tb\nx\\ty|z\t\n# next\t1\n");
        assert!(markdown(&value).contains("| x\ty\\|z |  |"));
    }

    proptest! {
        #[test]
        fn whatever_is_cut_fits_or_is_the_least_there_is(count in 0_u64..200, budget in 50_usize..5_000) {
            let cut = cut(&page(count), budget);
            let fits = cut.to_string().len() <= budget * 5 / 2;
            prop_assert!(fits || cut.get("items").is_none(), "{}", cut);
        }
    }
}
