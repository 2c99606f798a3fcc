//! The answers to readers, rendered ahead.

mod limits;
mod snapshot;
mod views;

pub use views::{HealthPart, HealthSummary};

pub(crate) use snapshot::{HealthSnapshot, SnapshotContext, recovery_view};
pub(crate) use views::{
    ComponentView, CurrentHealthView, HealthDashboardView, HealthStatisticsView, HealthStatusView,
    MetricView, MetricsSummaryView, MonitoringView, RecoveryView,
};
