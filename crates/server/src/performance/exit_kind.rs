//! Reasons of exits without their numbers, so that `stop at 95.3 reached at 95.2` and its like are one reason. Pure.

/// The group of trades that tell no reason.
pub(super) const NONE_TOLD: &str = "none told";

/// What stands for a number.
const NUMBER: char = '…';

/// The reason as it is compared: without digits and the signs of numbers, as the column `exit_kind` has it.
pub(super) fn exit_kind(reason: &str) -> String {
    reason.chars().filter(|c| !is_of_number(*c) && *c != NUMBER).collect()
}

/// The reason as it is shown for all trades that have it: each number is `…`.
pub(super) fn shown_kind(reason: &str) -> String {
    let mut shown = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(begin);
        shown.push_str(before.strip_suffix(['-', '+']).unwrap_or(before));
        shown.push(NUMBER);
        let end = from.find(|c: char| !is_of_number(c)).unwrap_or(from.len());
        rest = from.split_at(end).1;
    }
    shown.push_str(rest);
    shown
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_same_whatever_its_numbers_are() {
        let (one, other) = ("stop at 95.3 reached at 95", "stop at 1,204 reached at -0.5");
        assert_eq!(exit_kind(one), exit_kind(other));
        assert_eq!(shown_kind(one), "stop at … reached at …");
        assert_eq!(shown_kind(other), "stop at … reached at …");
        assert_eq!(exit_kind(&shown_kind(one)), exit_kind(one), "what is shown can be asked for");
        assert_eq!(shown_kind("roi"), "roi");
        assert_eq!(shown_kind("märz-2"), "märz…");
    }
}
