//! What a published contract promises: members are added, and nothing that a bot relies on changes.
//!
//! Compared are the documents of the contract as they were published and as they are. Texts for people may change, and
//! optional members, parameters, answers, calls, types and words of lists that take any word may be added.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What is for people, and no part of the promise.
const TEXTS: [&str; 5] = ["description", "summary", "title", "example", "examples"];

/// Every difference that breaks the promise, each as a sentence with its place.
pub(crate) fn broken_promises(frozen: &Value, current: &Value) -> Vec<String> {
    let mut comparison = ContractComparison { found: Vec::new() };
    for (path, calls) in members(&frozen["paths"]) {
        let now = &current["paths"][path];
        if now.is_null() {
            comparison.tell(path, "the path is gone");
            continue;
        }
        for (method, call) in members(calls) {
            let place = format!("{} {path}", method.to_uppercase());
            match &now[method] {
                Value::Null => comparison.tell(&place, "the call is gone"),
                now => comparison.compare_call(&place, call, now),
            }
        }
    }
    for (name, schema) in members(&frozen["components"]["schemas"]) {
        match &current["components"]["schemas"][name] {
            Value::Null => comparison.tell(name, "the type is gone"),
            now => comparison.compare_schema(name, schema, now),
        }
    }
    comparison.found
}

/// The document without texts: what is kept.
pub(crate) fn without_texts(document: &Value) -> Value {
    let stripped = |value: &Value| match value {
        Value::Object(members) => Value::Object(strip(members, false)),
        other => other.clone(),
    };
    let info =
        serde_json::json!({"title": document["info"]["title"], "version": document["info"]["version"]});
    serde_json::json!({
        "openapi": document["openapi"],
        "info": info,
        "paths": stripped(&document["paths"]),
        "components": stripped(&document["components"]),
    })
}

/// `are_names`: the members are names of the contract, of which one may be `description`.
fn strip(members: &Map<String, Value>, are_names: bool) -> Map<String, Value> {
    let kept = members.iter().filter(|(name, _)| are_names || !TEXTS.contains(&name.as_str()));
    let strip_one = |name: &str, value: &Value| match value {
        Value::Object(inner) => Value::Object(strip(inner, matches!(name, "properties" | "schemas"))),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_object().map_or_else(|| item.clone(), |item| Value::Object(strip(item, false)))
            })
            .collect(),
        other => other.clone(),
    };
    kept.map(|(name, value)| (name.clone(), strip_one(name, value))).collect()
}

struct ContractComparison {
    found: Vec<String>,
}

impl ContractComparison {
    fn tell(&mut self, place: &str, what: &str) {
        self.found.push(format!("{place}: {what}"));
    }

    fn compare_call(&mut self, place: &str, frozen: &Value, current: &Value) {
        for name in ["operationId", "x-capability"] {
            self.compare_value(place, name, &frozen[name], &current[name]);
        }
        self.compare_parameters(place, &frozen["parameters"], &current["parameters"]);
        self.compare_body(&format!("{place} request"), &frozen["requestBody"], &current["requestBody"]);
        for (status, answer) in members(&frozen["responses"]) {
            let place = format!("{place} {status}");
            match &current["responses"][status] {
                Value::Null => self.tell(&place, "the answer is gone"),
                now => self.compare_body(&place, answer, now),
            }
        }
    }

    fn compare_parameters(&mut self, place: &str, frozen: &Value, current: &Value) {
        let key = |parameter: &Value| (parameter["in"].clone(), parameter["name"].clone());
        let (frozen, current) = (items(frozen), items(current));
        for parameter in frozen {
            let place = format!("{place} parameter `{}`", word(&parameter["name"]));
            let Some(now) = current.iter().find(|now| key(now) == key(parameter)) else {
                self.tell(&place, "it is gone");
                continue;
            };
            self.compare_value(&place, "required", &parameter["required"], &now["required"]);
            self.compare_schema(&place, &parameter["schema"], &now["schema"]);
        }
        for new in current.iter().filter(|now| now["required"] == true) {
            if !frozen.iter().any(|parameter| key(parameter) == key(new)) {
                self.tell(&format!("{place} parameter `{}`", word(&new["name"])), "it is new and required");
            }
        }
    }

    fn compare_body(&mut self, place: &str, frozen: &Value, current: &Value) {
        self.compare_value(place, "required", &frozen["required"], &current["required"]);
        for (kind, content) in members(&frozen["content"]) {
            match &current["content"][kind] {
                Value::Null => self.tell(place, &format!("it is no longer given as `{kind}`")),
                now => self.compare_schema(place, &content["schema"], &now["schema"]),
            }
        }
        if frozen["content"].is_null() && !current["content"].is_null() {
            self.tell(place, "it has a body now");
        }
    }

    fn compare_schema(&mut self, place: &str, frozen: &Value, current: &Value) {
        let names: BTreeSet<&String> =
            [frozen, current].into_iter().flat_map(members).map(|(name, _)| name).collect();
        for name in names.into_iter().filter(|name| !TEXTS.contains(&name.as_str())) {
            let (was, is) = (&frozen[name], &current[name]);
            match name.as_str() {
                "properties" => self.compare_properties(place, was, is),
                "required" => self.compare_required(place, was, is),
                "type" => self.compare_types(place, was, is),
                "enum" => self.compare_words(place, was, is, false),
                "oneOf" | "anyOf" | "allOf" => self.compare_alternatives(place, was, is),
                "items" => self.compare_schema(&format!("{place}[]"), was, is),
                "additionalProperties" if was.is_object() && is.is_object() => {
                    self.compare_schema(&format!("{place}.*"), was, is);
                }
                _ => self.compare_value(place, name, was, is),
            }
        }
    }

    fn compare_properties(&mut self, place: &str, frozen: &Value, current: &Value) {
        for (name, property) in members(frozen) {
            let place = format!("{place}.{name}");
            match &current[name] {
                Value::Null => self.tell(&place, "the member is gone, or has another name"),
                now => self.compare_schema(&place, property, now),
            }
        }
    }

    fn compare_required(&mut self, place: &str, frozen: &Value, current: &Value) {
        let (was, is) = (words(frozen), words(current));
        for name in is.difference(&was) {
            self.tell(&format!("{place}.{name}"), "it is required now; who leaves it out was right before");
        }
        for name in was.difference(&is) {
            self.tell(&format!("{place}.{name}"), "it is no longer required; who reads it relied on it");
        }
    }

    fn compare_types(&mut self, place: &str, frozen: &Value, current: &Value) {
        let (was, is) = (words(frozen), words(current));
        for kind in was.difference(&is) {
            self.tell(place, &format!("the type is narrowed: `{kind}` is no longer taken"));
        }
        for kind in is.difference(&was) {
            self.tell(place, &format!("the type has changed: it may be `{kind}` now"));
        }
    }

    fn compare_words(&mut self, place: &str, frozen: &Value, current: &Value, takes_any: bool) {
        let (was, is) = (words(frozen), words(current));
        for word in was.difference(&is) {
            self.tell(place, &format!("the word `{word}` is gone"));
        }
        for word in is.difference(&was).filter(|_| !takes_any) {
            self.tell(place, &format!("the word `{word}` is new in a list that takes no other word"));
        }
    }

    fn compare_alternatives(&mut self, place: &str, frozen: &Value, current: &Value) {
        let (was, is) = (items(frozen), items(current));
        if was.len() != is.len() {
            let count = format!("it has {} forms, and had {}", is.len(), was.len());
            return self.tell(place, &format!("the type has changed: {count}"));
        }
        // A list of words beside any other text: a reader takes a new word as any other.
        let is_text = |schema: &Value| schema["type"] == "string" && schema["enum"].is_null();
        let takes_any = was.iter().any(is_text) && is.iter().any(is_text);
        for (was, is) in was.iter().zip(is) {
            let is_list = takes_any && was["enum"].is_array() && is["enum"].is_array();
            if is_list {
                self.compare_words(place, &was["enum"], &is["enum"], true);
            } else {
                self.compare_schema(place, was, is);
            }
        }
    }

    /// What has to be as it was, such as a format, a limit or a reference.
    fn compare_value(&mut self, place: &str, name: &str, frozen: &Value, current: &Value) {
        if frozen != current {
            self.tell(place, &format!("`{name}` was {frozen} and is {current}"));
        }
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The words of a list, or the one word.
fn words(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Null => BTreeSet::new(),
        Value::Array(items) => items.iter().map(word).collect(),
        one => BTreeSet::from([word(one)]),
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// A contract with one call and three types.
    fn document() -> Value {
        json!({
            "paths": {"/ipc/v1/trades": {"get": {
                "operationId": "trades", "x-capability": "trades",
                "parameters": [{"in": "query", "name": "after", "required": false, "schema": {"type": "integer", "minimum": 0}}],
                "responses": {"200": {"description": "Closed trades", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Trade"}}}}},
            }}},
            "components": {"schemas": {
                "Trade": {"type": "object", "required": ["seq"], "properties": {
                    "seq": {"type": "integer"},
                    "price": {"type": ["string", "number", "null"], "description": "What it cost"},
                    "side": {"oneOf": [{"$ref": "#/components/schemas/Side"}, {"type": "null"}]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                }},
                "Side": {"anyOf": [{"type": "string", "enum": ["BUY", "SELL"]}, {"type": "string"}]},
                "Verb": {"type": "string", "enum": ["pause", "resume"]},
            }},
        })
    }

    /// The sentences about the contract with this change made to it.
    fn after(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut changed = document();
        change(&mut changed);
        broken_promises(&document(), &changed)
    }

    fn trade(document: &mut Value) -> &mut Value {
        &mut document["components"]["schemas"]["Trade"]
    }

    fn remove(from: &mut Value, name: &str) -> Value {
        from.as_object_mut().unwrap().remove(name).unwrap()
    }

    #[track_caller]
    fn check(said: &str, change: impl FnOnce(&mut Value)) {
        assert_eq!(after(change), [said]);
    }

    #[test]
    fn what_is_added_and_optional_breaks_nothing() {
        assert_eq!(after(|_| {}), [""; 0]);
        let found = after(|document| {
            trade(document)["properties"]["fee"] = json!({"type": "string"});
            trade(document)["properties"]["price"]["description"] = json!("Another text");
            document["components"]["schemas"]["Fee"] = json!({"type": "object", "required": ["amount"]});
            document["components"]["schemas"]["Side"]["anyOf"][0]["enum"] = json!(["BUY", "SELL", "SHORT"]);
            document["paths"]["/ipc/v1/fees"] = json!({"get": {"operationId": "fees"}});
            let call = &mut document["paths"]["/ipc/v1/trades"]["get"];
            let parameter =
                json!({"in": "query", "name": "limit", "required": false, "schema": {"type": "integer"}});
            call["parameters"].as_array_mut().unwrap().push(parameter);
            call["responses"]["503"] = json!({"description": "Not now"});
        });
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_member_that_is_gone_or_has_another_name_is_named() {
        check("Trade.price: the member is gone, or has another name", |document| {
            remove(&mut trade(document)["properties"], "price");
        });
        check("Trade.tags: the member is gone, or has another name", |document| {
            let properties = &mut trade(document)["properties"];
            properties["labels"] = remove(properties, "tags");
        });
    }

    #[test]
    fn a_member_that_is_required_now_is_named_also_a_new_one() {
        check("Trade.price: it is required now; who leaves it out was right before", |document| {
            trade(document)["required"] = json!(["price", "seq"]);
        });
        check("Trade.fee: it is required now; who leaves it out was right before", |document| {
            trade(document)["properties"]["fee"] = json!({"type": "string"});
            trade(document)["required"] = json!(["seq", "fee"]);
        });
        check("Trade.seq: it is no longer required; who reads it relied on it", |document| {
            remove(trade(document), "required");
        });
    }

    #[test]
    fn a_type_that_is_narrowed_or_another_is_named() {
        check("Trade.price: the type is narrowed: `number` is no longer taken", |document| {
            trade(document)["properties"]["price"]["type"] = json!(["string", "null"]);
        });
        check("Trade.seq: the type has changed: it may be `string` now", |document| {
            trade(document)["properties"]["seq"]["type"] = json!(["integer", "string"]);
        });
        check("Trade.side: the type has changed: it has 1 forms, and had 2", |document| {
            trade(document)["properties"]["side"]["oneOf"].as_array_mut().unwrap().pop();
        });
        check("Trade.tags[]: the type is narrowed: `string` is no longer taken", |document| {
            remove(&mut trade(document)["properties"]["tags"]["items"], "type");
        });
        check("Trade.tags[]: `maxLength` was null and is 8", |document| {
            trade(document)["properties"]["tags"]["items"]["maxLength"] = json!(8);
        });
        check("Trade: `additionalProperties` was null and is false", |document| {
            trade(document)["additionalProperties"] = json!(false);
        });
    }

    #[test]
    fn a_word_that_is_gone_or_new_in_a_closed_list_is_named() {
        check("Side: the word `SELL` is gone", |document| {
            document["components"]["schemas"]["Side"]["anyOf"][0]["enum"] = json!(["BUY"]);
        });
        check("Verb: the word `halt` is new in a list that takes no other word", |document| {
            document["components"]["schemas"]["Verb"]["enum"] = json!(["pause", "resume", "halt"]);
        });
    }

    #[test]
    fn a_call_that_is_gone_or_asks_for_more_is_named() {
        check("/ipc/v1/trades: the path is gone", |document| {
            remove(&mut document["paths"], "/ipc/v1/trades");
        });
        check("GET /ipc/v1/trades: the call is gone", |document| {
            remove(&mut document["paths"]["/ipc/v1/trades"], "get");
        });
        let call = |document: &mut Value| document["paths"]["/ipc/v1/trades"]["get"].take();
        let with = |change: fn(&mut Value)| {
            after(move |document| {
                let mut changed = call(document);
                change(&mut changed);
                document["paths"]["/ipc/v1/trades"]["get"] = changed;
            })
        };
        assert_eq!(
            with(|call| call["x-capability"] = json!("history")),
            ["GET /ipc/v1/trades: `x-capability` was \"trades\" and is \"history\""]
        );
        assert_eq!(
            with(|call| call["parameters"] = json!([])),
            ["GET /ipc/v1/trades parameter `after`: it is gone"]
        );
        assert_eq!(
            with(|call| call["parameters"][0]["required"] = json!(true)),
            ["GET /ipc/v1/trades parameter `after`: `required` was false and is true"]
        );
        assert_eq!(with(|call| call["requestBody"] = json!({"required": true, "content": {}})).len(), 2);
        assert_eq!(
            with(|call| call["responses"] = json!({})),
            ["GET /ipc/v1/trades 200: the answer is gone"]
        );
        check("Side: the type is gone", |document| {
            remove(&mut document["components"]["schemas"], "Side");
        });
    }

    /// The contract as it was published. With `UPDATE_DOCUMENTS=1` what was added is frozen too; what breaks the promise
    /// cannot be written over it.
    #[test]
    fn contract_2_is_what_was_published_and_more() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/contract-2.frozen.json");
        let current = crate::contract_document();
        assert_eq!(current["info"]["version"], "2", "a new version is frozen in a file of its own");
        let frozen: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let broken = broken_promises(&frozen, &current);
        assert!(
            broken.is_empty(),
            "bots of contract 2 rely on it; add an optional member instead:\n{}",
            broken.join("\n")
        );
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            let text = serde_json::to_string_pretty(&without_texts(&current)).unwrap();
            fs::write(&path, format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn what_is_kept_is_the_whole_promise() {
        let current = crate::contract_document();
        let kept = without_texts(&current);
        assert_eq!(broken_promises(&current, &kept), [""; 0]);
        assert_eq!(broken_promises(&kept, &current), [""; 0]);
        assert!(!kept["components"].to_string().contains("\"description\":\""));
    }
}
