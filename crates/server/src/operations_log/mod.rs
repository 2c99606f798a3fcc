//! The log of operations that take time: config transactions and workflow runs, rows of one table.
//!
//! Every function works inside one store closure (`store.write(|connection| …)`), so that a feature can change a row,
//! append its event and queue an audit line in one transaction. Hidden from users: the SQL, the order of events, and
//! two promises that hold for both kinds together:
//!
//! - **Lock.** At most one live row holds a lock key (a partial unique index, nothing to release). A row that waits
//!   in a queue holds none until [`take_lock`]; a transaction started by a workflow carries `parent_op` and no lock:
//!   its parent holds it. A row that is no longer live holds nothing.
//! - **Begun once.** What begins an operation (the claim of an idempotency key, a step of a run, an attempt of recovery)
//!   is written with its row, in one transaction, so the same finds that row and begins no second, across restarts.
//!   Which request a key stands for, and for how long, is up to `change_keys`.
//!
//! Which states there are is up to each kind; here a row is only live or not.

mod admission;
mod model;
mod rows;

pub use admission::{admit, begun_operation, take_lock};
pub use model::{
    NewOperation, OperationAdmission, OperationChange, OperationEvent, OperationKind, OperationRow,
    StoredActor, bot_lock, now_ms,
};
pub use rows::{advance, append, count_recovery, events, holder, live, load, newest};
