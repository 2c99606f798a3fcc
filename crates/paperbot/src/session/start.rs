//! A session as the command line describes it.

use std::path::Path;
use std::sync::{Arc, mpsc};

use super::limits::SessionSettings;
use super::model::SessionNote;
use super::monitor::SessionMonitor;
use crate::broker::BrokerOptions;
use crate::calendar::Calendar;
use crate::clock::Clock;
use botops_contract::Mode;
use botops_core::tasks::Tasks;

/// Connects the chosen broker and starts the session. What it reports goes into `notes`. Whatever the broker, orders
/// stay on paper: the broker's session decides whether they would pass.
pub(crate) fn connect_session(
    options: &BrokerOptions,
    data: &Path,
    logs: &Path,
    tasks: &Tasks,
    notes: mpsc::Sender<SessionNote>,
) -> Result<SessionMonitor, String> {
    if !(0.01..=1_000.0).contains(&options.session_speed) {
        return Err("--session-speed must be 0.01 to 1000".to_owned());
    }
    let clock = Clock::system();
    let broker = options.connect(data, clock.clone())?;
    let live = broker.mode() == Mode::Live;
    let mut settings = SessionSettings::new(data, logs, live);
    settings.market_hours_only = options.market_hours_only;
    if let Some(file) = &options.calendar_file {
        settings.limits.calendar =
            Calendar::with_overrides(file).map_err(|problem| format!("--calendar-file: {problem}"))?;
    }
    settings.limits = settings.limits.scaled(1.0 / options.session_speed);
    // The loop that reads them may have ended before the session did.
    let sink = Arc::new(move |note| drop(notes.send(note)));
    SessionMonitor::start(broker, settings, clock, tasks, sink).map_err(|error| format!("--log-dir: {error}"))
}
