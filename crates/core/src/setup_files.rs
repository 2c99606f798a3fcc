//! Files that a set-up writes for a person: settings, units of systemd, sources; all of them or none.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::text::clean;

/// A file with its name, its content, and whether only its owner may read it.
#[derive(Debug)]
pub struct SetupFile {
    /// Its path within the folder.
    pub name: String,
    /// What is in it.
    pub content: String,
    /// Only its owner may read it.
    pub is_private: bool,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum SetupProblem {
    /// A file of that name is there already.
    IsThere(PathBuf),
    /// The file system refused; one sentence.
    Failed(String),
}

/// Writes all of the files into the folder, which is made for its owner alone where it is missing.
///
/// # Errors
/// When one of them is there or cannot be written; nothing that this call wrote is left then.
pub fn write_files(folder: &Path, files: &[SetupFile]) -> Result<(), SetupProblem> {
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(&file.name)).collect();
    if let Some(there) = paths.iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        return Err(SetupProblem::IsThere(there.clone()));
    }
    for made in std::iter::once(folder).chain(paths.iter().filter_map(|path| path.parent())) {
        let built = DirBuilder::new().recursive(true).mode(0o700).create(made);
        built.map_err(|error| SetupProblem::Failed(format!("{}: {error}", made.display())))?;
    }
    create_files(&paths, files).map_err(SetupProblem::Failed)
}

fn create_files(paths: &[PathBuf], files: &[SetupFile]) -> Result<(), String> {
    for (index, (path, file)) in paths.iter().zip(files).enumerate() {
        if let Err(error) = write_new(path, file) {
            // Only what this call made: the file that is in the way may be of another.
            for written in paths.iter().take(index) {
                // What cannot be removed either is named by the error that follows.
                let _ = fs::remove_file(written);
            }
            return Err(format!("{}: {error}", path.display()));
        }
    }
    Ok(())
}

fn write_new(path: &Path, file: &SetupFile) -> io::Result<()> {
    let mode = if file.is_private { 0o600 } else { 0o644 };
    let mut made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = made.write_all(file.content.as_bytes()).and_then(|()| made.sync_all());
    if written.is_err() {
        // What cannot be removed either is named by the error.
        let _ = fs::remove_file(path);
    }
    written
}

/// A value for a file of settings, in quotes where it needs them.
///
/// # Errors
/// A sentence for what no such file can hold.
pub fn quoted_value(value: &str, what: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/+=@%^~".contains(c);
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(format!("{what} is empty or has a control character, which no such file can hold"));
    }
    Ok(if value.chars().all(is_plain) {
        value.to_owned()
    } else if value.contains('\'') {
        let mut quoted = String::from("\"");
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted + "\""
    } else {
        format!("'{value}'")
    })
}

/// A word of a command line in a unit.
///
/// # Errors
/// A sentence for what no unit can hold.
pub fn unit_word(word: &str) -> Result<String, String> {
    check_no_control(word)?;
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | ';');
    Ok(if word.chars().all(is_plain) { escaped } else { format!("\"{escaped}\"") })
}

/// A line break in a word would begin a line of its own, which root runs.
///
/// # Errors
/// A sentence that names the word.
pub fn check_no_control(word: &str) -> Result<(), String> {
    if word.chars().any(char::is_control) {
        let shown = clean(word, 120);
        return Err(format!(
            "{shown}: a control character is in it, which no unit and no compose file can hold"
        ));
    }
    Ok(())
}

/// A path that is the whole value of a line in a unit, where quotes would be part of it.
///
/// # Errors
/// A sentence for what no unit can hold.
pub fn unit_path(path: &str) -> Result<String, String> {
    check_no_control(path)?;
    Ok(path.replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env_file;

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        for value in ["plain-1", "two words", "it's", "a#b c # d", "\"q\" 'r' $x `y` \\z", "#", "ü$"] {
            let line = format!("password={}\n", quoted_value(value, "it").unwrap());
            let read = env_file::parse(line.as_bytes()).unwrap();
            assert_eq!(read, [("password".to_owned(), value.to_owned())], "{line}");
        }
        assert!(quoted_value("two\nlines", "it").is_err() && quoted_value("", "it").is_err());
    }

    #[test]
    fn a_word_of_a_unit_stays_one_word() {
        assert_eq!(unit_word("/opt/a b/%n").unwrap(), "\"/opt/a b/%%n\"");
        assert_eq!(unit_word("http://127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(unit_word("a$b").unwrap(), "a$$b");
        for word in ["a\nExecStartPre=/bin/true", "a\r", "a\u{1b}[31m", "a\0"] {
            assert!(unit_word(word).is_err() && unit_path(word).is_err());
        }
    }

    #[test]
    fn a_file_that_another_made_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        fs::write(&path, "of another").unwrap();
        let file = SetupFile { name: "credentials".to_owned(), content: "own".to_owned(), is_private: true };
        let failed = create_files(std::slice::from_ref(&path), &[file]).unwrap_err();
        assert!(failed.contains("credentials"), "{failed}");
        assert_eq!(fs::read_to_string(path).unwrap(), "of another");
    }
}
