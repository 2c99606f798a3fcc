//! Concepts: the meanings that words can have.

macro_rules! concepts {
    ($($name:ident)*) => {
        /// A meaning of a word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum WordConcept {
            $($name,)*
        }

        impl WordConcept {
            pub(super) fn named(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

impl WordConcept {
    /// Whether a word of this meaning can stop the bot's trading, start it, or cancel something.
    pub(super) fn is_dangerous(self) -> bool {
        matches!(
            self,
            Self::Cancel
                | Self::Stop
                | Self::Pause
                | Self::Resume
                | Self::Flatten
                | Self::Close
                | Self::Shutdown
        )
    }

    /// Whether a word of this meaning may ask for an action.
    pub(super) fn is_action(self) -> bool {
        matches!(
            self,
            Self::Change
                | Self::Undo
                | Self::Run
                | Self::Cancel
                | Self::Stop
                | Self::Pause
                | Self::Resume
                | Self::Restart
                | Self::Flatten
                | Self::Close
                | Self::SignIn
                | Self::Reset
                | Self::Silence
                | Self::Acknowledge
                | Self::Confirm
                | Self::Export
                | Self::Shutdown
                | Self::Probe
        )
    }
}

concepts! {
    // Actions and questions.
    Show Why Explain Change Undo Validate Compare Run Cancel Stop Pause Resume Restart Flatten Close SignIn Probe Reset
    Silence Acknowledge Confirm Export Shutdown
    // Subjects.
    Summary Doing Okay Alive Health Component Bot Position Order Account Performance Trade Entry Fill Error Incident Codes Config
    Version History Audit Schema Trial Workflow Execution Progress Metric Event Alert Session Breaker Market Mode Help
    Permission Logs Recovery Target Program Age Build Idle Elsewhere
    // Modifiers. Fillers are articles, pronouns and polite words; they have no weight.
    Not All Last Now Past Who Best Worst PerSymbol New Active Filler
}
