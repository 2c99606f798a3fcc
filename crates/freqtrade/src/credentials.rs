//! The file with the credentials of freqtrade's API. A refusal names the line and quotes nothing of it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use botops_core::env_file;
use secrecy::{ExposeSecret, SecretString};

/// A longer file is no file of credentials.
const LONGEST_FILE: u64 = 16 * 1024;

/// How the adapter proves to freqtrade who it is.
#[derive(Debug, Clone)]
pub(crate) enum UpstreamProof {
    /// Name and password of `api_server`, which every path takes.
    Password {
        /// `api_server.username`.
        username: String,
        /// `api_server.password`.
        password: SecretString,
    },
    /// A token that was made by other means; freqtrade ends it after a time, which a person then has to renew.
    Token(SecretString),
}

/// What the file holds.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamCredentials {
    /// The proof that goes with every call.
    pub proof: UpstreamProof,
    /// `api_server.ws_token`, when the file names it; else a token is asked for with the password.
    pub websocket_token: Option<SecretString>,
    /// Others than its owner may read the file, which the log should say.
    pub is_shared: bool,
}

impl UpstreamCredentials {
    /// Reads the file.
    ///
    /// # Errors
    /// One sentence for the person who starts the adapter.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let named = |problem: &str| format!("--credentials: {problem}");
        let file = File::open(path).map_err(|error| named(&format!("the file cannot be read ({error})")))?;
        let is_shared = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
        let mut bytes = Vec::new();
        let read = file.take(LONGEST_FILE + 1).read_to_end(&mut bytes);
        read.map_err(|error| named(&format!("the file cannot be read ({error})")))?;
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(named("the file is too long to be one of credentials"));
        }
        let read = Self::parse(&bytes).map_err(|problem| named(&problem))?;
        Ok(Self { is_shared, ..read })
    }

    /// Every value that must appear in no output.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        let proof = match &self.proof {
            UpstreamProof::Password { password, .. } => password,
            UpstreamProof::Token(token) => token,
        };
        std::iter::once(proof).chain(&self.websocket_token).cloned().collect()
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let pairs = env_file::parse(bytes).map_err(|wrong| {
            let lines: Vec<String> =
                wrong.iter().map(|line| format!("line {}: {}", line.line, line.problem)).collect();
            lines.join("; ")
        })?;
        let value = |name: &str| {
            let found = pairs.iter().rev().find(|(given, _)| given.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let secret = |name: &str| value(name).map(SecretString::from);
        let proof = match (value("username"), secret("password"), secret("token")) {
            (Some(username), Some(password), None) => UpstreamProof::Password { username, password },
            (None, None, Some(token)) => UpstreamProof::Token(token),
            (_, _, Some(_)) => {
                return Err("it has both a token and a name or password; keep one of them".to_owned());
            }
            _ => return Err("it needs the lines username= and password=, or token= alone".to_owned()),
        };
        let is_header = |text: &str| text.chars().all(|c| !c.is_control());
        let plain = proof_texts(&proof).iter().all(|text| is_header(text));
        if !plain {
            return Err("a value has characters that no request can carry".to_owned());
        }
        Ok(Self { proof, websocket_token: secret("ws_token"), is_shared: false })
    }
}

fn proof_texts(proof: &UpstreamProof) -> Vec<&str> {
    match proof {
        UpstreamProof::Password { username, password } => vec![username, password.expose_secret()],
        UpstreamProof::Token(token) => vec![token.expose_secret()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_or_a_token_is_read_and_shown_nowhere() {
        let file = b"# of the bot\nusername=operator\npassword=\"canary word\"\nws_token=canary-two\n";
        let read = UpstreamCredentials::parse(file).unwrap();
        let UpstreamProof::Password { username, password } = &read.proof else { panic!("a password") };
        assert_eq!((username.as_str(), password.expose_secret()), ("operator", "canary word"));
        assert_eq!(read.secrets().len(), 2);
        assert!(!format!("{read:?}").contains("canary"));
        let token = UpstreamCredentials::parse(b"token=canary-three").unwrap();
        assert!(matches!(token.proof, UpstreamProof::Token(_)) && !format!("{token:?}").contains("canary"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_said_without_a_value() {
        for file in
            ["", "username=a", "password=canary", "token=canary\nusername=a\npassword=canary", "canary"]
        {
            let problem = UpstreamCredentials::parse(file.as_bytes()).unwrap_err();
            assert!(!problem.contains("canary"), "{problem}");
        }
    }
}
