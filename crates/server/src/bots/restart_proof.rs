//! What may be done to a bot that nobody asked botops to touch: nothing, unless it is proven gone or proven hung.
//!
//! Pure: what the link saw goes in, a verdict with one plain sentence comes out. A restart that a person asks for does
//! not need this proof; it is made only by what starts one by itself (recovery).

use std::time::Duration;

use botops_core::error::NextAction;
use serde_json::json;

use super::presence::ProcessState;

/// Silence, idle CPU and quiet logs of this length, all three together, are a hang.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(30);

/// A process whose CPU time moved within this time works.
const WORKS_WITHIN: Duration = Duration::from_secs(10);

/// By what a bot is proven to be dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathProof {
    /// Its process (number and start time) is gone.
    ProcessGone,
    /// Its process cannot be seen from here, and the supervisor says that it does not run.
    SupervisorSaysStopped,
    /// No answer, no event and no log line for 30 s, and its process is stopped or has used no CPU time for 30 s.
    Hung,
}

/// Why a bot is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// It answers, whatever it answers.
    Answers,
    /// It answers, and its trading loop stands still: whoever restarts it gives up what it may still be doing.
    LoopStandsStill,
    /// It never answered.
    NeverSeen,
    /// Somebody restarts it already.
    Restarting,
    /// No supervisor is set.
    NoSupervisor,
    /// It may be hung, and has not been silent or idle for long enough to be sure.
    Watching,
    /// It is silent, but its process works.
    Working,
    /// It is silent, but it writes events or log lines.
    Writing,
    /// Its process cannot be seen, and the supervisor does not say that it has ended.
    Unseen,
}

impl HoldReason {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::LoopStandsStill => "loop_stands_still",
            Self::NeverSeen => "never_seen",
            Self::Restarting => "restarting",
            Self::NoSupervisor => "no_supervisor",
            Self::Watching => "watching",
            Self::Working => "working",
            Self::Writing => "writing",
            Self::Unseen => "unseen",
        }
    }
}

/// Whether the bot may be started or restarted without being asked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnaskedRestart {
    /// The proof, or the reason to leave it alone.
    pub verdict: Result<DeathProof, HoldReason>,
    /// The verdict as one sentence for people, with what they must do where botops may not act.
    pub sentence: String,
    /// How a person ends a standstill of the trading loop; `None` while the loop goes round, or does not say.
    pub loop_remedy: Option<LoopRemedy>,
}

/// How a person ends a standstill of the trading loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopRemedy {
    /// `restart-bot` with `mode: immediate`, which asks the loop for nothing.
    ImmediateRestart,
    /// By hand: no supervisor is set.
    NoSupervisor,
    /// By hand: the bot does not tell its starts apart, so that no restart of it can be confirmed.
    NoBootEpoch,
}

/// The call that restarts the bot without asking its loop for anything. Its effect is that of a kill, so a person decides
/// for it.
pub fn immediate_restart() -> NextAction {
    NextAction {
        operation: "execute_workflow".to_owned(),
        method: "POST".to_owned(),
        path: "/api/v1/workflows/restart-bot/execute".to_owned(),
        body: Some(json!({"params": {"mode": "immediate", "reason": "its trading loop stands still"}})),
        scope: Some("operate".to_owned()),
    }
}

impl LoopRemedy {
    /// The remedy as one sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ImmediateRestart => {
                "A person decides whether to end it: workflow `restart-bot` with `mode: immediate` (graceful waits for the \
                 loop)."
            }
            Self::NoSupervisor => {
                "A person restarts it by hand; with BOT_SUPERVISOR set, `restart-bot` with `mode: immediate` would."
            }
            Self::NoBootEpoch => {
                "A person restarts it by hand: it names no `boot_epoch`, so `restart-bot` cannot confirm a new start."
            }
        }
    }
}

impl UnaskedRestart {
    /// True when the bot is proven dead and somebody can start it.
    pub fn is_allowed(&self) -> bool {
        self.verdict.is_ok()
    }

    /// True when a person has to act, because botops will not.
    pub fn needs_person(&self) -> bool {
        use HoldReason::{LoopStandsStill, NeverSeen, NoSupervisor, Unseen, Working, Writing};
        let left = matches!(self.verdict, Err(NeverSeen | NoSupervisor | Unseen | Working | Writing));
        left || self.verdict == Err(LoopStandsStill)
    }

    /// The verdict before the first poll.
    pub(crate) fn not_asked_yet() -> Self {
        Self::held(HoldReason::Watching, "botops has only just started and has not asked the bot yet.")
    }

    fn proven(proof: DeathProof, sentence: impl Into<String>) -> Self {
        Self { verdict: Ok(proof), sentence: sentence.into(), loop_remedy: None }
    }

    fn held(reason: HoldReason, sentence: impl Into<String>) -> Self {
        Self { verdict: Err(reason), sentence: sentence.into(), loop_remedy: None }
    }
}

/// What the bot's log folder shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogActivity {
    /// It was not read yet, or reading it has not ended.
    NotRead,
    /// No file in it can be seen.
    Invisible,
    /// The newest line was written so long ago.
    Wrote(Duration),
}

/// What the link and the supervisor saw of a bot.
#[derive(Debug, Clone)]
pub(super) struct DeathEvidence<'a> {
    /// The newest question was answered, in whatever way: with the contract, with an error, with nonsense.
    pub answers: bool,
    /// It answers, and its trading loop stands still by what it says of it.
    pub loop_stands_still: bool,
    /// It answered with the contract once, in this run of botops or an earlier one.
    pub ever_seen: bool,
    /// A restart that somebody asked for is under way.
    pub is_restarting: bool,
    /// The supervisor's driver, and whether it can start a bot.
    pub driver: &'static str,
    pub can_start: bool,
    /// The state of its processes taken together.
    pub process: ProcessState,
    /// The number to name in a sentence.
    pub pid: Option<u32>,
    /// A living process that the bot named as its own, and that nothing else shows to be the bot.
    pub claimed: Option<u32>,
    /// What the supervisor says: `Some(true)` when it says that the bot does not run.
    pub supervisor_says_stopped: Option<bool>,
    /// Since when nothing came from its socket, its event stream included.
    pub silent_for: Duration,
    /// Since when its CPU time has not moved, as far as that was watched.
    pub idle_for: Duration,
    /// Its CPU time moved at least once since the silence is watched.
    pub cpu_moved: bool,
    /// What its log folder shows.
    pub log: LogActivity,
    /// The bot tells its starts apart: by a process number or by a boot epoch.
    pub tells_starts_apart: bool,
    /// The bot names a boot epoch, by which a restart of it is confirmed.
    pub names_boot_epoch: bool,
    /// Where it should answer, for people.
    pub address: &'a str,
}

impl DeathEvidence<'_> {
    pub(super) fn decide(&self) -> UnaskedRestart {
        use HoldReason::{Answers, LoopStandsStill, NeverSeen, NoSupervisor, Restarting, Unseen};
        let address = self.address;
        if self.answers && self.loop_stands_still {
            let remedy = self.loop_remedy();
            let sentence = format!(
                "The bot's trading loop stands still, and nothing that answers is restarted unasked. {}",
                remedy.sentence()
            );
            let held = UnaskedRestart::held(LoopStandsStill, sentence);
            return UnaskedRestart { loop_remedy: Some(remedy), ..held };
        }
        if self.answers {
            return UnaskedRestart::held(
                Answers,
                format!("Something answers on {address}, so nothing is done to the bot."),
            );
        }
        if self.is_restarting {
            return UnaskedRestart::held(Restarting, "The bot is being restarted already.");
        }
        let named = self.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
        if !self.ever_seen {
            let sentence = match self.process {
                ProcessState::Alive | ProcessState::Stopped => format!(
                    "The bot has never answered on {address}, though its process{named} runs: its own log may say why; end \
                     the process before you start it anew."
                ),
                _ => format!(
                    "The bot has never answered on {address}: start it, or set BOT_IPC_SOCKET or BOT_IPC_URL."
                ),
            };
            return UnaskedRestart::held(NeverSeen, sentence);
        }
        if !self.tells_starts_apart {
            return UnaskedRestart::held(
                Unseen,
                "The bot is silent, and it gives neither a process number nor a boot epoch, so that a new start could \
                 not be told from the old one: look whether it runs, and start it yourself.",
            );
        }
        let death = match self.process {
            _ if self.claimed.is_some() => Err((
                Unseen,
                format!(
                    "The bot is silent, and process {} that it named as its own runs: look which one it is, and \
                     restart it yourself.",
                    self.claimed.unwrap_or_default()
                ),
            )),
            ProcessState::Gone => Ok((DeathProof::ProcessGone, format!("The bot's process{named} is gone."))),
            ProcessState::Unknown if self.supervisor_says_stopped == Some(true) => {
                let driver = self.driver;
                let sentence = format!("The supervisor ({driver}) says that the bot does not run.");
                Ok((DeathProof::SupervisorSaysStopped, sentence))
            }
            ProcessState::Unknown => Err((
                Unseen,
                "The bot is silent and its process cannot be seen: look whether it runs, and start it if not."
                    .to_owned(),
            )),
            ProcessState::Alive | ProcessState::Stopped => self.assess_silence(&named),
        };
        let (proof, sentence) = match death {
            Ok(death) => death,
            Err((reason, sentence)) => return UnaskedRestart::held(reason, sentence),
        };
        if !self.can_start {
            return UnaskedRestart::held(
                NoSupervisor,
                format!("{sentence} No supervisor is set (BOT_SUPERVISOR): start it by hand."),
            );
        }
        UnaskedRestart::proven(proof, sentence)
    }

    fn loop_remedy(&self) -> LoopRemedy {
        if !self.can_start {
            LoopRemedy::NoSupervisor
        } else if !self.names_boot_epoch {
            LoopRemedy::NoBootEpoch
        } else {
            LoopRemedy::ImmediateRestart
        }
    }

    /// Of a process that lives and is silent: hung, or only slow.
    fn assess_silence(&self, named: &str) -> Result<(DeathProof, String), (HoldReason, String)> {
        let (silent, idle) = (self.silent_for.as_secs(), self.idle_for.as_secs());
        let limit = HUNG_AFTER.as_secs();
        if self.silent_for < HUNG_AFTER {
            let sentence =
                format!("The bot has been silent for {silent} s of the {limit} s that count as a hang.");
            return Err((HoldReason::Watching, sentence));
        }
        if self.log == LogActivity::NotRead {
            let sentence =
                format!("The bot has not answered for {silent} s; its log folder was not looked at yet.");
            return Err((HoldReason::Watching, sentence));
        }
        if let LogActivity::Wrote(ago) = self.log
            && ago < HUNG_AFTER
        {
            let sentence = format!(
                "The bot is silent ({silent} s) but wrote to its log {} s ago: restart it yourself if it is stuck.",
                ago.as_secs()
            );
            return Err((HoldReason::Writing, sentence));
        }
        if self.process == ProcessState::Stopped {
            let sentence =
                format!("The bot's process{named} is stopped and has not answered for {silent} s.");
            return Ok((DeathProof::Hung, sentence));
        }
        let works = self.cpu_moved && self.idle_for < WORKS_WITHIN;
        if !works && self.idle_for < HUNG_AFTER {
            let sentence = format!(
                "The bot is silent ({silent} s), and its process{named} has used no CPU time for {idle} s of the {limit} s \
                 that count as a hang."
            );
            return Err((HoldReason::Watching, sentence));
        }
        if works {
            let sentence = format!(
                "The bot is silent ({silent} s) but works (CPU time moves): restart it yourself if it is stuck."
            );
            return Err((HoldReason::Working, sentence));
        }
        let sentence = format!(
            "The bot has not answered for {silent} s, and its process{named} has used no CPU time for {idle} s."
        );
        Ok((DeathProof::Hung, sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// A bot that was there, is silent for long and idle, and could be started.
    fn hung() -> DeathEvidence<'static> {
        DeathEvidence {
            answers: false,
            loop_stands_still: false,
            ever_seen: true,
            is_restarting: false,
            driver: "spawn",
            can_start: true,
            process: ProcessState::Alive,
            pid: Some(7),
            claimed: None,
            supervisor_says_stopped: None,
            silent_for: 40 * S,
            idle_for: 40 * S,
            cpu_moved: false,
            tells_starts_apart: true,
            names_boot_epoch: true,
            log: LogActivity::Invisible,
            address: "/run/bot.sock",
        }
    }

    #[track_caller]
    fn check(evidence: &DeathEvidence<'_>, expected: Result<DeathProof, HoldReason>) {
        let found = evidence.decide();
        assert_eq!(found.verdict, expected, "{}", found.sentence);
        assert!(found.sentence.ends_with('.') && !found.sentence.contains("  "), "{}", found.sentence);
    }

    #[test]
    fn a_hang_is_proven_by_silence_idle_cpu_and_a_quiet_log_together() {
        check(&hung(), Ok(DeathProof::Hung));
        check(&DeathEvidence { process: ProcessState::Stopped, idle_for: S, ..hung() }, Ok(DeathProof::Hung));
        check(&DeathEvidence { log: LogActivity::Wrote(300 * S), ..hung() }, Ok(DeathProof::Hung));
        check(&DeathEvidence { log: LogActivity::NotRead, ..hung() }, Err(HoldReason::Watching));
        check(&DeathEvidence { silent_for: 29 * S, ..hung() }, Err(HoldReason::Watching));
        check(&DeathEvidence { idle_for: 29 * S, ..hung() }, Err(HoldReason::Watching));
        check(&DeathEvidence { idle_for: 29 * S, cpu_moved: true, ..hung() }, Err(HoldReason::Watching));
        check(&DeathEvidence { idle_for: 2 * S, cpu_moved: true, ..hung() }, Err(HoldReason::Working));
        check(&DeathEvidence { log: LogActivity::Wrote(4 * S), ..hung() }, Err(HoldReason::Writing));
        let stopped =
            DeathEvidence { process: ProcessState::Stopped, log: LogActivity::Wrote(4 * S), ..hung() };
        check(&stopped, Err(HoldReason::Writing));
    }

    #[test]
    fn a_process_that_is_gone_needs_no_silence() {
        let gone = DeathEvidence { process: ProcessState::Gone, silent_for: S, idle_for: S, ..hung() };
        check(&gone, Ok(DeathProof::ProcessGone));
        check(&DeathEvidence { ever_seen: false, ..gone.clone() }, Err(HoldReason::NeverSeen));
        check(&DeathEvidence { is_restarting: true, ..gone.clone() }, Err(HoldReason::Restarting));
        check(&DeathEvidence { can_start: false, driver: "none", ..gone }, Err(HoldReason::NoSupervisor));
    }

    #[test]
    fn a_bot_that_never_answered_and_runs_is_not_told_to_be_started() {
        let unseen =
            DeathEvidence { ever_seen: false, process: ProcessState::Alive, pid: Some(41), ..hung() };
        let sentence = unseen.decide().sentence;
        assert!(sentence.contains("its process 41 runs") && !sentence.contains("start it, or"), "{sentence}");
    }

    #[test]
    fn whatever_answers_is_left_alone() {
        for process in [ProcessState::Gone, ProcessState::Stopped, ProcessState::Alive, ProcessState::Unknown]
        {
            let answering = DeathEvidence { answers: true, process, ..hung() };
            check(&answering, Err(HoldReason::Answers));
        }
    }

    #[test]
    fn a_loop_that_stands_still_is_left_to_a_person_with_what_works() {
        let still = DeathEvidence { answers: true, loop_stands_still: true, ..hung() };
        let check = |evidence: &DeathEvidence<'_>, remedy: LoopRemedy| {
            let found = evidence.decide();
            assert_eq!(found.verdict, Err(HoldReason::LoopStandsStill), "{}", found.sentence);
            assert!(found.needs_person() && !found.is_allowed());
            assert_eq!(found.loop_remedy, Some(remedy), "{}", found.sentence);
        };
        check(&still, LoopRemedy::ImmediateRestart);
        check(&DeathEvidence { can_start: false, ..still.clone() }, LoopRemedy::NoSupervisor);
        check(&DeathEvidence { names_boot_epoch: false, ..still.clone() }, LoopRemedy::NoBootEpoch);
        // What does not answer is judged by its process alone.
        let silent = DeathEvidence { answers: false, ..still };
        assert_eq!(silent.decide().loop_remedy, None);
    }

    #[test]
    fn a_process_that_cannot_be_seen_is_dead_only_by_the_word_of_its_supervisor() {
        let unseen = DeathEvidence { process: ProcessState::Unknown, ..hung() };
        check(&unseen, Err(HoldReason::Unseen));
        check(
            &DeathEvidence { supervisor_says_stopped: Some(false), ..unseen.clone() },
            Err(HoldReason::Unseen),
        );
        let stopped = DeathEvidence { supervisor_says_stopped: Some(true), ..unseen };
        check(&stopped, Ok(DeathProof::SupervisorSaysStopped));
        check(&DeathEvidence { claimed: Some(9), ..hung() }, Err(HoldReason::Unseen));
    }
}
