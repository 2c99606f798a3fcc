//! Attempts, budgets and rests of recovery, with a clock that the test moves.

use super::*;

const DOWN: ConfirmedStatus = ConfirmedStatus::Known(HealthLevel::Down);
const GOOD: ConfirmedStatus = ConfirmedStatus::Known(HealthLevel::Healthy);

fn input(confirmed: ConfirmedStatus) -> RecoveryInput {
    RecoveryInput { confirmed, blocked: None, handler_ms: 30_000, jitter: 0.5 }
}

/// Advances second by second; each handler that is started ends after two seconds with `says`.
fn run(
    recovery: &mut RecoveryMachine,
    budget: &mut RecoveryBudget,
    seconds: std::ops::Range<i64>,
    confirmed: impl Fn(i64) -> ConfirmedStatus,
    says: bool,
) -> Vec<(i64, RecoveryStep)> {
    let mut log = Vec::new();
    let mut ends = None;
    for second in seconds {
        let now = second * 1000;
        if ends == Some(second) {
            ends = None;
            let end = if says { HandlerEnd::Done(String::new()) } else { HandlerEnd::Failed(String::new()) };
            let step = recovery.end_attempt(&end, budget, now);
            if step != RecoveryStep::Planned {
                log.push((second, step));
            }
        }
        if let Some(step) = recovery.advance(&input(confirmed(second)), budget, now) {
            if matches!(step, RecoveryStep::Start { .. }) {
                ends = Some(second + 2);
            }
            if step != RecoveryStep::Planned {
                log.push((second, step));
            }
        }
    }
    log
}

fn starts(log: &[(i64, RecoveryStep)]) -> Vec<i64> {
    log.iter()
        .filter(|(_, step)| matches!(step, RecoveryStep::Start { .. }))
        .map(|(second, _)| *second)
        .collect()
}

#[test]
fn a_handler_that_says_ok_and_never_helps_runs_three_times_then_rests_half_an_hour() {
    let (mut recovery, mut budget) = (RecoveryMachine::default(), RecoveryBudget::default());
    let log = run(&mut recovery, &mut budget, 0..1_700, |_| DOWN, true);
    assert_eq!(starts(&log).len(), 3, "{log:?}");
    assert!(matches!(recovery.at, RecoveryPhase::Exhausted { .. }));
    assert!(recovery.is_exhausted());
    let log = run(&mut recovery, &mut budget, 1_700..3_000, |_| DOWN, true);
    assert_eq!(starts(&log).len(), 1, "one attempt after the rest: {log:?}");
}

#[test]
fn success_is_what_the_check_says() {
    let (mut recovery, mut budget) = (RecoveryMachine::default(), RecoveryBudget::default());
    let log = run(&mut recovery, &mut budget, 0..200, |second| if second < 60 { DOWN } else { GOOD }, true);
    assert_eq!(starts(&log).len(), 1);
    assert_eq!(log.last(), Some(&(60, RecoveryStep::Recovered { attempt: 1 })));
}

#[test]
fn a_loop_of_failing_and_recovering_ends_within_the_hourly_budget() {
    let (mut recovery, mut budget) = (RecoveryMachine::default(), RecoveryBudget::default());
    // Bad for 60 s and good for 60 s in turn, for an hour: the incident never ends, since that takes ten good
    // minutes.
    let log =
        run(&mut recovery, &mut budget, 0..3_500, |second| if second % 120 < 60 { DOWN } else { GOOD }, true);
    assert!(starts(&log).len() <= 5, "{log:?}");
}

#[test]
fn ten_components_never_run_two_handlers_at_once_nor_more_than_six_in_ten_minutes() {
    let mut budget = RecoveryBudget::default();
    let mut all: Vec<RecoveryMachine> = vec![RecoveryMachine::default(); 10];
    let mut ends: Vec<Option<i64>> = vec![None; 10];
    let mut starts = Vec::new();
    for second in 0..1_200_i64 {
        let now = second * 1000;
        for (index, recovery) in all.iter_mut().enumerate() {
            if ends[index] == Some(second) {
                ends[index] = None;
                recovery.end_attempt(&HandlerEnd::Failed(String::new()), &mut budget, now);
            }
            if let Some(RecoveryStep::Start { .. }) = recovery.advance(&input(DOWN), &mut budget, now) {
                assert!(ends.iter().all(Option::is_none), "two at once");
                ends[index] = Some(second + 7);
                starts.push(second);
            }
        }
    }
    for window in starts.windows(7) {
        assert!(window[6] - window[0] >= 600);
    }
}

#[test]
fn nothing_starts_while_blocked_held_or_unknown() {
    let mut budget = RecoveryBudget::default();
    let blocked = RecoveryInput { blocked: Some("parent"), ..input(DOWN) };
    let mut recovery = RecoveryMachine::default();
    for second in 0..300 {
        assert_eq!(recovery.advance(&blocked, &mut budget, second * 1000), None);
    }
    let mut recovery = RecoveryMachine { held_by: Some("operator".to_owned()), ..RecoveryMachine::default() };
    assert!(run(&mut recovery, &mut budget, 0..300, |_| DOWN, true).is_empty());
    let mut recovery = RecoveryMachine::default();
    assert!(run(&mut recovery, &mut budget, 0..300, |_| ConfirmedStatus::Stale, true).is_empty());
}

#[test]
fn after_a_crash_a_running_attempt_counts_as_failed_and_budgets_stay() {
    let (mut recovery, mut budget) = (RecoveryMachine::default(), RecoveryBudget::default());
    recovery.bad_since = Some(0);
    recovery.run_now(30_000, &mut budget, 1_000).unwrap();
    let text = serde_json::to_string(&recovery).unwrap();
    let mut stored: RecoveryMachine = serde_json::from_str(&text).unwrap();
    stored.resume(-500, 10_000);
    assert_eq!((stored.attempts, stored.at, stored.recent), (1, RecoveryPhase::Idle, vec![500]));
}

#[test]
fn an_attempt_that_is_a_run_goes_on_after_a_crash() {
    let (mut recovery, mut budget) = (RecoveryMachine::default(), RecoveryBudget::default());
    recovery.bad_since = Some(0);
    recovery.run_now(300_000, &mut budget, 1_000).unwrap();
    let run = AttemptRun { key: "recovery-bot-1".to_owned(), reason: "gone".to_owned(), asked_by: None };
    recovery.run = Some(run.clone());
    let text = serde_json::to_string(&recovery).unwrap();
    let mut stored: RecoveryMachine = serde_json::from_str(&text).unwrap();
    stored.resume(-500, 10_000);
    assert_eq!(
        (stored.attempts, stored.at, stored.run),
        (1, RecoveryPhase::Running { deadline: 305_500 }, Some(run))
    );
}

#[test]
fn an_attempt_that_could_not_begin_is_not_counted_and_is_tried_again_with_growing_waits() {
    let (mut recovery, mut budget) = (RecoveryMachine::default(), RecoveryBudget::default());
    let held = HandlerEnd::NotTried("a config change holds the bot".to_owned());
    let (mut starts, mut news) = (Vec::new(), 0);
    let mut ends = None;
    for second in 0..3_600_i64 {
        let now = second * 1000;
        if ends == Some(second) {
            ends = None;
            if let RecoveryStep::NotTried { is_news: true, .. } =
                recovery.end_attempt(&held, &mut budget, now)
            {
                news += 1;
            }
        }
        if let Some(RecoveryStep::Start { attempt }) = recovery.advance(&input(DOWN), &mut budget, now) {
            assert_eq!(attempt, 1, "none was counted before");
            starts.push(second);
            ends = Some(second + 1);
        }
    }
    assert!((12..=20).contains(&starts.len()), "{starts:?}");
    assert_eq!((news, recovery.exhaustions, recovery.recent.len(), budget.recent.len()), (1, 0, 0, 0));
}

#[test]
fn a_wait_is_never_zero_and_never_beyond_five_minutes() {
    for attempt in 1..20 {
        assert!(wait(attempt, 0.0) >= 2_500 && wait(attempt, 1.0) <= 300_000);
    }
}
