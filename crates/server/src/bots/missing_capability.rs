//! What to do about a command that the bot does not offer.

use botops_contract::{Hello, Verb};

/// What comes closest to a verb, and what that does.
const INSTEAD: &[(Verb, Verb, &str)] = &[
    (Verb::Pause, Verb::Halt, "lets no order pass, exits included"),
    (Verb::Halt, Verb::Pause, "lets the bot open nothing"),
    (Verb::Halt, Verb::Flatten, "closes what is open"),
    (Verb::Flatten, Verb::Pause, "lets the bot open nothing; what is open a person closes at the broker"),
    (
        Verb::CancelOrders,
        Verb::Pause,
        "lets the bot open nothing; resting orders a person cancels at the broker",
    ),
    (Verb::CancelOrders, Verb::Flatten, "closes what is open"),
    (Verb::Shutdown, Verb::Pause, "lets the bot open nothing while it runs"),
    (Verb::ResetBreaker, Verb::Resume, "ends a pause"),
    (Verb::ProbeSession, Verb::Reauth, "signs in at the broker again"),
    (Verb::Reauth, Verb::ProbeSession, "checks the broker session"),
];

/// Which capability is missing, what the bot's author adds for it, and what this bot can do instead.
pub(super) fn remedy_without_verb(verb: Verb, hello: Option<&Hello>) -> String {
    let offered = INSTEAD.iter().filter(|(wanted, instead, _)| {
        *wanted == verb && hello.is_some_and(|hello| hello.offers(instead.as_str()))
    });
    let instead: Vec<String> =
        offered.map(|(_, verb, effect)| format!("POST /api/v1/control/{verb} {effect}")).collect();
    let instead = if instead.is_empty() {
        "Nothing that this bot offers does the same: a person does it at the bot or the broker.".to_owned()
    } else {
        format!("Meanwhile: {}.", instead.join(", or "))
    };
    format!(
        "The bot lacks the capability `{verb}`. {instead} The bot's author adds a handler for `{verb}` and lists it among \
         `capabilities` (docs/your-own-bot.md)."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_bot_offers_is_named_instead() {
        let hello: Hello =
            serde_json::from_value(json!({"bot_id": "x", "mode": "paper", "capabilities": ["pause"]}))
                .unwrap();
        let remedy = remedy_without_verb(Verb::Halt, Some(&hello));
        assert!(remedy.contains("`halt`") && remedy.contains("control/pause"), "{remedy}");
        assert!(!remedy.contains("flatten"), "{remedy}");
        let remedy = remedy_without_verb(Verb::Reauth, Some(&hello));
        assert!(remedy.contains("`reauth`") && remedy.contains("a person"), "{remedy}");
    }
}
