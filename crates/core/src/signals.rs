//! Signals: SIGHUP reopens the logs, a few end the process in order, and no other signal that can be caught ends it.
//!
//! Every signal that would end the process without a log line is caught from the moment [`Signals`] exists, so that one
//! that comes during the start is not lost. Caught, not ignored: child processes would inherit an ignored signal. Job
//! control and the signals of faults (SIGSEGV and the like) keep their defaults; after a fault the process cannot
//! continue.

use std::io::{self, IsTerminal};
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// To end in order: SIGTERM, SIGINT, SIGQUIT, SIGPWR (the power supply fails), SIGXCPU (processor time is used
    /// up), or SIGHUP from a terminal that was closed.
    Stop,
    /// To reopen the log files: SIGHUP, as logrotate sends it.
    Reopen,
}

const STOP: [Number; 5] = [Number::TERM, Number::INT, Number::QUIT, Number::POWER, Number::XCPU];

/// Signals that would end a process without a handler; here they have no effect. With SIGXFSZ caught, a file that grew
/// too large makes the write fail instead.
const HARMLESS: [Number; 8] = [
    Number::USR1,
    Number::USR2,
    Number::ALARM,
    Number::VTALARM,
    Number::PROF,
    Number::IO,
    Number::STKFLT,
    Number::XFSZ,
];

/// The real-time signals of Linux have no fixed meaning and none here; without a handler they would end the process.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Handlers for the signals of this process.
#[derive(Debug)]
pub struct Signals {
    stop: Vec<Signal>,
    hang_up: Signal,
    _harmless: Vec<Signal>,
    had_terminal: bool,
}

impl Signals {
    /// Installs the handlers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn catch() -> io::Result<Self> {
        let catch = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
        let harmless = HARMLESS.into_iter().map(catch).collect::<io::Result<Vec<_>>>()?;
        // A C library may reserve some of them.
        let real_time = REAL_TIME.filter_map(|number| signal(SignalKind::from_raw(number)).ok());
        Ok(Self {
            stop: STOP.into_iter().map(catch).collect::<io::Result<_>>()?,
            hang_up: signal(SignalKind::hangup())?,
            _harmless: harmless.into_iter().chain(real_time).collect(),
            had_terminal: has_terminal(),
        })
    }

    /// Resolves with the next signal that asks for something.
    pub async fn next(&mut self) -> SignalRequest {
        let hung_up = std::future::poll_fn(|context| {
            if self.stop.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
                return Poll::Ready(false);
            }
            self.hang_up.poll_recv(context).map(|_| true)
        });
        // A terminal that is closed sends SIGHUP as well, just as logrotate does.
        let is_orphaned = |had_terminal: bool| had_terminal && !has_terminal();
        match hung_up.await {
            true if !is_orphaned(self.had_terminal) => SignalRequest::Reopen,
            _ => SignalRequest::Stop,
        }
    }
}

fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}
