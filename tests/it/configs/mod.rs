//! The config through the wire: checked, tried, undone, audited; beside a scripted bot and beside the real one.

mod bench;
mod boot_once;
pub mod crash;
pub mod disk;
mod doubt;
pub mod guard;
mod refusals;
pub mod tamper;
pub mod trial;
pub mod world;
