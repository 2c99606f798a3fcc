//! Reads an answer whose parts may be wrong.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::json_text::{
    PathStep, RawMembers, pointer_of, quoted, raw_items, replaced, span_of, to_json_text, with_member,
    without,
};
use super::unreadable::UnreadablePart;
use botops_core::object_reader::{ByName, read_json_bytes, read_json_text};

/// Most repairs of one part; one that needs more is left out whole.
const MOST_REPAIRS: usize = 48;

/// Unreadable parts that are kept by name; more are counted.
pub(in crate::bots) const MOST_NAMED: usize = 50;

/// Unreadable parts that a sentence names.
const MOST_IN_A_SENTENCE: usize = 5;

/// A part that is larger than this is not repaired: it is left out whole.
const LARGEST_REPAIRED: usize = 512 * 1024;

/// Most repairs of one answer; what needs more after that is left out.
const MOST_REPAIRS_OF_ANSWER: usize = 4_000;

/// Most items of a list that are looked at one by one when something in it cannot be read.
const MOST_ITEMS: usize = 20_000;

/// The words for what is not known, as the sets of the contract write them.
const WORDS_FOR_UNKNOWN: [&str; 4] = ["OTHER", "other", "UNKNOWN", "unknown"];

/// What could be read of an answer, and what could not.
#[derive(Debug)]
pub(in crate::bots) struct TolerantAnswer<T> {
    /// The answer without what could not be read.
    pub value: T,
    /// What could not be read, at most 50 parts.
    pub unreadable: Vec<UnreadablePart>,
    /// How many further parts could not be read.
    pub unreadable_more: usize,
    /// How many items of each list are left out.
    pub lost_items: BTreeMap<String, usize>,
}

/// An answer of which nothing usable can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bots) struct UnreadableAnswer {
    /// Why, as one sentence.
    pub sentence: String,
    /// What is wrong in it, as far as that can be named.
    pub parts: Vec<UnreadablePart>,
}

impl From<String> for UnreadableAnswer {
    fn from(sentence: String) -> Self {
        Self { sentence, parts: Vec::new() }
    }
}

impl fmt::Display for UnreadableAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Reads an answer as one part: for answers that are small, or not made of parts. Members that are `required` and not
/// there are named, whether the rest can be read without them or not.
///
/// # Errors
/// When nothing usable can be read.
pub(in crate::bots) fn read_whole<T: DeserializeOwned>(
    call: &str,
    bytes: &[u8],
    required: &[(&str, &str)],
) -> Result<TolerantAnswer<T>, UnreadableAnswer> {
    let mut repair = Repair::new(call);
    let strict = read_json_bytes(bytes).ok();
    if required.is_empty()
        && let Some(value) = strict
    {
        return Ok(repair.answer(value));
    }
    let text = to_json_text(bytes);
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        return Err(not_json(&error).into());
    }
    if let Some(members) = RawMembers::of(&text) {
        repair.record_missing(&members, required);
    }
    if let Some(value) = strict {
        return Ok(repair.answer(value));
    }
    let Some(repaired) = repair.repaired::<T>(text, &[], &[]) else { return Err(repair.failure()) };
    let value = read_json_text(&repaired).map_err(|error| not_json(&error))?;
    Ok(repair.answer(value))
}

/// Reads an answer member by member, and lists item by item. Every member of `T` must have a default.
///
/// # Errors
/// When nothing usable can be read.
pub(in crate::bots) fn read_parts<T: DeserializeOwned>(
    call: &str,
    bytes: &[u8],
    required: &[(&str, &str)],
) -> Result<TolerantAnswer<T>, UnreadableAnswer> {
    let mut repair = Repair::new(call);
    // What is right is read as it stands: only a faulty answer is searched for what can be made readable.
    let strict = read_json_bytes(bytes).ok();
    let text =
        if strict.is_some() { String::from_utf8_lossy(bytes) } else { Cow::Owned(to_json_text(bytes)) };
    let members =
        RawMembers::of(&text).ok_or_else(|| match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => "the answer is not a JSON object".to_owned(),
            Err(error) => not_json(&error),
        })?;
    repair.record_missing(&members, required);
    if let Some(value) = strict.or_else(|| read_json_text(&text).ok()) {
        return Ok(repair.answer(value));
    }
    let mut parts = Vec::new();
    let mut readable = 0_usize;
    let mut names = HashSet::new();
    for (name, value) in members.0.iter().rev() {
        // Of two members with one name the last counts.
        if !names.insert(name.as_ref()) {
            repair.record(UnreadablePart::new(
                call,
                &format!("/{name}"),
                value.get(),
                "one member of this name",
            ));
            continue;
        }
        let part = repair.member::<T>(name, value.get());
        readable += usize::from(part.is_some());
        parts.extend(part);
    }
    if readable == 0 {
        return Err(repair.failure());
    }
    let whole = format!("{{{}}}", parts.join(","));
    let value = read_json_text(&without_repeats(&whole)).map_err(|error| not_json(&error))?;
    Ok(repair.answer(value))
}

/// The object with each member once: a repair may have put a `_raw` beside one that the bot sent as `null`.
fn without_repeats(text: &str) -> Cow<'_, str> {
    let Some(mut members) = RawMembers::of(text) else { return Cow::Borrowed(text) };
    // What says something goes before what does not; otherwise the first counts.
    members.0.sort_by_key(|(_, value)| value.get() == "null");
    let mut names = HashSet::new();
    members.0.retain(|(name, _)| names.insert(name.to_string()));
    Cow::Owned(members.to_text())
}

/// Collects what could not be read while the parts of one answer are repaired.
struct Repair<'c> {
    call: &'c str,
    unreadable: Vec<UnreadablePart>,
    more: usize,
    repairs: usize,
    lost_items: BTreeMap<String, usize>,
}

impl<'c> Repair<'c> {
    fn new(call: &'c str) -> Self {
        Self { call, unreadable: Vec::new(), more: 0, repairs: 0, lost_items: BTreeMap::new() }
    }

    fn record(&mut self, part: UnreadablePart) {
        if self.unreadable.len() < MOST_NAMED {
            self.unreadable.push(part);
        } else {
            self.more += 1;
        }
    }

    fn answer<T>(self, value: T) -> TolerantAnswer<T> {
        let Self { unreadable, more, lost_items, .. } = self;
        TolerantAnswer { value, unreadable, unreadable_more: more, lost_items }
    }

    fn record_missing(&mut self, members: &RawMembers<'_>, required: &[(&str, &str)]) {
        for (name, expected) in required {
            if !members.0.iter().any(|(member, _)| member == name) {
                self.record(UnreadablePart::new(self.call, &format!("/{name}"), "nothing", expected));
            }
        }
    }

    fn failure(self) -> UnreadableAnswer {
        let named: Vec<String> =
            self.unreadable.iter().take(MOST_IN_A_SENTENCE).map(ToString::to_string).collect();
        let sentence = match named.as_slice() {
            [] => "nothing in the answer is known".to_owned(),
            named => format!("cannot read {}", named.join("; ")),
        };
        UnreadableAnswer { sentence, parts: self.unreadable }
    }

    /// Whether it was named already what is wrong with this member of the object at `pointer`: it was not there, or was
    /// taken out since it could not be read.
    fn is_named_missing(&self, pointer: &str, member: &str) -> bool {
        let missing = format!("{pointer}/{member}");
        self.unreadable.iter().any(|part| part.pointer == missing)
    }

    /// A member as `"name":value`, without what cannot be read in it; `None` when nothing is left.
    fn member<T: DeserializeOwned>(&mut self, name: &str, value: &str) -> Option<String> {
        let name_text = quoted(name);
        let alone = |value: &str| format!("{{{name_text}:{value}}}");
        if read_json_text::<T>(&alone(value)).is_ok() {
            return Some(format!("{name_text}:{value}"));
        }
        let within = [PathStep::Member(name.to_owned())];
        // A list where none belongs is a fault as a whole.
        let is_list = read_json_text::<T>(&alone("[]")).is_ok();
        let Some(items) = raw_items(value).filter(|_| is_list) else {
            let repaired = self.repaired::<T>(alone(value), &within, &within)?;
            return Some(inner(&repaired)?.to_owned());
        };
        let mut kept = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate().take(MOST_ITEMS) {
            let one = format!("{{{name_text}:[{}]}}", item.get());
            if read_json_text::<T>(&one).is_ok() {
                kept.push(item.get().to_owned());
                continue;
            }
            let own = [PathStep::Member(name.to_owned()), PathStep::Item(0)];
            let shown = [PathStep::Member(name.to_owned()), PathStep::Item(index)];
            let repaired = self.item::<T>(one, &own, &shown);
            kept.extend(repaired);
        }
        let lost = items.len() - kept.len();
        if lost > 0 {
            self.lost_items.insert(name.to_owned(), lost);
        }
        Some(format!("{name_text}:[{}]", kept.join(",")))
    }

    /// The item at `own` in a text that holds nothing else, repaired; `None` when it has to be left out.
    fn item<T: DeserializeOwned>(
        &mut self,
        text: String,
        own: &[PathStep],
        shown: &[PathStep],
    ) -> Option<String> {
        let repaired = self.repaired::<T>(text, own, shown)?;
        let span = span_of(&repaired, own)?;
        Some(repaired.get(span)?.to_owned())
    }

    /// The text without what cannot be read in it; `None` when nothing is left of the value at `own`, which is named as
    /// `shown`.
    fn repaired<T: DeserializeOwned>(
        &mut self,
        mut text: String,
        own: &[PathStep],
        shown: &[PathStep],
    ) -> Option<String> {
        if text.len() > LARGEST_REPAIRED {
            let expected = "the form of the contract";
            self.record(UnreadablePart::new(
                self.call,
                &pointer_of(shown),
                "a large part with a fault in it",
                expected,
            ));
            return None;
        }
        for _ in 0..MOST_REPAIRS {
            self.repairs += 1;
            if self.repairs > MOST_REPAIRS_OF_ANSWER {
                break;
            }
            let fault = match read::<T>(&text) {
                Ok(()) => return span_of(&text, own).map(|_| text),
                Err(fault) => fault,
            };
            if let Some(with_word) = replace_word::<T>(&text, &fault) {
                text = with_word;
                continue;
            }
            let (path, got) = fault.subject(&text);
            let outside = path.len() < own.len() || path.is_empty();
            let path = if outside { own.to_vec() } else { path };
            let place: Vec<PathStep> =
                shown.iter().chain(path.get(own.len()..).unwrap_or_default()).cloned().collect();
            let pointer = pointer_of(&place);
            let is_named = fault
                .member
                .as_ref()
                .is_some_and(|(name, is_twice)| !is_twice && self.is_named_missing(&pointer, name));
            if !is_named {
                self.record(UnreadablePart::new(self.call, &pointer, &got, &fault.expected));
            }
            if path.is_empty() {
                return None;
            }
            text = without(&text, &path)?;
        }
        self.record(UnreadablePart::new(
            self.call,
            &pointer_of(shown),
            "too many faults",
            "the form of the contract",
        ));
        None
    }
}

/// What was wrong at the first place where reading failed.
struct Fault {
    path: Vec<PathStep>,
    expected: String,
    /// The member that is missing, or is there twice.
    member: Option<(String, bool)>,
}

impl Fault {
    /// What has to be left out, and how it reads now.
    fn subject(&self, text: &str) -> (Vec<PathStep>, String) {
        let mut path = self.path.clone();
        if let Some((name, true)) = &self.member {
            path.push(PathStep::Member(name.clone()));
            return (path, "two members of this name".to_owned());
        }
        let got = span_of(text, &path).and_then(|span| text.get(span)).unwrap_or("nothing").to_owned();
        let got = match &self.member {
            Some((name, _)) => format!("nothing for `{name}` in {got}"),
            None => got,
        };
        (path, got)
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<(), Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(ByName(&mut deserializer)) else {
        return Ok(());
    };
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(PathStep::Member(key.clone())),
        Segment::Seq { index } => Some(PathStep::Item(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    let path = error.path().iter().map_while(step).collect();
    let message = error.inner().to_string();
    let said = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
    let named =
        |prefix: &str| said.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('`')).map(str::to_owned);
    let missing = named("missing field `").map(|name| (name, false));
    let twice = named("duplicate field `").map(|name| (name, true));
    let expected = match (&missing, &twice) {
        (Some((name, _)), _) => format!("a member `{name}`"),
        (_, Some(_)) => "one member of this name".to_owned(),
        _ => expectation(said),
    };
    Err(Fault { path, expected, member: missing.or(twice) })
}

/// Where a text is refused first as a `T`, and what would be right there; `None` when it is not.
pub(super) fn refusal_of<T: DeserializeOwned>(text: &str) -> Option<(Vec<PathStep>, String)> {
    read::<T>(text).err().map(|fault| (fault.path, fault.expected))
}

/// What would be right, in the words of whoever refused it.
fn expectation(said: &str) -> String {
    // What came may be quoted before it, so the last one counts.
    if let Some((_, expected)) = said.rsplit_once("expected ") {
        return expected.to_owned();
    }
    // The clock library alone refuses without saying what it wants.
    "a time as RFC 3339 with its zone, such as 2026-03-02T15:00:00Z".to_owned()
}

/// A word outside of its set: the text with the set's own word for that, and the bot's word beside it.
fn replace_word<T: DeserializeOwned>(text: &str, fault: &Fault) -> Option<String> {
    let (PathStep::Member(name), parent) = fault.path.split_last()? else { return None };
    let word = text.get(span_of(text, &fault.path)?)?.to_owned();
    let is_word = word.starts_with('"') && serde_json::from_str::<String>(&word).is_ok();
    if !is_word || fault.member.is_some() {
        return None;
    }
    let known = WORDS_FOR_UNKNOWN.into_iter().find_map(|unknown| {
        let tried = replaced(text, &fault.path, &quoted(unknown))?;
        let passes = read::<T>(&tried).err().is_none_or(|next| next.path != fault.path);
        passes.then_some(tried)
    })?;
    with_member(&known, parent, &format!("{name}_raw"), &word)
}

/// The inside of an object's braces.
fn inner(text: &str) -> Option<&str> {
    text.trim().strip_prefix('{')?.strip_suffix('}')
}

/// What is wrong with a document, without its values.
fn not_json(error: &serde_json::Error) -> String {
    let what = if error.is_eof() { "ends too early" } else { "is not JSON" };
    format!("the answer {what} (line {}, column {})", error.line(), error.column())
}
