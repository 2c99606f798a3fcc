//! Collects what is wrong with a request, field by field.

use botops_core::error::FieldError;
use serde_json::Value;

/// What is wrong, each with the field it is about.
#[derive(Debug, Default)]
pub(crate) struct FieldDefects(pub(crate) Vec<FieldError>);

impl FieldDefects {
    pub(crate) fn wrong(
        &mut self,
        pointer: impl Into<String>,
        got: impl Into<Value>,
        expected: impl Into<String>,
    ) {
        let (pointer, got, expected) = (pointer.into(), got.into(), expected.into());
        self.0.push(FieldError { pointer, got, expected, ..FieldError::default() });
    }

    /// Checks that a time in seconds lies within these bounds; an absent one is fine.
    pub(crate) fn seconds(&mut self, pointer: &str, value: Option<f64>, least: f64, most: f64) {
        if let Some(value) = value
            && !(value.is_finite() && (least..=most).contains(&value))
        {
            self.wrong(pointer, value, format!("{least} to {most} seconds"));
        }
    }

    /// Parses a checker's config; a member that does not fit is named by its JSON pointer.
    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&mut self, config: &Value) -> Option<T> {
        match serde_path_to_error::deserialize(config) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let mut pointer = "/config".to_owned();
                for segment in error.path() {
                    if let serde_path_to_error::Segment::Map { key } = segment {
                        pointer.push('/');
                        pointer.push_str(key);
                    }
                }
                self.wrong(
                    pointer,
                    Value::Null,
                    botops_core::text::clean(&error.into_inner().to_string(), 200),
                );
                None
            }
        }
    }
}
