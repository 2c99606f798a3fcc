//! The adapter for freqtrade, in its own process on a stub of freqtrade's API.

mod commands;
