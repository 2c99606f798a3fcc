//! One page: every feature's routes, merged, and the API document they add up to.
//!
//! Handlers carry whole paths (nesting would rewrite each request's address). The document is finished here: what
//! holds for every operation (the key, the refusals of the guard) is written once, not at each handler.

use axum::Router;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::ask::{self, Ask};
use crate::error::{Code, Error, Problem};
use crate::manual::Manual;
use crate::ops::Ops;
use crate::web::Inside;
use crate::{bots, configs, health, manual, overview, performance, workflows};

/// Where Swagger UI lies.
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
struct Api;

/// Every route with its handler, and the finished API document.
///
/// # Errors
/// [`Code::Internal`] when a page of the manual cannot be rendered, which is a defect.
pub fn build(ops: &Ops) -> Result<(Router, Value), Error> {
    let document = document();
    let manual = Manual::new(&document)?;
    let (router, _) = OpenApiRouter::new()
        .merge(manual::routes().with_state(manual))
        .merge(health::routes().with_state(ops.health.clone()))
        .merge(overview::routes().with_state(ops.overview.clone()))
        .merge(performance::routes().with_state(ops.performance.clone()))
        .merge(configs::routes().with_state(ops.configs.clone()))
        .merge(bots::routes().with_state(ops.control.clone()))
        .merge(workflows::routes().with_state(ops.workflows.clone()))
        .split_for_parts();
    // What is asked in plain words is answered through the features' own routes.
    let inside = Inside::new(router.clone(), &document);
    let (asking, _) = ask::routes().with_state(Ask::new(inside)).split_for_parts();
    let router = router.merge(asking);
    let docs = SwaggerUi::new(DOCS).config(Config::from("/api/openapi.json"));
    let router = router
        .merge(docs)
        .fallback(|| std::future::ready(Error::new(Code::PathUnknown)))
        .method_not_allowed_fallback(|| std::future::ready(Error::new(Code::MethodUnknown)));
    Ok((router, document))
}

/// The finished API document (OpenAPI 3.1). Needs no handle: it is the same for every start.
pub fn document() -> Value {
    let mut api = Api::openapi();
    api.merge(manual::routes().into_openapi());
    api.merge(health::routes().into_openapi());
    api.merge(performance::routes().into_openapi());
    api.merge(bots::routes().into_openapi());
    api.merge(workflows::routes().into_openapi());
    api.merge(overview::routes().into_openapi());
    api.merge(ask::routes().into_openapi());
    api.merge(configs::routes().into_openapi());
    let mut document = serde_json::to_value(&api).expect("the API document is plain data");
    finish(&mut document);
    document
}

/// What holds for every operation.
fn finish(document: &mut Value) {
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["servers"] = json!([{"url": "/", "description": "This server"}]);
    document["components"]["securitySchemes"] = json!({
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "Or `Authorization: Bearer <key>`. The scopes a call needs stand at the call."},
        "ticket": {"type": "apiKey", "in": "query", "name": "ticket",
            "description": "A single-use ticket from `POST /api/v1/stream/ticket`, for browsers."},
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
    let Some(paths) = document["paths"].as_object_mut() else { return };
    paths.insert(DOCS.to_owned(), docs.clone());
    paths.insert(format!("{DOCS}/"), docs);
    paths.insert(format!("{DOCS}/{{*asset}}"), asset);
    for item in paths.values_mut() {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            finish_operation(operation);
        }
    }
}

/// The guard's own refusals, which any call can meet.
fn finish_operation(operation: &mut Value) {
    let is_open = operation["security"]
        .as_array()
        .is_some_and(|list| list.iter().all(|one| one.as_object().is_some_and(serde_json::Map::is_empty)));
    let scope =
        operation["security"].as_array().into_iter().flatten().find_map(|one| one["api_key"][0].as_str());
    if let Some(scope) = scope.map(str::to_owned) {
        operation["x-scope"] = json!(scope);
    }
    let always = [("406", "API_003"), ("500", "SRV_001"), ("504", "SRV_004")];
    let keyed = [("401", "AUTH_001, AUTH_002"), ("403", "AUTH_003"), ("429", "API_009, AUTH_004")];
    let keyed = keyed.into_iter().filter(|_| !is_open);
    for (status, codes) in always.into_iter().chain(keyed) {
        let responses = &mut operation["responses"];
        if responses.get(status).is_none() {
            responses[status] = problem(codes);
        }
    }
}

fn problem(codes: &str) -> Value {
    json!({
        "description": format!("Refused: {codes}"),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}
