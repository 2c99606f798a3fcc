//! How far a change of the config is. Only one side has its way: who waits for it, or who carries it out.

use std::sync::atomic::{AtomicU8, Ordering};

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const IN_FORCE: u8 = 2;
const GIVEN_UP: u8 = 3;

/// One change on its way to the values in force.
#[derive(Debug, Default)]
pub(super) struct CallProgress(AtomicU8);

/// What whoever waited gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// It had not begun, and does not any more.
    BeforeItsBegin,
    /// It has begun, and is taken back once it ends.
    Halfway,
    /// Nothing: it is in force already, or was given up before.
    TooLate,
}

impl CallProgress {
    /// Claims it for being carried out; false when nobody waits any more.
    pub(super) fn begin(&self) -> bool {
        self.advance(WAITING, BEGUN)
    }

    /// Puts it in force; false when it must be taken back.
    pub(super) fn put_in_force(&self) -> bool {
        self.advance(BEGUN, IN_FORCE)
    }

    /// Waits no longer.
    pub(super) fn give_up(&self) -> GivenUp {
        if self.advance(WAITING, GIVEN_UP) {
            GivenUp::BeforeItsBegin
        } else if self.advance(BEGUN, GIVEN_UP) {
            GivenUp::Halfway
        } else {
            GivenUp::TooLate
        }
    }

    fn advance(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
