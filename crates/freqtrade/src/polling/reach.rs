//! Whether freqtrade answers: decided from what the calls saw, without any I/O.

use std::time::{Duration, Instant};

use botops_contract::{UPSTREAM_HUNG, UPSTREAM_STARTING, UPSTREAM_UNAUTHORIZED, UPSTREAM_UNREACHABLE};

use crate::upstream::{HUNG_AFTER, UpstreamFailure};

/// While it reads its config anew, freqtrade takes no connection for about 0.6 s: that is no absence.
const RELOAD: Duration = Duration::from_secs(2);

/// `ping` answers, and what needs freqtrade's own state does not: for this long it may just be busy.
const BUSY: Duration = Duration::from_secs(10);

/// The code of a freqtrade that runs in a mode in which it does not trade.
const UPSTREAM_WRONG_MODE: &str = "upstream_wrong_mode";

/// What the calls saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReachFacts {
    /// When the `ping` that has no answer yet was sent.
    pub asking_since: Option<Instant>,
    /// A `ping` was answered at least once.
    pub ever_answered: bool,
    /// Since when every `ping` failed, and how the newest did.
    pub ping_failing: Option<(Instant, UpstreamFailure)>,
    /// Since when `show_config` fails, and how it did last.
    pub config_failing: Option<(Instant, UpstreamFailure)>,
    /// `runmode`, where freqtrade does not trade in it.
    pub wrong_mode: Option<String>,
    /// Config, health and open trades were all read.
    pub has_state: bool,
}

/// Whether freqtrade can be answered for, and the refusal if not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamReach {
    /// It answers.
    Answers,
    /// It does not: a code of the contract, and a sentence.
    Refused {
        /// `upstream_…`.
        code: &'static str,
        /// For people.
        message: String,
    },
}

impl ReachFacts {
    /// What holds at this moment; `place` is where freqtrade should answer.
    pub(crate) fn decide(&self, now: Instant, place: &str) -> UpstreamReach {
        let refused = |code, message: String| UpstreamReach::Refused { code, message };
        let is_silent = self.asking_since.is_some_and(|since| now.duration_since(since) >= HUNG_AFTER);
        match &self.ping_failing {
            Some((_, UpstreamFailure::Late)) => return refused(UPSTREAM_HUNG, hung_sentence(place)),
            _ if is_silent => return refused(UPSTREAM_HUNG, hung_sentence(place)),
            Some((since, failure)) => {
                let may_be_reload =
                    self.has_state && now.duration_since(*since) < RELOAD && !failure.was_answered();
                if !may_be_reload {
                    return refused(UPSTREAM_UNREACHABLE, format!("freqtrade at {place}: {failure}"));
                }
            }
            None if !self.ever_answered => {
                return refused(UPSTREAM_STARTING, format!("freqtrade at {place} was not asked yet"));
            }
            None => {}
        }
        if let Some(mode) = &self.wrong_mode {
            return refused(UPSTREAM_WRONG_MODE, wrong_mode_sentence(place, mode));
        }
        match &self.config_failing {
            Some((_, UpstreamFailure::Unauthorized)) => {
                let said = "does not accept the credentials: put api_server's username and password into the file of \
                            --credentials, then start the adapter again";
                return refused(UPSTREAM_UNAUTHORIZED, format!("freqtrade at {place} {said}"));
            }
            Some((_, failure @ UpstreamFailure::Unavailable(_))) => {
                return refused(UPSTREAM_STARTING, format!("freqtrade at {place}: {failure}"));
            }
            Some((_, UpstreamFailure::TooOften)) => {}
            Some((since, failure)) if !self.has_state || now.duration_since(*since) >= BUSY => {
                let code = if self.has_state { UPSTREAM_HUNG } else { UPSTREAM_STARTING };
                return refused(
                    code,
                    format!("freqtrade at {place} answers `ping`, but `show_config`: {failure}"),
                );
            }
            _ => {}
        }
        if self.has_state {
            return UpstreamReach::Answers;
        }
        refused(UPSTREAM_STARTING, format!("freqtrade at {place} answers; its state is being read"))
    }
}

fn hung_sentence(place: &str) -> String {
    let seconds = HUNG_AFTER.as_secs();
    format!("freqtrade at {place} takes the connection and gives no answer within {seconds} s")
}

fn wrong_mode_sentence(place: &str, mode: &str) -> String {
    format!(
        "freqtrade at {place} runs as `{mode}`, in which it does not trade: there is nothing to stand beside. Start \
         `freqtrade trade`, or name another address with --url"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> ReachFacts {
        ReachFacts { ever_answered: true, has_state: true, ..ReachFacts::default() }
    }

    #[track_caller]
    fn check(facts: &ReachFacts, now: Instant, expected: Option<&str>) {
        let code = match facts.decide(now, "host:1") {
            UpstreamReach::Answers => None,
            UpstreamReach::Refused { code, .. } => Some(code),
        };
        assert_eq!(code, expected, "{facts:?}");
    }

    #[test]
    fn silence_is_told_within_six_seconds() {
        let now = Instant::now();
        let late = Some((now, UpstreamFailure::Late));
        check(&ReachFacts { ping_failing: late, ..calm() }, now, Some("upstream_hung"));
        let asked = ReachFacts { asking_since: Some(now), ..calm() };
        check(&asked, now + Duration::from_millis(2_900), None);
        check(&asked, now + HUNG_AFTER, Some("upstream_hung"));
    }

    #[test]
    fn a_reload_is_no_absence() {
        let now = Instant::now();
        let gone = Some((now, UpstreamFailure::Unreachable("connection refused".to_owned())));
        let gone = ReachFacts { ping_failing: gone, ..calm() };
        check(&gone, now + Duration::from_millis(900), None);
        check(&gone, now + RELOAD, Some("upstream_unreachable"));
        check(&ReachFacts { has_state: false, ..gone }, now, Some("upstream_unreachable"));
        let other = Some((now, UpstreamFailure::Unreadable("what answers there is no freqtrade".to_owned())));
        check(&ReachFacts { ping_failing: other, ..calm() }, now, Some("upstream_unreachable"));
    }

    #[test]
    fn what_freqtrade_says_no_to_is_told_by_its_kind() {
        let now = Instant::now();
        let with = |failure| ReachFacts { config_failing: Some((now, failure)), ..calm() };
        check(&with(UpstreamFailure::Unauthorized), now, Some("upstream_unauthorized"));
        check(&with(UpstreamFailure::Unavailable("no".to_owned())), now, Some("upstream_starting"));
        check(&with(UpstreamFailure::Domain("no".to_owned())), now, None);
        check(&with(UpstreamFailure::Domain("no".to_owned())), now + BUSY, Some("upstream_hung"));
        let web = ReachFacts { wrong_mode: Some("webserver".to_owned()), ..calm() };
        check(&web, now, Some("upstream_wrong_mode"));
        check(&ReachFacts { has_state: false, ..calm() }, now, Some("upstream_starting"));
        check(&ReachFacts::default(), now, Some("upstream_starting"));
    }
}
