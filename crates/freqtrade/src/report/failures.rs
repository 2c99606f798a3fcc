//! Lines of freqtrade's log as failures with a code, where the text is a known one.

use botops_contract::{SemanticError, Severity};
use serde_json::json;

use crate::polling::UpstreamPicture;
use crate::upstream::LogLine;

/// A kind of failure that freqtrade's log shows.
struct LogFailure {
    /// Words of which one is in the text; compared in lower case.
    words: &'static [&'static str],
    code: &'static str,
    error_type: &'static str,
    severity: Severity,
    cause: &'static str,
    impact: &'static str,
    remediation: &'static str,
}

/// The first row that fits is taken.
const KNOWN: [LogFailure; 6] = [
    LogFailure {
        words: &[
            "authenticationerror",
            "invalid api-key",
            "invalid api key",
            "api-key format invalid",
            "permission denied",
        ],
        code: "EXC_001",
        error_type: "AuthenticationError",
        severity: Severity::Critical,
        cause: "the exchange refused freqtrade's API key",
        impact: "no order passes, exits included; open trades are not managed at the exchange",
        remediation: "A human must act: renew the key at the exchange, put it into freqtrade's config, restart freqtrade.",
    },
    LogFailure {
        words: &["ddosprotection", "ratelimitexceeded", "too many requests", "rate limit"],
        code: "EXC_002",
        error_type: "NetworkError",
        severity: Severity::Medium,
        cause: "the exchange asked freqtrade to send fewer requests",
        impact: "prices, orders and exits may be late",
        remediation: "Wait: freqtrade tries again. If it lasts, trade fewer pairs or raise its throttle and rate limit.",
    },
    LogFailure {
        words: &["insufficientfunds", "insufficient balance", "insufficient funds", "not enough balance"],
        code: "EXC_003",
        error_type: "TradingError",
        severity: Severity::High,
        cause: "the exchange says that the funds do not suffice",
        impact: "an order was not placed; if it was an exit, the position is still open",
        remediation: "Compare freqtrade's open trades with the balance at the exchange.",
    },
    LogFailure {
        words: &[
            "invalidorder",
            "could not create",
            "unable to create",
            "unable to exit trade",
            "could not place",
        ],
        code: "EXC_004",
        error_type: "TradingError",
        severity: Severity::High,
        cause: "the exchange refused an order",
        impact: "the order was not placed; if it was an exit, the position is still open",
        remediation: "Read the text: quantity, price or instrument. Look whether the trade is still open.",
    },
    LogFailure {
        words: &[
            "networkerror",
            "requesttimeout",
            "exchangenotavailable",
            "exchangeerror",
            "temporaryerror",
            "could not load markets",
            "unable to load markets",
            "connection",
            "timed out",
        ],
        code: "EXC_005",
        error_type: "NetworkError",
        severity: Severity::High,
        cause: "the exchange could not be reached, or answered with an error",
        impact: "prices, orders and exits may be late until it answers again",
        remediation: "Wait: freqtrade tries again. If it lasts, look at the exchange's status page and at the network.",
    },
    LogFailure {
        words: &["operationalexception", "fatal exception"],
        code: "EXC_006",
        error_type: "ServerError",
        severity: Severity::Critical,
        cause: "freqtrade met a condition in which it does not go on",
        impact: "freqtrade stops its loop or its process; open trades are then not managed",
        remediation: "A human must act: read freqtrade's log around this time, correct its config, start it again.",
    },
];

/// What a line of an unknown text is told as.
const UNKNOWN: LogFailure = LogFailure {
    words: &[],
    code: "BOT_030",
    error_type: "TradingError",
    severity: Severity::Medium,
    cause: "freqtrade logged an error that has no code",
    impact: "unknown: the text does not say what it means for trading",
    remediation: "A human looks into freqtrade's log around this time.",
};

/// The failure that this line tells of, with the command that caused it where that is proven.
pub(crate) fn failure_in(picture: &UpstreamPicture, line: &LogLine) -> SemanticError {
    let failure = failure_of_line(line);
    let Some(request) = picture.refused.behind(line, &picture.errors) else { return failure };
    let (verb, id) = (request.verb, &request.command_id);
    SemanticError {
        severity: Severity::Low,
        cause: format!(
            "freqtrade answered so to a request of the command `{verb}` ({id}), and logs each such answer"
        ),
        impact: "none of its own: freqtrade answers so also to a request that worked".to_owned(),
        remediation: "The command's own answer says what became of it: GET /api/v1/events?kind=control."
            .to_owned(),
        context: json!({"logger": line.logger, "level": line.level, "command_id": id, "verb": verb}),
        ..failure
    }
}

/// The failure that this line tells of.
fn failure_of_line(line: &LogLine) -> SemanticError {
    let text = format!("{} {}", line.logger, line.message).to_ascii_lowercase();
    let kind =
        KNOWN.iter().find(|kind| kind.words.iter().any(|word| text.contains(word))).unwrap_or(&UNKNOWN);
    SemanticError {
        error_code: kind.code.to_owned(),
        error_type: kind.error_type.to_owned(),
        severity: if line.level == "CRITICAL" { Severity::Critical } else { kind.severity },
        severity_raw: None,
        message: line.message.clone(),
        cause: kind.cause.to_owned(),
        impact: kind.impact.to_owned(),
        remediation: kind.remediation.to_owned(),
        context: json!({"logger": line.logger, "level": line.level}),
        timestamp: Some(line.at),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[track_caller]
    fn check(level: &str, message: &str, code: &str, severity: Severity) {
        let at = DateTime::from_timestamp(1, 0).unwrap();
        let line = LogLine {
            at,
            logger: "freqtrade.worker".to_owned(),
            level: level.to_owned(),
            message: message.to_owned(),
        };
        let failure = failure_of_line(&line);
        assert_eq!((failure.error_code.as_str(), failure.severity), (code, severity), "{message}");
    }

    #[test]
    fn known_texts_have_a_code_and_others_say_that_they_have_none() {
        check("ERROR", "Could not load markets, therefore cannot start.", "EXC_005", Severity::High);
        check("ERROR", "InsufficientFunds: balance too low", "EXC_003", Severity::High);
        check("ERROR", "binance {\"msg\":\"Invalid Api-Key ID\"}", "EXC_001", Severity::Critical);
        check("CRITICAL", "something else", "BOT_030", Severity::Critical);
        check("ERROR", "something else", "BOT_030", Severity::Medium);
    }
}
