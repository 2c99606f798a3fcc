//! What an operator's command would do. Nothing is carried out here, so a dry run and the real command agree.
//!
//! There is no command that opens a position.

use rust_decimal::Decimal;
use serde_json::Value;

use super::order_planner::OrderPlanner;
use super::planned_line::{PlannedLine, cancel_entry};
use crate::account::book::AccountBook;
use crate::account::ledger::{LedgerEntry, OrderPurpose};
use crate::session::{SessionCommandOutcome, sign_in_code};
use crate::session_gate::SessionGate;
use botops_contract::{BotPhase, BreakerState, CommandRequest, Exposure, GateReason, Verb};

/// The ledger lines that a command would write, and its answer.
#[derive(Debug, Default)]
pub(super) struct CommandPlan {
    pub lines: Vec<PlannedLine>,
    pub message: String,
    /// Stable reason why the command is not carried out; `None` when it is.
    pub refused: Option<&'static str>,
    /// Whether the process stops after the command.
    pub stops: bool,
}

impl CommandPlan {
    fn done(message: &str, entries: Vec<LedgerEntry>) -> Self {
        let lines = entries.into_iter().map(PlannedLine::Entry).collect();
        Self { lines, message: message.to_owned(), ..Self::default() }
    }

    pub(crate) fn refused(code: &'static str, message: &str) -> Self {
        Self { message: message.to_owned(), refused: Some(code), ..Self::default() }
    }

    /// The plan of a dry run whose command the session carries out.
    fn of_forecast(forecast: SessionCommandOutcome) -> Self {
        Self { message: forecast.message, refused: forecast.reason_code, ..Self::default() }
    }

    /// Plans the command for the present state of the account.
    pub(crate) fn new(
        verb: Verb,
        request: &CommandRequest,
        planner: OrderPlanner<'_>,
        session: &SessionGate,
    ) -> Self {
        let reason = clean_reason(request);
        match verb {
            Verb::Pause => Self::plan_pause(planner, reason),
            Verb::Resume if planner.book.paused.is_none() => Self::done("it was not paused", Vec::new()),
            Verb::Resume => {
                Self::done("new positions may be opened again", vec![LedgerEntry::Resumed { reason }])
            }
            Verb::CancelOrders => Self::plan_cancel_orders(planner, &request.args),
            Verb::Flatten => Self::plan_flatten(planner, session, &reason),
            Verb::ResetBreaker => match session.session() {
                // With an open breaker of the session only a dry run comes here: the session carries out the command.
                Some(session) if session.breaker().state != BreakerState::Closed => {
                    Self::of_forecast(session.forecast_reset())
                }
                _ => Self::plan_reset_breaker(planner, reason),
            },
            Verb::Shutdown => Self {
                stops: true,
                ..Self::done("the bot stops; positions and orders stay as they are", Vec::new())
            },
            Verb::Halt if session.session().is_none() => {
                Self::of_forecast(SessionCommandOutcome::without_session())
            }
            // Only dry runs come here: the session carries out the commands themselves.
            Verb::ProbeSession | Verb::Reauth => Self::of_forecast(forecast(verb, request, session)),
            Verb::Halt => Self::done(
                "no order would pass, exits included, until the circuit breaker is reset",
                Vec::new(),
            ),
        }
    }

    fn plan_pause(planner: OrderPlanner<'_>, reason: String) -> Self {
        if planner.book.paused.is_some() {
            return Self::done("it was paused already", Vec::new());
        }
        let mut entries = vec![LedgerEntry::Paused { reason }];
        entries.extend(planner.cancel_entries("paused by an operator"));
        Self::done("no new positions are opened; exits go on", entries)
    }

    fn plan_cancel_orders(planner: OrderPlanner<'_>, args: &Value) -> Self {
        let symbols = symbols_in(args);
        let meant = |symbol: &String| symbols.as_ref().is_none_or(|these| these.contains(symbol));
        let orders = planner.book.working.values().filter(|order| meant(&order.placed.symbol));
        let entries: Vec<LedgerEntry> =
            orders.map(|order| cancel_entry(order, "cancelled by an operator")).collect();
        Self::done(&format!("{} resting orders cancelled", entries.len()), entries)
    }

    fn plan_flatten(planner: OrderPlanner<'_>, session: &SessionGate, reason: &str) -> Self {
        let book = planner.book;
        if !book.positions.is_empty() && !session.may_send(true) {
            return Self::refused(
                "session_halted",
                "the broker session lets no order pass, exits included; see `session.gate`",
            );
        }
        let mut entries = Vec::new();
        if book.paused.is_none() {
            entries.push(LedgerEntry::Paused { reason: format!("flatten: {reason}") });
        }
        entries.extend(planner.cancel_entries("flattened by an operator"));
        let cancelled: Vec<String> = entries.iter().filter_map(cancelled_order).cloned().collect();
        let held = book.positions.len();
        let message = format!("{held} positions are being closed; none is opened until resumed");
        let mut plan = Self::done(&message, entries);
        for symbol in book.positions.keys() {
            let exit = planner.plan_exit(symbol, "flattened by an operator", OrderPurpose::Flatten);
            let is_new = |line: &PlannedLine| match line {
                PlannedLine::Entry(entry) => cancelled_order(entry).is_none_or(|id| !cancelled.contains(id)),
                PlannedLine::Order(_) => true,
            };
            plan.lines.extend(exit.into_iter().filter(is_new));
        }
        plan
    }

    fn plan_reset_breaker(planner: OrderPlanner<'_>, reason: String) -> Self {
        let (book, prices) = (planner.book, planner.prices);
        if book.breaker.open.is_none() {
            return Self::refused(
                "breaker_closed",
                "the circuit breaker is closed; there is nothing to reset",
            );
        }
        let entry =
            LedgerEntry::Reset { reason, daily_pl: book.daily_pl(prices), equity: book.equity(prices) };
        Self::done("the circuit breaker is closed; losses count from here", vec![entry])
    }
}

/// What the session would answer to `probe-session` or `reauth` now.
fn forecast(verb: Verb, request: &CommandRequest, session: &SessionGate) -> SessionCommandOutcome {
    let Some(session) = session.session() else { return SessionCommandOutcome::without_session() };
    if verb == Verb::ProbeSession {
        return session.forecast_probe();
    }
    sign_in_code(&request.args).map_or_else(|refusal| refusal, |code| session.forecast_reauth(code))
}

/// The operator's reason, cleaned of control characters and shortened for logs and the ledger.
pub(super) fn clean_reason(request: &CommandRequest) -> String {
    botops_core::text::clean(&request.reason, 200)
}

/// The phase after the command, and whether positions may be opened then. `gate` is the session's present reason.
pub(super) fn phase_after(book: &AccountBook, verb: Verb, stops: bool, gate: GateReason) -> (BotPhase, bool) {
    let pauses = matches!(verb, Verb::Pause | Verb::Flatten);
    let paused = pauses || (book.paused.is_some() && verb != Verb::Resume);
    let open = book.breaker.open.is_some() && verb != Verb::ResetBreaker;
    let phase = match (stops, paused, open) {
        (true, _, _) => BotPhase::Stopping,
        (_, true, _) => BotPhase::Paused,
        (_, _, true) => BotPhase::Degraded,
        _ if !matches!(gate, GateReason::Ok | GateReason::MarketClosed) => BotPhase::Degraded,
        _ => BotPhase::Running,
    };
    (phase, phase == BotPhase::Running && gate == GateReason::Ok)
}

/// What these entries, which are not applied to the book yet, do: orders cancelled and sent, positions closed, value.
pub(super) fn exposure_of(book: &AccountBook, entries: &[LedgerEntry]) -> Exposure {
    let (mut cancelled, mut submitted, mut closing, mut notional) = (0_u32, 0_u32, Vec::new(), Decimal::ZERO);
    for entry in entries {
        match entry {
            LedgerEntry::Cancelled { .. } => cancelled += 1,
            LedgerEntry::Placed(placed) => {
                submitted += 1;
                closing.push(placed.symbol.clone());
                notional += placed.decided_price * placed.quantity;
            }
            _ => {}
        }
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Exposure {
        orders_cancelled: Some(cancelled),
        orders_submitted: Some(submitted),
        positions_left: Some(count(book.positions.len()).saturating_sub(count(closing.len()))),
        positions_closing: Some(closing),
        notional: Some(notional.max(Decimal::ZERO).round_dp(2).into()),
        orders_left: Some(count(book.working.len()).saturating_sub(cancelled)),
    }
}

fn cancelled_order(entry: &LedgerEntry) -> Option<&String> {
    match entry {
        LedgerEntry::Cancelled { order_id, .. } => Some(order_id),
        _ => None,
    }
}

/// The symbols that a command is limited to; `None` for all.
fn symbols_in(args: &Value) -> Option<Vec<String>> {
    let symbols = args.get("symbols")?.as_array()?;
    Some(symbols.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
