//! The parts of a report that every bot of the tests reports.

use botops_contract::{BotReport, Breaker, RunningConfig};

pub(crate) trait ReportParts {
    fn breaker(&self) -> &Breaker;
    fn breaker_mut(&mut self) -> &mut Breaker;
    fn running_config(&self) -> &RunningConfig;
    fn ticks(&self) -> u64;
    /// True when new positions may be opened.
    fn opens_positions(&self) -> bool;
    fn holds_nothing(&self) -> bool;
    fn entry_reasons(&self) -> &[String];
}

impl ReportParts for BotReport {
    fn breaker(&self) -> &Breaker {
        self.circuit_breaker.as_ref().expect("the bot reports a circuit breaker")
    }

    fn breaker_mut(&mut self) -> &mut Breaker {
        self.circuit_breaker.as_mut().expect("the bot reports a circuit breaker")
    }

    fn running_config(&self) -> &RunningConfig {
        self.config.as_ref().expect("the bot reports a config")
    }

    fn ticks(&self) -> u64 {
        self.loop_stats.ticks.expect("the bot counts its ticks")
    }

    fn opens_positions(&self) -> bool {
        self.trading_enabled.expect("the bot says whether it trades")
    }

    fn holds_nothing(&self) -> bool {
        self.positions.as_ref().expect("the bot reports its positions").is_empty()
    }

    fn entry_reasons(&self) -> &[String] {
        self.no_entry_reasons.as_deref().expect("the bot says what keeps it from entries")
    }
}
