//! YAML files that are a list of records.

use serde::de::DeserializeOwned;

/// Parses a YAML list of records.
///
/// An error quotes the text only when it is a list of records: another file, named by mistake, may hold secrets.
pub(crate) fn list_of_records<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    let document: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| {
        let at = error.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
        format!("{}it is not YAML", at.unwrap_or_default())
    })?;
    let is_list = document.as_sequence().is_some_and(|items| items.iter().all(serde_yaml::Value::is_mapping));
    if !is_list {
        return Err("it is no YAML list of records".to_owned());
    }
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}
