//! Fields of a config of which the schema does not say what a change does to the risk.

use serde_json::Value;

use super::nodes::child_pointer;

/// Whether a schema says which way a change of this value moves risk.
pub(super) fn declares_risk(node: &Value) -> bool {
    node["x-risk"]["direction"].is_string()
}

/// The fields whose changes count as raising risk for want of `x-risk`, as pointers into a document. `node` is expanded.
pub(super) fn fields_without_risk(node: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_undeclared(node, "", &mut found);
    found
}

fn collect_undeclared(node: &Value, pointer: &str, found: &mut Vec<String>) {
    for (name, field) in node["properties"].as_object().into_iter().flatten() {
        let place = child_pointer(pointer, name);
        if field["properties"].is_object() {
            collect_undeclared(field, &place, found);
        } else if field["x-list-key"].is_string() {
            // Such a list is compared item by item, and member by member.
            let item = child_pointer(&place, "*");
            if !declares_risk(&field["items"]) {
                found.push(item.clone());
            }
            collect_undeclared(&field["items"], &item, found);
        } else if !declares_risk(field) && field["x-apply"] != "never" {
            found.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_change_and_says_nothing_of_risk_is_found() {
        let risk = json!({"direction": "up", "class": "low"});
        let schema = json!({"properties": {
            "declared": {"type": "number", "x-risk": risk},
            "size": {"type": "number"},
            "fixed": {"type": "string", "x-apply": "never"},
            "limits": {"properties": {"day": {"x-risk": risk}, "week": {"type": "number"}}},
            "tags": {"type": "array", "items": {"type": "string"}},
            "targets": {"x-list-key": "name", "items": {"x-risk": risk, "properties": {"name": {}}}},
        }});
        assert_eq!(fields_without_risk(&schema), ["/limits/week", "/size", "/tags", "/targets/*/name"]);
    }
}
