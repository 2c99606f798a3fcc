//! A config transaction: what it changes, where it is, what a trial is watched for, and how it is kept and shown.
//!
//! Moving it from state to state is the business of the trial.

mod config_transaction;
mod criteria;
mod rows;
mod state;
mod view;

pub(crate) use config_transaction::{ConfigTransaction, StoredError, TransactionPlan, TransactionProgress};
pub(crate) use criteria::{LossLimits, SAMPLES_NEEDED, STRIKES, TrialBaseline, breach_text};
pub(crate) use rows::{load_transaction, newest_transactions};
pub(crate) use state::EndedBy;
pub use state::{ConfigAction, ConfirmMode, TransactionState};
pub(crate) use view::ChangeEffects;
pub use view::TransactionView;
