//! Requests of commands that freqtrade refused. freqtrade logs each as an error of its own, without saying whose it was.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::error_lines::ErrorLines;
use crate::upstream::LogLine;
use botops_contract::Verb;

/// Requests that are kept; their lines leave the log's report sooner or later, too.
const KEPT_REQUESTS: usize = 50;

/// Its clock is known to the second.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(2);

/// The logger that writes the refusals of freqtrade's API, and how such a line begins.
const API_LOGGER: &str = "freqtrade.rpc.api_server.webserver";
const API_REFUSAL: &str = "API Error calling: ";

/// A request of a command that freqtrade refused with a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRequest {
    pub command_id: String,
    pub verb: Verb,
    /// freqtrade's own reason, as it answered.
    pub reason: String,
    /// When it was sent and answered, by freqtrade's clock.
    pub sent: DateTime<Utc>,
    pub answered: DateTime<Utc>,
}

impl RefusedRequest {
    /// Whether freqtrade would have written this line for it.
    fn fits(&self, line: &LogLine) -> bool {
        let in_time = line.at >= self.sent - CLOCK_MARGIN && line.at <= self.answered + CLOCK_MARGIN;
        // The answer has the path before the reason: `Error querying /api/v1/…: reason`.
        let said = line.message.strip_prefix(API_REFUSAL).filter(|said| !said.is_empty());
        in_time
            && line.logger == API_LOGGER
            && said.is_some_and(|said| self.reason.ends_with(&format!(": {said}")))
    }
}

/// The newest of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct RefusedRequests {
    newest_last: VecDeque<RefusedRequest>,
}

impl RefusedRequests {
    pub(super) fn add(&mut self, request: RefusedRequest) {
        self.newest_last.push_back(request);
        if self.newest_last.len() > KEPT_REQUESTS {
            self.newest_last.pop_front();
        }
    }

    /// The request that a line of the log is about. `None` unless it is proven: where more lines than requests fit, one of
    /// them is of somebody else.
    pub(crate) fn behind(&self, line: &LogLine, lines: &ErrorLines) -> Option<&RefusedRequest> {
        let request = self.newest_last.iter().find(|request| request.fits(line))?;
        let alike = self.newest_last.iter().filter(|other| other.fits(line)).count();
        let written = lines.lines().filter(|other| request.fits(other)).count();
        (written <= alike).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: i64, logger: &str, message: &str) -> LogLine {
        let at = DateTime::from_timestamp(second, 0).unwrap();
        let (logger, message) = (logger.to_owned(), message.to_owned());
        LogLine { at, logger, level: "ERROR".to_owned(), message }
    }

    #[test]
    fn a_line_is_of_a_command_only_where_nothing_else_could_have_caused_it() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let mut requests = RefusedRequests::default();
        requests.add(RefusedRequest {
            command_id: "a".to_owned(),
            verb: Verb::CancelOrders,
            reason: "Error querying /api/v1/trades/4/open-order: no active trade".to_owned(),
            sent: at(100),
            answered: at(101),
        });
        let own = line(101, API_LOGGER, "API Error calling: no active trade");
        let others = [
            line(101, API_LOGGER, "API Error calling: invalid argument"),
            line(101, "freqtrade.worker", "API Error calling: no active trade"),
            line(101, API_LOGGER, "no active trade"),
            line(110, API_LOGGER, "API Error calling: no active trade"),
        ];
        let mut log = ErrorLines::default();
        log.add_lines(std::slice::from_ref(&own), at(120));
        log.add_lines(&others, at(120));
        assert_eq!(requests.behind(&own, &log).map(|request| request.command_id.as_str()), Some("a"));
        for other in &others {
            assert_eq!(requests.behind(other, &log), None, "{other:?}");
        }
        let mut crowded = ErrorLines::default();
        let again = line(100, API_LOGGER, "API Error calling: no active trade");
        crowded.add_lines(&[again, own.clone()], at(120));
        assert_eq!(requests.behind(&own, &crowded), None, "one of the two is of somebody else");
    }
}
