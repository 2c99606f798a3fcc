//! Collects everything that is wrong with the config of a checker that is to be added.

use std::collections::BTreeSet;

use botops_core::text::clean;
use serde_json::Value;

use super::address_guard::AddressGuard;
use crate::health::defects::FieldDefects;

/// The prefix of variables that a checker may name; otherwise the API could send any other secret to any address.
const SECRET_PREFIX: &str = "BOT_CHECK_SECRET_";

/// What lies at the path that a checker names, as it was looked up before the review: a file system that is gone would
/// hold up the review itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileLook {
    /// The checker names no path.
    NotAsked,
    /// An existing file.
    File,
    /// Nothing, or something that is no file, such as a folder or a pipe.
    NoFile,
    /// The file system did not answer in time.
    Hangs,
}

/// A checker under review: what it is checked against, and the defects found.
#[derive(Debug)]
pub(crate) struct CheckerReview<'a> {
    guard: &'a AddressGuard,
    /// Names of the secrets that are set.
    secrets: &'a BTreeSet<String>,
    /// What lies at the path that the checker names.
    pub(crate) file: FileLook,
    pub(crate) defects: FieldDefects,
    /// True when a defect is an address that only `BOT_CHECK_ALLOW` would allow.
    pub(crate) address_closed: bool,
}

impl<'a> CheckerReview<'a> {
    pub(crate) fn new(guard: &'a AddressGuard, secrets: &'a BTreeSet<String>, file: FileLook) -> Self {
        Self { guard, secrets, file, defects: FieldDefects::default(), address_closed: false }
    }

    /// Checks the name of a variable that holds a secret: it has the prefix and is set.
    pub(crate) fn review_secret(&mut self, pointer: &str, name: &str) {
        let plain = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if !plain || !name.starts_with(SECRET_PREFIX) || name.len() > 100 {
            // The value may be the secret itself, sent by mistake: it is not repeated.
            let expected = "the NAME of an environment variable that begins with BOT_CHECK_SECRET_";
            self.defects.wrong(pointer, Value::Null, expected);
        } else if !self.secrets.contains(name) {
            self.defects.wrong(pointer, name, "a variable that is set in botops' environment");
        }
    }

    /// Checks a URL that the check will request.
    pub(crate) fn review_url(&mut self, pointer: &str, text: &str) {
        let shown = || clean(text.split(['?', '#']).next().unwrap_or_default(), 120);
        match text.parse::<reqwest::Url>() {
            Err(_) => self.defects.wrong(pointer, shown(), "an http or https URL"),
            Ok(_) if text.len() > 1_000 => self.defects.wrong(pointer, shown(), "at most 1000 characters"),
            Ok(url) => {
                if let Err(expected) = self.guard.check_url(&url) {
                    self.address_closed |= expected.contains("address");
                    // User and password in the URL are not repeated.
                    let host = url.host_str().unwrap_or_default().to_owned();
                    self.defects.wrong(pointer, format!("{}://{host}", url.scheme()), expected);
                }
            }
        }
    }
}
