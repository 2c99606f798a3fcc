//! The market: prices, the strategy that reads them, and the exchange that fills orders at them.

pub(crate) mod exchange;
pub(crate) mod feed;
mod moment;
pub(crate) mod price_digits;
pub(crate) mod prices;
mod random;
pub(crate) mod random_walk;
pub(crate) mod replay;
pub(crate) mod strategy;
