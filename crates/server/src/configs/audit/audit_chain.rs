//! The audit's chain: how a line is sealed, and how a file of lines is verified. Pure.
//!
//! A line is one JSON object that ends in `,"mac":"<64 hex digits>"}`. The mac is
//! `HMAC-SHA256(key, prev || "\n" || every byte of the line before that ending)`, where `prev` is the mac of the line
//! before. It covers the exact bytes that were written, not a second rendering of them. The first line of a file is a
//! header; its `prev` is the last mac of the file before it.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use utoipa::ToSchema;

/// What separates a line's content from its mac.
const SEAL: &str = ",\"mac\":\"";

/// The event of a file's first line.
pub(super) const HEADER_EVENT: &str = "header";

/// Where the chain ends. A client that keeps it can find out later that the file was cut shorter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// The number of the last line.
    pub seq: u64,
    /// The MAC of that line, as hex digits.
    pub mac: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// True when every line is as it was written and none is missing.
    pub valid: bool,
    /// Good lines, counted from the start of the file.
    pub records: u64,
    /// The last good line; `null` when no line is good.
    pub head: Option<AuditHead>,
    /// The number of the first line that is changed, missing, moved or not written by botops; `null` when there is
    /// none.
    pub first_bad_seq: Option<u64>,
    /// What is wrong with that line; `null` when `valid` is true.
    pub reason: Option<String>,
}

/// The secret key of the chain.
#[derive(Debug, Clone)]
pub(super) struct AuditKey(SecretSlice<u8>);

impl AuditKey {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(SecretSlice::from(bytes))
    }

    /// A name for the key that does not reveal it.
    pub(crate) fn id(&self) -> String {
        let mac = self.mac(b"key id");
        mac.get(..16).unwrap_or_default().to_owned()
    }

    /// A digest of a secret value: equal values have equal digests, and nobody without the key can try values.
    pub(crate) fn mask(&self, value: &Value) -> Value {
        let mac = self.mac(value.to_string().as_bytes());
        Value::String(format!("hmac:{}", mac.get(..12).unwrap_or_default()))
    }

    fn mac(&self, bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(&self.hmac(bytes).finalize().into_bytes())
    }

    fn hmac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("HMAC takes a key of any length");
        hmac.update(bytes);
        hmac
    }

    fn seal_of(&self, prev: &str, content: &str) -> Hmac<Sha256> {
        let mut hmac = self.hmac(prev.as_bytes());
        hmac.update(b"\n");
        hmac.update(content.as_bytes());
        hmac
    }
}

/// Makes the line that follows `before`, with its newline, and says where the chain ends then.
pub(super) fn seal_record(
    key: &AuditKey,
    before: &AuditHead,
    record: Map<String, Value>,
) -> (String, AuditHead) {
    let seq = before.seq + 1;
    let mut line = Map::new();
    line.insert("seq".to_owned(), json!(seq));
    line.extend(record);
    line.insert("prev".to_owned(), json!(before.mac));
    let mut line = Value::Object(line).to_string();
    line.pop();
    let mac = data_encoding::HEXLOWER.encode(&key.seal_of(&before.mac, &line).finalize().into_bytes());
    line.push_str(SEAL);
    line.push_str(&mac);
    line.push_str("\"}\n");
    (line, AuditHead { seq, mac })
}

/// What a walk over a file's bytes found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChainWalk {
    /// Where each good line begins.
    pub offsets: Vec<u64>,
    /// The number of the first line.
    pub first_seq: u64,
    /// The last good line.
    pub head: Option<AuditHead>,
    /// How many bytes are good.
    pub good: u64,
    /// What follows the good bytes: nothing, or why the next line is not good.
    pub bad: Option<String>,
    /// True when what follows is one line without its end: a write that was cut off.
    pub torn: bool,
}

impl ChainWalk {
    /// The number of the last good line; the one before the first when there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.head.as_ref().map_or(self.first_seq - 1, |head| head.seq)
    }
}

/// Reads lines until one does not hold.
pub(super) fn walk_lines(key: &AuditKey, bytes: &[u8]) -> ChainWalk {
    let mut walk =
        ChainWalk { offsets: Vec::new(), first_seq: 1, head: None, good: 0, bad: None, torn: false };
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            walk.bad = Some("the line has no end".to_owned());
            walk.torn = true;
            return walk;
        };
        let line = rest.get(..length).unwrap_or_default();
        match check_line(key, walk.head.as_ref(), line) {
            Ok(head) => {
                if walk.head.is_none() {
                    walk.first_seq = head.seq;
                }
                walk.head = Some(head);
            }
            Err(reason) => {
                walk.bad = Some(reason.to_owned());
                return walk;
            }
        }
        walk.offsets.push(walk.good);
        at += length + 1;
        walk.good = at as u64;
    }
    walk
}

/// The number and mac of a line, if it holds and follows `before`.
fn check_line(key: &AuditKey, before: Option<&AuditHead>, line: &[u8]) -> Result<AuditHead, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "the line is not text")?;
    let (content, mac) = line.rsplit_once(SEAL).ok_or("the line has no mac")?;
    let mac = mac.strip_suffix("\"}").ok_or("the line does not end with its mac")?;
    let record: Value =
        serde_json::from_str(line).map_err(|_| "the line is not JSON, or not written by botops")?;
    let seq = record["seq"].as_u64().ok_or("the line has no number")?;
    let prev = record["prev"].as_str().ok_or("the line does not say what it follows")?;
    match before {
        Some(before) if seq != before.seq + 1 => return Err("another line stands in its place"),
        Some(before) if prev != before.mac => return Err("the line follows another one"),
        None if record["event"] != HEADER_EVENT => return Err("the file does not begin with its header"),
        _ => {}
    }
    let bytes = data_encoding::HEXLOWER.decode(mac.as_bytes()).map_err(|_| "the mac is not one")?;
    key.seal_of(prev, content)
        .verify_slice(&bytes)
        .map_err(|_| "the line was changed, or has another key")?;
    Ok(AuditHead { seq, mac: mac.to_owned() })
}

/// What the bytes of a file are worth, held against where the chain should end, if that is known.
pub(super) fn verdict_on(walk: &ChainWalk, known: Option<&AuditHead>) -> AuditVerdict {
    let reached = walk.last_seq();
    let mut reason = walk.bad.clone();
    if let Some(known) = known.filter(|_| reason.is_none()) {
        if known.seq > reached {
            reason = Some(format!("lines up to {} are missing at the end", known.seq));
        } else if known.seq == reached && walk.head.as_ref().is_some_and(|head| head.mac != known.mac) {
            reason = Some("the file belongs to another chain".to_owned());
        }
    }
    AuditVerdict {
        valid: reason.is_none(),
        records: walk.offsets.len() as u64,
        head: walk.head.clone(),
        first_bad_seq: reason.is_some().then_some(reached + 1),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: u64 = 12;

    fn key() -> AuditKey {
        AuditKey::new(b"a key of thirty-two bytes, or so".to_vec())
    }

    fn record(event: &str, text: &str) -> Map<String, Value> {
        json!({"event": event, "reason": text}).as_object().unwrap().clone()
    }

    static FILE: std::sync::LazyLock<(Vec<String>, AuditHead)> = std::sync::LazyLock::new(make);

    fn file() -> (Vec<String>, AuditHead) {
        FILE.clone()
    }

    fn make() -> (Vec<String>, AuditHead) {
        let mut head = AuditHead::default();
        let mut lines = Vec::new();
        for n in 0..LINES {
            let event = if n == 0 { HEADER_EVENT } else { "committed" };
            let (line, next) =
                seal_record(&key(), &head, record(event, &format!("change {n}, \"mac\":\"no\"")));
            lines.push(line);
            head = next;
        }
        (lines, head)
    }

    fn verdict(bytes: &[u8], head: &AuditHead) -> AuditVerdict {
        verdict_on(&walk_lines(&key(), bytes), Some(head))
    }

    #[track_caller]
    fn bad(lines: &[String], head: &AuditHead, first: u64) {
        let verdict = verdict(lines.concat().as_bytes(), head);
        assert_eq!((verdict.valid, verdict.first_bad_seq), (false, Some(first)), "{verdict:?}");
    }

    #[test]
    fn an_untouched_file_is_valid() {
        let (lines, head) = file();
        let verdict = verdict(lines.concat().as_bytes(), &head);
        assert!(verdict.valid, "{verdict:?}");
        assert_eq!((verdict.records, verdict.head), (LINES, Some(head)));
    }

    #[test]
    fn every_kind_of_tampering_is_found_by_number() {
        let (lines, head) = file();
        let with = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            lines
        };
        bad(&with(&|lines| drop(lines.remove(4))), &head, 5);
        bad(&with(&|lines| lines.swap(4, 7)), &head, 5);
        bad(&with(&|lines| lines.insert(4, lines[3].clone())), &head, 5);
        bad(&with(&|lines| lines.truncate(9)), &head, 10);
        bad(&with(&|lines| drop(lines.remove(0))), &head, 1);
        bad(&with(&|lines| lines[5] = lines[5].replace("change 5", "change 6")), &head, 6);
        bad(&with(&|lines| lines.clear()), &head, 1);
        let other = AuditKey::new(b"another key".to_vec());
        assert!(!verdict_on(&walk_lines(&other, lines.concat().as_bytes()), None).valid);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn one_changed_byte_is_found_at_its_line(place in 0.0_f64..1.0, bit in 0_u8..8) {
            let (lines, head) = file();
            let mut bytes = lines.concat().into_bytes();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                     reason = "a fraction of a small length")]
            let at = (place * bytes.len() as f64) as usize;
            let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            bytes[at] ^= 1 << bit;
            let verdict = verdict(&bytes, &head);
            prop_assert!(!verdict.valid);
            prop_assert_eq!(verdict.first_bad_seq, Some(line));
        }
    }
}
