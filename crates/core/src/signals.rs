//! What a process does with signals: one set opens the logs anew, one ends it in order, and no other ends it.
//!
//! Every signal that can be caught and would end the process without a word is caught from the moment [`Signals`]
//! exists, so that one that comes during the start is not lost. Caught, not ignored: an ignored signal would stay so in
//! the programs that are started. Left alone are job control and the signals of faults (SIGSEGV and its kin),
//! after which nothing can be trusted.

use std::io::{self, IsTerminal};
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// To end in order: SIGTERM, SIGINT, SIGQUIT, a failing power supply, used up processor time, or a terminal that
    /// is gone.
    Stop,
    /// To open the log files anew: SIGHUP, as logrotate sends it.
    Reopen,
}

const STOP: [Number; 5] = [Number::TERM, Number::INT, Number::QUIT, Number::POWER, Number::XCPU];

/// Without a handler these end a process. A file that grew too large (SIGXFSZ) is then an error of the write.
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

/// Linux has these for programs to agree upon; nobody agreed with this one.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// The signals of this process, caught.
#[derive(Debug)]
pub struct Signals {
    stop: Vec<Signal>,
    hang_up: Signal,
    _harmless: Vec<Signal>,
    had_terminal: bool,
}

impl Signals {
    /// Catches them. Called within a runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn catch() -> io::Result<Self> {
        let catch = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
        let harmless = HARMLESS.into_iter().map(catch).collect::<io::Result<Vec<_>>>()?;
        // A C library may keep some of them for itself.
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
        // A terminal that is closed sends the same signal as logrotate.
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
