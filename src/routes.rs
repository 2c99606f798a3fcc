//! Every feature's routes, merged, and the API document made from them.
//!
//! Handlers are annotated with whole paths, since nesting would rewrite the address of each request. The document is
//! finished here: what holds for every operation (the key, the refusals of the guard) is added once, not at each
//! handler.

use std::collections::BTreeMap;

use axum::Router;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::any_call_codes::{ANY_ARGUMENT, ANY_BODY, ANY_CHANGE, ANY_KEY, ANY_REQUEST};
use crate::ask::{self, AskService};
use crate::document_published::{publish, schema_name};
use crate::document_short::shorten;
use crate::handles::FeatureHandles;
use crate::manual;
use crate::manual::Manual;
use crate::mcp::{self, McpOptions};
use botops_core::error::{Code, Error, Problem};
use botops_http::{self, InternalCaller, OperationTable};
use botops_server::events::EventReader;
use botops_server::whoami::Whoami;
use botops_server::{
    bots, configs, errors, events, health, healthz, incidents, overview, performance, whoami, workflows,
};

/// The table of operations that the guard enforces, made from the API document; a test compares it with [`document`].
const OPERATIONS: &str = include_str!("../schemas/operations.txt");

/// Examples of answers, by the name of their schema, or by operation and media type where there is none.
const EXAMPLES: &str = include_str!("document_examples.json");

/// Path of the Swagger UI.
const DOCS: &str = "/api/docs";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "botops",
        description = include_str!("api.md"),
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem)),
    tags(
        (name = "state", description = "What the bot does: cached, with its age, never by asking the bot."),
        (name = "config", description = "Checked, applied as a watched trial, rolled back by itself."),
        (name = "workflows", description = "Named, reviewed procedures that survive a kill."),
        (name = "control", description = "Single commands to the bot, audited, with their effect told first."),
        (name = "health", description = "Whether everything works, and what was done about it."),
        (name = "performance", description = "How trading went, by window and symbol."),
        (name = "agents", description = "Plain language and MCP."),
        (name = "manual", description = "Open pages: this document and the error catalogue."),
    ),
)]
struct ApiDocument;

/// Which MCP clients are allowed besides those on this machine, and until when.
#[derive(Debug)]
pub struct McpAccess {
    /// Host names under which clients may reach `/mcp`.
    pub hosts: Vec<String>,
    /// Origins of pages that may call `/mcp` in a browser.
    pub origins: Vec<String>,
    /// Cancelled when the process stops; open MCP requests end then.
    pub stopping: CancellationToken,
}

/// The router with every route, and the table of operations. Serving needs no more of the API document than the table.
///
/// # Errors
/// [`Code::Internal`] when a page of the manual cannot be rendered, which is a defect.
pub fn build(handles: &FeatureHandles, access: McpAccess) -> Result<(Router, OperationTable), Error> {
    let operations = OperationTable::read(OPERATIONS);
    let health = handles.health.clone();
    let reader =
        EventReader::new(handles.events.clone(), move || health.component_names(), access.stopping.clone());
    let router = Router::new()
        .merge(manual::routes().serve(Manual::new()?))
        .merge(health::routes().serve(handles.health.clone()))
        .merge(healthz::routes().serve(()))
        .merge(overview::routes().serve(handles.overview.clone()))
        .merge(events::routes().serve(reader))
        .merge(incidents::routes().serve(handles.incidents.clone()))
        .merge(errors::routes().serve(handles.errors.clone()))
        .merge(whoami::routes().serve(Whoami::new(handles.bots.clone(), handles.overview.clone())))
        .merge(performance::routes().serve(handles.performance.clone()))
        .merge(configs::routes().serve(handles.configs.clone()))
        .merge(bots::routes().serve(handles.control.clone()))
        .merge(workflows::routes().serve(handles.workflows.clone()));
    // Plain language calls the features' routes through this.
    let keyed = handles.change_keys.keyed_changes();
    let inside = InternalCaller::new(router.clone(), &operations, keyed.clone());
    let router = router.merge(ask::routes().serve(AskService::new(inside)));
    let mcp = mcp::router(McpOptions {
        inside: InternalCaller::new(router.clone(), &operations, keyed),
        bots: handles.bots.clone(),
        events: handles.events.clone(),
        hosts: access.hosts,
        origins: access.origins,
        stopping: access.stopping,
    });
    let router = router.merge(mcp);
    let docs = SwaggerUi::new(DOCS).config(Config::from("/api/openapi.json"));
    let router = router
        .merge(docs)
        .fallback(|| std::future::ready(Error::new(Code::PathUnknown)))
        .method_not_allowed_fallback(|| std::future::ready(Error::new(Code::MethodUnknown)));
    Ok((router, operations))
}

/// Everything about every operation, at every address, made from the code: the table of operations follows from it.
pub fn document() -> Value {
    let mut api = ApiDocument::openapi();
    api.merge(manual::routes().describe());
    api.merge(health::routes().describe());
    api.merge(performance::routes().describe());
    api.merge(bots::routes().describe());
    api.merge(workflows::routes().describe());
    api.merge(overview::routes().describe());
    api.merge(events::routes().describe());
    api.merge(incidents::routes().describe());
    api.merge(errors::routes().describe());
    api.merge(whoami::routes().describe());
    api.merge(healthz::routes().describe());
    api.merge(ask::routes().describe());
    api.merge(configs::routes().describe());
    let mut document = serde_json::to_value(&api).expect("the API document is plain data");
    finish(&mut document);
    document
}

/// The API document as it is published: each operation at one address, and what many share in `components`.
///
/// It is the same for every start, so the program serves the committed file; a test compares that with this.
pub fn published_document() -> Value {
    publish(&document())
}

/// The published document in short, as `GET /api/openapi.json` returns it whole.
pub fn short_document() -> Value {
    shorten(&published_document())
}

/// Adds what holds for every operation.
fn finish(document: &mut Value) {
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["servers"] = json!([{"url": "/", "description": "This server"}]);
    document["components"]["securitySchemes"] = json!({
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "Or `Authorization: Bearer <key>`. The scopes a call needs stand at the call."},
        "ticket": {"type": "apiKey", "in": "query", "name": "ticket",
            "description": "A single-use ticket from `POST /api/v1/stream/ticket`, for browsers."},
    });
    document["components"]["schemas"]["Part"] = json!({
        "type": "object",
        "description": "A part of the answer, when `budget_tokens`, `fields` or `detail` asked for one.",
        "properties": {
            "truncated": {"type": "boolean", "description": "True when something was left out to fit the budget."},
            "continue": {"type": "object", "description": "The call that goes on where this part ends."},
        },
    });
    let docs = json!({"get": {
        "operationId": "get_docs", "tags": ["manual"], "summary": "This document as a page", "security": [{}],
        "responses": {"200": {"description": "Swagger UI, served from the binary"}},
    }});
    let asset = json!({"get": {
        "operationId": "get_docs_asset", "tags": ["manual"], "summary": "A part of the page", "security": [{}],
        "parameters": [{"name": "asset", "in": "path", "required": true, "schema": {"type": "string"}}],
        "responses": {"200": {"description": "The part"}},
    }});
    let examples: Value = serde_json::from_str(EXAMPLES).expect("the examples are JSON");
    let Some(paths) = document["paths"].as_object_mut() else { return };
    paths.insert(mcp::MCP_PATH.to_owned(), mcp_operation());
    let mut docs_with_slash = docs.clone();
    docs_with_slash["get"]["operationId"] = json!("get_docs_with_slash");
    paths.insert(DOCS.to_owned(), docs);
    paths.insert(format!("{DOCS}/"), docs_with_slash);
    paths.insert(format!("{DOCS}/{{*asset}}"), asset);
    for (path, item) in paths.iter_mut() {
        let takes_shape = path.starts_with("/api/") && !path.contains("/stream");
        if let Some(operation) = item.get_mut("get").filter(|_| takes_shape) {
            shape(operation);
        }
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            finish_operation(method, operation);
            add_examples(operation, &examples);
        }
    }
}

/// Adds the parameters that shape answers, and tables as media types, to every read that needs a key.
fn shape(operation: &mut Value) {
    let keyed = operation["security"]
        .as_array()
        .is_some_and(|list| list.iter().any(|one| one.get("api_key").is_some()));
    let content = operation.pointer("/responses/200/content").and_then(Value::as_object);
    if !keyed || !content.is_some_and(|content| content.keys().any(|media| media.ends_with("json"))) {
        return;
    }
    if !operation["parameters"].is_array() {
        operation["parameters"] = json!([]);
    }
    let known = operation["parameters"].as_array_mut().expect("it was just made");
    let own_fields = known.iter().any(|parameter| parameter["name"] == "fields");
    for parameter in botops_http::answer_shape::parameters().as_array().into_iter().flatten() {
        if !known.iter().any(|old| old["name"] == parameter["name"]) {
            known.push(parameter.clone());
        }
    }
    // A shortened answer does not satisfy the schema of the whole one.
    for (media, content) in operation["responses"]["200"]["content"].as_object_mut().into_iter().flatten() {
        if media.ends_with("json") {
            let whole = content["schema"].take();
            content["schema"] = json!({"anyOf": [whole, {"$ref": "#/components/schemas/Part"}]});
        }
    }
    operation["x-shapes"] = json!(if own_fields { "own-fields" } else { "all" });
    for media in botops_http::answer_shape::FORMS {
        let content = &mut operation["responses"]["200"]["content"];
        if content.get(media).is_none() {
            content[media] = json!({"schema": {"type": "string"}});
        }
    }
    let codes = operation.as_object_mut().expect("it was read as one").entry("x-error-codes");
    let codes = codes.or_insert_with(|| json!([])).as_array_mut().expect("codes are listed");
    codes.push(json!(Code::FieldUnknown.row().code));
}

/// The operation of `/mcp`, which has a protocol of its own; the guard takes its scope from here, like any other.
fn mcp_operation() -> Value {
    let message =
        json!({"type": "object", "description": "A JSON-RPC 2.0 message of the Model Context Protocol"});
    let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_summary", "arguments": {}}});
    let answered = json!({"jsonrpc": "2.0", "id": 1, "result": {"isError": false, "content": [], "structuredContent": {"mode": "paper"}}});
    let content = |example: &Value| json!({"application/json": {"schema": message, "example": example}});
    let mut answers = content(&answered);
    answers["text/event-stream"] = json!({"schema": {"type": "string"}});
    json!({"post": {
        "operationId": "mcp", "tags": ["agents"], "summary": "Model Context Protocol (Streamable HTTP)",
        "description": "Stateless, both eras of the protocol. `Accept` names `application/json` and `text/event-stream`. Tools are \
            listed and called by the key's scopes; refusals are JSON-RPC errors with the Problem as `data`.",
        "security": [{"api_key": ["read"]}],
        "x-json-rpc": true,
        "requestBody": {"required": true, "content": content(&asked)},
        "responses": {
            "200": {"description": "The answer", "content": answers},
            "202": {"description": "A notification was taken", "content": {}},
        },
    }})
}

/// Adds the examples of answers that are kept as a file; those of the handlers stay where that has none.
fn add_examples(operation: &mut Value, examples: &Value) {
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches("_at_trading_engine")
        .to_owned();
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let is_done = status.starts_with('2');
        let contents = response.get_mut("content").and_then(Value::as_object_mut);
        for (media, content) in contents.into_iter().flatten().filter(|_| is_done) {
            let of_schema = schema_name(&content["schema"]).filter(|_| media == "application/json");
            let example = examples.pointer(&format!("/operations/{id}/{}", media.replace('/', "~1")));
            if let Some(example) = example.or_else(|| examples["schemas"].get(of_schema?)) {
                content["example"] = example.clone();
            }
        }
    }
}

/// Documents the header that every change honours.
fn add_key_parameter(operation: &mut Value) {
    let header = json!({"name": "Idempotency-Key", "in": "header", "required": false,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        "description": "The same key again returns the first answer and changes nothing twice, for 24 hours"});
    match operation["parameters"].as_array_mut() {
        Some(known) if known.iter().any(|one| one["name"] == "Idempotency-Key") => {}
        Some(known) => known.push(header),
        None => operation["parameters"] = json!([header]),
    }
}

/// Adds the refusals of an operation by status: its own codes and those that any such request can fail with.
fn finish_operation(method: &str, operation: &mut Value) {
    let is_open = operation["security"]
        .as_array()
        .is_some_and(|list| list.iter().all(|one| one.as_object().is_some_and(serde_json::Map::is_empty)));
    let scope =
        operation["security"].as_array().into_iter().flatten().find_map(|one| one["api_key"][0].as_str());
    let scope = scope.map(str::to_owned);
    if let Some(scope) = &scope {
        operation["x-scope"] = json!(scope);
    }
    // What a `POST` with the scope `read` asks changes nothing.
    let is_change = method != "get" && scope.as_deref().is_some_and(|scope| scope != "read");
    if is_change {
        add_key_parameter(operation);
    }
    // Refusals of the extractors, before the handler runs.
    let has_body = operation.get("requestBody").is_some();
    let takes = has_body || operation["parameters"].as_array().is_some_and(|list| !list.is_empty());
    let sets = [
        (true, ANY_REQUEST),
        (!is_open, ANY_KEY),
        (takes, ANY_ARGUMENT),
        (has_body || is_change, ANY_BODY),
        (is_change, ANY_CHANGE),
    ];
    let own = operation["x-error-codes"].take();
    let is_own = |code: &Code| own.as_array().into_iter().flatten().any(|name| name == code.row().code);
    let is_met = |code: &Code| sets.iter().any(|(applies, set)| *applies && set.contains(code));
    let codes: Vec<Code> = Code::ALL.iter().copied().filter(|code| is_own(code) || is_met(code)).collect();
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    codes.iter().for_each(|code| by_status.entry(code.row().status).or_default().push(*code));
    for (status, codes) in by_status {
        operation["responses"][status.to_string()] = problem(&codes);
    }
    operation["x-error-codes"] = codes.iter().map(|code| code.row().code).collect();
}

fn problem(codes: &[Code]) -> Value {
    let named: Vec<_> =
        codes.iter().map(|code| format!("{} ({})", code.row().code, code.row().title)).collect();
    json!({
        "description": format!("Refused: {}", named.join(", ")),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}
