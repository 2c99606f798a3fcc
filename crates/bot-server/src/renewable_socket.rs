//! A Unix socket whose file is made anew once somebody removed or replaced it: without it nobody can connect any more.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use botops_core::socket_file::{open_socket, remove_socket};
use tokio::net::{UnixListener, UnixStream};

/// How often the file is looked after while nobody connects: botops calls a bot that it cannot reach away within seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The socket of a bot, as long as it is served.
#[derive(Debug)]
pub struct RenewableSocket {
    listener: UnixListener,
    file: Arc<OwnSocketFile>,
    /// Why the last attempt to make it anew failed, so that each reason is told once.
    told: String,
}

impl RenewableSocket {
    /// Opens it, as [`open_socket`] does.
    ///
    /// # Errors
    /// One sentence that says what to change.
    pub fn open(path: &Path) -> Result<Self, String> {
        let listener = open_socket(path)?;
        let file = OwnSocketFile { path: path.to_owned(), identity: Mutex::new(identity_of(path)) };
        Ok(Self { listener, file: Arc::new(file), told: String::new() })
    }

    /// Its file, for whoever removes it at the end.
    pub(crate) fn file(&self) -> Arc<OwnSocketFile> {
        self.file.clone()
    }

    /// The next connection. Dropped before it resolves, it loses none.
    pub(crate) async fn accept(&mut self) -> io::Result<UnixStream> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => return accepted.map(|(stream, _)| stream),
                () = tokio::time::sleep(LOOK_EVERY) => self.renew_if_lost(),
            }
        }
    }

    fn renew_if_lost(&mut self) {
        if self.file.is_in_place() {
            return;
        }
        let path = self.file.path.display();
        match open_socket(&self.file.path) {
            Ok(listener) => {
                tracing::warn!("the socket {path} was removed; it is made anew");
                self.file.note_made();
                (self.listener, self.told) = (listener, String::new());
            }
            // Another process may serve there: it is left alone until it has gone.
            Err(problem) if problem != self.told => {
                tracing::error!("the socket {path} was removed, and cannot be made anew yet: {problem}");
                self.told = problem;
            }
            Err(_) => {}
        }
    }
}

/// The socket's file as it was made: another one in its place belongs to another process.
#[derive(Debug)]
pub(crate) struct OwnSocketFile {
    path: PathBuf,
    identity: Mutex<Option<(u64, u64)>>,
}

impl OwnSocketFile {
    /// Removes the file, if it is still the one that was made here.
    pub(crate) fn remove(&self) {
        if self.is_in_place() {
            remove_socket(&self.path);
        }
    }

    fn is_in_place(&self) -> bool {
        let own = *self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        own.is_some() && identity_of(&self.path) == own
    }

    fn note_made(&self) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity_of(&self.path);
    }
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
