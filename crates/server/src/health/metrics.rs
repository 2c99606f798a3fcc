//! Prometheus series with bounded labels: one per component, and a fixed set of metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use botops_core::telemetry::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::alerts::AlertState;
use super::inner::HealthInner;
use super::model::HealthStatus;

type FloatGauge = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabels {
    component: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertStateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    result: &'static str,
}

/// The Prometheus series of health.
struct HealthSeries {
    component_status: Family<ComponentLabels, FloatGauge>,
    check_duration: Family<ComponentLabels, FloatGauge>,
    alerts: Family<AlertStateLabels, FloatGauge>,
    system_status: FloatGauge,
    outbox_waiting: FloatGauge,
    dropped: FloatGauge,
    messages: Family<DeliveryLabels, FloatGauge>,
}

/// Registers the series; they are filled when a client reads them.
pub(crate) fn register_health_metrics(inner: &Arc<HealthInner>, metrics: &Metrics) {
    let series = HealthSeries::register(metrics);
    let inner = inner.clone();
    metrics.on_scrape(move || series.fill(&inner));
}

impl HealthSeries {
    fn register(metrics: &Metrics) -> Self {
        Self {
            component_status: metrics.add(
                "health_component_status",
                "Status of a component: 0 healthy, 1 warning, 2 critical, 3 down, -1 unknown",
                Family::default(),
            ),
            check_duration: metrics.add(
                "health_check_duration_seconds",
                "How long the last check of a component took",
                Family::default(),
            ),
            alerts: metrics.add("health_alerts", "Alerts by state", Family::default()),
            system_status: metrics.add(
                "health_status",
                "Status of the system: 0 healthy, 1 warning, 2 critical, 3 down, -1 unknown",
                Gauge::default(),
            ),
            outbox_waiting: metrics.add(
                "health_outbox_waiting",
                "Notices that wait for a receiver",
                Gauge::default(),
            ),
            dropped: metrics.add(
                "health_measurements_dropped",
                "Measurements dropped because the disk did not follow",
                Gauge::default(),
            ),
            messages: metrics.add(
                "health_messages",
                "Messages to receivers since start, by result",
                Family::default(),
            ),
        }
    }

    fn fill(&self, inner: &HealthInner) {
        let snapshot = inner.snapshot();
        // Components come and go: series of components that went must disappear.
        self.component_status.clear();
        self.check_duration.clear();
        for (id, view) in &snapshot.by_id {
            let labels = ComponentLabels { component: id.clone() };
            self.component_status.get_or_create(&labels).set(status_number(view.status));
            if let Some(milliseconds) = view.latency_ms {
                self.check_duration.get_or_create(&labels).set(milliseconds / 1000.0);
            }
        }
        for (state, of) in [("pending", AlertState::Pending), ("firing", AlertState::Firing)] {
            let count = snapshot.alerts.iter().filter(|alert| alert.state == of).count();
            self.alerts.get_or_create(&AlertStateLabels { state }).set(gauge_value(count));
        }
        self.system_status.set(status_number(snapshot.current_status));
        let (delivered, failed) = inner.outbox.receivers.counts();
        for (result, count) in [("delivered", delivered), ("failed", failed)] {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            self.messages.get_or_create(&DeliveryLabels { result }).set(gauge_value(count));
        }
        self.outbox_waiting.set(gauge_value(inner.outbox.backlog().waiting));
        let dropped = usize::try_from(inner.writer.dropped()).unwrap_or(usize::MAX);
        self.dropped.set(gauge_value(dropped));
    }
}

/// A status as a number: 0 HEALTHY to 3 DOWN, -1 UNKNOWN.
fn status_number(status: HealthStatus) -> f64 {
    match status {
        HealthStatus::Healthy => 0.0,
        HealthStatus::Warning => 1.0,
        HealthStatus::Critical => 2.0,
        HealthStatus::Down => 3.0,
        HealthStatus::Unknown => -1.0,
    }
}

fn gauge_value(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
