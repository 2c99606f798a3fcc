//! A warning: what is wrong, and what to do about it.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};

use super::tokens;

/// Tokens of a remedy that are never cut: more than any of botops' own words needs. A longer one has a text from outside
/// in it.
const WHOLE_REMEDY: usize = 150;

/// What is wrong, in whole sentences, and what to do: one text in every answer. Where room is short, the remedy stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    text: String,
    /// Where the remedy begins; the length of the text where there is none.
    remedy_at: usize,
}

impl Warning {
    /// A warning with its remedy. Either of them may be empty.
    pub fn with_remedy(what: &str, remedy: &str) -> Self {
        let space = if what.is_empty() || remedy.is_empty() { "" } else { " " };
        Self { text: format!("{what}{space}{remedy}"), remedy_at: what.len() + space.len() }
    }

    /// A text that is all remedy.
    pub(super) fn remedy(text: &str) -> Self {
        Self::with_remedy("", text)
    }

    /// What is wrong as far as it stays within `budget` tokens, and the remedy.
    pub(super) fn clip(&self, budget: usize) -> String {
        let (what, remedy) = self.text.split_at_checked(self.remedy_at).unwrap_or((&self.text, ""));
        let remedy = tokens::clip(remedy, WHOLE_REMEDY.max(budget));
        let what = tokens::clip(what.trim_end(), budget);
        Self::with_remedy(&what, &remedy).text
    }
}

impl From<String> for Warning {
    /// A warning that says by itself what to do, or of which nothing is to be done.
    fn from(text: String) -> Self {
        Self { remedy_at: text.len(), text }
    }
}

impl From<&str> for Warning {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl Deref for Warning {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_cut_and_the_remedy_is_not() {
        let what = "The bot died 3 times in a row at its start; its last output: KeyError of something long.";
        let remedy = "A person must mend it before it is started again: what it wrote is in /srv/bot/logs/bot-output.txt.";
        let warning = Warning::with_remedy(what, remedy);
        assert_eq!(&*warning, format!("{what} {remedy}"));
        assert_eq!(warning.clip(60), format!("{what} {remedy}"));
        let clipped = warning.clip(8);
        assert!(
            clipped.ends_with(remedy) && clipped.contains('…') && clipped.starts_with("The bot"),
            "{clipped}"
        );
        assert_eq!(Warning::remedy(remedy).clip(1), remedy);
        assert!(Warning::from(what).clip(8).ends_with('…'));
        // The longest of them.
        let hang = "The bot hangs, and it is there: do not start another one. Its process 12345 is stopped: `kill -CONT 12345` \
                    lets it go on. Look at its process and its log; nothing that was not sent is sent later. No supervisor is \
                    set (BOT_SUPERVISOR), so botops cannot restart it: a person who decides that it has to end restarts it by \
                    hand: nobody manages its open positions while it hangs or starts.";
        assert_eq!(Warning::remedy(hang).clip(6), hang);
        // A hostile name in a remedy does not take the whole summary.
        let hostile = Warning::remedy(&"\u{202e}漢".repeat(5_000)).clip(60);
        assert!(tokens::max_tokens(&hostile) <= WHOLE_REMEDY + 4, "{}", hostile.len());
    }
}
