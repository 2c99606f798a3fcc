//! What a word can be about.

macro_rules! concepts {
    ($($name:ident)*) => {
        /// What a word is about.
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

concepts! {
    // What is to be done.
    Show Why Explain Change Undo Validate Compare Run Cancel Stop Pause Resume Restart Flatten Close SignIn Probe Reset
    Silence Acknowledge Confirm Export Shutdown
    // What it is about.
    Summary Doing Okay Alive Health Component Bot Position Order Account Performance Trade Entry Fill Error Codes Config
    Version History Audit Schema Trial Workflow Execution Progress Metric Event Alert Session Breaker Market Mode Help
    Permission Logs Recovery Target Program Age
    // How it is said; fillers are articles, pronouns and politeness, without weight.
    Not All Last Now Past Who Best Worst PerSymbol New Active Filler
}
