//! The time zone that a text names beside its times: "06:20 utc", "9:30 ET", "10 New York time".

use chrono_tz::Tz;

use crate::ask::word::AskWord;
use crate::ask::word_lists::WordList;

/// A time zone that a text names, and the places of its words.
pub(super) struct NamedZone {
    /// `None` for one that nobody here knows: "my time".
    pub(super) zone: Option<Tz>,
    pub(super) places: Vec<usize>,
}

/// The zone of the text; one that is named twice has the places of both.
pub(super) fn find_zone(words: &[AskWord]) -> Option<NamedZone> {
    let mut found: Option<NamedZone> = None;
    let mut at = 0;
    while at < words.len() {
        let Some((zone, length)) = zone_at(words, at) else {
            at += 1;
            continue;
        };
        let known = found.get_or_insert(NamedZone { zone, places: Vec::new() });
        if known.zone == zone {
            known.places.extend(at..at + length);
        }
        at += length;
    }
    found
}

fn zone_at(words: &[AskWord], at: usize) -> Option<(Option<Tz>, usize)> {
    let lower = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    if words.get(at)?.slot.is_some() {
        return None;
    }
    let is_unknown = matches!(lower(at), "local" | "my" | "our") && lower(at + 1) == "time";
    if is_unknown || lower(at) == "local time" {
        return Some((None, if is_unknown { 2 } else { 1 }));
    }
    let two = format!("{} {}", lower(at), lower(at + 1));
    let (zone, mut length) =
        named(&two).map(|zone| (zone, 2)).or_else(|| named(lower(at)).map(|zone| (zone, 1)))?;
    let says_time = lower(at + length) == "time" || two.ends_with(" time") && length == 2;
    if lower(at + length) == "time" {
        length += 1;
    }
    let before = at.checked_sub(1).map_or("", lower);
    let behind_a_clock = before.starts_with(|c: char| c.is_ascii_digit())
        || matches!(before, "am" | "pm" | "noon" | "midnight" | "midday" | "o'clock");
    // "ET" and "London" alone can be a symbol or a place.
    let is_plain = matches!(lower(at), "utc" | "gmt" | "zulu") || lower(at).contains('/');
    (says_time || behind_a_clock || is_plain).then_some((Some(zone), length))
}

fn named(words: &str) -> Option<Tz> {
    let names = WordList::ZoneNames.phrases().iter().filter_map(|entry| entry.split_once('='));
    let listed = names.into_iter().find(|(name, _)| *name == words).map(|(_, zone)| zone);
    match listed {
        Some(zone) => zone.parse().ok(),
        None => chrono_tz::TZ_VARIANTS
            .iter()
            .find(|zone| words.contains('/') && zone.name().eq_ignore_ascii_case(words))
            .copied(),
    }
}
