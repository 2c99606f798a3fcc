//! The verbs: what each would do, carried out once, and what was seen of it.
//!
//! `arguments` checks what was asked, `facts` is what freqtrade says of itself, `plan` decides from both without any I/O,
//! `sending` sends its steps, each after a look whether it is still right, `carry_out` reads their effect back, `awaited` and `follow_up`
//! look for one that did not show in its time, `runner` gives every command its turn and its one answer, which
//! `journal` keeps over a restart. Nothing here opens a position, deletes a trade, or removes a lock of somebody else.

mod accepted;
mod arguments;
mod awaited;
mod carry_out;
mod expected;
mod facts;
mod follow_up;
mod journal;
mod plan;
mod runner;
mod sending;
mod steps;

pub(crate) use runner::Commands;
