//! paperbot: a real, small trading process, the reference peer of botops.

pub mod breaker;
pub mod broker;
pub mod calendar;
pub mod clock;
pub mod health_log;
pub mod session;
pub mod tokens;
