//! Files of word lists: `head: phrase, phrase`; an indented line continues the list above it.

/// The lists of a file with their heads. Lines that begin with `#` are comments. A phrase in double quotes keeps the
/// blanks at its ends.
pub(super) fn list_sections(text: &'static str) -> Vec<(&'static str, Vec<String>)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(": ").filter(|_| !line.starts_with(' ')) {
            Some((head, phrases)) => sections.push((head, phrases.to_owned())),
            None => {
                if let Some((_, known)) = sections.last_mut() {
                    known.push(' ');
                    known.push_str(line.trim());
                }
            }
        }
    }
    let phrase = |text: &str| {
        let text = text.trim();
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).to_owned()
    };
    // A list may end with a comma.
    let phrases = |text: String| text.split(',').map(phrase).filter(|text| !text.is_empty()).collect();
    sections.into_iter().map(|(head, text)| (head, phrases(text))).collect()
}

/// A text with plain quotes and dashes.
pub(super) fn folded(text: &str) -> String {
    text.replace(['\u{2018}', '\u{2019}', '`'], "'").replace('\u{2014}', " - ").replace('\u{2013}', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_on_in_the_next_line_and_quotes_keep_blanks() {
        let read = list_sections("# a note\n\nFirst 1: a, b c,\n    # d\nSecond: \"e \", f\n");
        let list = |phrases: &[&str]| phrases.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(read, [("First 1", list(&["a", "b c", "# d"])), ("Second", list(&["e ", "f"]))]);
    }
}
