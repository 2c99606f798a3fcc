//! A config transaction: what it changes, where it is, what a trial is watched for, and how it is kept and shown.
//!
//! Moving it from state to state is the business of the trial.

mod config_transaction;
mod criteria;
mod deadline;
mod rows;
mod state;
mod view;

pub use config_transaction::StoredError;
pub(crate) use config_transaction::{ConfigTransaction, TransactionPlan, TransactionProgress};
pub(crate) use criteria::{SAMPLES_NEEDED, STRIKES, TrialBaseline, breach};
pub(crate) use deadline::TrialDeadline;
pub(crate) use rows::{load_transaction, newest_transactions};
pub use state::{ConfigAction, ConfirmMode, EndedBy, TransactionState};
pub use view::{ChangeEffects, TransactionView};
