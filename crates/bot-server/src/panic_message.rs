//! What a part of the bot said when it panicked, for whoever asked it.

use std::any::Any;

/// Characters of it that are told.
const SHOWN: usize = 300;

/// The message of a panic, harmless and without secrets.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let said = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text");
    botops_core::redact::line(&botops_core::text::clean(said, SHOWN))
}
