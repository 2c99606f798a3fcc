//! How a person restarts a bot that no supervisor restarts: the unit that it runs in, or the command it was started with.

use super::handle::Bots;
use super::started_as::StartedAs;
use botops_core::error::{Code, Error};

impl Bots {
    /// The refusal of a restart where nobody is set who could start the bot again. It names what a person does, as far as
    /// the bot's process is or was seen from here.
    pub(crate) fn nobody_restarts(&self) -> Error {
        let error = Error::new(Code::SupervisorMissing);
        let processes = self.link.processes();
        let living = processes.known.first().filter(|process| process.lives()).map(|process| process.pid);
        match processes.started_as.or_else(|| living.and_then(StartedAs::of)) {
            Some(StartedAs::Unit(unit)) => {
                let by_hand = format!("systemctl restart {unit}");
                error
                    .remedy(format!(
                        "A person runs `{by_hand}`. With BOT_SUPERVISOR=systemd:{unit} and botops restarted, botops does \
                         it (docs/settings.md)."
                    ))
                    .context("by_hand", by_hand)
                    .context("unit", unit)
            }
            Some(StartedAs::Command(command)) => {
                let ends = living.map(|pid| format!("ends process {pid} (`kill {pid}`) and "));
                let ends = ends.unwrap_or_default();
                let error = error.remedy(format!(
                    "A person {ends}starts it as it was started: `{command}`. With BOT_SUPERVISOR=spawn and that command \
                     as BOT_SUPERVISOR_COMMAND botops does it, once it is restarted (docs/settings.md)."
                ));
                let error = error.context("by_hand", command);
                match living {
                    Some(pid) => error.context("pid", pid),
                    None => error,
                }
            }
            None => error,
        }
    }
}
