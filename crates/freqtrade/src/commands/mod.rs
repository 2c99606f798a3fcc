//! The verbs: what each would do, carried out once, and what was seen of it.
//!
//! `arguments` checks what was asked, `facts` is what freqtrade says of itself, `plan` decides from both without any I/O,
//! `carry_out` sends the plan and reads its effect back, `runner` gives every command its turn and its one answer, which
//! `journal` keeps over a restart. Nothing here opens a position, deletes a trade, or removes a lock of somebody else.

mod arguments;
mod carry_out;
mod expected;
mod facts;
mod journal;
mod plan;
mod runner;

pub(crate) use runner::Commands;
