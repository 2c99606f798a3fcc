//! What must hold whatever comes over the stream of a bot's events: the fuzz target `event_stream` and the replay of its
//! seeds go by it.

use std::collections::{BTreeMap, BTreeSet};

use super::event_sequence::EventSequence;
use super::sse_parser::{MAX_EVENT, SseParser};
use crate::bots::fuzz_properties::check_whole;
use crate::bots::reading::read_whole;
use crate::bots::sanitise;
use botops_contract::BotEvent;

/// Reads a stream in pieces of this many bytes.
pub fn check_event_stream(piece: u8, stream: &[u8]) {
    let whole = SseParser::default().push(stream);
    let mut parser = SseParser::default();
    let pieces = stream.chunks(usize::from(piece).max(1));
    let in_pieces: Vec<_> = pieces.flat_map(|piece| parser.push(piece)).collect();
    assert_eq!(whole, in_pieces, "it reads differently in pieces of {piece} bytes");
    let mut sequence = None;
    let mut taken: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for data in whole.into_iter().flatten() {
        assert!(data.len() <= MAX_EVENT);
        check_whole::<BotEvent>(&data, &[], sanitise::event);
        let Ok(mut read) = read_whole::<BotEvent>("GET events", &data, &[]) else { continue };
        sanitise::event(&mut read.value);
        check_number(&mut sequence, &read.value, &mut taken);
    }
}

/// A number is taken once in one start of the bot, the highest one always, and what is stored of it reads the same.
fn check_number(
    sequence: &mut Option<EventSequence>,
    event: &BotEvent,
    taken: &mut BTreeMap<String, BTreeSet<u64>>,
) {
    let is_other_start = !taken.contains_key(&event.boot_epoch);
    if is_other_start {
        // Numbers of an earlier start that comes up again are taken again: only one start is followed.
        taken.clear();
    }
    let numbers = taken.entry(event.boot_epoch.clone()).or_default();
    let is_highest = numbers.last().is_none_or(|highest| event.seq > *highest);
    let outcome = EventSequence::take(sequence, &event.boot_epoch, event.seq);
    assert!(outcome.is_new || !is_highest, "{} is above all others and was not taken", event.seq);
    let is_repeated = !numbers.insert(event.seq);
    assert!(!(is_repeated && outcome.is_new), "{} was taken twice", event.seq);
    // So few give up no range of missing numbers, so each is taken. Numbers begin with 1: before it nothing is missing.
    let is_lost = event.seq > 0 && !is_repeated && !outcome.is_new && numbers.len() <= 16;
    assert!(!is_lost, "{} came for the first time and was not taken", event.seq);
    let known = sequence.as_ref().expect("a number was taken");
    let stored = known.to_text();
    let again = EventSequence::parse(&stored);
    let same = again
        .as_ref()
        .is_some_and(|again| again.to_text() == stored && again.last_event_id() == known.last_event_id());
    assert!(same, "what is stored of the numbers is not read again: {stored}");
}
