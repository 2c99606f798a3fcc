//! The broker session: a trading process that knows when it may trade.
//!
//! [`SessionMonitor`] is the handle: orders ask its gate, everything else reads its facts or gives it commands. One
//! keeper task does all checks and sign-ins, so there is never more than one of them at a time. The gate answers from
//! memory and never waits: while the last success is fresh it says yes, else no, and the keeper checks at once where
//! that may help. What must survive a restart (an open breaker, a halt, the sign-in budget) is durable before it has
//! effect. A stop signs nobody out: it leaves token and store as they are.

mod breaker;
mod checker;
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
pub use health_log::HealthLog;
pub use limits::{SessionLimits, SessionSettings};
pub use model::{CommandOutcome, GateDecision, GateQuestion, NoteSink, SessionNote};
pub use monitor::SessionMonitor;
pub(crate) use start::connect_session;
