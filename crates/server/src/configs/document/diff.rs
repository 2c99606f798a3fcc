//! What differs between two documents, line by line, with what each line means.
//!
//! Lists with a key are matched by it (an item put at the head is one line, not a shift of all), equal amounts are
//! equal however they are written, and values of secret fields appear as a keyed digest: whether they differ can be
//! seen, what they are cannot. A diff is for reading only; documents travel whole.

use std::cmp::Ordering;

use botops_core::exact_number::ExactNumber;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::diff_words::{in_force, shown_value, unclear_because};
use super::nodes::{child_pointer, has_secret, is_foreign, is_secret, mask_value, member_node};
use super::same_value::{find_keyed, same_value};
use super::schema::ConfigSchema;
use super::undeclared_risk::declares_risk;

/// What happened to a value between two documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiffOp {
    /// The new document has a value that the old one does not have.
    Add,
    /// The new document no longer has the value.
    Remove,
    /// Both documents have a value, and the two differ.
    Replace,
}

/// When the change of a field takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApplyTiming {
    /// It takes effect at once.
    Hot,
    /// At the bot's next start.
    Restart,
    /// The field cannot be changed.
    Never,
}

/// Which way risk moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RiskDirection {
    /// Risk stays as it is.
    Neutral,
    /// More careful than before.
    Decreases,
    /// Neither more nor less is at risk: the bot behaves otherwise, as where a stop moves nearer to the price.
    Unclear,
    /// More is at risk than before; also said when the direction is not known.
    Increases,
}

/// One difference between two documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiffLine {
    /// Whether the value was added, removed or replaced.
    pub op: DiffOp,
    /// JSON pointer: into the new document, or into the old one for what was removed.
    pub path: String,
    /// The key of the list item that the difference is in; `null` outside of lists with keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The value before; `null` when there was none.
    pub old: Value,
    /// The value after; `null` when there is none.
    pub new: Value,
    /// True when `old` and `new` are digests of secret values, or hold such.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
    /// When the change takes effect.
    pub apply: ApplyTiming,
    /// Which way the change moves risk.
    pub direction: RiskDirection,
    /// True when the schema declares no `x-risk` for the field: the direction is then assumed, and not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub risk_undeclared: bool,
    /// The difference as one sentence.
    pub text: String,
}

/// What all differences together do to risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangeRisk {
    /// `increases` as soon as one line does; else `unclear` when one line is, else `decreases` when one line does.
    pub direction: RiskDirection,
    /// `high` when a line that increases risk, or is unclear, is about a limit that protects money; otherwise `low`.
    pub class: String,
    /// JSON pointers of the lines that increase risk.
    pub reasons: Vec<String>,
    /// JSON pointers of the lines of which it is not clear which way they move risk; left out when there is none. Their
    /// texts say why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unclear: Vec<String>,
    /// Those of them that only count as increasing it, since the schema declares no `x-risk` for the field. Declare it as
    /// `{"direction": "up", "class": "low"}`, by what a higher value of the field does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<String>,
}

/// Makes a digest of a secret value.
pub(crate) type SecretMask<'a> = &'a dyn Fn(&Value) -> Value;

/// Every difference between two documents.
pub(crate) fn diff_documents(
    schema: &ConfigSchema,
    old: &Value,
    new: &Value,
    mask: SecretMask<'_>,
) -> Vec<DiffLine> {
    let mut walk = DiffWalk { mask, lines: Vec::new() };
    walk.compare(
        &DiffPosition {
            node: schema.root(),
            path: String::new(),
            name: String::new(),
            key: None,
            is_masked: false,
        },
        old,
        new,
    );
    walk.lines
}

/// What the lines do to risk together.
pub(crate) fn change_risk(schema: &ConfigSchema, lines: &[DiffLine]) -> ChangeRisk {
    let direction = lines.iter().map(|line| line.direction).max().unwrap_or(RiskDirection::Neutral);
    let rising: Vec<&DiffLine> =
        lines.iter().filter(|line| line.direction == RiskDirection::Increases).collect();
    let is_high =
        |line: &&DiffLine| schema.at(&line.path).is_some_and(|node| node["x-risk"]["class"] == "high");
    let unclear: Vec<&DiffLine> =
        lines.iter().filter(|line| line.direction == RiskDirection::Unclear).collect();
    let class = if rising.iter().chain(&unclear).any(is_high) { "high" } else { "low" };
    let unclear = unclear.into_iter().map(|line| line.path.clone()).collect();
    let reasons = rising.iter().map(|line| line.path.clone()).collect();
    let undeclared =
        rising.iter().filter(|line| line.risk_undeclared).map(|line| line.path.clone()).collect();
    ChangeRisk { direction, class: class.to_owned(), reasons, unclear, undeclared }
}

/// A place in both documents that is compared.
struct DiffPosition<'a> {
    node: &'a Value,
    path: String,
    /// The path in words.
    name: String,
    key: Option<String>,
    /// It has no place in the schema, or is a part of what is secret.
    is_masked: bool,
}

impl<'a> DiffPosition<'a> {
    fn member(&self, key: &str) -> DiffPosition<'a> {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        let node = member_node(self.node, key);
        let is_masked = self.hides(key);
        DiffPosition { node, path: child_pointer(&self.path, key), name, key: self.key.clone(), is_masked }
    }

    fn item(&self, index: usize, key: Option<&str>) -> DiffPosition<'a> {
        let label = key.map_or_else(|| index.to_string(), str::to_owned);
        DiffPosition {
            node: &self.node["items"],
            path: format!("{}/{index}", self.path),
            name: format!("{}[{label}]", self.name),
            key: key.map(str::to_owned).or_else(|| self.key.clone()),
            is_masked: self.is_masked || is_secret(self.node),
        }
    }

    /// Whether nothing of this member is shown.
    fn hides(&self, member: &str) -> bool {
        self.is_masked || is_secret(self.node) || is_foreign(self.node, member)
    }
}

struct DiffWalk<'a> {
    mask: SecretMask<'a>,
    lines: Vec<DiffLine>,
}

impl DiffWalk<'_> {
    fn compare(&mut self, position: &DiffPosition<'_>, old: &Value, new: &Value) {
        match (old, new) {
            (Value::Object(before), Value::Object(after)) => {
                for (key, old) in before {
                    match after.get(key) {
                        Some(new) => self.compare(&position.member(key), old, new),
                        None => self.push_line(DiffOp::Remove, &position.member(key), old, &Value::Null),
                    }
                }
                for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                    self.push_line(DiffOp::Add, &position.member(key), &Value::Null, new);
                }
            }
            (Value::Array(before), Value::Array(after)) => match position.node["x-list-key"].as_str() {
                Some(key) => self.compare_keyed(position, key, before, after),
                None if same_value(position.node, old, new) => {}
                None => self.push_line(DiffOp::Replace, position, old, new),
            },
            _ if same_value(position.node, old, new) => {}
            _ => self.push_line(DiffOp::Replace, position, old, new),
        }
    }

    fn compare_keyed(&mut self, position: &DiffPosition<'_>, key: &str, before: &[Value], after: &[Value]) {
        let node = &position.node["items"];
        let find = |items: &[Value], wanted: &Value| find_keyed(node, key, items, wanted);
        let is_shown = !position.is_masked && !is_secret(member_node(node, key));
        let name_of = |item: &'_ Value| item[key].as_str().filter(|_| is_shown).map(str::to_owned);
        for (index, old) in before.iter().enumerate() {
            let name = name_of(old);
            let name = name.as_deref();
            match find(after, &old[key]) {
                Some(now) => self.compare(&position.item(now, name), old, &after[now]),
                None => self.push_line(DiffOp::Remove, &position.item(index, name), old, &Value::Null),
            }
        }
        for (index, new) in after.iter().enumerate() {
            if find(before, &new[key]).is_none() {
                let name = name_of(new);
                self.push_line(DiffOp::Add, &position.item(index, name.as_deref()), &Value::Null, new);
            }
        }
    }

    fn push_line(&mut self, op: DiffOp, position: &DiffPosition<'_>, old: &Value, new: &Value) {
        // What is not written holds as the schema says, where it says so.
        let (before, after) = (in_force(position.node, old), in_force(position.node, new));
        let direction = risk_direction(position.node, op, before, after);
        let risk_undeclared = direction == RiskDirection::Increases && !declares_risk(position.node);
        let apply = apply_timing(position.node);
        let masked = position.is_masked || [old, new].iter().any(|value| has_secret(position.node, value));
        let show = |value: &Value| match value {
            Value::Null => Value::Null,
            value if position.is_masked => (self.mask)(value),
            value => mask_value(position.node, value, self.mask),
        };
        let (old, new) = (show(old), show(new));
        let what = change_text(position, op, &old, &new);
        let instead = instead_text(position, op, masked);
        let risk = risk_text(position.node, direction, risk_undeclared);
        let text = format!("{what}{instead}{risk}{}", timing_text(apply));
        self.lines.push(DiffLine {
            op,
            path: position.path.clone(),
            key: position.key.clone(),
            old,
            new,
            masked,
            apply,
            direction,
            risk_undeclared,
            text,
        });
    }
}

fn change_text(position: &DiffPosition<'_>, op: DiffOp, old: &Value, new: &Value) -> String {
    let unit = position.node["x-unit"].as_str().map(|unit| format!(" {unit}")).unwrap_or_default();
    match op {
        DiffOp::Add => format!("{}: added {}", position.name, shown_value(new)),
        DiffOp::Remove => format!("{}: removed, was {}", position.name, shown_value(old)),
        DiffOp::Replace => format!("{}: {} → {}{unit}", position.name, shown_value(old), shown_value(new)),
    }
}

/// What holds where a value is no longer written, or was not before.
fn instead_text(position: &DiffPosition<'_>, op: DiffOp, is_masked: bool) -> String {
    let default = position.node.get("default");
    let is_item = position.key.is_some() && position.name.ends_with(']');
    match (op, default) {
        (DiffOp::Replace, _) => String::new(),
        (DiffOp::Remove, _) if is_item => "; the list has it no longer".to_owned(),
        (DiffOp::Add, _) if is_item => String::new(),
        (_, Some(_)) if is_masked => "; the default of the bot's schema is not shown".to_owned(),
        (DiffOp::Remove, Some(default)) => {
            format!("; {} holds instead, the default of the bot's schema", shown_value(default))
        }
        (DiffOp::Remove, None) => {
            "; what holds instead is up to the bot: its schema names no default".to_owned()
        }
        (DiffOp::Add, Some(default)) => {
            format!("; before, {} held, the default of the bot's schema", shown_value(default))
        }
        (DiffOp::Add, None) => String::new(),
    }
}

fn risk_text(node: &Value, direction: RiskDirection, is_undeclared: bool) -> String {
    let text = match direction {
        RiskDirection::Unclear => {
            return unclear_because(node).map(|why| format!("; {why}")).unwrap_or_default();
        }
        RiskDirection::Increases if is_undeclared => {
            "; counts as raising risk, since the bot's schema declares no `x-risk` for it"
        }
        RiskDirection::Increases => "; raises risk",
        RiskDirection::Decreases => "; lowers risk",
        RiskDirection::Neutral => "",
    };
    text.to_owned()
}

fn timing_text(apply: ApplyTiming) -> &'static str {
    match apply {
        ApplyTiming::Hot => "",
        ApplyTiming::Restart => "; waits for a restart of the bot",
        ApplyTiming::Never => "; cannot be changed",
    }
}

fn apply_timing(node: &Value) -> ApplyTiming {
    match node["x-apply"].as_str() {
        Some("restart") => ApplyTiming::Restart,
        Some("never") => ApplyTiming::Never,
        Some(_) => ApplyTiming::Hot,
        // An item or an object: as late as its latest part.
        None => {
            let parts =
                node["properties"].as_object().into_iter().flatten().map(|(_, part)| apply_timing(part));
            parts.fold(ApplyTiming::Hot, |late, part| match (late, part) {
                (ApplyTiming::Never, _) | (_, ApplyTiming::Never) => ApplyTiming::Never,
                (ApplyTiming::Restart, _) | (_, ApplyTiming::Restart) => ApplyTiming::Restart,
                _ => ApplyTiming::Hot,
            })
        }
    }
}

fn risk_direction(node: &Value, op: DiffOp, old: &Value, new: &Value) -> RiskDirection {
    let annotated = node["x-risk"]["direction"].as_str();
    if annotated.is_none() {
        // A whole item, of which nothing is said by itself.
        let parts_are_neutral = node["properties"].as_object().into_iter().flatten().all(|(_, part)| {
            part["x-risk"]["direction"].as_str().is_some_and(|direction| direction == "none")
        });
        return match op {
            _ if parts_are_neutral && node["properties"].is_object() => RiskDirection::Neutral,
            _ => RiskDirection::Increases,
        };
    }
    // Of a whole item, `up` says that each one more is more at risk: one that goes frees it.
    if node["properties"].is_object() {
        return match (annotated, op) {
            (Some("none"), _) => RiskDirection::Neutral,
            (Some("up"), DiffOp::Remove) | (Some("down"), DiffOp::Add) => RiskDirection::Decreases,
            _ => RiskDirection::Increases,
        };
    }
    if annotated == Some("none") {
        return RiskDirection::Neutral;
    }
    let moved = ExactNumber::of_json(old).zip(ExactNumber::of_json(new)).map(|(old, new)| new.cmp(&old));
    let is_shorter = moved == Some(Ordering::Less);
    match (node["x-distance"].as_str(), moved) {
        (Some("target"), Some(_)) => return RiskDirection::Unclear,
        (Some("stop"), Some(_)) if is_shorter => return RiskDirection::Unclear,
        _ => {}
    }
    match (annotated, moved) {
        (Some("up"), Some(Ordering::Less)) | (Some("down"), Some(Ordering::Greater)) => {
            RiskDirection::Decreases
        }
        // Raised, or the direction is not known.
        _ => RiskDirection::Increases,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::paperbot_config::{default_document, paperbot_schema};
    use super::*;

    static SCHEMA: std::sync::LazyLock<ConfigSchema> = std::sync::LazyLock::new(paperbot_schema);

    fn diff(change: impl FnOnce(&mut Value)) -> Vec<DiffLine> {
        let mut document = default_document();
        change(&mut document);
        diff_documents(&SCHEMA, &default_document(), &document, &|_| json!("hmac:0"))
    }

    #[track_caller]
    fn moves(change: impl FnOnce(&mut Value), direction: RiskDirection, text: &str) {
        let lines = diff(change);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].direction, direction, "{lines:?}");
        assert_eq!(lines[0].text, text);
    }

    #[test]
    fn a_target_at_the_head_is_one_line() {
        let lines = diff(|d| {
            d["targets"].as_array_mut().unwrap().insert(0, json!({"symbol": "TSLA", "weight": 0.01}));
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((lines[0].op, lines[0].path.as_str()), (DiffOp::Add, "/targets/0"));
        assert_eq!(lines[0].key.as_deref(), Some("TSLA"));
    }

    #[test]
    fn the_order_of_targets_means_nothing() {
        assert_eq!(diff(|d| d["targets"].as_array_mut().unwrap().reverse()), vec![]);
    }

    #[test]
    fn risk_moves_by_the_meaning_of_the_field() {
        moves(
            |d| d["risk_management"]["max_position_size"] = json!("4000.00"),
            RiskDirection::Decreases,
            "risk_management.max_position_size: 5000 → 4000.00 USD; lowers risk",
        );
        moves(
            |d| d["risk_management"]["daily_loss_limit"] = json!(-900),
            RiskDirection::Increases,
            "risk_management.daily_loss_limit: -500.00 → -900 USD; raises risk",
        );
        moves(
            |d| d["targets"][0]["weight"] = json!(0.01),
            RiskDirection::Decreases,
            "targets[SPY].weight: 0.05 → 0.01 part of equity; lowers risk",
        );
        moves(
            |d| d["performance_targets"]["win_rate_target"] = json!(55),
            RiskDirection::Neutral,
            "performance_targets.win_rate_target: 60.0 → 55 %",
        );
        moves(
            |d| d["order_management"]["poll_interval_seconds"] = json!(5),
            RiskDirection::Increases,
            "order_management.poll_interval_seconds: 15 → 5 s; raises risk; waits for a restart of the bot",
        );
        moves(
            |d| d["mode"] = json!("live"),
            RiskDirection::Increases,
            "mode: paper → live; raises risk; cannot be changed",
        );
    }

    #[test]
    fn a_field_without_a_declared_risk_is_told_as_that() {
        let schema = json!({"type": "object", "properties": {
            "said": {"type": "number", "x-risk": {"direction": "up", "class": "high"}},
            "unsaid": {"type": "number"},
        }});
        let schema = ConfigSchema::compile(&schema.to_string()).unwrap();
        let (old, new) = (json!({"said": 1, "unsaid": 2}), json!({"said": 2, "unsaid": 1}));
        let lines = diff_documents(&schema, &old, &new, &|_| Value::Null);
        let risk = change_risk(&schema, &lines);
        assert_eq!(risk.direction, RiskDirection::Increases);
        assert_eq!(
            (risk.reasons.as_slice(), risk.undeclared.as_slice()),
            (["/said".to_owned(), "/unsaid".to_owned()].as_slice(), ["/unsaid".to_owned()].as_slice())
        );
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "said: 1 → 2; raises risk",
                "unsaid: 2 → 1; counts as raising risk, since the bot's schema declares no `x-risk` for it"
            ]
        );
    }

    #[test]
    fn a_nearer_stop_is_another_behaviour_and_not_less_risk() {
        moves(
            |d| d["risk_management"]["stop_loss_pct"] = json!(0.1),
            RiskDirection::Unclear,
            "risk_management.stop_loss_pct: 2.0 → 0.1 %; it is not clear which way risk moves: a nearer stop loses less each \
             time and fires sooner, at once where it is nearer than the price usually moves",
        );
        moves(
            |d| d["risk_management"]["stop_loss_pct"] = json!(4),
            RiskDirection::Increases,
            "risk_management.stop_loss_pct: 2.0 → 4 %; raises risk",
        );
        let risk = change_risk(&SCHEMA, &diff(|d| d["risk_management"]["stop_loss_pct"] = json!(0.1)));
        assert_eq!((risk.direction, risk.class.as_str()), (RiskDirection::Unclear, "high"));
        assert_eq!(
            (risk.reasons.len(), risk.unclear.as_slice()),
            (0, ["/risk_management/stop_loss_pct".to_owned()].as_slice())
        );
        let ratio = diff(|d| d["risk_management"]["risk_reward_ratio"] = json!(5));
        assert_eq!(ratio[0].direction, RiskDirection::Unclear, "{ratio:?}");
    }

    #[test]
    fn a_removed_value_says_what_holds_instead() {
        let schema = json!({"type": "object", "properties": {
            "size": {"type": "number", "default": 3, "x-risk": {"direction": "up", "class": "high"}},
            "other": {"type": "number", "x-risk": {"direction": "up", "class": "low"}},
        }});
        let schema = ConfigSchema::compile(&schema.to_string()).unwrap();
        let lines = diff_documents(&schema, &json!({"size": 5, "other": 1}), &json!({}), &|_| Value::Null);
        let told: Vec<_> = lines.iter().map(|line| (line.direction, line.text.as_str())).collect();
        let instead = "size: removed, was 5; 3 holds instead, the default of the bot's schema; lowers risk";
        let unnamed = "other: removed, was 1; what holds instead is up to the bot: its schema names no default; raises risk";
        assert!(told.contains(&(RiskDirection::Decreases, instead)), "{told:?}");
        assert!(told.contains(&(RiskDirection::Increases, unnamed)), "{told:?}");
        let lines = diff_documents(&schema, &json!({}), &json!({"size": 5}), &|_| Value::Null);
        assert_eq!(
            lines[0].text,
            "size: added 5; before, 3 held, the default of the bot's schema; raises risk"
        );
    }

    #[test]
    fn a_target_that_goes_lowers_risk() {
        let lines = diff(|d| drop(d["targets"].as_array_mut().unwrap().remove(0)));
        assert_eq!((lines[0].op, lines[0].direction), (DiffOp::Remove, RiskDirection::Decreases));
    }

    #[test]
    fn a_secret_is_a_digest_wherever_it_stands() {
        let schema = ConfigSchema::compile(
            &json!({"type": "object", "additionalProperties": false, "properties": {
                "key": {"type": "string", "x-secret": true},
                "venues": {"type": "array", "x-list-key": "name", "items": {"properties": {
                    "name": {"type": "string"}, "login": {"type": "object", "x-secret": true}}}},
            }})
            .to_string(),
        )
        .unwrap();
        let old = json!({"key": "hunter1", "gone": {"pin": "hunter2"},
            "venues": [{"name": "a", "login": {"pin": "hunter3"}}]});
        let new = json!({"key": "hunter4", "gone": {"pin": "hunter5"},
            "venues": [{"name": "a", "login": {"pin": "hunter6"}}, {"name": "b", "login": {"pin": "hunter7"}}]});
        let lines = diff_documents(&schema, &old, &new, &|_| json!("hmac:0"));
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines.iter().all(|line| line.masked), "{lines:?}");
        assert!(!serde_json::to_string(&lines).unwrap().contains("hunter"), "{lines:?}");
    }

    #[test]
    fn equal_amounts_are_equal_however_they_are_written() {
        assert_eq!(diff(|d| d["risk_management"]["max_position_size"] = json!("5000.00")), vec![]);
        assert_eq!(diff(|d| d["risk_management"]["daily_loss_limit"] = json!("-500")), vec![]);
        assert_eq!(diff(|d| d["risk_management"]["max_consecutive_losses"] = json!(10.0)), vec![]);
        assert_eq!(diff(|d| d["risk_management"]["stop_loss_pct"] = json!(2)), vec![]);
    }

    #[test]
    fn a_rise_anywhere_is_a_rise() {
        let lines = diff(|d| {
            d["risk_management"]["max_position_size"] = json!(4000);
            d["risk_management"]["risk_per_trade"] = json!(0.03);
        });
        let risk = change_risk(&SCHEMA, &lines);
        assert_eq!((risk.direction, risk.class.as_str()), (RiskDirection::Increases, "high"));
        assert_eq!(risk.reasons, ["/risk_management/risk_per_trade"]);
    }

    proptest! {
        #[test]
        fn a_diff_is_empty_exactly_when_nothing_differs(weights in prop::collection::btree_map("[A-Z]{1,4}", 0_u8..10, 0..8),
                                                        others in prop::collection::btree_map("[A-Z]{1,4}", 0_u8..10, 0..8)) {
            let document = |weights: &std::collections::BTreeMap<String, u8>| {
                let mut document = default_document();
                document["targets"] = weights.iter().map(|(symbol, weight)| json!({"symbol": symbol, "weight": f64::from(*weight) / 100.0})).collect();
                document
            };
            let (old, new) = (document(&weights), document(&others));
            let forth = diff_documents(&SCHEMA, &old, &new, &|_| Value::Null);
            let back = diff_documents(&SCHEMA, &new, &old, &|_| Value::Null);
            prop_assert_eq!(forth.is_empty(), weights == others);
            prop_assert_eq!(forth.len(), back.len());
        }
    }
}
