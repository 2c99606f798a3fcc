//! Config transactions in the operations log, found by id or as the newest.

use super::config_transaction::ConfigTransaction;
use crate::operations_log::{self, OperationKind};
use crate::store::Store;
use botops_core::error::{Code, Error};

/// Transactions looked through for the last one that was refused.
const RECENT: u32 = 50;

/// A transaction by its id.
///
/// # Errors
/// [`Code::ConfigTxnUnknown`].
pub(crate) async fn load_transaction(store: &Store, id: &str) -> Result<ConfigTransaction, Error> {
    let wanted = id.to_owned();
    let op = store.read(move |connection| Ok(operations_log::load(connection, &wanted)?)).await?;
    let unknown = || Error::new(Code::ConfigTxnUnknown).context("txn", botops_core::text::clean(id, 80));
    let op = op.filter(|op| op.kind == OperationKind::Config).ok_or_else(unknown)?;
    ConfigTransaction::of(&op).map_err(|error| Error::new(Code::Internal).caused_by(error))
}

/// The newest transactions, newest first; unreadable ones are left out.
pub(crate) async fn newest_transactions(store: &Store) -> Result<Vec<ConfigTransaction>, Error> {
    let recent = store
        .read(|connection| Ok(operations_log::newest(connection, OperationKind::Config, None, RECENT)?))
        .await?;
    Ok(recent.iter().filter_map(|op| ConfigTransaction::of(op).ok()).collect())
}
