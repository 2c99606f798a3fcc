//! The config through the wire: checked, tried, undone, audited; beside a scripted bot and beside the real one.

mod bench;
mod boot_once;
mod crash;
mod disk;
mod doubt;
mod guard;
mod refusals;
mod tamper;
mod trial;
pub mod world;
