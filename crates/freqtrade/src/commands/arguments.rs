//! The arguments of a command, checked by its verb before anything is asked of freqtrade.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use botops_contract::Verb;

/// Pairs that one command may name.
const PAIRS_MAX: usize = 200;

/// What `args` asked for beyond the verb itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CommandArguments {
    /// `pause`: entries stay closed over a reload and a restart of freqtrade.
    pub durable: bool,
    /// `pause`, with `durable`: when entries may open again; `None` until somebody resumes.
    pub until: Option<DateTime<Utc>>,
    /// `resume` and `pause`: it may start a freqtrade that is stopped.
    pub start: bool,
    /// `cancel-orders`: exit orders too.
    pub exits: bool,
    /// `cancel-orders`: only orders of these pairs; `None` for all.
    pub pairs: Option<Vec<String>>,
}

/// `args` as they are written. Which of them a verb takes is checked before.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenArguments {
    durable: bool,
    until: Option<DateTime<Utc>>,
    start: bool,
    exits: bool,
    symbols: Option<Vec<String>>,
}

impl CommandArguments {
    /// Reads the arguments of a verb. An argument that the verb does not take is an error and never passed over: it may
    /// have been meant to narrow what is done.
    ///
    /// # Errors
    /// A sentence that says what cannot be used, and what can.
    pub(super) fn read(verb: Verb, args: &Value, now: DateTime<Utc>) -> Result<Self, String> {
        let none = Map::new();
        let given = match args {
            Value::Null => &none,
            Value::Object(given) => given,
            _ => return Err("`args` is an object or left out".to_owned()),
        };
        let taken = names_taken_by(verb);
        if let Some(name) = given.keys().find(|name| !taken.contains(&name.as_str())) {
            let name = botops_core::text::clean(name, 40);
            let known =
                if taken.is_empty() { "none".to_owned() } else { format!("`{}`", taken.join("`, `")) };
            return Err(format!("{verb} takes no argument `{name}`; it takes {known}"));
        }
        let written: WrittenArguments =
            serde_json::from_value(Value::Object(given.clone())).map_err(|error| {
                format!("`args` cannot be read: {}", botops_core::text::clean(&error.to_string(), 120))
            })?;
        if written.until.is_some() && !written.durable {
            return Err("`until` goes with `durable: true`; a plain pause has no end of its own".to_owned());
        }
        if written.until.is_some_and(|until| until <= now) {
            return Err("`until` has passed already; give a time in the future".to_owned());
        }
        if written.symbols.as_ref().is_some_and(|pairs| pairs.is_empty() || pairs.len() > PAIRS_MAX) {
            return Err(format!("`symbols` has 1 to {PAIRS_MAX} pairs such as BTC/USDT"));
        }
        let WrittenArguments { durable, until, start, exits, symbols } = written;
        Ok(Self { durable, until, start, exits, pairs: symbols })
    }

    /// Whether the command means this pair.
    pub(super) fn means(&self, pair: &str) -> bool {
        self.pairs.as_ref().is_none_or(|pairs| pairs.iter().any(|one| one == pair))
    }
}

fn names_taken_by(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Pause => &["durable", "until", "start"],
        Verb::Resume => &["start"],
        Verb::CancelOrders => &["symbols", "exits"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(verb: Verb, args: &Value) -> Result<CommandArguments, String> {
        CommandArguments::read(verb, args, "2026-03-02T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn each_verb_takes_its_own_arguments() {
        assert_eq!(read(Verb::Flatten, &Value::Null), Ok(CommandArguments::default()));
        assert!(read(Verb::Pause, &json!({"durable": true})).unwrap().durable);
        assert!(read(Verb::Resume, &json!({"start": true})).unwrap().start);
        let cancel = read(Verb::CancelOrders, &json!({"exits": true, "symbols": ["BTC/USDT"]})).unwrap();
        assert!(cancel.exits && cancel.means("BTC/USDT") && !cancel.means("BTC/USDC"));
    }

    #[test]
    fn what_a_verb_does_not_take_is_refused_by_name() {
        for (verb, args, named) in [
            (Verb::Flatten, json!({"symbols": ["BTC/USDT"]}), "`symbols`"),
            (Verb::CancelOrders, json!({"start": true}), "`start`"),
            (Verb::Resume, json!({"durable": true}), "`durable`"),
            (Verb::Pause, json!({"durable": "yes"}), "boolean"),
            (Verb::Pause, json!([1]), "object"),
            (Verb::Pause, json!({"until": "2026-03-03T00:00:00Z"}), "`durable: true`"),
            (Verb::Pause, json!({"durable": true, "until": "2026-03-01T00:00:00Z"}), "passed"),
            (Verb::CancelOrders, json!({"symbols": []}), "1 to 200"),
        ] {
            let refused = read(verb, &args).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
