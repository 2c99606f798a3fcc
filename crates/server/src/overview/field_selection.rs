//! `fields=`: parts of the state by dotted names, such as `account.buying_power,positions.symbol`.
//!
//! The names are those of a fully filled state, so a part that is `null` today is still a valid name. What an answer
//! must always say (mode, age, time) is added to every selection.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::example;
use botops_core::error::{Code, Error};

/// Longest list of names that is read, in bytes.
const LIMIT: usize = 2_000;

/// Parts that every answer has, whatever was asked for.
const ALWAYS: [&str; 5] = ["mode", "timestamp", "as_of", "data_age_seconds", "is_data_stale"];

/// Every valid name, as a tree.
static KNOWN: LazyLock<FieldNames> = LazyLock::new(|| {
    let filled = serde_json::to_value(example::filled_state()).expect("a state has string keys only");
    names_of(&filled)
});

/// Names below a name; none below a plain value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct FieldNames(BTreeMap<String, FieldNames>);

/// Reads a list of names.
///
/// # Errors
/// [`Code::FieldUnknown`] with the valid names at that place and the nearest one.
pub(super) fn parse_fields(fields: &str) -> Result<FieldNames, Error> {
    if fields.len() > LIMIT {
        return Err(Error::new(Code::ArgumentInvalid).field(
            "?fields",
            fields.len(),
            "at most 2,000 characters",
        ));
    }
    let mut wanted = FieldNames::default();
    for name in fields.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        add(&mut wanted, name, fields)?;
    }
    if wanted.0.is_empty() {
        return Err(unknown("", "", &KNOWN, ""));
    }
    for name in ALWAYS {
        wanted.0.entry(name.to_owned()).or_default();
    }
    Ok(wanted)
}

/// The wanted parts of a state.
pub(super) fn select(state: &Value, wanted: &FieldNames) -> Value {
    if wanted.0.is_empty() {
        return state.clone();
    }
    match state {
        Value::Object(members) => {
            let part = |(name, below): (&String, &FieldNames)| {
                Some((name.clone(), select(members.get(name)?, below)))
            };
            Value::Object(wanted.0.iter().filter_map(part).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| select(item, wanted)).collect(),
        plain => plain.clone(),
    }
}

/// The names in one canonical form: equal selections have equal keys.
pub(super) fn cache_key(wanted: &FieldNames) -> String {
    let mut key = String::new();
    write_key(wanted, &mut key);
    key
}

fn write_key(names: &FieldNames, key: &mut String) {
    for (name, below) in &names.0 {
        key.push_str(name);
        if !below.0.is_empty() {
            key.push('{');
            write_key(below, key);
            key.push('}');
        }
        key.push(',');
    }
}

/// Adds one of the names that were `asked` for.
fn add(wanted: &mut FieldNames, name: &str, asked: &str) -> Result<(), Error> {
    let mut known: &FieldNames = &KNOWN;
    let mut branch = wanted;
    let mut path = String::new();
    let mut is_new = false;
    for segment in name.split('.') {
        let Some(below) = known.0.get(segment) else { return Err(unknown(name, &path, known, asked)) };
        // A whole part was asked for before: nothing narrower can be added to it.
        if !path.is_empty() && !is_new && branch.0.is_empty() {
            return Ok(());
        }
        is_new = !branch.0.contains_key(segment);
        branch = branch.0.entry(segment.to_owned()).or_default();
        known = below;
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(segment);
    }
    // The whole part includes what was asked of it before.
    branch.0.clear();
    Ok(())
}

fn unknown(name: &str, path: &str, known: &FieldNames, asked: &str) -> Error {
    let is_known = |one: &&str| add(&mut FieldNames::default(), one, "").is_ok();
    let mut fixed: Vec<&str> =
        asked.split(',').map(str::trim).filter(|one| !one.is_empty()).filter(is_known).collect();
    let allowed: Vec<String> = known
        .0
        .keys()
        .map(|segment| if path.is_empty() { segment.clone() } else { format!("{path}.{segment}") })
        .collect();
    let name = botops_core::text::clean(name, 60);
    let distance = |candidate: &&String| strsim::damerau_levenshtein(candidate, &name);
    let nearest =
        allowed.iter().min_by_key(distance).filter(|near| distance(near) <= near.len() / 2).cloned();
    let detail = match &nearest {
        _ if name.is_empty() => "`fields` names nothing".to_owned(),
        Some(nearest) => format!("the state has no `{name}`; did you mean `{nearest}`?"),
        None => format!("the state has no `{name}`"),
    };
    let expected = if path.is_empty() { "a part of the state" } else { "a field of that part" };
    fixed.extend(nearest.as_deref());
    let fixed = if fixed.is_empty() { "account".to_owned() } else { fixed.join(",") };
    Error::new(Code::FieldUnknown)
        .detail(detail)
        .field("?fields", name, expected)
        .context("allowed", allowed)
        .context("nearest", nearest)
        .next("get_state", "GET", format!("/api/v1/state?fields={fixed}"), None, Some("read"))
}

fn names_of(value: &Value) -> FieldNames {
    match value {
        Value::Object(members) => {
            FieldNames(members.iter().map(|(name, member)| (name.clone(), names_of(member))).collect())
        }
        Value::Array(items) => items.first().map(names_of).unwrap_or_default(),
        _ => FieldNames::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chosen(fields: &str) -> Value {
        let state = json!({
            "mode": "paper", "timestamp": 1, "as_of": 2, "data_age_seconds": 3, "is_data_stale": false,
            "account": {"buying_power": "1", "cash_balance": "2"},
            "positions": [{"symbol": "A", "quantity": "1"}, {"symbol": "B", "quantity": "2"}],
            "performance": null,
        });
        let mut chosen = select(&state, &parse_fields(fields).unwrap());
        for name in ALWAYS {
            assert!(chosen.as_object_mut().unwrap().remove(name).is_some(), "{name} is missing");
        }
        chosen
    }

    #[test]
    fn parts_and_fields_of_parts_are_selected() {
        assert_eq!(chosen("account"), json!({"account": {"buying_power": "1", "cash_balance": "2"}}));
        assert_eq!(
            chosen("positions.symbol, account.cash_balance"),
            json!({"positions": [{"symbol": "A"}, {"symbol": "B"}], "account": {"cash_balance": "2"}})
        );
        assert_eq!(chosen("performance.win_rate"), json!({"performance": null}));
    }

    #[test]
    fn a_whole_part_wins_over_its_fields_in_any_order() {
        for fields in ["account,account.cash_balance", "account.cash_balance,account"] {
            assert_eq!(chosen(fields), chosen("account"), "{fields}");
        }
        let both = parse_fields("account.buying_power,account.cash_balance").unwrap();
        assert_eq!(
            cache_key(&both),
            cache_key(&parse_fields("account.cash_balance,account.buying_power").unwrap())
        );
    }

    #[test]
    fn an_unknown_name_gets_the_valid_ones_and_the_nearest() {
        let problem = parse_fields("acount").unwrap_err().problem("id", chrono::Utc::now());
        assert_eq!(problem.context["nearest"], "account");
        assert!(problem.context["allowed"].as_array().unwrap().len() > 15);
        let problem = parse_fields("positions.simbol").unwrap_err().problem("id", chrono::Utc::now());
        assert_eq!(problem.context["nearest"], "positions.symbol");
        assert_eq!(problem.next_actions[0].path, "/api/v1/state?fields=positions.symbol");
        let problem =
            parse_fields("mode,positions.simbol,phase").unwrap_err().problem("id", chrono::Utc::now());
        assert_eq!(problem.next_actions[0].path, "/api/v1/state?fields=mode,phase,positions.symbol");
        assert!(parse_fields(" , ").is_err());
        assert!(parse_fields("mode.paper").is_err());
    }
}
