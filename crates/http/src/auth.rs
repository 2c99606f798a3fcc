//! Keys, their scopes, and the actor of a request.
//!
//! A key is compared in constant time and never kept in a printable type. The full-access key comes from
//! `BOT_API_AUTH_TOKEN`; named keys with scopes and an expiry come from a file that holds SHA-256 digests only (a slow
//! hash would add nothing: keys are 256 random bits). Keys are read from headers alone: no cookies, no keys in URLs.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use botops_core::text::sha256_hex;
use chrono::{DateTime, Utc};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::limits::KeyRate;
use botops_core::error::{Code, Error};

/// Name of the full-access key; no key of the file may have it, or the audit could not tell them apart.
const OPERATOR: &str = "operator";

/// Names under which events, runs and the audit have what botops does by itself.
const OWN_NAMES: [&str; 3] = ["botops", "recovery", "system"];

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a key may do. `admin` includes all other scopes; none of the others includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// Read everything; change nothing.
    Read,
    /// Run workflows and control verbs.
    Operate,
    /// Change the bot's config.
    Config,
    /// All other scopes, and managing health checkers.
    Admin,
}

impl KeyScope {
    pub const ALL: [Self; 4] = [Self::Read, Self::Operate, Self::Config, Self::Admin];

    /// The scope's name as in answers, the keys file and the API document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Config => "config",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text.trim());
        known.ok_or_else(|| "use read, operate, config or admin".to_owned())
    }
}

/// The scopes of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct KeyScopes(BTreeSet<KeyScope>);

impl KeyScopes {
    pub fn all() -> Self {
        Self(KeyScope::ALL.into())
    }

    /// Whether this scope, or `admin`, is in the set.
    pub fn allow(&self, scope: KeyScope) -> bool {
        self.0.contains(&scope) || self.0.contains(&KeyScope::Admin)
    }

    /// Every scope that the set allows: all of them for `admin`.
    pub fn effective(&self) -> Vec<KeyScope> {
        KeyScope::ALL.into_iter().filter(|scope| self.allow(*scope)).collect()
    }
}

impl FromIterator<KeyScope> for KeyScopes {
    fn from_iter<I: IntoIterator<Item = KeyScope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// Who sends a request: the key's name and scopes, never the key itself. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The key's name, as recorded in the audit and the log.
    pub key_id: Arc<str>,
    /// What the key may do.
    pub scopes: Arc<KeyScopes>,
    /// When the key expires; `None` for never.
    pub expires_at: Option<DateTime<Utc>>,
    /// Requests a minute this key may send.
    pub rate_limit: u32,
    /// Id of the request that the actor is sending.
    pub request_id: Arc<str>,
    /// What the client calls itself (`User-Agent`, or the client info of MCP), cleaned. Untrusted text, set only where
    /// the request changes something.
    pub client: Option<Arc<str>>,
}

impl Actor {
    /// Refuses unless the key has the scope.
    ///
    /// # Errors
    /// [`Code::AuthScopeMissing`] naming the scope.
    pub fn require_scope(&self, scope: KeyScope) -> Result<(), Error> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        let has: Vec<_> = self.scopes.effective().into_iter().map(KeyScope::as_str).collect();
        Err(Error::new(Code::AuthScopeMissing)
            .detail(format!(
                "this needs the scope `{scope}`; the key `{}` has: {}",
                self.key_id,
                has.join(", ")
            ))
            .context("scope", scope.as_str())
            .context("has", has))
    }
}

/// Takes the actor that the guard put into the request; the handler of an operation that needs a key always finds one.
impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Error::new(Code::AuthKeyInvalid))
    }
}

/// One named key of the keys file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The key's name: 1 to 64 visible ASCII characters, unique in the file.
    pub id: String,
    /// SHA-256 of the key, lower-case hex.
    pub sha256: String,
    /// What it may do.
    pub scopes: KeyScopes,
    /// When it expires; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// The keys file: `{"keys": [{"id", "sha256", "scopes", "expires_at"}]}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    pub keys: Vec<KeyRecord>,
}

impl KeyFile {
    /// Reads a keys file.
    ///
    /// # Errors
    /// One sentence that says what is wrong with the file and where. It quotes nothing of the file, which may contain
    /// the keys themselves by mistake.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        Self::parse(&text)
    }

    /// Reads the text of a keys file.
    ///
    /// # Errors
    /// As [`KeyFile::read`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let file: Self = serde_json::from_str(text).map_err(|error| {
            let what = if error.is_data() { Self::FORM } else { "it is not JSON" };
            format!("line {}, column {}: {what}", error.line(), error.column())
        })?;
        file.check()?;
        Ok(file)
    }

    /// Whether botops would take these keys.
    ///
    /// # Errors
    /// One sentence that names the first key that it would not take, by its number.
    pub fn check(&self) -> Result<(), String> {
        let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for (number, key) in (1..).zip(&self.keys) {
            let digest = HEXLOWER.decode(key.sha256.as_bytes()).ok();
            if digest.is_none_or(|digest| digest.len() != 32) {
                return Err(format!("key {number} has no SHA-256 of 64 lower-case hex digits"));
            }
            if key.id.is_empty() || key.id.len() > 64 || !key.id.chars().all(|c| c.is_ascii_graphic()) {
                return Err(format!("the id of key {number} is not 1 to 64 visible ASCII characters"));
            }
            if key.id.eq_ignore_ascii_case(OPERATOR) {
                return Err(format!(
                    "the id of key {number} is `{OPERATOR}`, the name of BOT_API_AUTH_TOKEN's key"
                ));
            }
            if let Some(name) = OWN_NAMES.iter().find(|name| key.id.eq_ignore_ascii_case(name)) {
                return Err(format!(
                    "the id of key {number} is `{name}`, under which botops tells what it does by itself"
                ));
            }
            if !names.insert(key.id.as_str()) {
                return Err(format!("the id of key {number} stands twice"));
            }
            if !digests.insert(key.sha256.as_str()) {
                return Err(format!(
                    "key {number} is another one under a second id: nobody could tell who used it"
                ));
            }
        }
        Ok(())
    }

    const FORM: &str = "it has another form than {\"keys\": [{\"id\", \"sha256\", \"scopes\": [\"read\", \"operate\", \
                        \"config\", \"admin\"], \"expires_at\"}]}";
}

/// A new random key, and its record for the keys file.
///
/// # Errors
/// When the system provides no randomness.
pub fn new_key(
    id: String,
    scopes: KeyScopes,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(SecretString, KeyRecord), String> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let key = format!("bo_{}", BASE64URL_NOPAD.encode(&random));
    let sha256 = sha256_hex(key.as_bytes());
    Ok((SecretString::from(key), KeyRecord { id, sha256, scopes, expires_at }))
}

/// One key with what the guard checks of it.
pub(super) struct KnownKey {
    digest: [u8; 32],
    pub(super) actor: Actor,
    pub(super) rate: KeyRate,
}

/// Why a request could not be assigned to a key.
pub(super) struct UnidentifiedRequest {
    /// [`Code::AuthKeyInvalid`] without a key or with a wrong one, or [`Code::AuthKeyExpired`].
    pub(super) error: Error,
    /// Whether an unknown key was sent. Only this counts against the address: a browser that opens a page sends no key,
    /// and an expired key was not guessed.
    pub(super) is_guess: bool,
}

/// All keys botops accepts; fixed while the process runs.
pub struct ApiKeys {
    operator: SecretString,
    known: Vec<KnownKey>,
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} known)", self.known.len())
    }
}

impl ApiKeys {
    /// The operator's key and the named ones, each with a rate of its own (`rate_limit` requests a minute).
    pub fn new(operator: SecretString, file: &KeyFile, rate_limit: u32) -> Self {
        let actor = |id: &str, scopes: KeyScopes, expires_at| Actor {
            key_id: id.into(),
            scopes: Arc::new(scopes),
            expires_at,
            rate_limit,
            request_id: Arc::from(""),
            client: None,
        };
        let digest = Sha256::digest(operator.expose_secret().as_bytes()).into();
        let rate = || KeyRate::new(rate_limit);
        let mut known =
            vec![KnownKey { digest, actor: actor(OPERATOR, KeyScopes::all(), None), rate: rate() }];
        for key in &file.keys {
            let bytes = HEXLOWER.decode(key.sha256.as_bytes()).unwrap_or_default();
            let Ok(digest) = <[u8; 32]>::try_from(bytes) else { continue };
            known.push(KnownKey {
                digest,
                actor: actor(&key.id, key.scopes.clone(), key.expires_at),
                rate: rate(),
            });
        }
        Self { operator, known }
    }

    /// Finds the key that the request carries.
    pub(super) fn identify(&self, headers: &HeaderMap) -> Result<&KnownKey, UnidentifiedRequest> {
        let Some(given) = given(headers) else {
            let error = Error::new(Code::AuthKeyInvalid).detail("the request carries no API key");
            return Err(UnidentifiedRequest { error, is_guess: false });
        };
        let Some(known) = self.find(given) else {
            let error = Error::new(Code::AuthKeyInvalid).detail("botops does not know this API key");
            return Err(UnidentifiedRequest { error, is_guess: true });
        };
        if known.actor.expires_at.is_some_and(|end| end <= Utc::now()) {
            let error = Error::new(Code::AuthKeyExpired).context("key", &*known.actor.key_id);
            return Err(UnidentifiedRequest { error, is_guess: false });
        }
        Ok(known)
    }

    fn find(&self, given: &[u8]) -> Option<&KnownKey> {
        // The operator's key is compared in plain: hashing it on every request would be the guard's largest cost.
        if is_same(given, self.operator.expose_secret().as_bytes()) {
            return self.known.first();
        }
        let digest: [u8; 32] = Sha256::digest(given).into();
        // Every record is compared, so the time does not reveal a key's position in the list.
        let mut found = None;
        for known in &self.known {
            if bool::from(known.digest.ct_eq(&digest)) {
                found = Some(known);
            }
        }
        found
    }
}

/// Whether two texts are equal, in a time that reveals nothing but their lengths.
///
/// Eight bytes at a time: byte by byte this would be the largest part of the guard's work.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    let pairs = words.iter().zip(other_words);
    let words_agree = pairs.fold(subtle::Choice::from(1), |agree, (one, other)| {
        agree & u64::from_ne_bytes(*one).ct_eq(&u64::from_ne_bytes(*other))
    });
    one.len() == other.len() && bool::from(words_agree & rest.ct_eq(other_rest))
}

/// The key in `X-API-Key` or `Authorization`. An empty header, as an unset variable leaves it, counts as no key.
///
/// hyper has trimmed the value already.
fn given(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get(&API_KEY)
        && !key.is_empty()
    {
        return Some(key.as_bytes());
    }
    let bearer = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = bearer.split_at_checked(7)?;
    let key = key.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_a_name_under_which_something_else_acts() {
        let check = |id: &str| {
            let sha256 = "ab".repeat(32);
            KeyFile::parse(
                &serde_json::json!({"keys": [{"id": id, "sha256": sha256, "scopes": ["read"]}]}).to_string(),
            )
        };
        for id in ["operator", "Operator", "botops", "recovery", "System"] {
            assert!(check(id).is_err_and(|why| why.contains(&id.to_lowercase())), "{id}");
        }
        assert!(check("recovery-watcher").is_ok());
    }
}
