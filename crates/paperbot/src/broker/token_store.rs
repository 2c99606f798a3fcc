//! The file of a broker's token pair, written before the pair's first use.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::private_file::read_private;
use botops_core::durable_file;

/// A token pair and what is known about it. Debug output leaves the secrets out.
#[derive(Debug, Clone)]
pub struct TokenPair {
    /// Sent with every call.
    pub access: SecretString,
    /// Exchanged for the next pair; the broker accepts it once. `None` when the broker gave none.
    pub refresh: Option<SecretString>,
    /// When the pair was issued.
    pub issued_at: DateTime<Utc>,
    /// When it expires; `None` when the broker did not say.
    pub expires_at: Option<DateTime<Utc>>,
    /// Device token that the account has approved; another one would need another approval.
    pub device: SecretString,
}

#[derive(Serialize, Deserialize)]
struct StoredTokens {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    issued_at: DateTime<Utc>,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
    device_token: String,
}

/// Handle to the token file.
#[derive(Debug, Clone)]
pub struct TokenStore {
    path: PathBuf,
}

impl TokenStore {
    /// Names the file; it is not touched yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The stored pair; `None` when there is no file.
    pub fn load(&self) -> io::Result<Option<TokenPair>> {
        let Some(bytes) = read_private(&self.path)? else { return Ok(None) };
        // The parser's own error could quote the file, so only its position is reported.
        let stored: StoredTokens = serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::other(format!("not a token file (line {})", error.line())))?;
        Ok(Some(TokenPair {
            access: stored.access_token.into(),
            refresh: stored.refresh_token.map(Into::into),
            issued_at: stored.issued_at,
            expires_at: stored.expires_at,
            device: stored.device_token.into(),
        }))
    }

    /// Stores the pair. After `Ok`, a power failure does not lose it.
    pub fn save(&self, tokens: &TokenPair) -> io::Result<()> {
        let stored = StoredTokens {
            access_token: tokens.access.expose_secret().to_owned(),
            refresh_token: tokens.refresh.as_ref().map(|token| token.expose_secret().to_owned()),
            issued_at: tokens.issued_at,
            expires_at: tokens.expires_at,
            device_token: tokens.device.expose_secret().to_owned(),
        };
        let bytes = serde_json::to_vec_pretty(&stored).expect("strings and times serialize");
        durable_file::replace(&self.path, &bytes, durable_file::PRIVATE, "session")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tokens(access: &str) -> TokenPair {
        TokenPair {
            access: access.to_owned().into(),
            refresh: Some("refresh-1".to_owned().into()),
            issued_at: DateTime::UNIX_EPOCH,
            expires_at: None,
            device: "device-1".to_owned().into(),
        }
    }

    #[test]
    fn a_saved_pair_comes_back_and_only_the_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let store = TokenStore::new(&path);
        assert!(store.load().unwrap().is_none());
        store.save(&tokens("one")).unwrap();
        store.save(&tokens("two")).unwrap();
        assert_eq!(store.load().unwrap().unwrap().access.expose_secret(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_that_others_may_read_is_put_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        TokenStore::new(&path).save(&tokens("one")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        TokenStore::new(&path).load().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_is_an_error_that_quotes_nothing_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        fs::write(&path, "{\"access_token\": \"canary-secret\", ").unwrap();
        let error = TokenStore::new(&path).load().unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
        assert!(fs::read_to_string(&path).unwrap().contains("canary"), "the file was not touched");
    }

    #[test]
    fn a_huge_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        fs::write(&path, vec![b' '; 70_000]).unwrap();
        assert!(TokenStore::new(&path).load().is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", tokens("canary-access"));
        assert!(
            !shown.contains("canary") && !shown.contains("refresh-1") && !shown.contains("device-1"),
            "{shown}"
        );
    }
}
