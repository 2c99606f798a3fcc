//! Definitions by id for new runs, and by hash for runs that have begun.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::catalogue::{KnownWorkflow, WorkflowCatalogue, WorkflowListing};
use super::checked::CheckedWorkflow;
use super::pinned_definitions::{load_last_good, load_pinned, pin_definition};
use crate::store::Store;
use botops_core::error::{Code, Error};

/// Stored definitions held in memory; others are read from the store when they are needed.
const CACHED_MAX: usize = 64;

/// The workflows that can be executed, and the definitions that runs began with.
#[derive(Debug)]
pub(crate) struct WorkflowLibrary {
    store: Store,
    catalogue: WorkflowCatalogue,
    /// Recently used definitions of runs, by hash.
    pinned: Mutex<HashMap<String, Arc<CheckedWorkflow>>>,
}

impl WorkflowLibrary {
    /// Loads the shipped workflows and the last good version of each file in `folder`.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub(crate) async fn open(folder: PathBuf, store: Store) -> Result<Self, Error> {
        let catalogue = WorkflowCatalogue::new(folder);
        for (file, workflow) in store.read(|connection| Ok(load_last_good(connection)?)).await? {
            catalogue.restore_last_good(file, workflow);
        }
        Ok(Self { store, catalogue, pinned: Mutex::default() })
    }

    /// Reads what has changed in the folder, and stores definitions that are new.
    pub(crate) async fn list_workflows(&self) -> WorkflowListing {
        let listing = self.catalogue.list_files();
        if !listing.fresh.is_empty() {
            let fresh = listing.fresh.clone();
            let kept = self.store.write(move |connection| {
                for (file, workflow) in &fresh {
                    pin_definition(connection, file, workflow)?;
                }
                Ok(())
            });
            if let Err(error) = kept.await {
                tracing::warn!("new workflow definitions were not kept: {error}");
            }
        }
        listing
    }

    /// The workflow with this id in its present version.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`], with the ids that are known.
    pub(crate) async fn find_workflow(&self, id: &str) -> Result<KnownWorkflow, Error> {
        let listing = self.list_workflows().await;
        if let Some(known) = listing.known.get(id) {
            return Ok(known.clone());
        }
        let ids: Vec<&str> = listing.known.keys().map(String::as_str).collect();
        let asked = botops_core::text::clean(id, 60);
        let left_out = match listing.left_out {
            0 => String::new(),
            some => format!("; {some} files of the folder are not read, since it has too many"),
        };
        Err(Error::new(Code::WorkflowUnknown)
            .detail(format!("`{asked}` is no workflow; known: {}{left_out}", ids.join(", ")))
            .context("known", ids))
    }

    /// The definition with this hash, even when its file has changed or is gone.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`]; [`Code::Internal`] when no such definition is stored.
    pub(crate) async fn pinned_definition(&self, sha256: &str) -> Result<Arc<CheckedWorkflow>, Error> {
        if let Some(known) = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).get(sha256) {
            return Ok(known.clone());
        }
        let sha = sha256.to_owned();
        let found = self.store.read(move |connection| Ok(load_pinned(connection, &sha)?)).await?;
        let workflow = Arc::new(found.ok_or_else(|| {
            Error::new(Code::Internal).caused_by(format!("the definition {sha256} is not kept"))
        })?);
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.len() >= CACHED_MAX {
            pinned.clear();
        }
        pinned.insert(sha256.to_owned(), workflow.clone());
        Ok(workflow)
    }
}
