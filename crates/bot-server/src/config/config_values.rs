//! The values in force, for whoever reads them.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Handle to the values of a [`super::ManagedConfig`] that are in force; cloning is cheap, and reading waits for nobody.
#[derive(Clone)]
pub struct ConfigValues {
    current: Arc<ArcSwap<Map<String, Value>>>,
}

impl fmt::Debug for ConfigValues {
    /// Without the values: one may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigValues").finish_non_exhaustive()
    }
}

impl ConfigValues {
    pub(super) fn new(values: Map<String, Value>) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(values)) }
    }

    /// The values in force now, as a whole: a trial replaces all of them at once, and never changes what was read. Read
    /// them once in each round of the loop.
    ///
    /// Until the bot is served they are those of the program; from then on those of its committed config.
    pub fn load(&self) -> Arc<Map<String, Value>> {
        self.current.load_full()
    }

    /// The values in force now as a type of the bot's own.
    ///
    /// # Errors
    /// They do not have the form of this type. Let the config's check say so, then this cannot happen.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object((*self.load()).clone()))
    }

    pub(super) fn replace(&self, values: Map<String, Value>) {
        self.current.store(Arc::new(values));
    }
}
