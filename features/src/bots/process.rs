//! The bot's process in the process table: alive, stopped or gone, whoever has its number now.

use serde::{Deserialize, Serialize};

use super::presence::Process;
use super::transport::Connection;
use crate::contract::Hello;

/// A process and its start time, which together are never used twice on one boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pid: u32,
    started: u64,
}

/// The process behind a hello: the one it names, or else the one the kernel says is listening.
pub(super) fn process_of(hello: &Hello, connection: &Connection) -> Option<ProcessId> {
    let named = [Some(hello.pid), connection.peer_pid];
    named.into_iter().flatten().find_map(|pid| Some(ProcessId { pid, started: stat(pid)?.1 }))
}

pub(super) fn look_at(known: ProcessId) -> Process {
    match stat(known.pid) {
        None | Some(('Z' | 'X', _)) => Process::Gone,
        Some((_, started)) if started != known.started => Process::Gone,
        Some(('T' | 't', _)) => Process::Stopped,
        Some(_) => Process::Alive,
    }
}

/// State letter and start time (clock ticks since the machine's boot) from the process table.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}
