//! From samples to the status of each component over time, and to the status of the system.

mod aggregate;
mod checker;
mod clock_step;
mod component;
mod config;
mod engine;
mod maintenance;
mod sample_reason;
mod target_wait;
mod tracker;

pub use aggregate::StatusCounts;

pub(crate) use checker::{CheckerRequest, CheckerSurroundings};
pub(crate) use clock_step::{ClockStep, ClockStepView, STORED_AS as CLOCK_STEP};
pub(crate) use component::{MEMORY, MeasuredMetric, StoredComponent, WatchedComponent};
pub(crate) use config::{AlertTiming, COMPONENTS, ComponentSpec, MonitoringConfig, component_rules};
pub(crate) use engine::{DueCheck, StatusEngine};
pub(crate) use maintenance::MaintenanceWindow;

pub(crate) use target_wait::wait_rules;
pub(crate) use tracker::flapping_rules;
#[cfg(test)]
pub(crate) use tracker::{DebounceRules, StatusTracker};
