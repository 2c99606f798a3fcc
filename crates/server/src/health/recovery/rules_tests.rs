//! An attempt is one run: what comes back late, or after a reset, belongs to no other attempt.

use super::machine::{AttemptRun, HandlerEnd, RecoveryBudget, RecoveryMachine, RecoveryPhase};
use super::rules::{RecoveryAttempt, RecoveryBook};
use crate::health::changes::HealthChanges;
use crate::health::model::{ClockReading, RecoveryHandler};

const NOW: ClockReading = ClockReading { mono: 1_000, wall: 1_700_000_000_000 };

/// A machine whose attempt runs under this key.
fn running(key: &str) -> RecoveryMachine {
    let mut machine = RecoveryMachine { bad_since: Some(0), ..RecoveryMachine::default() };
    machine.run_now(300_000, &mut RecoveryBudget::default(), NOW.mono).unwrap();
    machine.run = Some(run(key));
    machine
}

fn run(key: &str) -> AttemptRun {
    AttemptRun { key: key.to_owned(), reason: "it is gone".to_owned(), asked_by: None }
}

fn attempt(key: &str) -> RecoveryAttempt {
    let handler = RecoveryHandler::Workflow("mend".to_owned());
    RecoveryAttempt { component: "feed".to_owned(), handler, run: Some(run(key)) }
}

#[test]
fn what_an_earlier_attempt_came_to_does_not_end_the_one_that_runs() {
    let (mut book, mut changes) = (RecoveryBook::default(), HealthChanges::default());
    book.restore_machine("feed", running("second"), 0, NOW);
    let failed = HandlerEnd::Failed("late".to_owned());
    book.end_attempt(&attempt("first"), &failed, 1, NOW, &mut changes);
    let machine = &book.of("feed").unwrap().machine;
    assert!(matches!(machine.at, RecoveryPhase::Running { .. }), "{machine:?}");
    assert!(changes.is_empty(), "nothing is told of it");
    book.end_attempt(&attempt("second"), &HandlerEnd::Done("ok".to_owned()), 1, NOW, &mut changes);
    let machine = &book.of("feed").unwrap().machine;
    assert!(matches!(machine.at, RecoveryPhase::Verifying { .. }), "{machine:?}");
    book.end_attempt(&attempt("second"), &failed, 1, NOW, &mut changes);
    let machine = &book.of("feed").unwrap().machine;
    assert!(matches!(machine.at, RecoveryPhase::Verifying { .. }), "it has ended already: {machine:?}");
}

#[test]
fn after_a_reset_the_attempt_that_runs_is_still_waited_for() {
    let (mut book, mut changes) = (RecoveryBook::default(), HealthChanges::default());
    let mut machine = running("first");
    machine.reset();
    assert_eq!((machine.attempts, &machine.run), (0, &Some(run("first"))));
    book.restore_machine("feed", machine, 0, NOW);
    book.end_attempt(&attempt("first"), &HandlerEnd::Done("ok".to_owned()), 1, NOW, &mut changes);
    assert!(matches!(book.of("feed").unwrap().machine.at, RecoveryPhase::Verifying { .. }));
}
