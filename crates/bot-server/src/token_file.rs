//! The token that who connects to a port has to know.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::http::{HeaderMap, header};
use botops_core::data_folder::make_private_folder;
use botops_core::durable_file::{self, PRIVATE};
use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

/// A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// The token of a file that its owner alone can read. It is never shown.
#[derive(Clone)]
pub struct ContractToken(Vec<u8>);

impl std::fmt::Debug for ContractToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContractToken")
    }
}

impl ContractToken {
    /// Reads the token of a file; one is made where there is none.
    ///
    /// # Errors
    /// One sentence that says what to change: the file cannot be used, others may read it, or its token is too short.
    pub fn read_or_make(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("the token file {}: {error}", path.display());
        let is_missing = match fs::metadata(path) {
            Ok(found) => found.len() == 0,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed(error)),
        };
        if is_missing {
            make_token_file(path).map_err(failed)?;
        }
        if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
            let path = path.display();
            return Err(format!("others may read the token file {path}: chmod 600 {path}"));
        }
        let token = fs::read(path).map_err(failed)?.trim_ascii().to_vec();
        if token.len() < SHORTEST_TOKEN {
            return Err(format!(
                "the token in {} has fewer than {SHORTEST_TOKEN} characters",
                path.display()
            ));
        }
        Ok(Self(token))
    }

    /// Whether a request with these headers shows the token.
    pub(crate) fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()) else {
            return false;
        };
        let Some((scheme, token)) = given.split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && token.trim_ascii().ct_eq(&self.0).into()
    }
}

fn make_token_file(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_private_folder(folder)?;
    }
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    durable_file::replace(path, format!("{}\n", HEXLOWER.encode(&random)).as_bytes(), PRIVATE, "bot_token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_the_whole_token_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("private/bot.token");
        let token = ContractToken::read_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(ContractToken::read_or_make(&path).unwrap().0, text.trim().as_bytes());
        let shows = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token.is_shown_by(&headers)
        };
        assert!(shows(&format!("Bearer {}", text.trim())) && shows(&format!("bearer {}", text.trim())));
        assert!(!shows("Bearer ") && !shows("") && !shows(text.trim()));
        assert!(
            !shows(&format!("Bearer {}", text.trim().get(1..).unwrap()))
                && !token.is_shown_by(&HeaderMap::new())
        );
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.token");
        fs::write(&path, "0123456789abcdef0123").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(ContractToken::read_or_make(&path).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        ContractToken::read_or_make(&path).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(ContractToken::read_or_make(&path).unwrap_err().contains("fewer than 16"));
    }
}
