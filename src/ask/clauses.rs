//! Parts of a text that say nothing of what is wanted: how it is asked, and what is to stay as it is.

/// Ways to ask what something would do. What would make a change is only shown in any case.
const HYPOTHESES: &[&str] = &[
    "what would happen if i ",
    "what would happen if we ",
    "what would happen if you ",
    "what would happen if ",
    "what happens if i ",
    "what happens if we ",
    "what happens if ",
    "what if i ",
    "what if we ",
    "show me what it would do to ",
    "what would it do to ",
    "simulate ",
    "dry run of ",
    "dry run only: ",
    "dry run: ",
    "a dry run of ",
    "do a dry run of ",
    "pretend to ",
    "hypothetically, ",
    "hypothetically ",
    "what would it mean to ",
    "what would be affected if i ",
    "what would be affected if we ",
    "dry-run ",
    "dry run ",
    "preview ",
];

/// What begins a part that says what is to stay as it is.
const EXCEPTIONS: &[&str] = &[
    " but keep ",
    " but leave ",
    " but do not ",
    " but don't ",
    " but dont ",
    " but not ",
    " without touching ",
    " without closing ",
    " and leave the ",
    " and keep the ",
    " not the ",
];

/// Sentences that say that nothing is to be done yet, which holds always.
const NOT_YET: &[&str] = &[
    "don't actually do it",
    "dont actually do it",
    "do not actually do it",
    "don't do it yet",
    "dont do it yet",
    "do not do it yet",
    "without doing it",
    "don't do anything yet",
    "dont do anything yet",
    "don't run it yet",
    "just simulate it",
    "do not apply it",
    "don't apply it",
    "dont apply it",
    "do not apply",
    "don't apply",
    "without applying it",
    "dont change it",
    "don't change it",
    "do not change it",
    "without changing anything",
    "without making any modification",
    "without touching anything",
    "simulate only",
    "simulation only",
    "show me the plan as a dry run first",
    "show me the plan first",
    "show me what would change",
    "as a dry run only",
    "as a dry run first",
    "dry run first",
    "dry-run first",
    "dry run please",
    "as a dry run",
    "dry run only",
    "just a dry run",
];

/// The text without such parts.
pub(super) fn without_side_clauses(text: &str) -> String {
    let mut text = text.to_owned();
    for phrase in NOT_YET {
        while let Some(at) = position(&text, phrase) {
            text.replace_range(at..at + phrase.len(), " ");
        }
    }
    text = text.trim_start_matches([' ', ':', ',', '-', '.', ';']).to_owned();
    for phrase in HYPOTHESES {
        if let Some(at) = position(&text, phrase).filter(|at| *at == 0) {
            text.replace_range(at..at + phrase.len(), "");
            // It is the request that it speaks of, and no question any more.
            text = text.trim_end_matches([' ', '?']).replace('?', "");
            break;
        }
    }
    if let Some(at) =
        EXCEPTIONS.iter().filter_map(|phrase| position(&text, phrase)).min().filter(|at| *at > 0)
    {
        text.truncate(at);
    }
    let rest = text.trim();
    if rest.is_empty() { String::new() } else { rest.to_owned() }
}

/// The clauses of a text: what stands between its commas, dashes and ends of sentences.
pub(super) fn clauses(text: &str) -> Vec<&str> {
    let mut parts = vec![text];
    for joint in [
        ". ",
        "? ",
        "! ",
        "; ",
        ", ",
        " - ",
        " -- ",
        " — ",
        " – ",
        ": ",
        " because ",
        " cause ",
        " cuz ",
        " since i ",
        " so that ",
    ] {
        parts = parts.into_iter().flat_map(|part| part.split(joint)).collect();
    }
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn position(text: &str, phrase: &str) -> Option<usize> {
    // Lower-casing ASCII alone changes no lengths.
    text.to_ascii_lowercase().find(phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_of_what_is_wanted_is_left_out() {
        let check = |text: &str, expected: &str| assert_eq!(without_side_clauses(text), expected);
        check("What would happen if I paused it? dont do it yet", "paused it");
        check("cancel the orders but keep the positions", "cancel the orders");
        check("how are we doing", "how are we doing");
        check("dry run of flatten", "flatten");
        assert_eq!(clauses("oh, undo that - it was me"), ["oh", "undo that", "it was me"]);
    }
}
