//! Starts the session that the command line describes.

use std::path::Path;
use std::sync::{Arc, mpsc};

use super::limits::SessionSettings;
use super::model::SessionNote;
use super::monitor::SessionMonitor;
use crate::broker::BrokerOptions;
use crate::calendar::Calendar;
use crate::clock::Clock;
use botops_contract::TradingMode;
use botops_core::tasks::Tasks;

/// Makes the adapter of the chosen broker and starts its session, which sends its reports to `notes`.
///
/// Orders stay on paper with every broker: its session only decides whether they would pass.
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
    let live = broker.mode() == TradingMode::Live;
    let mut settings = SessionSettings::new(data, logs, live);
    settings.market_hours_only = options.market_hours_only;
    if let Some(file) = &options.calendar_file {
        settings.limits.calendar =
            Calendar::with_overrides(file).map_err(|problem| format!("--calendar-file: {problem}"))?;
    }
    settings.limits = settings.limits.scaled(1.0 / options.session_speed);
    // Fails when the loop that reads the notes has ended before the session.
    let sink = Arc::new(move |note| drop(notes.send(note)));
    Ok(SessionMonitor::start(broker, settings, clock, tasks, sink))
}
