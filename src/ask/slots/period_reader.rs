//! Reads the period of the past that a text names: what opens it, what ends it, and on whose clocks.

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};
use chrono_tz::Tz;

use super::clock::{FoundPeriod, is_open_end, read_clock, read_hour, text_at};
use super::days_named::{month_of, named_period, usual_time};
use super::periods::{DayStarts, days, read_date, read_number, read_span, unit_seconds};
use super::values::{AskedPeriod, SlotValues};
use super::zones::{NamedZone, find_zone};
use crate::ask::context::AskContext;
use crate::ask::word::{AskWord, SlotKind, mark_slot};
use crate::ask::word_lists::WordList;

/// Reads the period of the past that the text names.
pub(super) fn read_period(
    words: &mut [AskWord],
    context: &AskContext,
    today: NaiveDate,
    slots: &mut SlotValues,
) {
    // A setting's time of day has a zone of its own.
    let named = find_zone(words).filter(|_| slots.keys.is_empty());
    let mut read = PeriodReader::new(words, context, today, named);
    let is_free = |words: &[AskWord], at: usize| words.get(at).is_some_and(|word| word.slot.is_none());
    for at in 0..read.texts.len() {
        let place = read.place(at);
        // "October" of "the 14th of October" is no month of its own.
        let is_of_a_date = read.dates.iter().any(|(from, length, _)| (*from..from + length).contains(&at));
        if !is_free(words, place) || is_of_a_date {
            continue;
        }
        let Some((period, length)) = read.period_at(at, !slots.keys.is_empty()) else {
            if let Some((date, length)) = read_date(&read.texts, at, read.days.today) {
                read.dates.push((at, length, date));
            }
            continue;
        };
        if read.is_of_an_order(at) {
            continue;
        }
        let period = read.with_opener(period, at);
        let known = slots.period;
        slots.period = Some(known.map_or(period, |known| read.joined(known, period, at)));
        read.first.get_or_insert(at);
        read.mark(words, at, length);
        // "The past" of "the past 30 days" is no history.
        if at > 0 && matches!(text_at(&read.texts, at - 1), "past" | "previous" | "recent" | "last") {
            read.mark(words, at - 1, 1);
        }
    }
    read.read_dates(words, slots);
    read.finish(words, slots);
}

/// Reads the periods of one text, of which the words of a time zone are left out.
struct PeriodReader {
    texts: Vec<String>,
    /// The place of each text among the words.
    places: Vec<usize>,
    days: DayStarts,
    /// The present time on the clocks of the text; `None` where it is not of today.
    now: Option<NaiveDateTime>,
    named: Option<NamedZone>,
    /// The zone, where it is another one than the bot's.
    zone: Option<Tz>,
    dates: Vec<(usize, usize, NaiveDate)>,
    /// Where the first period stands.
    first: Option<usize>,
}

/// How many words before a time it is looked for what opens it: "before the last hour".
const OPENER_REACH: usize = 2;

impl PeriodReader {
    fn new(words: &[AskWord], context: &AskContext, today: NaiveDate, named: Option<NamedZone>) -> Self {
        let of_zone = |at: &usize| named.as_ref().is_some_and(|named| named.places.contains(at));
        let (mut places, mut texts) = (Vec::new(), Vec::new());
        let mut is_utc = false;
        for at in (0..words.len()).filter(|at| !of_zone(at)) {
            let lower = words.get(at).map_or("", |word| word.lower.as_str());
            is_utc |= is_time_of_utc(lower);
            for text in texts_of(lower) {
                places.push(at);
                texts.push(text);
            }
        }
        let zone = named.as_ref().and_then(|named| named.zone).or(is_utc.then_some(Tz::UTC));
        let local = |zone: Tz| context.now.with_timezone(&zone).naive_local();
        // A text that is read on another day than now is has no present time.
        let is_now = local(context.zone).date() == today;
        let now = is_now.then(|| local(zone.unwrap_or(context.zone)));
        let today = now.map_or(today, |now| now.date());
        Self {
            texts,
            places,
            days: DayStarts::before(today),
            now,
            zone: zone.filter(|zone| *zone != context.zone),
            named,
            dates: Vec::new(),
            first: None,
        }
    }

    /// The time of day behind a date.
    fn clock_behind(&self, at: usize, length: usize) -> Option<NaiveTime> {
        let (first, second) = (text_at(&self.texts, at + length), text_at(&self.texts, at + length + 1));
        read_clock(first, second).map(|(time, _)| time)
    }

    fn place(&self, at: usize) -> usize {
        self.places.get(at).copied().unwrap_or(usize::MAX)
    }

    fn mark(&self, words: &mut [AskWord], at: usize, length: usize) {
        for at in at..at + length {
            mark_slot(words, self.place(at), SlotKind::Period);
        }
    }

    /// What opens the time at this place: "since", "before".
    fn opener(&self, at: usize) -> &str {
        let mut before = at;
        while before > 0
            && at - before < OPENER_REACH
            && matches!(text_at(&self.texts, before - 1), "the" | "about" | "around" | "of" | "last" | "this")
        {
            before -= 1;
        }
        before.checked_sub(1).map_or("", |at| text_at(&self.texts, at))
    }

    /// Whether the time has an end alone; `true` where it belongs to what is asked for.
    fn ends_before(&self, at: usize) -> Option<bool> {
        let before = at.checked_sub(2).map_or("", |at| text_at(&self.texts, at));
        match (before, self.opener(at)) {
            // "The day before yesterday" is a day.
            ("day" | "night" | "week" | "month", "before") => None,
            (_, "before") | ("prior", "to") | ("earlier" | "older", "than") => Some(false),
            (_, "until" | "till" | "til" | "through" | "thru") | ("up", "to") => Some(true),
            (_, "up to" | "not later than" | "no later than") => Some(true),
            _ => None,
        }
    }

    /// "Pause until Monday": whether the time is the end of what is ordered, and none of the past.
    fn is_of_an_order(&self, at: usize) -> bool {
        let orders = ["pause", "silence", "mute", "snooze", "hold", "stop", "quiet", "hush", "suppress"];
        let is_question =
            self.texts.first().is_some_and(|first| WordList::OpenQuestionOpeners.contains(first));
        self.ends_before(at).is_some()
            && !is_question
            && self.texts.iter().take(at).any(|text| {
                text.split(' ').any(|word| orders.iter().any(|order| word.starts_with(order)))
                    || matches!(text.split(' ').next(), Some("no" | "wait" | "shut" | "keep" | "nothing"))
            })
    }

    /// The period that begins here, and how many words name it.
    fn period_at(&self, at: usize, has_key: bool) -> Option<FoundPeriod> {
        let (texts, days) = (self.texts.as_slice(), &self.days);
        let named = named_period(texts, at, days.today).filter(|_| !has_key || !is_clock_word(texts, at));
        named
            .or_else(|| days.of_a_part(texts, at))
            .or_else(|| days.of_one_word(texts, at))
            .or_else(|| days.of_two_words(texts, at))
            .or_else(|| days.between_times(texts, at, has_key))
            .or_else(|| self.up_to_a_time(at).filter(|_| !has_key))
            .or_else(|| self.of_an_age(at).filter(|_| !has_key))
            .or_else(|| self.between_spans(at).filter(|_| !has_key))
            .or_else(|| days.since_a_time(texts, at))
            .or_else(|| days.of_a_month(texts, at))
            .or_else(|| days.of_a_count(texts, at))
    }

    /// "Older than 2 days", "newer than an hour".
    fn of_an_age(&self, at: usize) -> Option<FoundPeriod> {
        let text = |at: usize| text_at(&self.texts, at);
        let is_age = matches!(at.checked_sub(2).map_or("", text), "older" | "newer" | "younger")
            && text(at.checked_sub(1)?) == "than";
        let (seconds, length) = read_span(text(at), text(at + 1), text(at + 2)).filter(|_| is_age)?;
        Some((AskedPeriod { seconds: Some(seconds), ..days(self.days.today, self.days.today) }, length))
    }

    /// "Between 2 and 1 hours ago".
    fn between_spans(&self, at: usize) -> Option<FoundPeriod> {
        let text = |at: usize| text_at(&self.texts, at);
        let is_range = text(at.checked_sub(1)?) == "between" && text(at + 1) == "and";
        let (ends, length) = read_span(text(at + 2), text(at + 3), text(at + 4)).filter(|_| is_range)?;
        let unit = unit_seconds(text(at + 1 + length)).filter(|_| text(at + 2 + length) == "ago")?;
        let seconds = u64::from(read_number(text(at))?).checked_mul(unit)?;
        let (seconds, ends) = (seconds.max(ends), seconds.min(ends));
        let today = self.days.today;
        let period = AskedPeriod { seconds: Some(seconds), ends_back: Some(ends), ..days(today, today) };
        Some((period, length + 3))
    }

    /// "Before 10:00", "up to noon".
    fn up_to_a_time(&self, at: usize) -> Option<FoundPeriod> {
        self.ends_before(at)?;
        let (first, second) = (text_at(&self.texts, at), text_at(&self.texts, at + 1));
        let is_hour = unit_seconds(second).is_none() && month_of(second).is_none();
        let (time, length) = read_clock(first, second).or_else(|| read_hour(first).filter(|_| is_hour))?;
        Some((AskedPeriod { ends: Some(time), ..days(self.days.today, self.days.today) }, length))
    }

    /// The period with what opens it: "since" reaches up to now, "before" has no beginning.
    fn with_opener(&self, period: AskedPeriod, at: usize) -> AskedPeriod {
        let period = AskedPeriod { zone: self.zone, ..period };
        let texts = self.texts.as_slice();
        let is_range = self.first.is_some() || !self.dates.is_empty();
        let has_both = period.starts.is_some() && period.ends.is_some();
        if let Some(is_included) = self.ends_before(at) {
            // "From Monday until yesterday" has a beginning; a clock is where it ends.
            let is_clock = period.ends.is_some() && period.starts.is_none();
            return period.up_to(is_included || is_clock);
        }
        // "Since the deploy this morning" begins with the morning and ends now.
        let is_since =
            (1..=3).any(|back| at.checked_sub(back).is_some_and(|before| text_at(texts, before) == "since"));
        // "At noon. What has it done since then?"
        let is_since = is_since
            || texts
                .windows(2)
                .any(|pair| matches!(pair, [since, then] if since == "since" && then == "then"));
        let opens = at > 0
            && is_open_end(text_at(texts, at - 1))
            && !(has_both && period.from == self.days.today)
            && !(text_at(texts, at - 1) == "from" && self.goes_on_behind(at));
        let reaches_now = (opens || is_since && !is_range) && period.seconds.is_none();
        if reaches_now { AskedPeriod { to: self.days.today, ends: None, ..period } } else { period }
    }

    /// "From yesterday to today": whether another time follows.
    fn goes_on_behind(&self, at: usize) -> bool {
        matches!(text_at(&self.texts, at + 1), "to" | "until" | "till" | "through")
    }

    /// What two times of a text are together: a part of a day, a beginning and an end; else the first counts.
    fn joined(&self, known: AskedPeriod, other: AskedPeriod, at: usize) -> AskedPeriod {
        let today = self.days.today;
        let is_part = |period: &AskedPeriod| {
            period.from == today
                && period.to == today
                && period.seconds.is_none()
                && (period.starts.is_some() || period.ends.is_some())
        };
        let is_days = |period: &AskedPeriod| period.starts.is_none() && period.ends.is_none();
        let is_day = |period: &AskedPeriod| {
            is_days(period) && !period.is_open && period.seconds.is_none() && period.from == period.to
        };
        let text = |at: Option<usize>| at.map_or("", |at| text_at(&self.texts, at));
        let opener = text(self.first.and_then(|first| first.checked_sub(1)));
        let joint = text(at.checked_sub(1));
        let is_range = matches!(opener, "between" | "from" | "since")
            && matches!(joint, "and" | "to" | "until" | "till" | "through");
        // "To a week ago" ends there.
        let is_ago = (at + 1..=at + 3).any(|at| text_at(&self.texts, at) == "ago");
        let other = if is_range && is_ago && is_days(&other) && other.seconds.is_none() {
            AskedPeriod { to: other.from, ..other }
        } else {
            other
        };
        if let (Some(from), Some(to), true) = (known.seconds, other.seconds, is_range && !other.is_open) {
            return AskedPeriod { seconds: Some(from.max(to)), ends_back: Some(from.min(to)), ..known };
        }
        match (is_part(&known), is_part(&other)) {
            (true, false) if is_day(&other) => AskedPeriod { from: other.from, to: other.to, ..known },
            (false, true) if is_day(&known) => {
                AskedPeriod { from: known.from, to: known.to, is_open: false, ..other }
            }
            // "Since yesterday at 10:00".
            (false, true) if is_days(&known) && !known.is_open && known.to == today && !other.is_open => {
                AskedPeriod { starts: other.starts, ..known }
            }
            _ if !known.is_open && (other.is_open || is_range) && known.seconds.is_none() => {
                AskedPeriod { from: known.from, starts: known.starts, is_open: false, ..other }
            }
            _ => known,
        }
    }

    /// The period between the first and the last of several dates, or from one up to now, or up to one.
    fn read_dates(&mut self, words: &mut [AskWord], slots: &mut SlotValues) {
        let dates = std::mem::take(&mut self.dates);
        let (Some(&first), Some(&last)) = (dates.first(), dates.last()) else { return };
        // "Between Monday and Wednesday" on a Wednesday ends today.
        let later = last.2.checked_add_days(Days::new(7)).filter(|day| *day <= self.days.today);
        let last_day = later.filter(|_| last.2 < first.2).unwrap_or(last.2);
        if self.is_of_an_order(first.0) {
            return;
        }
        let day = AskedPeriod { zone: self.zone, ..days(first.2, first.2) };
        let is_since = is_open_end(self.opener(first.0));
        let up_to = self.ends_before(first.0).filter(|_| dates.len() == 1).map(|end| day.up_to(end));
        let clocks = dates.iter().map(|(at, length, _)| self.clock_behind(*at, *length));
        let clocks: Vec<Option<NaiveTime>> = clocks.collect();
        slots.period = Some(match (slots.period, up_to) {
            // "Between 2025-11-18 10:00 and 2025-11-19 9:00".
            (Some(_), None) if dates.len() == 2 && clocks.iter().any(Option::is_some) => AskedPeriod {
                to: last_day,
                starts: clocks.first().copied().flatten(),
                ends: clocks.last().copied().flatten(),
                ..day
            },
            // "Since Monday until yesterday", "since Monday 10:00".
            (Some(known), None) if known.is_open && is_since => {
                AskedPeriod { from: first.2, is_open: false, ..known }
            }
            (Some(known), None) if dates.len() == 1 && is_since && known.ends.is_some() => {
                AskedPeriod { to: self.days.today, ends: None, ..self.joined(known, day, first.0) }
            }
            (Some(known), Some(end)) if known.starts.is_some() && known.from == self.days.today => {
                AskedPeriod { ends: known.starts, ..end.up_to(true) }.on(first.2)
            }
            (Some(known), Some(end)) => self.joined(known, end, first.0),
            // "On Monday between 10 and 11", "on Monday before 11".
            (Some(known), None) if dates.len() == 1 => {
                let joined = self.joined(known, day, first.0);
                let is_bounded = self.first.is_some_and(|at| first.0 < at);
                AskedPeriod { is_open: joined.is_open && !is_bounded, ..joined }
            }
            (Some(known), None) => known,
            (None, Some(end)) => end,
            (None, None) => {
                let to = if dates.len() > 1 || !is_since { last_day } else { self.days.today };
                AskedPeriod { from: first.2.min(to), to: to.max(first.2), ..day }
            }
        });
        for (at, length, _) in dates {
            self.mark(words, at, length);
        }
    }

    /// The zone, and what is still to come: a time of day without its day is the last one that was.
    fn finish(self, words: &mut [AskWord], slots: &mut SlotValues) {
        let until = |at: usize| matches!(text_at(&self.texts, at), "until" | "till" | "before");
        let has_end = (0..self.texts.len()).any(until);
        if let Some(named) = self.named.as_ref().filter(|_| slots.period.is_some() || has_end) {
            slots.zone = named.zone;
            for place in &named.places {
                mark_slot(words, *place, SlotKind::Zone);
            }
        }
        let (Some(period), Some(now)) = (slots.period.filter(|period| period.seconds.is_none()), self.now)
        else {
            return;
        };
        // "Between 23:00 and 1:00" begins on the day before.
        let is_over_midnight = period.from == period.to
            && period.starts.zip(period.ends).is_some_and(|(starts, ends)| starts > ends);
        let before = |day: NaiveDate| day.pred_opt().unwrap_or(day);
        let period =
            if is_over_midnight { AskedPeriod { from: before(period.from), ..period } } else { period };
        let first = if period.is_open {
            period.to.and_time(period.ends.unwrap_or(NaiveTime::MIN))
        } else {
            period.from.and_time(period.starts.unwrap_or(NaiveTime::MIN))
        };
        let names_today = self.texts.iter().any(|text| matches!(text.as_str(), "today" | "this" | "tonight"));
        slots.period = Some(period);
        if first <= now {
            return;
        }
        if names_today || period.from != self.days.today || period.is_open {
            (slots.period, slots.is_to_come) = (None, true);
            return;
        }
        let ends_now = period.ends.is_none();
        let to = if ends_now { period.to } else { before(period.to) };
        slots.period = Some(AskedPeriod { from: before(period.from), to, ..period });
    }
}

/// A time that is written as one of UTC: `06:20z`, `2025-11-19t06:20:00z`.
fn is_time_of_utc(word: &str) -> bool {
    word.strip_suffix('z')
        .is_some_and(|time| time.contains(':') && time.ends_with(|c: char| c.is_ascii_digit()))
}

/// The texts of a word: the day and the time of `2025-11-19t06:20:00z`, both ends of `9:30-10:00`.
fn texts_of(word: &str) -> Vec<String> {
    let time = if is_time_of_utc(word) { word.trim_end_matches('z') } else { word };
    let clock = |text: &str| {
        let minutes = text.split(':').take(2).collect::<Vec<_>>().join(":");
        (text.contains(':') && read_clock(&minutes, "").is_some()).then_some(minutes)
    };
    if let Some((day, clock)) = time.split_once('t').and_then(|(day, text)| Some((day, clock(text)?)))
        && NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok()
    {
        return vec![day.to_owned(), clock];
    }
    if let Some((from, to)) = time.split_once('-').and_then(|(from, to)| Some((clock(from)?, clock(to)?))) {
        return vec!["from".to_owned(), from, "to".to_owned(), to];
    }
    vec![clock(time).unwrap_or_else(|| usual_time(word).to_owned())]
}

fn is_clock_word(texts: &[String], at: usize) -> bool {
    read_clock(text_at(texts, at), text_at(texts, at + 1)).is_some()
}
