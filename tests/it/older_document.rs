//! Compares the API document with that of an earlier version: what a client relies on from it must still be true.
//!
//! Both documents are split into facts by place (`GET /api/v1/x 200 body.items[].omitted`), with every `$ref` followed,
//! so that names of schemas and all texts do not count. Additions are allowed; everything removed or different is one
//! line. Where a place has alternatives (an answer or a part of it), a member of any of them counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

/// Intended differences of the API, each with its reason.
///
/// A `*` stands for any text, so that one entry covers many answers: `("* body.effect: string -> object", "why")`.
const ALLOWED: &[(&str, &str)] = &[
    ("GET /api/v1/config/audit 200 body.omitted: *", "a number in every list"),
    ("GET /api/v1/config/versions 200 body.omitted: *", "a number in every list"),
    (
        "GET /api/v1/performance 200 body.omitted: *",
        "a number in every list; the parts by name are `omitted_parts`",
    ),
    ("GET /api/v1/performance 200 body.omitted[]: removed", "they are `omitted_parts[]`"),
    ("GET /api/v1/config 200 body.version: *", "`null` for a bot without a config"),
    ("GET /api/v1/config 200 body.etag: *", "`null` for a bot without a config"),
    ("GET /api/v1/config 200 body.sync: *", "a bot without a config is neither in sync nor out of it"),
    ("* body.risk: object -> null or object", "`null` for a candidate that cannot be"),
    ("* body.effects: object -> null or object", "`null` for a candidate that cannot be"),
    ("POST /api/v1/control/* request body.reason: minLength none -> 3", "was refused below 8 before"),
    ("POST /api/v1/control/* request body.reason: maxLength none -> 500", "was refused above 280 before"),
    ("GET /api/v1/config/audit query limit: integer -> integer int32", "read as a number of 32 bits"),
    ("GET /api/v1/config/versions query limit: integer -> integer int32", "read as a number of 32 bits"),
    ("* body.watch[].limit: object -> anything", "it never was an object: a number or a text"),
    ("* body.watch[].value: object -> anything", "it never was an object: a number or a text"),
    ("GET /api/v1/config 200 body.trial.watch[].limit: object -> anything", "the same"),
    ("GET /api/v1/config 200 body.trial.watch[].value: object -> anything", "the same"),
    ("* request body.comment: string -> null or string", "its name is `reason` now; the old one is taken"),
    ("* request body.comment: required -> optional", "its name is `reason` now; the old one is taken"),
    (
        "POST */health/silences request body.ends_at: string date-time -> null or string date-time",
        "or `minutes`",
    ),
    ("POST */health/silences request body.ends_at: required -> optional", "or `minutes`"),
];

/// Answers that show what a bot says. Since bots are read that nobody here wrote, what one does not report is `null`
/// there, and each closed set has a word for what is outside of it.
const SAID_BY_BOTS: &[&str] = &[
    "GET /api/v1/state 200 ",
    "GET /api/v1/summary 200 ",
    "GET /api/v1/metrics 200 ",
    "GET /api/v1/performance 200 ",
    "GET /api/v1/events 200 ",
    "GET /api/v1/errors 200 ",
    "GET /api/v1/whoami 200 ",
    "POST /api/v1/control/",
    "GET /api/v1/health/",
    "GET /api/trading-engine/health/",
    "GET /api/v1/config",
    "PUT /api/v1/config/",
    "POST /api/v1/config/",
    "GET /api/v1/workflows",
    "POST /api/v1/workflows",
];

/// Whether a difference only says that a member may also be `null`, or have a further word.
fn is_widening(difference: &str) -> bool {
    if difference.ends_with(": required -> optional") || difference.ends_with(": default none -> null") {
        return true;
    }
    if difference.ends_with("\" added") {
        return true;
    }
    let Some((before, after)) = difference.rsplit_once(": ").and_then(|(_, types)| types.split_once(" -> "))
    else {
        return false;
    };
    let without_null: Vec<&str> = after.split(" or ").filter(|kind| *kind != "null").collect();
    without_null.join(" or ") == before
}

/// Keywords of a schema that are compared literally.
const LIMITS: &[&str] =
    &["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "default"];

/// The facts of a document about one place.
#[derive(Debug, Default, Clone, PartialEq)]
struct Fact {
    /// Types with their formats; empty where the schema leaves it open.
    types: BTreeSet<String>,
    is_required: bool,
    /// The values of an `enum`; empty for any value.
    values: BTreeSet<String>,
    /// [`LIMITS`], the scope of an operation, and whether other members are refused.
    limits: BTreeMap<String, String>,
}

/// Collects every fact of a document by its place.
struct Facts<'a> {
    document: &'a Value,
    by_place: BTreeMap<String, Fact>,
    /// The references on the way to this place, so that a recursive schema is followed once.
    followed: Vec<&'a str>,
}

impl<'a> Facts<'a> {
    fn of(document: &'a Value) -> BTreeMap<String, Fact> {
        let mut facts = Self { document, by_place: BTreeMap::new(), followed: Vec::new() };
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                facts.read_operation(&format!("{} {path}", method.to_uppercase()), operation);
            }
        }
        facts.by_place
    }

    fn read_operation(&mut self, place: &str, operation: &'a Value) {
        let document = self.document;
        let fact = self.at(place);
        fact.limits.insert("scope".to_owned(), scope(document, operation).to_string());
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = self.target(parameter);
            let (kind, name) = (as_text(&parameter["in"]), as_text(&parameter["name"]));
            let place = format!("{place} {kind} {name}");
            self.at(&place).is_required = parameter["required"] == true;
            self.read_schema(&place, &parameter["schema"]);
        }
        if let Some(request) = operation.get("requestBody") {
            self.at(&format!("{place} request")).is_required = request["required"] == true;
            self.read_contents(&format!("{place} request"), &request["content"]);
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let place = format!("{place} {status}");
            let response = self.target(response);
            self.at(&place);
            for (name, header) in response["headers"].as_object().into_iter().flatten() {
                let header = self.target(header);
                let place = format!("{place} header {name}");
                self.at(&place);
                self.read_schema(&place, &header["schema"]);
            }
            self.read_contents(&place, &response["content"]);
        }
    }

    /// What a reference leads to, or the value itself.
    fn target(&self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
        pointer.map_or(value, |pointer| self.document.pointer(pointer).expect(pointer))
    }

    /// Reads bodies by content type; the place of a JSON body does not name its type.
    fn read_contents(&mut self, place: &str, contents: &'a Value) {
        for (content_type, content) in contents.as_object().into_iter().flatten() {
            let is_usual = matches!(content_type.as_str(), "application/json" | "application/problem+json");
            let place = format!("{place} {}", if is_usual { "body" } else { content_type });
            self.at(&place).limits.insert("content type".to_owned(), content_type.clone());
            self.read_schema(&place, &content["schema"]);
        }
    }

    fn read_schema(&mut self, place: &str, schema: &'a Value) {
        if let Some(reference) = schema["$ref"].as_str().filter(|one| !self.followed.contains(one)) {
            let target = self.document.pointer(reference.trim_start_matches('#'));
            self.followed.push(reference);
            self.read_schema(place, target.unwrap_or_else(|| panic!("{place}: {reference} is missing")));
            self.followed.pop();
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for part in schema[keyword].as_array().into_iter().flatten() {
                self.read_schema(place, part);
            }
        }
        let fact = self.at(place);
        let types = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
        for name in types.iter().filter_map(Value::as_str) {
            let format = schema["format"].as_str().filter(|_| name != "null");
            fact.types.insert(format.map_or(name.to_owned(), |format| format!("{name} {format}")));
        }
        let values = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
        fact.values.extend(values.map(Value::to_string));
        for keyword in LIMITS.iter().filter(|keyword| schema.get(**keyword).is_some()) {
            fact.limits.insert((*keyword).to_owned(), schema[*keyword].to_string());
        }
        if schema["additionalProperties"] == false {
            fact.limits.insert("other members".to_owned(), "refused".to_owned());
        }
        if schema["additionalProperties"].is_object() {
            self.read_schema(&format!("{place}{{}}"), &schema["additionalProperties"]);
        }
        if schema["items"].is_object() {
            self.read_schema(&format!("{place}[]"), &schema["items"]);
        }
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            let is_new = !self.by_place.contains_key(&place);
            let fact = self.at(&place);
            // With alternatives, a member is required when every alternative that has it requires it.
            fact.is_required = required.iter().any(|one| one == name) && (is_new || fact.is_required);
            self.read_schema(&place, member);
        }
    }

    fn at(&mut self, place: &str) -> &mut Fact {
        self.by_place.entry(place.to_owned()).or_default()
    }
}

/// The scope that a call needs; `null` where it needs no key.
fn scope<'a>(document: &'a Value, operation: &'a Value) -> &'a Value {
    let own = operation.get("security").unwrap_or(&document["security"]);
    operation.get("x-scope").unwrap_or(&own[0]["api_key"][0])
}

fn as_text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The enclosing place: the longest prefix that has a fact.
fn parent<'p>(place: &'p str, facts: &BTreeMap<String, Fact>) -> Option<&'p str> {
    let end = place.rfind(['.', '[', '{', ' '])?;
    let shorter = place.get(..end)?;
    if facts.contains_key(shorter) { Some(shorter) } else { parent(shorter, facts) }
}

/// Whether a client sends what is at this place; it receives everything else.
fn is_sent(place: &str) -> bool {
    let mut words = place.split(' ').skip(2);
    matches!(words.next(), Some("request" | "query" | "path" | "header" | "cookie"))
}

fn alternatives(words: &BTreeSet<String>) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words.is_empty() { "anything".to_owned() } else { words.join(" or ") }
}

/// The differences that would break a client of `before`, one line each.
fn differences(before: &Value, now: &Value) -> Vec<String> {
    let (before, now) = (Facts::of(before), Facts::of(now));
    let mut found = Vec::new();
    for (place, old) in &before {
        let Some(new) = now.get(place) else {
            // Members of something that was removed are not listed too.
            if parent(place, &before).is_none_or(|parent| now.contains_key(parent)) {
                found.push(format!("{place}: removed"));
            }
            continue;
        };
        if old.types != new.types {
            found.push(format!("{place}: {} -> {}", alternatives(&old.types), alternatives(&new.types)));
        }
        if old.is_required != new.is_required {
            let word = |is_required| if is_required { "required" } else { "optional" };
            found.push(format!("{place}: {} -> {}", word(old.is_required), word(new.is_required)));
        }
        found.extend(old.values.difference(&new.values).map(|value| format!("{place}: {value} removed")));
        // A sender may know fewer values than are accepted; a receiver must know all.
        if !is_sent(place) || old.values.is_empty() {
            found.extend(new.values.difference(&old.values).map(|value| format!("{place}: {value} added")));
        }
        let limits: BTreeSet<&String> = old.limits.keys().chain(new.limits.keys()).collect();
        for name in limits {
            let word = |fact: &Fact| fact.limits.get(name).cloned().unwrap_or_else(|| "none".to_owned());
            if word(old) != word(new) {
                found.push(format!("{place}: {name} {} -> {}", word(old), word(new)));
            }
        }
    }
    for (place, new) in now.iter().filter(|(place, _)| !before.contains_key(*place)) {
        let was_there = parent(place, &now).is_some_and(|parent| before.contains_key(parent));
        if is_sent(place) && new.is_required && was_there {
            found.push(format!("{place}: new and required"));
        }
    }
    found
}

fn is_covered(difference: &str, allowed: &str) -> bool {
    match allowed.split_once('*') {
        None => difference == allowed,
        Some((begin, end)) => {
            difference.len() >= begin.len() + end.len()
                && difference.starts_with(begin)
                && difference.ends_with(end)
        }
    }
}

fn document_of_0_1() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/openapi-0.1.json.zst");
    let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Whether a place belongs to a second address, or to the page at `/api/docs`, whose path OpenAPI writes in another way.
fn is_said_elsewhere(place: &str) -> bool {
    place.contains(" /api/trading-engine/health") || place.contains(" /api/docs/")
}

#[test]
fn the_published_document_says_all_that_the_code_says_and_nothing_else() {
    let (whole, published) = (botops::routes::document(), botops::routes::published_document());
    let (mut said, mut published) = (Facts::of(&whole), Facts::of(&published));
    said.retain(|place, _| !is_said_elsewhere(place));
    published.retain(|place, _| !is_said_elsewhere(place));
    let lost: Vec<_> = said.iter().filter(|(place, fact)| published.get(*place) != Some(fact)).collect();
    let made_up: Vec<_> = published.keys().filter(|place| !said.contains_key(*place)).collect();
    assert!(lost.is_empty() && made_up.is_empty(), "lost {lost:#?}\nmade up {made_up:#?}");
}

/// The short document has every call, argument, member and type; it leaves out refusals that any call can get, tables,
/// and what does not change a type.
#[test]
fn the_short_document_keeps_calls_arguments_members_and_types() {
    let published = Facts::of(&botops::routes::published_document());
    let short = Facts::of(&botops::routes::short_document());
    let mut wrong = Vec::new();
    for (place, fact) in &published {
        let is_refusal = place.split(' ').nth(2).is_some_and(|word| word.starts_with(['4', '5']));
        let is_table = botops_http::answer_shape::FORMS.iter().any(|form| place.ends_with(form));
        if is_refusal || is_table {
            continue;
        }
        // Which members an answer always has, its part says.
        let is_answer = place.split(' ').nth(2).is_some_and(|word| word.starts_with('2'));
        let plain = |fact: &Fact| {
            let mut fact = fact.clone();
            fact.is_required &= !is_answer;
            fact.types = fact
                .types
                .iter()
                .map(|kind| {
                    [" int32", " int64", " double"]
                        .iter()
                        .fold(kind.as_str(), |kind, format| kind.trim_end_matches(format))
                        .to_owned()
                })
                .collect();
            fact.limits.retain(|name, value| {
                !(name == "default" && value == "null" || name == "minimum" && value == "0")
            });
            fact
        };
        let kept = short.get(place).map(plain);
        if kept.as_ref() != Some(&plain(fact)) {
            wrong.push(format!("{place}: {:?} -> {kept:?}", plain(fact)));
        }
    }
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_api_document_keeps_paths_members_types_and_statuses() {
    let found = differences(&document_of_0_1(), &botops::routes::document());
    let unexpected: Vec<&String> = found.iter().filter(|line| !is_expected(line)).collect();
    let stale: Vec<&str> = ALLOWED
        .iter()
        .filter(|(allowed, _)| !found.iter().any(|line| is_covered(line, allowed)))
        .map(|(allowed, _)| *allowed)
        .collect();
    assert!(unexpected.is_empty(), "{} differences:\n{unexpected:#?}", unexpected.len());
    assert!(stale.is_empty(), "allowed, but no difference any more: {stale:#?}");
}

fn is_expected(difference: &str) -> bool {
    let is_of_bot = SAID_BY_BOTS.iter().any(|place| difference.starts_with(place));
    // A failure that a bot told may have a severity of its own words, wherever it is shown.
    let is_severity = difference.ends_with("severity: \"other\" added");
    (is_of_bot && is_widening(difference))
        || is_severity
        || ALLOWED.iter().any(|(allowed, _)| is_covered(difference, allowed))
}

/// A document with two operations whose schemas have these names.
fn small_document(page: &str, request: &str) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}"), "description": name});
    let body = |schema: Value| json!({"application/json": {"schema": schema}});
    json!({
        "paths": {
            "/list": {"get": {
                "x-scope": "read",
                "parameters": [{"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 500}}],
                "responses": {"200": {"content": body(reference(page))}, "404": {"description": "not there"}},
            }},
            "/change": {"post": {
                "x-scope": "operate",
                "parameters": [{"in": "query", "name": "dry_run", "schema": {"type": "boolean"}}],
                "requestBody": {"required": true, "content": body(reference(request))},
                "responses": {"202": {"description": "begun"}},
            }},
        },
        "components": {"schemas": {
            page: {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": {
                "type": "object",
                "required": ["seq"],
                "properties": {
                    "seq": {"type": "integer", "format": "int64"},
                    "state": {"type": "string", "enum": ["open", "closed"]},
                    "pages": reference(page),
                },
            }}}},
            request: {"type": "object", "properties": {"mode": {"type": "string", "enum": ["auto", "manual"]}}},
        }},
    })
}

#[test]
fn whatever_a_client_would_stumble_over_is_one_line() {
    let before = small_document("Page", "Request");
    let mut now = small_document("Sheet", "ChangeRequest");
    assert_eq!(differences(&before, &now), [""; 0], "names and texts do not count");

    now["paths"]["/new"] = now["paths"]["/list"].clone();
    now["paths"]["/list"]["get"]["responses"]["503"] = json!({"description": "not now"});
    let schemas = &mut now["components"]["schemas"];
    schemas["Sheet"]["properties"]["next"] = json!({"type": "integer"});
    schemas["ChangeRequest"]["properties"]["mode"]["enum"] = json!(["auto", "manual", "never"]);
    schemas["ChangeRequest"]["properties"]["note"] = json!({"type": "string"});
    assert_eq!(differences(&before, &now), [""; 0], "additions are allowed");

    let schemas = &mut now["components"]["schemas"];
    schemas["ChangeRequest"]["required"] = json!(["note"]);
    let item = &mut schemas["Sheet"]["properties"]["items"]["items"];
    item["required"] = json!([]);
    item["properties"]["seq"] = json!({"type": ["string", "null"]});
    item["properties"]["state"]["enum"] = json!(["open", "over"]);
    item["properties"].as_object_mut().unwrap().remove("pages");
    let list = &mut now["paths"]["/list"]["get"];
    list["x-scope"] = json!("admin");
    list["parameters"][0]["schema"]["maximum"] = json!(100);
    list["responses"].as_object_mut().unwrap().remove("404");
    now["paths"]["/change"] = json!({"put": now["paths"]["/change"]["post"]});
    let lines = [
        "GET /list: scope \"read\" -> \"admin\"",
        "GET /list 200 body.items[].pages: removed",
        "GET /list 200 body.items[].seq: integer int64 -> null or string",
        "GET /list 200 body.items[].seq: required -> optional",
        "GET /list 200 body.items[].state: \"closed\" removed",
        "GET /list 200 body.items[].state: \"over\" added",
        "GET /list 404: removed",
        "GET /list query limit: maximum 500 -> 100",
        "POST /change: removed",
    ];
    assert_eq!(differences(&before, &now), lines);

    let mut change = now["paths"]["/change"]["put"].take();
    change["parameters"][0] = json!({"in": "header", "name": "If-Match", "required": true});
    now["paths"] = json!({"/list": before["paths"]["/list"], "/change": {"post": change}});
    now["components"]["schemas"]["Page"] = before["components"]["schemas"]["Page"].clone();
    let lines = [
        "POST /change query dry_run: removed",
        "POST /change header If-Match: new and required",
        "POST /change request body.note: new and required",
    ];
    assert_eq!(differences(&before, &now), lines);
}

#[test]
fn an_allowed_difference_may_leave_out_where() {
    let line = "GET /api/v1/x 200 body.omitted: boolean -> integer";
    assert!(is_covered(line, line));
    assert!(is_covered(line, "* body.omitted: boolean -> integer"));
    assert!(is_covered(line, "GET /api/v1/x * -> integer"));
    assert!(!is_covered(line, "* body.omitted: boolean -> string"));
    assert!(!is_covered(line, "GET /api/v1/x"));
}
