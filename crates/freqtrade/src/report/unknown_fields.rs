//! Why a field of the report is `null`.

use botops_contract::{UnknownField, UnknownWhy};

use crate::polling::PolledPart;

/// The fields that are `null`, each with its reason.
#[derive(Debug, Default)]
pub(super) struct UnknownFields {
    fields: Vec<UnknownField>,
}

impl UnknownFields {
    pub(super) fn add(&mut self, field: &str, why: UnknownWhy) {
        self.fields.push(UnknownField { field: field.to_owned(), why, why_raw: None });
    }

    /// Notes the field when it has no value.
    pub(super) fn note<T>(&mut self, field: &str, value: Option<&T>, why: UnknownWhy) {
        if value.is_none() {
            self.add(field, why);
        }
    }

    pub(super) fn into_fields(self) -> Vec<UnknownField> {
        self.fields
    }
}

/// Why something that comes from this part is missing: the call failed, was not made yet, or does not give it.
pub(super) fn why_missing<T>(part: &PolledPart<T>) -> UnknownWhy {
    match (&part.failure, part.value()) {
        (Some(_), _) => UnknownWhy::UpstreamError,
        (None, None) => UnknownWhy::NotYet,
        (None, Some(_)) => UnknownWhy::NotReported,
    }
}
