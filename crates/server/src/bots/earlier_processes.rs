//! Earlier processes of the bot that run on behind the one that answers.
//!
//! A second bot that is started by mistake takes the address, and from then on it is what everybody sees; the first one
//! trades on. Only what the kernel showed to be the bot counts, before and after, and a process that a restart has just
//! ended gets time to end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::process::{BotProcesses, ProcessId};

/// A process that was told to end gives up its address first, and may write its files for a while after that.
const TIME_TO_END: Duration = Duration::from_secs(10);

/// Processes that were the bot before another one answered in their place, each with since when.
#[derive(Debug, Default)]
pub(super) struct EarlierProcesses {
    replaced: BTreeMap<ProcessId, Instant>,
}

/// Another process of the bot that runs beside the one that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherProcesses {
    /// The process that answers.
    pub answering: u32,
    /// Those that answered before it and still run.
    pub earlier: Vec<u32>,
}

impl EarlierProcesses {
    /// Another start of the bot answers. Nothing follows where either cannot be seen from here.
    pub(super) fn begin_boot(&mut self, before: &BotProcesses, answering: &BotProcesses, at: Instant) {
        self.replaced.retain(|process, _| !answering.known.contains(process));
        if answering.known.is_empty() {
            return;
        }
        let is_other = |process: &ProcessId| {
            // What started the bot, and lives on when it starts another one, is no second bot.
            let has_started_it = answering.known.iter().any(|now| process.is_above(*now));
            !answering.known.contains(process) && process.lives() && !has_started_it
        };
        for process in before.known.iter().copied().filter(is_other) {
            self.replaced.entry(process).or_insert(at);
        }
    }

    /// Those that had their time to end and still run. The process table is read for as long as there are any.
    pub(super) fn find_living(&mut self, answering: &BotProcesses, now: Instant) -> Option<OtherProcesses> {
        self.replaced.retain(|process, _| process.lives());
        let is_due = |since: &Instant| now.saturating_duration_since(*since) >= TIME_TO_END;
        let due = self.replaced.iter().filter(|(_, since)| is_due(since));
        let earlier: Vec<u32> = due.map(|(process, _)| process.pid).collect();
        let answering = answering.known.first()?.pid;
        (!earlier.is_empty()).then_some(OtherProcesses { answering, earlier })
    }

    /// The processes, to be stored: a later run of botops waits for their end anew.
    pub(super) fn known(&self) -> Vec<ProcessId> {
        self.replaced.keys().copied().collect()
    }

    /// Those that an earlier run of botops stored.
    pub(super) fn of_stored(stored: Vec<ProcessId>, at: Instant) -> Self {
        Self { replaced: stored.into_iter().map(|process| (process, at)).collect() }
    }
}

impl OtherProcesses {
    /// That there are two, in one sentence.
    pub fn sentence(&self) -> String {
        let Self { answering, .. } = self;
        match self.earlier.as_slice() {
            [one] => format!(
                "Two processes serve this bot: process {answering} answers, the earlier process {one} still runs, and what \
                 it does with positions is not shown here."
            ),
            several => format!(
                "{} processes serve this bot: process {answering} answers, the earlier processes {} still run, and what \
                 they do with positions is not shown here.",
                several.len() + 1,
                self.list(", ")
            ),
        }
    }

    /// What a person does about it.
    pub fn remedy(&self) -> String {
        format!(
            "Look at the positions at the broker; end the one that is not to trade (`kill {}`).",
            self.list(" ")
        )
    }

    fn list(&self, between: &str) -> String {
        self.earlier.iter().map(u32::to_string).collect::<Vec<_>>().join(between)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn start(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().unwrap()
    }

    fn boot(pids: &[u32]) -> BotProcesses {
        let known = pids.iter().filter_map(|pid| ProcessId::of(*pid)).collect();
        BotProcesses { known, ..BotProcesses::default() }
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_runs_on_after_its_time_to_end_is_named_until_it_ends() {
        let (old, new) = (start("exec sleep 60"), start("exec sleep 60"));
        let (before, now) = (boot(&[old.id()]), boot(&[new.id()]));
        let (mut earlier, at) = (EarlierProcesses::default(), Instant::now());
        earlier.begin_boot(&before, &now, at);
        assert_eq!(earlier.find_living(&now, at + TIME_TO_END / 2), None, "it may be ending");
        let found = earlier.find_living(&now, at + TIME_TO_END).unwrap();
        assert_eq!((found.answering, found.earlier.as_slice()), (new.id(), &[old.id()][..]));
        assert!(found.sentence().contains(&old.id().to_string()) && found.remedy().contains("kill"));
        // It answers again, and the other one runs on.
        earlier.begin_boot(&now, &before, at);
        assert_eq!(earlier.find_living(&before, at + TIME_TO_END).unwrap().earlier, [new.id()]);
        end(new);
        assert_eq!(earlier.find_living(&before, at + TIME_TO_END), None);
        end(old);
    }

    #[test]
    fn a_restart_and_what_cannot_be_seen_are_no_second_bot() {
        let (old, new) = (start("exec sleep 60"), start("exec sleep 60"));
        let (before, now) = (boot(&[old.id()]), boot(&[new.id()]));
        let due = Instant::now() + TIME_TO_END;
        for (before, now) in [(&boot(&[]), &now), (&before, &boot(&[])), (&before, &before)] {
            let mut earlier = EarlierProcesses::default();
            earlier.begin_boot(before, now, Instant::now());
            assert_eq!(earlier.find_living(now, due), None, "{before:?} {now:?}");
        }
        end(old);
        let mut earlier = EarlierProcesses::default();
        earlier.begin_boot(&before, &now, Instant::now());
        assert_eq!(earlier.find_living(&now, due), None, "it has ended");
        end(new);
    }

    #[test]
    fn what_started_the_process_that_answers_is_no_second_bot() {
        let mut wrapper = start("sleep 60 & wait");
        let child = || {
            let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", wrapper.id()));
            children.ok()?.split_ascii_whitespace().next()?.parse::<u32>().ok()
        };
        let child = loop {
            match child() {
                Some(child) => break child,
                None => std::thread::yield_now(),
            }
        };
        let mut earlier = EarlierProcesses::default();
        earlier.begin_boot(&boot(&[wrapper.id()]), &boot(&[child]), Instant::now());
        assert!(earlier.known().is_empty());
        let _ = Command::new("kill").arg(child.to_string()).status();
        wrapper.wait().unwrap();
    }
}
