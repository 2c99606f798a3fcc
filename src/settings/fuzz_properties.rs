//! What must hold whatever the settings and the keys file say: the fuzz targets `settings` and `keys_file`, and the replay of
//! their seeds, go by it.

use botops_core::env_file;
use botops_http::{ApiKeys, KeyFile};
use secrecy::{ExposeSecret, SecretString};

use super::{SettingSources, Settings};

/// A text that stands in one value, and must stand in no refusal.
const SECRET: &str = "bo_c4n4ryS3cr3tC4n4ry";

/// Longest refusal, in characters: a name of a setting that is not known is shown.
const LONGEST_REFUSAL: usize = 600;

/// Reads a keys file.
pub(crate) fn check_keys_file(place: u16, text: &str) {
    let mut text = text.to_owned();
    let mut at = usize::from(place) % (text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    // A keys file by mistake holds the keys themselves, anywhere.
    let mut with_secret = text.clone();
    with_secret.insert_str(at, SECRET);
    for text in [&mut text, &mut with_secret] {
        match KeyFile::parse(text) {
            Ok(file) => check_keys(&file),
            Err(refusal) => check_refusal(&refusal),
        }
    }
}

fn check_keys(file: &KeyFile) {
    let written = serde_json::to_string(file).expect("a keys file is plain data");
    let again =
        KeyFile::parse(&written).unwrap_or_else(|why| panic!("cannot be read again: {why}: {written}"));
    assert_eq!(serde_json::to_string(&again).ok().as_ref(), Some(&written));
    let mut digests: Vec<&str> = file.keys.iter().map(|key| key.sha256.as_str()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), file.keys.len(), "one key under two names: which of them counts?");
    let keys = ApiKeys::new(SecretString::from("operator"), file, 60);
    assert_eq!(format!("{keys:?}"), format!("Keys({} known)", file.keys.len() + 1));
}

/// Reads settings that stand in a file such as `.env`; a secret is put behind the first `=` at or behind `place`.
pub(crate) fn check_settings(place: u16, file: &[u8]) {
    let mut file = file.to_vec();
    let from = usize::from(place) % (file.len() + 1);
    if let Some(equals) = file.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'=')) {
        let at = from + equals + 1;
        file.splice(at..at, SECRET.bytes());
    }
    let pairs = match env_file::parse(&file) {
        Ok(pairs) => pairs,
        Err(wrong) => return wrong.iter().for_each(|line| check_refusal(&line.said("BOT_"))),
    };
    let written: String = pairs.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    assert_eq!(env_file::parse(written.as_bytes()).as_ref(), Ok(&pairs), "it reads differently: {written}");
    // A folder or a file of this machine is no input of this.
    let sources = SettingSources::of(pairs.iter().filter(|(name, _)| !name.ends_with("_FILE")).cloned());
    match Settings::check(&sources) {
        Ok(settings) => check_taken(&settings),
        Err(wrong) => {
            assert!(!wrong.is_empty());
            wrong.iter().for_each(|error| check_refusal(&error.to_string()));
        }
    }
}

fn check_taken(settings: &Settings) {
    let shown = format!("{settings:?}");
    for secret in settings.secrets() {
        let secret = secret.expose_secret();
        assert!(!secret.contains(SECRET) || !shown.contains(SECRET), "a secret is shown: {shown}");
    }
    settings.warnings().iter().for_each(|warning| check_refusal(warning));
}

/// A refusal is one bounded line, and quotes no value.
fn check_refusal(said: &str) {
    assert!(!said.contains(SECRET), "a value stands in its refusal: {said}");
    assert!(!said.chars().any(char::is_control), "it is not one line: {said:?}");
    assert!(said.chars().count() <= LONGEST_REFUSAL, "a refusal of {} characters", said.chars().count());
}

fn quoted(value: &str) -> String {
    if value.contains('\'') {
        let escaped = value.chars().flat_map(|c| {
            let escape = matches!(c, '"' | '\\' | '$' | '`').then_some('\\');
            escape.into_iter().chain([c])
        });
        return format!("\"{}\"", escaped.collect::<String>());
    }
    format!("'{value}'")
}
