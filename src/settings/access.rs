//! Who may call the API, and from where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use botops_http::KeyFile;

use super::reader::SettingsReader;
use super::table::{
    BOT_API_ALLOWED_HOSTS, BOT_API_AUTH_TOKEN, BOT_API_CORS_ORIGINS, BOT_API_HOST, BOT_API_KEYS_FILE,
    BOT_API_PORT,
};

/// Shortest operator key that is accepted, in characters: a random key of this length cannot be guessed.
const TOKEN_MIN: usize = 24;

pub(super) fn read_address(reader: &mut SettingsReader<'_>) -> SocketAddr {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let host = reader.parsed(&BOT_API_HOST, localhost, |text| {
        if text == "localhost" { Some(localhost) } else { text.parse().ok() }
    });
    SocketAddr::new(host, reader.number(&BOT_API_PORT, 0))
}

pub(super) fn read_operator_key(reader: &mut SettingsReader<'_>) -> SecretString {
    const REMEDY: &str = "Set it to at least 24 random characters; `botops key random` prints a good one.";
    let row = &BOT_API_AUTH_TOKEN;
    let token = SecretString::from(reader.sources.get(row).unwrap_or_default().to_owned());
    let length = token.expose_secret().chars().count();
    let plain = token.expose_secret().chars().all(|c| c.is_ascii_graphic());
    let mut letters: Vec<char> = token.expose_secret().chars().collect();
    letters.sort_unstable();
    letters.dedup();
    if length == 0 {
        reader.refuse(row, "the operator's key is not set", REMEDY);
    } else if length < TOKEN_MIN {
        let problem = format!("the operator's key has {length} characters, fewer than {TOKEN_MIN}");
        reader.refuse(row, problem, REMEDY);
    } else if !plain {
        reader.refuse(row, "the operator's key has characters that do not fit into a header", REMEDY);
    } else if letters.len() < 6 {
        reader.refuse(row, "the operator's key repeats a few characters", REMEDY);
    }
    token
}

pub(super) fn read_named_keys(reader: &mut SettingsReader<'_>) -> KeyFile {
    let Some(path) = reader.path(&BOT_API_KEYS_FILE) else { return KeyFile::default() };
    KeyFile::read(&path).unwrap_or_else(|problem| {
        let problem = format!("the keys file cannot be used ({problem})");
        let remedy = "Make it with `botops key new --file FILE --id NAME --scopes read`.";
        reader.refuse(&BOT_API_KEYS_FILE, problem, remedy);
        KeyFile::default()
    })
}

pub(super) fn read_allowed_hosts(reader: &mut SettingsReader<'_>) -> Vec<String> {
    let remedy = "List names such as `ops.example.com` or `ops.example.com:8443`, separated by commas.";
    reader.list(&BOT_API_ALLOWED_HOSTS, "is no host name", remedy, |host| {
        let is_plain =
            host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
        is_plain.then(|| host.to_owned())
    })
}

pub(super) fn read_origins(reader: &mut SettingsReader<'_>) -> Vec<HeaderValue> {
    let remedy = "List origins such as https://ops.example.com, separated by commas; `*` is not taken.";
    reader.list(&BOT_API_CORS_ORIGINS, "is no origin", remedy, |text| {
        let is_origin = ["http://", "https://"].iter().any(|scheme| {
            text.strip_prefix(*scheme).is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
        });
        HeaderValue::from_str(text).ok().filter(|_| is_origin)
    })
}
