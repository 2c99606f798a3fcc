//! Lists of words and phrases that decide how a text is meant. They are data, so that adding one needs no code.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::list_file::list_sections;

macro_rules! word_lists {
    ($($name:ident)*) => {
        /// The lists of `word_lists.txt`, by their names there.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum WordList {
            $($name,)*
        }

        impl WordList {
            const ALL: &[Self] = &[$(Self::$name,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

word_lists! {
    Injections Secrets SecretStates ValueVerbs ShellCommands MoneyMoves TradeVerbs
    HarmlessBesideTrade Destructions AdviceRequests LookOpeners PoliteWords Greetings LookVerbs
    QuestionOpeners OpenQuestionOpeners KeyUnits KeyMeasures RaiseVerbs LowerVerbs MoreWords LessWords NoSymbols BeforeSymbol BesideCount
    OpenStates FilledStates CancelledStates RejectedStates ExpiredStates EndedStates PartlyStates BuySides SellSides WinStates
    LossStates OverStates PendingStates FiringStates UnacknowledgedStates AcknowledgedStates Negations
    TradeNouns StopReasons AwayWords TryWords TellPhrases UntilWords DistanceVerbs OddTrades ComparesWords CriticalStates ReasonWords AwayPhrases
    ClauseJoints WishJoints ClauseOpeners StateOpeners SubordinateOpeners PlainPolite Connectives MoodQuestionOpeners Exceptions Manners
    OrderMarkers AskMarkers AskVerbs OrderPrefixes WishOpeners IndirectOrders OrderVerbs TimeOfDayWords BoundWords Auxiliaries SymbolNames ZoneNames KnownTickers WordTickers Purposes
}

const WORD_LIST_FILE: &str = include_str!("word_lists.txt");

static LISTS: LazyLock<HashMap<WordList, Vec<String>>> = LazyLock::new(|| {
    let sections = list_sections(WORD_LIST_FILE).into_iter();
    let list = |(head, phrases)| {
        let list = WordList::ALL.iter().find(|list| list.name() == head)?;
        Some((*list, phrases))
    };
    sections.filter_map(list).collect()
});

impl WordList {
    pub(super) fn phrases(self) -> &'static [String] {
        LISTS.get(&self).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn contains(self, word: &str) -> bool {
        self.phrases().iter().any(|phrase| phrase == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_every_list_and_no_other() {
        let in_file: Vec<&str> = list_sections(WORD_LIST_FILE).into_iter().map(|(head, _)| head).collect();
        let known: Vec<&str> = WordList::ALL.iter().map(|list| list.name()).collect();
        assert_eq!(in_file, known);
        assert!(WordList::ALL.iter().all(|list| !list.phrases().is_empty()));
    }
}
