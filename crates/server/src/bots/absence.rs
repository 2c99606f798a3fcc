//! What a person is told of a bot that does not answer: who can bring it back, and who manages what it holds meanwhile.
//!
//! Pure. It names what there is, by its name: the bot or an adapter that answers for it, a supervisor or none.

use chrono::{DateTime, Utc};

use super::presence::{Presence, ProcessState};
use super::unproven_starts::StartDeaths;
use botops_contract::Hello;

/// What to do where another bot answers than the one that is meant; the check of a bot says the same.
pub(super) const ANOTHER_BOT_REMEDY: &str = "Another bot answers at this address: give both the same id (BOT_ID), correct \
     the address, or end the one that answers if two were started on it.";

/// From this many deaths at its start in a row on, a bot is not to be started again before it is mended.
const REPEATED: u32 = 2;

/// What is known of a bot that does not answer.
#[derive(Debug, Clone)]
pub(super) struct AbsenceFacts<'a> {
    pub presence: Presence,
    /// What it said of itself last; `None`: it never answered.
    pub hello: Option<&'a Hello>,
    /// Another bot answers at its address.
    pub another_answers: bool,
    /// An adapter answers in its place, and says that the bot does not.
    pub adapter_answers: bool,
    /// The state of the bot's process, as far as it is known here which one that is.
    pub process: ProcessState,
    /// The number of that process.
    pub pid: Option<u32>,
    /// The supervisor's driver, and whether it can start a bot.
    pub driver: &'static str,
    pub can_start: bool,
    /// How often in a row it ended by itself after it was started; `None` where it did not.
    pub deaths: Option<&'a StartDeaths>,
    /// How many positions it reported last; `None` when it reported none at all.
    pub positions: Option<usize>,
    /// When it knew them.
    pub as_of: Option<DateTime<Utc>>,
}

/// What a person is told of a bot that does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AbsenceAdvice {
    /// That it dies at its start again and again, and what it wrote last; `None` where it does not.
    pub dies_at_start: Option<String>,
    /// What to do, in whole sentences.
    pub remedy: String,
    /// Who manages the positions that it reported last; `None` where it reported none.
    pub unmanaged: Option<String>,
}

impl AbsenceFacts<'_> {
    /// The advice; `None` while the bot answers, be it with something that is not understood, or restarts.
    pub(super) fn advise(&self) -> Option<AbsenceAdvice> {
        if !self.presence.is_offline() {
            return None;
        }
        let deaths = self.deaths.filter(|deaths| deaths.count >= REPEATED && !self.another_answers);
        let remedy = match (self.presence, deaths) {
            _ if self.another_answers => ANOTHER_BOT_REMEDY.to_owned(),
            (_, Some(deaths)) => self.advise_on_deaths(deaths),
            (Presence::Hung, None) => self.advise_on_hang(),
            (_, None) => self.advise_on_start(),
        };
        let dies_at_start = deaths.map(|deaths| self.describe_deaths(deaths));
        Some(AbsenceAdvice { dies_at_start, remedy, unmanaged: self.describe_unmanaged() })
    }

    /// What it wrote last is a text of the bot, and stands at the end.
    fn describe_deaths(&self, deaths: &StartDeaths) -> String {
        let name = capitalized(&self.name());
        let said = match deaths.last_line.as_deref() {
            Some(line) => format!("; its last output: {}", line.trim_end_matches('.')),
            None => String::new(),
        };
        format!("{name} died {} times in a row at its start{said}.", deaths.count)
    }

    /// Another start changes nothing of what makes it die.
    fn advise_on_deaths(&self, deaths: &StartDeaths) -> String {
        let output = match deaths.output.as_deref() {
            Some(place) => format!("what it wrote is in {place}"),
            None => "look into its own log".to_owned(),
        };
        format!("A person must mend it before it is started again: {output}.")
    }

    /// Its name, in the middle of a sentence.
    fn name(&self) -> String {
        let name = self.hello.filter(|hello| hello.adapter.is_some()).and_then(|hello| hello.name.as_deref());
        name.unwrap_or("the bot").to_owned()
    }

    /// The adapter that stands between botops and the bot.
    fn adapter(&self) -> Option<&str> {
        Some(self.hello?.adapter.as_ref()?.name.as_str())
    }

    /// One that hangs is there: whoever starts another one makes it worse.
    fn advise_on_hang(&self) -> String {
        let name = self.name();
        let go_on = match (self.process, self.pid) {
            (ProcessState::Stopped, Some(pid)) => {
                format!(" Its process {pid} is stopped: `kill -CONT {pid}` lets it go on.")
            }
            _ => String::new(),
        };
        let end = if self.can_start {
            format!(
                "Run the workflow `restart-bot` (supervisor: {}) only once a person decided that it has to end",
                self.driver
            )
        } else {
            "No supervisor is set (BOT_SUPERVISOR), so botops cannot restart it: a person who decides that it has to end \
             restarts it by hand"
                .to_owned()
        };
        format!(
            "{} hangs, and it is there: do not start another one.{go_on} Look at its process and its log; nothing that was \
             not sent is sent later. {end}: nobody manages its open positions while it hangs or starts.",
            capitalized(&name)
        )
    }

    fn advise_on_start(&self) -> String {
        let (name, how) = (self.name(), self.how_to_start());
        match self.adapter() {
            Some(_) if self.adapter_answers => match (self.process, self.pid) {
                (ProcessState::Gone, Some(pid)) => {
                    format!("The adapter answers, and the process {pid} of {name} is gone: start it {how}.")
                }
                _ => format!(
                    "The adapter answers, {name} behind it does not: if it does not run, start it {how}."
                ),
            },
            Some(adapter) => {
                let meanwhile = match self.process {
                    ProcessState::Gone => format!("{name} itself is gone, too: start it {how}"),
                    _ => format!("{name} may trade on without it"),
                };
                format!("The adapter ({adapter}) does not answer: start it. {}.", capitalized(&meanwhile))
            }
            None => format!("Look whether the bot's process runs; if not, start it {how}."),
        }
    }

    fn how_to_start(&self) -> String {
        if self.can_start {
            format!("with the workflow `restart-bot` (supervisor: {})", self.driver)
        } else {
            "by hand (no BOT_SUPERVISOR is set)".to_owned()
        }
    }

    fn describe_unmanaged(&self) -> Option<String> {
        let count = self.positions.filter(|count| *count > 0)?;
        let positions = if count == 1 { "position" } else { "positions" };
        let when =
            self.as_of.map(|at| format!(" (reported {})", at.format("%F %H:%M UTC"))).unwrap_or_default();
        let these = format!("the {count} open {positions} of {}{when}", self.name());
        let is_link_alone = self.adapter().is_some() && !self.adapter_answers;
        Some(match self.process {
            ProcessState::Gone => {
                format!("Nobody manages {these} until it runs again.")
            }
            ProcessState::Stopped => format!("Nobody manages {these} as long as its process is stopped."),
            ProcessState::Alive | ProcessState::Unknown if is_link_alone => {
                format!("Whether anybody manages {these} cannot be seen from here.")
            }
            ProcessState::Alive | ProcessState::Unknown => {
                format!("Count on nobody to manage {these} while it does not answer.")
            }
        })
    }
}

fn capitalized(name: &str) -> String {
    match name.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(adapter: bool) -> Hello {
        let adapter =
            if adapter { r#", "adapter": {"name": "botops freqtrade", "version": "1"}"# } else { "" };
        let text = format!(
            r#"{{"contract": 2, "bot_id": "b", "name": "lab (Sample)", "version": "1", "mode": "paper"{adapter}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn gone(hello: Option<&Hello>) -> AbsenceFacts<'_> {
        AbsenceFacts {
            presence: Presence::Unreachable,
            hello,
            another_answers: false,
            adapter_answers: true,
            process: ProcessState::Gone,
            pid: Some(7),
            driver: "none",
            can_start: false,
            deaths: None,
            positions: Some(3),
            as_of: DateTime::from_timestamp(0, 0),
        }
    }

    #[track_caller]
    fn check(facts: &AbsenceFacts<'_>, remedy: &[&str], unmanaged: &str) {
        let advice = facts.advise().unwrap();
        for part in remedy {
            assert!(advice.remedy.contains(part), "{part}: {}", advice.remedy);
        }
        let said = advice.unmanaged.unwrap_or_default();
        assert!(said.contains(unmanaged), "{said}");
    }

    #[test]
    fn what_exists_is_named_and_nothing_else() {
        let (adapted, own) = (hello(true), hello(false));
        check(
            &gone(Some(&adapted)),
            &["The adapter answers, and the process 7 of lab (Sample) is gone: start it by hand"],
            "Nobody manages the 3 open positions of lab (Sample) (reported 1970-01-01 00:00 UTC)",
        );
        let supervised = AbsenceFacts { can_start: true, driver: "systemd", ..gone(Some(&own)) };
        check(&supervised, &["with the workflow `restart-bot` (supervisor: systemd)"], "Nobody manages");
        let unseen = AbsenceFacts { process: ProcessState::Unknown, positions: Some(1), ..gone(Some(&own)) };
        check(
            &unseen,
            &["start it by hand"],
            "Count on nobody to manage the 1 open position of the bot (reported",
        );
        let link =
            AbsenceFacts { adapter_answers: false, process: ProcessState::Alive, ..gone(Some(&adapted)) };
        check(
            &link,
            &["The adapter (botops freqtrade) does not answer: start it. lab (Sample) may trade on"],
            "Whether anybody manages",
        );
        let stopped =
            AbsenceFacts { presence: Presence::Hung, process: ProcessState::Stopped, ..gone(Some(&own)) };
        check(
            &stopped,
            &["The bot hangs", "do not start another one", "`kill -CONT 7`", "by hand"],
            "as long as its process is stopped",
        );
        let deaths = |count| StartDeaths {
            count,
            output: Some("/d/out".to_owned()),
            last_line: Some("KeyError".to_owned()),
        };
        let (once, again) = (deaths(1), deaths(3));
        let dead = AbsenceFacts { can_start: true, deaths: Some(&once), ..gone(Some(&own)) };
        check(&dead, &["with the workflow `restart-bot`"], "Nobody manages");
        let dead = AbsenceFacts { deaths: Some(&again), ..dead };
        check(&dead, &["A person must mend it", "in /d/out"], "Nobody manages");
        let advice = dead.advise().unwrap();
        assert!(!advice.remedy.contains("restart-bot"), "{}", advice.remedy);
        assert_eq!(
            advice.dies_at_start.as_deref(),
            Some("The bot died 3 times in a row at its start; its last output: KeyError.")
        );
        let other = AbsenceFacts { another_answers: true, ..gone(Some(&own)) }.advise().unwrap();
        assert_eq!(other.remedy, ANOTHER_BOT_REMEDY);
        assert_eq!(AbsenceFacts { positions: Some(0), ..gone(None) }.advise().unwrap().unmanaged, None);
        assert_eq!(AbsenceFacts { presence: Presence::Connected, ..gone(Some(&own)) }.advise(), None);
    }
}
