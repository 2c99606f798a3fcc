//! What is wrong with a config document, collected.

use rust_decimal::Decimal;

use botops_contract::Violation;

/// Everything that is wrong, in the order in which it was found.
#[derive(Debug, Default)]
pub(super) struct ViolationList {
    found: Vec<Violation>,
}

impl ViolationList {
    /// Adds a violation unless the rule holds.
    pub(crate) fn require(&mut self, holds: bool, path: &str, code: &str, message: String, fix: &str) {
        if !holds {
            let (path, code, fix) = (path.to_owned(), code.to_owned(), Some(fix.to_owned()));
            self.found.push(Violation { path, code, message, fix });
        }
    }

    /// All of them.
    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.found
    }
}

/// What the bot can do with a number, whatever else it knows.
#[derive(Debug, Clone, Copy)]
pub(super) enum NumberRange {
    /// Above zero and at most this.
    AboveZeroTo(u32),
    /// One or more. Zero has a meaning here that an operator would have to be told.
    OneOrMore {
        /// What zero would mean.
        zero_means: &'static str,
        /// What to do instead.
        fix: &'static str,
    },
    /// A loss in account currency: below zero.
    Loss,
    /// A loss as a part of the equity: between -1 and 0.
    LossPart,
    /// Whatever the schema allows.
    Any,
}

impl NumberRange {
    /// Adds a violation when the value lies outside.
    pub(crate) fn check(self, path: &str, value: Decimal, found: &mut ViolationList) {
        let mut require =
            |holds, message, fix: &str| found.require(holds, path, "out_of_range", message, fix);
        match self {
            Self::AboveZeroTo(high) => require(
                value > Decimal::ZERO && value <= Decimal::from(high),
                format!("{value} is outside what the bot can use"),
                &format!("use more than 0 and at most {high}"),
            ),
            Self::OneOrMore { zero_means, fix } => require(value >= Decimal::ONE, zero_means.to_owned(), fix),
            Self::Loss => require(
                value < Decimal::ZERO,
                format!("{value} is no loss"),
                "use an amount below zero, such as \"-500.00\"",
            ),
            Self::LossPart => require(
                value < Decimal::ZERO && value > Decimal::NEGATIVE_ONE,
                format!("{value} is no loss as a part of equity"),
                "use a number between -1 and 0, such as -0.05",
            ),
            Self::Any => {}
        }
    }
}
