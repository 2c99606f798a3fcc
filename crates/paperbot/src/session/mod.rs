//! The broker session: whether the bot's sign-in at its broker is valid, so that orders may pass.
//!
//! [`SessionMonitor`] is the handle: orders ask its gate, everything else reads its facts or gives it commands. One
//! keeper task does all checks and sign-ins, so there is never more than one of them at a time. The gate answers from
//! memory and never waits: it lets an order pass while the last success is fresh, and otherwise refuses and has the
//! keeper check at once where that may help. State that must survive a restart (an open breaker, a halt, the sign-in
//! budget) is stored before it takes effect. A stop does not sign out: it leaves token and store as they are.

mod breaker;
mod checker;
mod command;
mod context;
mod gate_log;
mod health_log;
mod keeper;
mod limits;
mod machine;
mod model;
mod monitor;
mod publisher;
mod sign_in;
mod start;
mod state_file;

pub use breaker::BreakerLimits;
pub(crate) use command::sign_in_code;
pub use health_log::HealthLog;
pub use limits::{SessionLimits, SessionSettings};
pub use model::{GateDecision, GateQuestion, MarketHours, NoteSink, SessionCommandOutcome, SessionNote};
pub use monitor::SessionMonitor;
pub(crate) use start::connect_session;
