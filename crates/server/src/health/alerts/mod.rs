//! Alerts: when they fire and end, what holds their notices back, and how receivers are notified.

mod alertmanager;
mod machine;
#[cfg(test)]
mod model_tests;
mod outbox;
mod receivers;
mod rules;
mod silence;
mod view;

pub(crate) use alertmanager::push_to_alertmanager;
pub(crate) use machine::{Alert, AlertState};
pub(crate) use outbox::{NoticeOutbox, deliver_notices};
pub(crate) use receivers::AlertReceiver;
pub(crate) use rules::AlertBook;
pub(crate) use silence::{Silence, SilenceMatcher};
pub(crate) use view::{AlertView, alert_view};
