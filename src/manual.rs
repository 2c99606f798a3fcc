//! The manual: the front page, the error catalogue, the API document, the pages of `docs/`, `llms.txt`.
//!
//! Served without a key, so that a client without a valid key can still look up its error.
#![allow(unused_qualifications, reason = "the API macro writes the types of parameters in full")]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use botops_core::error::{Code, Effect, Error, ErrorType, NextAction, RetryClass, Severity};
use botops_http::{FeatureRoutes, Path, Query, RenderedDocument, accepts, routes};

use super::document_parts::DocumentParts;
use super::document_short::shorten;

/// How long a client may cache a page: pages change only with the program.
const FRESH: Duration = Duration::from_secs(3_600);

/// One code of the error catalogue.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorCodeView {
    /// The code, `AREA_NNN`. A code is never reused and never changes its meaning.
    #[schema(example = "AUTH_001")]
    error_code: String,
    /// What it means, in a few words.
    title: String,
    /// The HTTP status of a response that fails with it.
    status: u16,
    /// The class of failure: where its cause is.
    error_type: ErrorType,
    /// How soon a person should attend to it.
    severity: Severity,
    /// Why it happens, when the problem itself does not say more.
    cause: String,
    /// What it means for the caller.
    impact: String,
    /// What the failed call changed, unless the problem itself says otherwise.
    effect: Effect,
    /// What to do next, as sentences for people.
    remediation: String,
    /// What to do before the next attempt.
    retry_class: RetryClass,
    /// Calls of the API that help, best first; may be empty.
    next_actions: Vec<NextAction>,
}

/// The whole error catalogue.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorCatalogueView {
    /// Every code, grouped by area.
    items: Vec<ErrorCodeView>,
}

/// The manual, rendered once at start; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Manual {
    shared: Arc<ManualPages>,
}

#[derive(Debug)]
struct ManualPages {
    short: OnceLock<Result<RenderedDocument, Error>>,
    parts: OnceLock<Result<DocumentParts, Error>>,
    front: RenderedDocument,
    catalogue: RenderedDocument,
    catalogue_markdown: RenderedDocument,
    codes: BTreeMap<&'static str, (RenderedDocument, RenderedDocument)>,
    llms: RenderedDocument,
    docs: BTreeMap<&'static str, RenderedDocument>,
}

impl Manual {
    /// Renders every page except the API document, which is large and seldom read.
    ///
    /// # Errors
    /// [`Code::Internal`] when a page cannot be rendered, which is a defect.
    pub(crate) fn new() -> Result<Self, Error> {
        let views: Vec<ErrorCodeView> = Code::ALL.iter().copied().map(error_code_view).collect();
        let markdown: Vec<String> = views.iter().map(error_code_markdown).collect();
        let mut codes = BTreeMap::new();
        for ((code, view), text) in Code::ALL.iter().zip(&views).zip(&markdown) {
            let pages = (
                RenderedDocument::of_json(view)?,
                RenderedDocument::new(text.clone(), "text/markdown; charset=utf-8"),
            );
            codes.insert(code.row().code, pages);
        }
        let pages = ManualPages {
            short: OnceLock::new(),
            parts: OnceLock::new(),
            front: RenderedDocument::new(FRONT, "text/html; charset=utf-8"),
            catalogue: RenderedDocument::of_json(&ErrorCatalogueView { items: views })?,
            catalogue_markdown: RenderedDocument::new(
                format!("# Error catalogue\n\n{}", markdown.join("\n")),
                "text/markdown; charset=utf-8",
            ),
            codes,
            llms: RenderedDocument::new(LLMS, "text/plain; charset=utf-8"),
            docs: DOCS
                .iter()
                .map(|(name, text)| (*name, RenderedDocument::new(*text, "text/markdown; charset=utf-8")))
                .collect(),
        };
        Ok(Self { shared: Arc::new(pages) })
    }
}

/// The pages of `docs/` that are served, by file name.
const DOCS: &[(&str, &str)] = &[
    ("agents.md", include_str!("../docs/agents.md")),
    ("config.md", include_str!("../docs/config.md")),
    ("health.md", include_str!("../docs/health.md")),
    ("workflows.md", include_str!("../docs/workflows.md")),
];

/// The published API document; a test compares it with the code.
const API: &str = include_str!("../schemas/openapi.json");

/// An overview for agents, by the convention of `/llms.txt`.
const LLMS: &str = include_str!("llms.txt");

/// The page at `/` for a person in a browser.
const FRONT: &str = include_str!("page.html");

fn error_code_view(code: Code) -> ErrorCodeView {
    let row = code.row();
    ErrorCodeView {
        error_code: row.code.to_owned(),
        title: row.title.to_owned(),
        status: row.status,
        error_type: row.kind,
        severity: row.severity,
        cause: row.cause.to_owned(),
        impact: row.impact.to_owned(),
        effect: row.effect,
        remediation: row.remediation.to_owned(),
        retry_class: row.class,
        next_actions: row.next_actions(),
    }
}

fn error_code_markdown(view: &ErrorCodeView) -> String {
    let mut text = format!(
        "## {} {}\n\n- HTTP status: {}\n- Cause: {}\n- Impact: {}\n- Remediation: {}\n- Retry: {}\n",
        view.error_code,
        view.title,
        view.status,
        view.cause,
        view.impact,
        view.remediation,
        serde_json::to_value(view.retry_class)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default(),
    );
    for action in &view.next_actions {
        text.push_str(&format!("- Next: `{} {}`\n", action.method, action.path));
    }
    text
}

/// The routes of the manual.
pub(crate) fn routes() -> FeatureRoutes<Manual> {
    FeatureRoutes::new([
        routes!(list_error_codes.refuses(ArgumentInvalid)),
        routes!(get_error_code.refuses(ErrorCodeUnknown)),
        routes!(get_error_code_short.refuses(ErrorCodeUnknown)),
        routes!(get_front_page),
        routes!(get_openapi.refuses(ArgumentInvalid)),
        routes!(get_llms_txt),
        routes!(get_page.refuses(PathUnknown)),
    ])
}

/// The error catalogue
///
/// Every code with its cause, impact, remediation and next calls, as JSON or Markdown.
#[utoipa::path(get, path = "/api/v1/errors/catalogue", tag = "manual", security(()),
    responses((status = 200, description = "The catalogue", content(
        (ErrorCatalogueView = "application/json"), (String = "text/markdown")))))]
async fn list_error_codes(State(manual): State<Manual>, headers: HeaderMap) -> Response {
    let pages = &manual.shared;
    let document =
        if accepts(&headers, "text/markdown") { &pages.catalogue_markdown } else { &pages.catalogue };
    document.respond(&headers, FRESH)
}

/// One error code
#[utoipa::path(get, path = "/api/v1/errors/catalogue/{code}", tag = "manual", security(()),
    params(("code" = String, Path, example = "AUTH_001")),
    responses((status = 200, description = "The page of the code", content(
            (ErrorCodeView = "application/json"), (String = "text/markdown")))))]
async fn get_error_code(
    State(manual): State<Manual>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    respond_code_page(&manual, &code, &headers)
}

/// One error code, by its short address
#[utoipa::path(get, path = "/api/v1/errors/{code}", tag = "manual", security(()),
    params(("code" = String, Path, example = "AUTH_001")),
    responses((status = 200, description = "The page of the code", content(
            (ErrorCodeView = "application/json"), (String = "text/markdown")))))]
async fn get_error_code_short(
    State(manual): State<Manual>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    respond_code_page(&manual, &code, &headers)
}

fn respond_code_page(manual: &Manual, code: &str, headers: &HeaderMap) -> Result<Response, Error> {
    let Some((json, markdown)) = manual.shared.codes.get(code.to_ascii_uppercase().as_str()) else {
        return Err(Error::new(Code::ErrorCodeUnknown).field(
            "code",
            botops_core::text::clean(code, 40),
            "a code such as AUTH_001",
        ));
    };
    let document = if accepts(headers, "text/markdown") { markdown } else { json };
    Ok(document.respond(headers, FRESH))
}

/// Where to begin
///
/// A page for a browser; for everybody else `/llms.txt`.
#[utoipa::path(get, path = "/", tag = "manual", security(()),
    responses((status = 200, description = "The page", content((String = "text/plain"), (String = "text/html")))))]
async fn get_front_page(State(manual): State<Manual>, headers: HeaderMap) -> Response {
    let pages = &manual.shared;
    let document = if accepts(&headers, "text/html") { &pages.front } else { &pages.llms };
    let mut response = document.respond(&headers, FRESH);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Which part of the API document to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DocumentQuery {
    /// Only this operation, by its `operationId`.
    #[param(example = "get_summary")]
    operation: Option<String>,
    /// Only the operations with this tag.
    #[param(example = "state")]
    tag: Option<String>,
}

/// The API document (OpenAPI 3.1)
///
/// The whole says every call in short; `operation` and `tag` give a part at length, a document by itself.
#[utoipa::path(get, path = "/api/openapi.json", tag = "manual", security(()), params(DocumentQuery),
    responses((status = 200, description = "The document", content_type = "application/json")))]
async fn get_openapi(
    State(manual): State<Manual>,
    Query(query): Query<DocumentQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let pages = &manual.shared;
    let part = match (&query.operation, &query.tag) {
        (None, None) => {
            let short = pages.short.get_or_init(|| RenderedDocument::of_json(&shorten(&published()?)));
            return Ok(short.as_ref().map_err(Error::clone)?.respond(&headers, FRESH));
        }
        (Some(operation), None) => ("?operation", operation, &parts(pages)?.by_operation),
        (None, Some(tag)) => ("?tag", tag, &parts(pages)?.by_tag),
        (Some(_), Some(tag)) => {
            let why = "`operation` and `tag` do not go together";
            return Err(Error::new(Code::ArgumentInvalid).detail(why).field(
                "?tag",
                botops_core::text::clean(tag, 40),
                "left out",
            ));
        }
    };
    let (field, name, known) = part;
    match known.get(name) {
        Some(document) => Ok(document.respond(&headers, FRESH)),
        None => Err(Error::new(Code::ArgumentInvalid).detail("the API document has no such part").field(
            field,
            botops_core::text::clean(name, 60),
            format!("one of {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
        )),
    }
}

fn parts(pages: &ManualPages) -> Result<&DocumentParts, Error> {
    let made = pages.parts.get_or_init(|| DocumentParts::of(&published()?));
    made.as_ref().map_err(Error::clone)
}

fn published() -> Result<serde_json::Value, Error> {
    serde_json::from_str(API).map_err(|error| Error::new(Code::Internal).caused_by(error))
}

/// How an agent uses botops, in one page
#[utoipa::path(get, path = "/llms.txt", tag = "manual", security(()),
    responses((status = 200, description = "The page", content_type = "text/plain")))]
async fn get_llms_txt(State(manual): State<Manual>, headers: HeaderMap) -> Response {
    manual.shared.llms.respond(&headers, FRESH)
}

/// A page of the manual
///
/// `agents.md`, `config.md`, `workflows.md` or `health.md`, as Markdown.
#[utoipa::path(get, path = "/docs/{page}", tag = "manual", security(()),
    params(("page" = String, Path, example = "agents.md")),
    responses((status = 200, description = "The page", body = String, content_type = "text/markdown")))]
async fn get_page(
    State(manual): State<Manual>,
    Path(page): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    match manual.shared.docs.get(page.as_str()) {
        Some(document) => Ok(document.respond(&headers, FRESH)),
        None => {
            let known: Vec<_> = DOCS.iter().map(|(name, _)| *name).collect();
            Err(Error::new(Code::PathUnknown).detail("there is no such page").field(
                "page",
                botops_core::text::clean(&page, 40),
                known.join(", "),
            ))
        }
    }
}
