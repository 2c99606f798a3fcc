//! Whether a bot is there: decided from what the link saw, without any I/O.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::UpstreamFault;

/// An answer later than this is not on time.
pub(super) const ON_TIME: Duration = Duration::from_secs(2);

/// Silence of this length is no longer slowness.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// Whether the bot answers; if it does not, what its process and socket show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It answers on time.
    Connected,
    /// It answers, but later than 2 s.
    Slow,
    /// Its socket accepts and its process lives, but it has not answered for 5 s.
    Hung,
    /// Its process is gone.
    Exited,
    /// Nothing answers on its socket.
    Unreachable,
    /// It answers, but not in a form that botops can read: it is there, and it is left alone.
    Incompatible,
    /// It is being restarted on purpose.
    Reloading,
    /// It has never answered.
    NeverSeen,
}

impl Presence {
    /// The name in the API and in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Slow => "slow",
            Self::Hung => "hung",
            Self::Exited => "exited",
            Self::Unreachable => "unreachable",
            Self::Incompatible => "incompatible",
            Self::Reloading => "reloading",
            Self::NeverSeen => "never_seen",
        }
    }

    /// True when the bot cannot be worked with and nobody is bringing it back: "Bot offline".
    pub fn is_offline(self) -> bool {
        matches!(self, Self::Exited | Self::Hung | Self::Unreachable | Self::NeverSeen)
    }

    /// True when it answers, on time or late.
    pub fn answers(self) -> bool {
        matches!(self, Self::Connected | Self::Slow)
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the process table says about the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// The process that answered last still runs.
    Alive,
    /// It runs, but is stopped (SIGSTOP or a debugger).
    Stopped,
    /// It is gone, or its number belongs to another process now.
    Gone,
    /// It is not known: the process is in another namespace, or the bot never answered.
    Unknown,
}

/// What the link saw of the bot.
#[derive(Debug, Clone)]
pub(super) struct PresenceFacts<'a> {
    /// The bot answered once, in this run of botops or an earlier one.
    pub ever_seen: bool,
    /// How long the last answer took, and what is remarkable about it.
    pub answered: Option<(Duration, Option<&'a str>)>,
    /// Why the last poll brought nothing, if it failed after the last answer.
    pub failed: Option<&'a str>,
    /// That poll was answered, but with something that is not the contract.
    pub failed_unreadable: bool,
    /// That poll was answered by an adapter, which says this of the bot.
    pub upstream: Option<UpstreamFault>,
    /// How long an answer has been missing, when a poll is under way.
    pub silent_for: Option<Duration>,
    /// It said who it is a moment ago, whatever became of other questions.
    pub says_hello: bool,
    /// What the process table says.
    pub process: ProcessState,
    /// How much longer a restart is expected to take.
    pub restart_left: Option<Duration>,
}

/// Presence and its reason.
pub(super) fn decide_presence(facts: &PresenceFacts<'_>) -> (Presence, String) {
    let gone = facts.process == ProcessState::Gone;
    let silent = facts.silent_for.is_some_and(|silence| silence >= SILENCE);
    if silent {
        let seconds = facts.silent_for.unwrap_or_default().as_secs();
        if gone {
            return (Presence::Exited, format!("its process is gone; no answer for {seconds} s"));
        }
        if facts.says_hello && facts.process != ProcessState::Stopped {
            let text = format!(
                "it answers `hello`, and has not answered `state` for more than {} s",
                SILENCE.as_secs()
            );
            return (Presence::Hung, text);
        }
        let why = match facts.process {
            ProcessState::Stopped => "its process is stopped (SIGSTOP or a debugger) and",
            ProcessState::Alive => "its process lives and its socket accepts, but it",
            ProcessState::Gone | ProcessState::Unknown => "its socket accepts, but it",
        };
        return (Presence::Hung, format!("{why} has not answered for more than {} s", SILENCE.as_secs()));
    }
    if let Some(failure) = facts.failed {
        if let Some(left) = facts.restart_left {
            return (Presence::Reloading, format!("it is being restarted (up to {} s more)", left.as_secs()));
        }
        match facts.upstream {
            Some(UpstreamFault::Unreachable) => return (Presence::Unreachable, failure.to_owned()),
            Some(UpstreamFault::Hung) => return (Presence::Hung, failure.to_owned()),
            Some(UpstreamFault::Starting) => return (Presence::Reloading, failure.to_owned()),
            Some(UpstreamFault::Unauthorized) => return (Presence::Incompatible, failure.to_owned()),
            None => {}
        }
        if facts.failed_unreadable {
            return (Presence::Incompatible, failure.to_owned());
        }
        if !facts.ever_seen {
            return (Presence::NeverSeen, failure.to_owned());
        }
        if gone {
            return (Presence::Exited, format!("its process is gone: {failure}"));
        }
        return (Presence::Unreachable, failure.to_owned());
    }
    let late = facts.silent_for.filter(|waiting| *waiting > ON_TIME && facts.answered.is_some());
    if let Some(waiting) = late {
        let text = format!("it has not answered for {:.1} s; 2 s is on time", waiting.as_secs_f64());
        return (Presence::Slow, text);
    }
    match facts.answered {
        Some((latency, _)) if latency > ON_TIME => {
            (Presence::Slow, format!("its last answer took {:.1} s; 2 s is on time", latency.as_secs_f64()))
        }
        Some((_, remark)) => (Presence::Connected, remark.unwrap_or("it answers on time").to_owned()),
        None if facts.ever_seen => {
            (Presence::Unreachable, "it has not answered since botops started".to_owned())
        }
        None => (Presence::NeverSeen, "it has not answered yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn calm() -> PresenceFacts<'static> {
        PresenceFacts {
            ever_seen: true,
            answered: Some((3 * MS, None)),
            failed: None,
            failed_unreadable: false,
            upstream: None,
            silent_for: None,
            says_hello: false,
            process: ProcessState::Alive,
            restart_left: None,
        }
    }

    #[track_caller]
    fn check(facts: &PresenceFacts<'_>, expected: Presence) {
        let (presence, reason) = decide_presence(facts);
        assert_eq!(presence, expected, "{reason}");
        assert!(!reason.is_empty());
    }

    #[test]
    fn an_answer_on_time_is_connected_and_a_late_one_slow() {
        check(&calm(), Presence::Connected);
        check(&PresenceFacts { answered: Some((3000 * MS, None)), ..calm() }, Presence::Slow);
        check(&PresenceFacts { silent_for: Some(1900 * MS), ..calm() }, Presence::Connected);
        check(&PresenceFacts { silent_for: Some(3000 * MS), ..calm() }, Presence::Slow);
    }

    #[test]
    fn silence_is_hung_while_the_process_lives() {
        check(&PresenceFacts { silent_for: Some(5000 * MS), ..calm() }, Presence::Hung);
        check(
            &PresenceFacts { silent_for: Some(5000 * MS), process: ProcessState::Stopped, ..calm() },
            Presence::Hung,
        );
        check(
            &PresenceFacts { silent_for: Some(5000 * MS), process: ProcessState::Unknown, ..calm() },
            Presence::Hung,
        );
        check(
            &PresenceFacts { silent_for: Some(5000 * MS), process: ProcessState::Gone, ..calm() },
            Presence::Exited,
        );
        let greets = PresenceFacts { silent_for: Some(9000 * MS), says_hello: true, ..calm() };
        check(&greets, Presence::Hung);
        assert!(decide_presence(&greets).1.contains("it answers `hello`"));
        check(&PresenceFacts { process: ProcessState::Gone, ..greets }, Presence::Exited);
        let never = PresenceFacts { ever_seen: false, answered: None, ..calm() };
        check(&PresenceFacts { silent_for: Some(5000 * MS), ..never }, Presence::Hung);
    }

    #[test]
    fn a_failed_poll_is_exited_unreachable_or_never_seen() {
        let failed = PresenceFacts { failed: Some("nobody listens on the socket"), ..calm() };
        check(&failed, Presence::Unreachable);
        check(&PresenceFacts { process: ProcessState::Gone, ..failed.clone() }, Presence::Exited);
        check(&PresenceFacts { ever_seen: false, answered: None, ..failed }, Presence::NeverSeen);
    }

    #[test]
    fn what_answers_with_something_else_is_there_and_not_understood() {
        let nonsense = PresenceFacts { failed: Some("not JSON"), failed_unreadable: true, ..calm() };
        check(&nonsense, Presence::Incompatible);
        check(&PresenceFacts { process: ProcessState::Gone, ..nonsense.clone() }, Presence::Incompatible);
        check(&PresenceFacts { ever_seen: false, answered: None, ..nonsense }, Presence::Incompatible);
    }

    #[test]
    fn an_expected_restart_is_reloading_until_its_time_is_over() {
        let gone = PresenceFacts { failed: Some("nobody listens"), process: ProcessState::Gone, ..calm() };
        check(&PresenceFacts { restart_left: Some(3000 * MS), ..gone.clone() }, Presence::Reloading);
        check(&gone, Presence::Exited);
        check(&PresenceFacts { restart_left: Some(3000 * MS), ..calm() }, Presence::Connected);
    }

    #[test]
    fn a_remark_about_the_contract_is_the_reason_while_connected() {
        let (_, reason) =
            decide_presence(&PresenceFacts { answered: Some((MS, Some("an older contract"))), ..calm() });
        assert_eq!(reason, "an older contract");
    }

    #[test]
    fn only_lost_bots_are_offline() {
        let offline = [Presence::Hung, Presence::Exited, Presence::Unreachable, Presence::NeverSeen];
        assert!(offline.into_iter().all(Presence::is_offline));
        let not = [Presence::Connected, Presence::Slow, Presence::Reloading, Presence::Incompatible];
        assert!(!not.into_iter().any(Presence::is_offline));
    }
}
