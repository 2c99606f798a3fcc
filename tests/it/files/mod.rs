//! Every file of both data folders, damaged in every way, at a start and (of the bot) while the program runs.
//!
//! Two rules hold for all cells: reads always start (or the process says in one sentence what is wrong, where, and what to
//! do), and open positions that are proven are still closed. What a file is, what happens and how to mend it is a table in
//! the tests, from which `docs/files.md` is made: an addition is one row.

mod bot_folder;
mod botops_folder;
mod damage;
mod memory;
mod page;
