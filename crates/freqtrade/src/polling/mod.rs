//! When freqtrade is asked what, the newest answer of each kind, and whether it answers at all.

mod account_names;
mod bot_life;
mod error_lines;
mod picture;
mod pollers;
mod process_table;
mod reach;
mod refused_requests;
mod trade_puller;
mod upstream_clock;
mod wake_socket;

pub(crate) use account_names::{AccountNames, differ_by_database};
pub(crate) use bot_life::BotLife;
pub(crate) use picture::{PictureCell, PolledPart, UpstreamPicture};
pub(crate) use pollers::{Pollers, PollersOptions};
pub(crate) use reach::UpstreamReach;
pub(crate) use refused_requests::RefusedRequest;
