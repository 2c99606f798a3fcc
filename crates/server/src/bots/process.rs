//! Processes as the kernel shows them: which belong to the bot, whether they live, whether they work, how they end.
//!
//! A process is named by its number and its start time, which together are never used twice on one boot of the
//! machine. What follows from it is decided by `restart_proof.rs`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::presence::ProcessState;
use super::started_as::StartedAs;
use super::transport::PeerProcess;
use botops_contract::Hello;

/// How often processes that should end are checked.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// How long the kernel may take to end a process that was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// Every process that a supervisor starts inherits a variable of this name, and so do all that it starts itself: a bot
/// that forks, or leaves its group, is found again by it.
pub(super) const START_VARIABLE: &str = "BOTOPS_BOT_START";

/// A process and its start time (kernel ticks since the machine's boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process number in the namespace of botops.
    pub pid: u32,
    /// Start time, in kernel ticks since the machine's boot.
    pub started: u64,
}

/// The processes of one boot of the bot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BotProcesses {
    /// Those that the kernel shows to be the bot: what listens for it, and what the supervisor's start left. Only
    /// these are ever ended. Empty: none can be seen from here (another namespace).
    pub known: Vec<ProcessId>,
    /// Another process that lives here and that the bot names as its own, without anything else that shows it. It
    /// counts as alive and is never touched: a bot may name any process, the first process of the machine too.
    #[serde(default)]
    pub claimed: Option<ProcessId>,
    /// What the supervisor marked its start with, if a supervisor did start it.
    pub start: Option<String>,
    /// How the first of the known ones was started, for a person who starts it again.
    #[serde(default)]
    pub started_as: Option<StartedAs>,
}

/// What is read of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy)]
struct ProcessStat {
    state: char,
    parent: u32,
    cpu_ticks: u64,
    started: u64,
}

impl ProcessId {
    /// The process that has this number now; a zombie does not count.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = read_stat(pid)?;
        (!is_over(stat.state)).then_some(Self { pid, started: stat.started })
    }

    /// As [`ProcessId::of`], for a number that may be the bot's: never the first process of the machine, never botops
    /// itself or what started it.
    fn of_bot(pid: u32) -> Option<Self> {
        Self::of(pid).filter(|process| process.pid > 1 && !own_process_chain().contains(&process.pid))
    }

    /// The process at the other end of a connection, when it is shown to listen there: a number alone may belong to
    /// somebody else by now.
    pub(super) fn listening(peer: PeerProcess) -> Option<Self> {
        Self::of_bot(peer.pid).filter(|_| peer.is_listener)
    }

    /// Whether this very process lives.
    pub fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether this one started `other`, directly or not.
    pub(super) fn is_above(self, other: Self) -> bool {
        let mut above = read_stat(other.pid);
        while let Some(stat) = above.filter(|stat| stat.parent > 1) {
            if stat.parent == self.pid {
                return self.lives();
            }
            above = read_stat(stat.parent);
        }
        false
    }

    fn state(self) -> ProcessState {
        match read_stat(self.pid) {
            Some(stat) if is_over(stat.state) || stat.started != self.started => ProcessState::Gone,
            Some(stat) if matches!(stat.state, 'T' | 't') => ProcessState::Stopped,
            Some(_) => ProcessState::Alive,
            None => ProcessState::Gone,
        }
    }

    fn cpu_ticks(self) -> u64 {
        read_stat(self.pid).filter(|stat| stat.started == self.started).map_or(0, |stat| stat.cpu_ticks)
    }

    fn signal(self, signal: Signal) {
        // Whatever led here: the first process, botops and what started it are never the bot.
        if self.pid <= 1 || own_process_chain().contains(&self.pid) {
            return;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
        // The descriptor is bound to one process; if that is the right one now, it stays so.
        if self.lives() {
            // It may have ended meanwhile, which is what is wanted.
            let _ = pidfd_send_signal(&descriptor, signal);
        }
    }
}

impl BotProcesses {
    /// The processes behind a `hello`: what listens there, as the kernel says, and what `hello` names where the
    /// supervisor's mark shows that it is of the same start.
    ///
    /// A bot that listens from inside another process namespace shows neither, and a number that it names then means
    /// another process here.
    pub(super) fn behind(hello: &Hello, peer: Option<PeerProcess>) -> Self {
        // What listens there is the adapter. The bot's number is its word alone.
        if hello.adapter.is_some() {
            return Self { claimed: hello.pid.and_then(ProcessId::of_bot), ..Self::default() };
        }
        let Some(peer) = peer else { return Self::default() };
        let named_process = || hello.pid.and_then(ProcessId::of_bot);
        // Where the kernel and the bot name the same process, no further proof is needed.
        let agreed = || named_process().filter(|named| peer.pid == named.pid);
        let listening = ProcessId::listening(peer).or_else(agreed);
        let mut known: Vec<ProcessId> = listening.into_iter().collect();
        let mut start = known.iter().find_map(|process| start_mark_of(process.pid));
        let named = named_process().filter(|named| !known.contains(named));
        // By the number that it has in its own namespace, or as a child of what listens, it is no other process.
        let is_same =
            known.iter().any(|process| hello.pid.is_some_and(|pid| own_numbers(process.pid).contains(&pid)));
        let named = named.filter(|named| !is_same && !descendants(&known).contains(named));
        let mark = named.and_then(|named| start_mark_of(named.pid));
        let is_marked = mark.is_some() && (start.is_none() || start == mark);
        if is_marked && known.is_empty() {
            start = mark;
        }
        let is_marked = is_marked && start.is_some();
        known.extend(named.filter(|_| is_marked));
        Self { known, claimed: named.filter(|_| !is_marked), start, started_as: None }
    }

    /// The process that the bot names as its own without anything else that shows it, while it lives.
    pub(super) fn claimed_living(&self) -> Option<ProcessId> {
        self.claimed.filter(|process| process.lives())
    }

    /// These processes and the one that listens for the bot now. It may be another boot that has not answered yet.
    pub(super) fn with_listener(mut self, listener: Option<ProcessId>) -> Self {
        self.known.extend(listener.filter(|listener| !self.known.contains(listener)));
        self
    }

    /// What the process table says of them all together: gone when none is left, stopped when all that are left are.
    pub(super) fn state(&self) -> ProcessState {
        if self.known.is_empty() {
            // The bot alone can show that something lives, and never that the bot is gone.
            return if self.claimed_living().is_some() { ProcessState::Alive } else { ProcessState::Unknown };
        }
        let states = self.known.iter().chain(&self.claimed).map(|process| process.state());
        let mut left = states.filter(|state| *state != ProcessState::Gone).peekable();
        if left.peek().is_none() {
            return ProcessState::Gone;
        }
        if left.all(|state| state == ProcessState::Stopped) {
            ProcessState::Stopped
        } else {
            ProcessState::Alive
        }
    }

    /// The process to name to people, with its state: one that is known, or the one that the bot named as its own. The bot's
    /// word about it is no proof of anything.
    pub(super) fn named_process(&self) -> (Option<u32>, ProcessState) {
        match (self.known.first(), self.claimed) {
            (None, Some(claimed)) => (Some(claimed.pid), claimed.state()),
            (known, _) => (known.map(|process| process.pid), self.state()),
        }
    }

    /// CPU time that they and all they started have used, in kernel ticks.
    pub(super) fn cpu_ticks(&self) -> u64 {
        self.all_living().into_iter().chain(self.claimed).map(ProcessId::cpu_ticks).sum()
    }

    /// Every living process of this boot: the known ones, what they started, and what carries their start's mark.
    pub(super) fn all_living(&self) -> Vec<ProcessId> {
        let mut all: Vec<ProcessId> = self.known.iter().copied().filter(|process| process.lives()).collect();
        all.extend(descendants(&all));
        all.extend(self.start.iter().flat_map(|start| find_marked(|found| found == start)));
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Every living process that a supervisor's start with such a mark left.
pub(super) fn find_marked(is_its: impl Fn(&str) -> bool) -> Vec<ProcessId> {
    let own = own_process_chain();
    let carries = |pid: &u32| !own.contains(pid) && start_mark_of(*pid).is_some_and(|mark| is_its(&mark));
    read_table().into_keys().filter(carries).filter_map(ProcessId::of).collect()
}

/// Asks these processes to end, and after `grace` ends them. Returns those that are still alive.
pub(super) async fn end_processes(processes: &[ProcessId], grace: Duration) -> Vec<ProcessId> {
    processes.iter().for_each(|process| process.signal(Signal::TERM));
    let left = wait_for_end(processes, grace).await;
    if left.is_empty() {
        return left;
    }
    let pids: Vec<u32> = left.iter().map(|process| process.pid).collect();
    tracing::warn!(bot.pids = ?pids, "the bot did not end within {grace:?} of SIGTERM; it is killed");
    left.iter().for_each(|process| process.signal(Signal::KILL));
    wait_for_end(&left, KILLED_WITHIN).await
}

/// Waits for processes to end by themselves. Returns those that live on.
pub(super) async fn wait_for_end(processes: &[ProcessId], limit: Duration) -> Vec<ProcessId> {
    let end = Instant::now() + limit;
    loop {
        let left: Vec<ProcessId> = processes.iter().copied().filter(|process| process.lives()).collect();
        if left.is_empty() || Instant::now() >= end {
            return left;
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

/// Living processes that these ones started, directly or not.
fn descendants(of: &[ProcessId]) -> Vec<ProcessId> {
    let table = read_table();
    let own = own_process_chain();
    let mut found: Vec<u32> = of.iter().map(|process| process.pid).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = table.iter().filter(|(pid, stat)| stat.parent == parent && !own.contains(pid));
        let new: Vec<u32> = children.map(|(pid, _)| *pid).filter(|pid| !found.contains(pid)).collect();
        found.extend(new);
        next += 1;
    }
    found.into_iter().skip(of.len()).filter_map(ProcessId::of).collect()
}

/// The mark that a process inherited from a supervisor's start.
fn start_mark_of(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment.split(|byte| *byte == 0).find_map(|variable| {
        variable.strip_prefix(START_VARIABLE.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
    })?;
    String::from_utf8(value).ok()
}

/// The numbers that a process has, in this namespace and in its own.
fn own_numbers(pid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// This process and whatever started it: never the bot, whatever mark they carry.
fn own_process_chain() -> Vec<u32> {
    let mut own = vec![std::process::id()];
    while let Some(stat) = own.last().copied().and_then(read_stat).filter(|stat| stat.parent > 1) {
        own.push(stat.parent);
    }
    own
}

fn read_table() -> BTreeMap<u32, ProcessStat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, read_stat(pid)?))).filter(|(_, stat)| !is_over(stat.state)).collect()
}

fn is_over(state: char) -> bool {
    matches!(state, 'Z' | 'X')
}

fn read_stat(pid: u32) -> Option<ProcessStat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // Fields 3, 4, 14, 15 and 22 of the whole line (proc(5)).
    Some(ProcessStat {
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(1)?).ok()?,
        cpu_ticks: number(11)? + number(12)?,
        started: number(19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(child: &std::process::Child) -> BotProcesses {
        BotProcesses { known: vec![ProcessId::of(child.id()).unwrap()], ..BotProcesses::default() }
    }

    #[tokio::test]
    async fn what_a_process_started_ends_with_it() {
        let mut shell = std::process::Command::new("sh").args(["-c", "sleep 60 & sleep 60"]).spawn().unwrap();
        let bot = named(&shell);
        while bot.all_living().len() < 3 {
            tokio::time::sleep(CHECK_EVERY).await;
        }
        let all = bot.all_living();
        // A process that is not waited for stays in the table as a zombie, which counts as gone.
        assert_eq!(end_processes(&all, Duration::from_secs(5)).await, []);
        assert_eq!(bot.state(), ProcessState::Gone);
        shell.wait().unwrap();
    }

    #[tokio::test]
    async fn a_process_that_left_its_parent_is_found_by_its_mark() {
        let mark = format!("test-{}", std::process::id());
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "setsid sleep 60 & exit 0"]).env(START_VARIABLE, &mark);
        assert!(command.status().unwrap().success());
        // A process shows no environment for the moment in which it becomes another program.
        let mut found = Vec::new();
        for _ in 0..500 {
            found = find_marked(|found| found == mark);
            if !found.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(end_processes(&found, Duration::from_secs(5)).await, []);
        assert_eq!(find_marked(|found| found == mark), []);
    }

    #[test]
    fn a_bots_word_alone_never_shows_that_it_is_gone() {
        let own = ProcessId::of(std::process::id()).unwrap();
        let over = ProcessId { started: own.started - 1, ..own };
        let claims = |claimed| BotProcesses { claimed: Some(claimed), ..BotProcesses::default() };
        assert_eq!(claims(own).state(), ProcessState::Alive);
        assert_eq!(claims(over).state(), ProcessState::Unknown);
        assert_eq!(BotProcesses { known: vec![over], ..claims(own) }.state(), ProcessState::Alive);
        assert_eq!(BotProcesses { known: vec![over], ..claims(over) }.state(), ProcessState::Gone);
        assert_eq!(claims(over).all_living(), []);
    }

    #[test]
    fn another_start_time_is_another_process_and_this_one_is_never_the_bot() {
        let own = ProcessId::of(std::process::id()).unwrap();
        assert!(own.lives());
        let earlier = ProcessId { started: own.started - 1, ..own };
        assert!(!earlier.lives());
        assert!(own_process_chain().contains(&own.pid));
    }
}
