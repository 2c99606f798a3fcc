//! Collects the violations of a config document.

use rust_decimal::Decimal;

use botops_contract::ConfigViolation;

/// The violations in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct ViolationList {
    found: Vec<ConfigViolation>,
}

impl ViolationList {
    pub(crate) fn require(&mut self, holds: bool, path: &str, code: &str, message: String, fix: &str) {
        if !holds {
            let (path, code, fix) = (path.to_owned(), code.to_owned(), Some(fix.to_owned()));
            self.found.push(ConfigViolation { path, code, message, fix });
        }
    }

    pub(crate) fn into_violations(self) -> Vec<ConfigViolation> {
        self.found
    }
}

/// The range that the bot requires of a number, whatever its other facts are.
#[derive(Debug, Clone, Copy)]
pub(super) enum NumberRange {
    /// Greater than zero and at most this.
    AboveZeroTo(u32),
    /// At least one. Zero is refused with an explanation, because its effect would not be obvious.
    OneOrMore {
        /// The effect that zero would have, for the message.
        zero_means: &'static str,
        /// What to do instead of sending zero.
        fix: &'static str,
    },
    /// A loss in account currency: less than zero.
    Loss,
    /// A loss as a part of the equity: between -1 and 0.
    LossPart,
    /// Any number that the schema allows.
    Any,
}

impl NumberRange {
    /// Adds a violation when the value lies outside the range.
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
