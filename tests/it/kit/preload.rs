//! Libraries that are loaded into a real process before those that it has, to set its clock or to fill its disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use tempfile::TempDir;

/// A library of the kit, by the name of its source; compiled once for all tests of this process.
pub(crate) fn library(source: &'static str) -> PathBuf {
    static BUILT: LazyLock<Mutex<HashMap<&'static str, (TempDir, PathBuf)>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, path) = built.entry(source).or_insert_with(|| build(source));
    path.clone()
}

fn build(source: &str) -> (TempDir, PathBuf) {
    // Not in memory: nothing may be executed there on some machines.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(source).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kit").join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1"]).arg(&source).arg("-ldl").arg("-o").arg(&path);
    let ended = compiler.status().expect("there is a C compiler");
    assert!(ended.success(), "{} compiles", source.display());
    (folder, path)
}
