//! Alerts: when they fire and end, what holds their notices back, and how receivers are notified.

mod alertmanager;
mod machine;
#[cfg(test)]
mod model_tests;
mod notice;
mod outbox;
mod receiver_log;
mod receivers;
mod rules;
mod silence;
mod view;

pub(crate) use alertmanager::{push_rules, push_to_alertmanager};
pub(crate) use machine::{Alert, AlertState, idempotency_key};
pub(crate) use notice::{AlertNotice, NoticeRecord};
pub(crate) use outbox::{NoticeOutbox, deliver_notices, delivery_rules};
pub(crate) use receiver_log::{ReceiverLog, ReceiverView};
pub(crate) use receivers::{ALERTMANAGER, AlertReceiver, receiver_rules};
pub(crate) use rules::{AlertBook, alert_rules};
pub(crate) use silence::{Silence, SilenceMatcher, SilenceReach, silence_rules};
pub(crate) use view::{AlertView, alert_view};
