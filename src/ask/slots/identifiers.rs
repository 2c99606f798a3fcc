//! Ids, config versions and error codes.

use super::values::SlotValues;
use crate::ask::concept::WordConcept;
use crate::ask::word::{AskWord, SlotKind, mark_slot};

pub(super) fn read_ids(words: &mut [AskWord], slots: &mut SlotValues) {
    for at in 0..words.len() {
        let text =
            words.get(at).map(|word| word.lower.trim_start_matches('#').to_owned()).unwrap_or_default();
        let bare = text.rsplit_once('_').map_or(text.as_str(), |(_, tail)| tail);
        let is_uuid = bare.len() == 36 && uuid::Uuid::parse_str(bare).is_ok();
        let is_hex = bare.len() >= 16 && bare.chars().all(|c| c.is_ascii_hexdigit());
        let is_named = ["run-", "run_", "txn-", "txn_", "alert-", "alr_", "wfr_", "sil_", "alert_", "inc-"]
            .iter()
            .any(|prefix| {
                text.strip_prefix(prefix).is_some_and(|rest| rest.chars().any(|c| c.is_ascii_digit()))
            });
        let before =
            at.checked_sub(1).and_then(|before| words.get(before)).map_or("", |word| word.lower.as_str());
        let is_short = bare.len() <= 12
            && bare.chars().any(|c| c.is_ascii_digit())
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let has_letters = bare.chars().any(|c| c.is_ascii_alphabetic());
        let is_after_noun = match before {
            "alert" | "i am on alert" | "incident" | "transaction" | "txn" | "trial" | "ack"
            | "acknowledge" | "alarm" | "#" => is_short,
            "number" | "no" | "nr" | "id" => {
                let has = |concept: WordConcept| words.iter().any(|word| word.is(concept));
                is_short
                    && (has(WordConcept::Alert) || has(WordConcept::Execution) || has(WordConcept::Incident))
            }
            "run" | "order" | "execution" => {
                // "Run 3 checks" begins with its verb; "abort run 118" names one.
                let follows = |next: usize| {
                    words
                        .get(next)
                        .is_none_or(|word| word.is(WordConcept::Progress) || word.is(WordConcept::Past))
                };
                let is_small =
                    |word: &str| matches!(word, "did" | "is" | "has" | "was" | "of" | "for" | "on");
                let is_noun = at > 1
                    && words.get(at - 2).is_some_and(|word| word.weight > 0.3 || is_small(&word.lower))
                    || follows(at + 1)
                        && words
                            .iter()
                            .any(|word| word.is(WordConcept::Progress) || word.is(WordConcept::Cancel));
                is_short && (has_letters || is_noun) && super::periods::read_compact(&text).is_none()
            }
            _ => false,
        };
        if is_uuid || is_hex || is_named || is_after_noun {
            slots.id = words.get(at).map(|word| word.raw.trim_start_matches('#').to_owned());
            mark_slot(words, at, SlotKind::Id);
        }
    }
}

/// Reads config versions: `v17`, `version 17`, `v17-3fa9c1d2`, `#17`.
pub(super) fn read_versions(words: &mut [AskWord], slots: &mut SlotValues) {
    for at in 0..words.len() {
        let Some(word) = words.get(at) else { continue };
        let lower = word.lower.trim_start_matches('#').to_owned();
        let after_name = at > 0
            && words.get(at - 1).is_some_and(|before| {
                before.lower.ends_with(" version")
                    || before.is(WordConcept::Version) && !before.lower.starts_with('p')
                    || before.slot == Some(SlotKind::Version)
            });
        let before = |back: usize| {
            at.checked_sub(back).and_then(|at| words.get(at)).map_or("", |word| word.lower.as_str())
        };
        let has = |concept: WordConcept| words.iter().any(|word| word.is(concept));
        // "Diff 8 vs 11", "from config 8 to 9", "roll back to 12".
        let compares = words.iter().any(|word| {
            word.is(WordConcept::Compare) && !matches!(word.lower.as_str(), "between" | "against")
        });
        let is_behind = match before(1) {
            "config" | "configuration" | "configs" | "cfg" | "revision" | "rev" | "diff" | "compare" => {
                has(WordConcept::Compare) || has(WordConcept::Config) || has(WordConcept::Version)
            }
            "to" | "with" => has(WordConcept::Undo),
            "between" | "from" => compares,
            _ => false,
        };
        let after_name = after_name || is_behind && !is_counted(words, at);
        let joined = at > 1
            && words.get(at - 1).is_some_and(|word| {
                matches!(word.lower.as_str(), "and" | "to" | "with" | "vs" | "versus" | "against" | "or")
            })
            && words.get(at - 2).is_some_and(|word| word.slot == Some(SlotKind::Version));
        let number = lower.strip_prefix('v').unwrap_or(&lower);
        let digits = number.split('-').next().unwrap_or_default();
        let is_number = !digits.is_empty() && digits.len() <= 9 && digits.chars().all(|c| c.is_ascii_digit());
        let is_named = lower.starts_with('v') || word.lower.starts_with('#');
        if is_number && (is_named || after_name || joined) {
            slots.versions.push(format!("v{digits}"));
            mark_slot(words, at, SlotKind::Version);
        }
    }
}

/// Whether something is counted by the number here: "8 trades", "5%".
fn is_counted(words: &[AskWord], at: usize) -> bool {
    words.get(at + 1).is_some_and(|next| {
        super::periods::unit_seconds(&next.lower).is_some()
            || matches!(
                next.lower.as_str(),
                "%" | "percent" | "pct" | "trades" | "losses" | "usd" | "dollars" | "bps" | "am" | "pm"
            )
    })
}

/// Reads the code of the broker in a request to sign in: the word with digits that follows "code", or the only number.
pub(super) fn read_sign_in_code(words: &mut [AskWord], slots: &mut SlotValues) {
    if !words.iter().any(|word| word.is(WordConcept::SignIn)) {
        return;
    }
    let is_code = |word: &AskWord| {
        let digits = word.raw.chars().filter(char::is_ascii_digit).count();
        word.slot.is_none()
            && (4..=16).contains(&word.raw.len())
            && digits >= 4
            && word.raw.chars().all(|c| c.is_ascii_digit() || c == '-')
    };
    if let Some(at) = words.iter().position(is_code) {
        slots.sign_in_code = words.get(at).map(|word| word.raw.clone());
        mark_slot(words, at, SlotKind::SignInCode);
        for word in words.iter_mut().filter(|word| word.lower == "code") {
            word.slot = Some(SlotKind::SignInCode);
        }
    }
}

/// Reads error codes: `CFG_012`, `cfg012`, `CFG-012`, `cfg 12`.
pub(super) fn read_codes(words: &mut [AskWord], slots: &mut SlotValues) {
    const AREAS: [&str; 8] = ["auth", "api", "bot", "brk", "cfg", "hlt", "wfl", "srv"];
    for at in 0..words.len() {
        let lower = words.get(at).map(|word| word.lower.clone()).unwrap_or_default();
        let letters: String = lower.chars().take_while(char::is_ascii_alphabetic).collect();
        let rest = lower.get(letters.len()..).unwrap_or_default();
        let is_area = AREAS.contains(&letters.as_str());
        let digits = rest.trim_start_matches(['_', '-']);
        let is_number =
            |text: &str| (1..=3).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
        if is_area && is_number(digits) {
            slots.code = Some(format!("{}_{digits:0>3}", letters.to_uppercase()));
            mark_slot(words, at, SlotKind::Code);
        } else if is_area && rest.is_empty() {
            let next = words.get(at + 1).map(|word| word.lower.clone()).unwrap_or_default();
            // "bot 1" and "api 2" are ordinary words; a code of these areas needs its three digits.
            let is_full = next.len() == 3 || !matches!(letters.as_str(), "bot" | "api");
            if is_full && is_number(&next) {
                slots.code = Some(format!("{}_{next:0>3}", letters.to_uppercase()));
                mark_slot(words, at, SlotKind::Code);
                mark_slot(words, at + 1, SlotKind::Code);
            }
        } else if !letters.is_empty()
            && letters.len() <= 6
            && rest.starts_with('_')
            && digits.len() == 3
            && is_number(digits)
        {
            // An unknown area: the catalogue will answer that there is no such code.
            slots.code = Some(lower.to_uppercase());
            mark_slot(words, at, SlotKind::Code);
        }
    }
}
