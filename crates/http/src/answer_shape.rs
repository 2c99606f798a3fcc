//! Shorter answers (`budget_tokens`, `fields`, `detail`) and tables instead of JSON, the same way for every read.
//!
//! The handler makes the whole answer, which is shaped afterwards, so no handler deals with it. A request that asks for
//! none of this passes unchanged.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Request, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use super::document::{RenderedDocument, accepts};
use super::{answer_budget, answer_table};
use botops_core::error::{Code, Error};
use botops_core::exact_number::read_exact_json;
use botops_core::text::percent_decode;

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
                "fields" if !own_fields => {
                    shape.fields = Some(percent_decode(value).unwrap_or_else(|| value.to_owned()));
                }
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
            read_exact_json(bytes).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        if let Some(fields) = &self.fields {
            value = select(&value, fields)?;
        }
        if self.concise {
            shorten(&mut value);
        }
        let text = |value: &Value| match self.form {
            AnswerForm::Json => value.to_string(),
            AnswerForm::Markdown => answer_table::markdown(value),
            AnswerForm::Tsv => answer_table::tsv(value),
        };
        if let Some(budget) = self.budget {
            let limit = budget * BYTES_PER_TOKEN.0 / BYTES_PER_TOKEN.1;
            answer_budget::shorten_to(&mut value, limit, &self.path, &text);
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
        .field(
            pointer,
            botops_core::text::clean(&percent_decode(got).unwrap_or_else(|| got.to_owned()), 40),
            expected,
        )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_reach_into_lists_and_a_wrong_one_lists_the_right_ones() {
        let page = json!({"items": [{"seq": 1, "message": "a"}, {"seq": 2, "message": "b"}], "next": 2});
        let picked = select(&page, "items.seq,next").unwrap();
        assert_eq!(picked, json!({"items": [{"seq": 1}, {"seq": 2}], "next": 2}));
        let problem = select(&page, "items.sequence").unwrap_err().problem("r", chrono::Utc::now());
        assert_eq!(problem.error_code, "API_010");
        assert_eq!(problem.context["allowed"], json!(["message", "seq"]));
    }
}
