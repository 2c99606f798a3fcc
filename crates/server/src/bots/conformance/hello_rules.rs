//! What `GET hello` says of the bot.

use super::findings::ConformanceFinding;
use super::gains::{closest_capability, is_capability, list_capabilities};
use crate::bots::absence::ANOTHER_BOT_REMEDY;
use crate::bots::transport::PeerProcess;
use botops_contract::{BotId, Hello, VERSION};

const CALL: &str = "GET hello";

/// What is wrong with a hello that was read.
pub(super) fn check_hello(
    hello: &Hello,
    wanted: Option<&BotId>,
    peer: Option<PeerProcess>,
) -> Vec<ConformanceFinding> {
    let mut found = Vec::new();
    if let Some(wanted) = wanted.filter(|wanted| **wanted != hello.bot_id) {
        let process = peer.map_or_else(String::new, |peer| format!(" (process {})", peer.pid));
        let fault = ConformanceFinding::fault("wrong_bot_id", CALL, ANOTHER_BOT_REMEDY).at("/bot_id");
        found.push(fault.got(&format!("{}{process}", hello.bot_id)).expected(wanted.as_str()));
    }
    match hello.contract {
        Some(version) if version > VERSION => {
            let remedy = format!("This botops knows contract {VERSION}: what a later one adds is not read.");
            found.push(ConformanceFinding::warning("contract_newer", CALL, &remedy).at("/contract"));
        }
        Some(version) if version < VERSION => {
            let remedy =
                format!("It is read as before. Contract {VERSION} requires less and takes more words.");
            found.push(ConformanceFinding::hint("contract_older", CALL, &remedy).at("/contract"));
        }
        _ => {}
    }
    for (index, capability) in hello.capabilities.iter().enumerate() {
        if is_capability(&capability.name) {
            continue;
        }
        let place = format!("/capabilities/{index}");
        let finding = match closest_capability(&capability.name) {
            Some(meant) => {
                let remedy =
                    format!("No capability has this name, so it is not asked for. Is `{meant}` meant?");
                ConformanceFinding::warning("capability_misspelt", CALL, &remedy)
            }
            None => {
                let remedy = "No capability has this name: it does no harm, and botops does nothing with it.";
                ConformanceFinding::hint("capability_unknown", CALL, remedy)
            }
        };
        found.push(finding.at(&place).got(&capability.name).expected(&list_capabilities()));
    }
    found.extend(check_process(hello, peer));
    found
}

fn check_process(hello: &Hello, peer: Option<PeerProcess>) -> Option<ConformanceFinding> {
    let (Some(named), Some(peer)) = (hello.pid, peer.filter(|peer| peer.is_listener)) else { return None };
    if named == peer.pid || hello.adapter.is_some() {
        return None;
    }
    let remedy = "`pid` is not the process that serves the socket: name that one, or say in `adapter` that a program answers for the bot.";
    let finding = ConformanceFinding::warning("other_pid", CALL, remedy).at("/pid");
    Some(finding.got(&named.to_string()).expected(&peer.pid.to_string()))
}

/// What two hellos of the same process must agree on.
pub(super) fn compare_hellos(first: &Hello, second: &Hello) -> Option<ConformanceFinding> {
    let differs = first.boot_epoch != second.boot_epoch && first.pid == second.pid;
    let (Some(one), Some(two)) = (&first.boot_epoch, &second.boot_epoch) else { return None };
    differs.then(|| {
        let remedy =
            "Every answer names another start of the bot: make the boot epoch once, when the process starts.";
        ConformanceFinding::fault("boot_epoch_moves", CALL, remedy).at("/boot_epoch").got(two).expected(one)
    })
}
