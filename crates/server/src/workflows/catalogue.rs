//! The known workflows: shipped with the binary, and from the folder `workflows` in the data folder.
//!
//! A file of the folder takes the place of a shipped workflow of the same id. The folder is looked through at each
//! list and each execution (a handful of `stat` calls), so there is no watcher to miss a rename. A file that cannot be
//! used never hides the good one before it, also across a restart; its faults are told with line and column.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::definition::{Finding, Workflow};
use super::yaml::{Fault, MAX_BYTES};
use crate::operations_log::now_ms;

/// What comes with the binary.
const SHIPPED: [(&str, &str); 4] = [
    ("check-health.yaml", include_str!("../../../../workflows/check-health.yaml")),
    ("export-logs.yaml", include_str!("../../../../workflows/export-logs.yaml")),
    ("restart-bot.yaml", include_str!("../../../../workflows/restart-bot.yaml")),
    ("update-targets.yaml", include_str!("../../../../workflows/update-targets.yaml")),
];

/// Files looked at; more are not a list anybody reviewed.
const FILES_MAX: usize = 200;

/// A workflow and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub workflow: Arc<Workflow>,
    /// `shipped` or `data`.
    pub origin: &'static str,
    pub findings: Vec<Finding>,
}

/// What was found at one look: the usable workflows, and faults of files that name none.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    pub known: BTreeMap<String, Known>,
    pub strays: Vec<Finding>,
    /// Good definitions that were read for the first time, to be kept.
    pub fresh: Vec<(String, Arc<Workflow>)>,
}

/// A file as it was last looked at.
#[derive(Debug)]
struct Looked {
    stamp: (u64, u64, i64, i64),
    good: Option<Arc<Workflow>>,
    faults: Vec<Fault>,
}

/// The catalogue.
#[derive(Debug)]
pub(super) struct Catalogue {
    folder: PathBuf,
    shipped: Vec<Arc<Workflow>>,
    looked: Mutex<BTreeMap<String, Looked>>,
}

impl Catalogue {
    /// Reads what is shipped. A shipped file with a fault is a defect that a test finds.
    pub fn new(folder: PathBuf) -> Self {
        let mut shipped = Vec::new();
        for (file, text) in SHIPPED {
            match Workflow::read(text) {
                Ok(workflow) => shipped.push(Arc::new(workflow)),
                Err(faults) => {
                    let first = faults.first().map(ToString::to_string).unwrap_or_default();
                    tracing::error!("the shipped workflow {file} cannot be used: {first}");
                }
            }
        }
        Self { folder, shipped, looked: Mutex::default() }
    }

    /// Puts the last good definition of a file in place, as it was kept in the store.
    pub fn remember(&self, file: String, workflow: Workflow) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = (0, 0, 0, 0);
        looked.insert(file, Looked { stamp, good: Some(Arc::new(workflow)), faults: Vec::new() });
    }

    /// Looks through the folder.
    pub fn look(&self) -> Listing {
        let mut listing = Listing::default();
        for workflow in &self.shipped {
            let known = Known { workflow: workflow.clone(), origin: "shipped", findings: warnings(workflow) };
            listing.known.insert(workflow.definition.id.clone(), known);
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files(&self.folder);
        looked.retain(|name, _| files.contains_key(name));
        for (name, path) in files {
            let Some(stamp) = stamp(&path) else { continue };
            let before = looked.remove(&name);
            let entry = match before {
                Some(before) if before.stamp == stamp => before,
                before => {
                    let last_good = before.and_then(|before| before.good);
                    let entry = read(&name, &path, stamp, last_good);
                    if let (Some(good), true) = (&entry.good, entry.faults.is_empty()) {
                        listing.fresh.push((name.clone(), good.clone()));
                    }
                    entry
                }
            };
            place(&mut listing, &name, &entry);
            looked.insert(name, entry);
        }
        listing
    }
}

fn place(listing: &mut Listing, file: &str, entry: &Looked) {
    let mut faults: Vec<Finding> = entry.faults.iter().map(|fault| finding("error", file, fault)).collect();
    match &entry.good {
        Some(workflow) => {
            faults.extend(warnings(workflow));
            let known = Known { workflow: workflow.clone(), origin: "data", findings: faults };
            listing.known.insert(workflow.definition.id.clone(), known);
        }
        // The file was never good; if a shipped workflow has its name, that one stays and tells.
        None => match listing.known.get_mut(file.trim_end_matches(".yaml")) {
            Some(shipped) => shipped.findings.extend(faults),
            None => listing.strays.extend(faults),
        },
    }
}

fn warnings(workflow: &Workflow) -> Vec<Finding> {
    let file = format!("{}.yaml", workflow.definition.id);
    workflow.warnings.iter().map(|fault| finding("warning", &file, fault)).collect()
}

fn finding(severity: &'static str, file: &str, fault: &Fault) -> Finding {
    let Fault { line, column, message } = fault.clone();
    Finding { severity, file: botops_core::text::clean(file, 80), line, column, message }
}

fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let Ok(listing) = fs::read_dir(folder) else { return BTreeMap::new() };
    let paths = listing.filter_map(Result::ok).map(|entry| entry.path());
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        (name.ends_with(".yaml") && !name.starts_with('.')).then_some((name, path))
    });
    named.take(FILES_MAX).collect()
}

/// What tells one state of a file from another, also after a rename into place.
fn stamp(path: &Path) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn read(name: &str, path: &Path, stamp: (u64, u64, i64, i64), last_good: Option<Arc<Workflow>>) -> Looked {
    let fault = |message: String| vec![Fault { line: 1, column: 1, message }];
    let compiled = text_of(path).map_err(fault).and_then(|text| Workflow::read(&text)).and_then(|workflow| {
        let expected = format!("{}.yaml", workflow.definition.id);
        if expected == name {
            Ok(workflow)
        } else {
            Err(fault(format!("a file with this id must be named {expected}")))
        }
    });
    match compiled {
        Ok(workflow) => Looked { stamp, good: Some(Arc::new(workflow)), faults: Vec::new() },
        Err(faults) => {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            tracing::warn!("the workflow file {name} cannot be used ({first}); the last good one stays");
            Looked { stamp, good: last_good, faults }
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| format!("the file cannot be read ({})", error.kind()))?;
    let read = file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| format!("the file cannot be read ({})", error.kind()))
}

/// Keeps a definition, so that runs can be taken up whatever becomes of its file.
pub(super) fn pin(connection: &Connection, file: &str, workflow: &Workflow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO definitions(sha256, id, file, json, kept_ms) VALUES(?1, ?2, ?3, ?4, ?5)
             ON CONFLICT(sha256) DO UPDATE SET kept_ms = excluded.kept_ms",
        )?
        .execute(params![
            workflow.sha256,
            workflow.definition.id,
            file,
            workflow.document.to_string(),
            now_ms()
        ])
        .map(|_| ())
}

/// The pinned definition of this hash.
pub(super) fn pinned(connection: &Connection, sha256: &str) -> rusqlite::Result<Option<Workflow>> {
    let json: Option<String> = connection
        .prepare_cached("SELECT json FROM definitions WHERE sha256 = ?1")?
        .query_row([sha256], |row| row.get(0))
        .optional()?;
    let document = json.and_then(|json| serde_json::from_str::<Value>(&json).ok());
    Ok(document.and_then(|document| Workflow::pinned(document, sha256.to_owned()).ok()))
}

/// The newest kept definition of each file.
pub(super) fn last_good(connection: &Connection) -> rusqlite::Result<Vec<(String, Workflow)>> {
    let mut statement = connection
        .prepare("SELECT file, json, sha256, max(kept_ms) FROM definitions WHERE file <> '' GROUP BY file")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (file, json, sha256) = row?;
        let document = serde_json::from_str::<Value>(&json).unwrap_or_default();
        if let Ok(workflow) = Workflow::pinned(document, sha256) {
            found.push((file, workflow));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "workflow: v1\nid: look\ntitle: Look\nrisk: read\nparams: {type: object, additionalProperties: false}\n\
        policy: {locks: [], on_conflict: join, timeout_s: 60, on_crash: resume}\nsteps:\n  - {id: bot, uses: bot.status}\n";

    #[test]
    fn what_is_shipped_can_be_used_without_a_doubt() {
        for (file, text) in SHIPPED {
            let faults = Workflow::read(text).map(|_| ()).err();
            assert!(faults.is_none(), "{file}: {}", faults.unwrap_or_default()[0]);
        }
        let folder = tempfile::tempdir().unwrap();
        let listing = Catalogue::new(folder.path().to_owned()).look();
        assert_eq!(listing.known.len(), SHIPPED.len());
        for (id, known) in listing.known {
            assert!(known.findings.is_empty(), "{id}: {:?}", known.findings);
        }
    }

    #[test]
    fn a_bad_file_never_hides_the_good_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("look.yaml");
        let catalogue = Catalogue::new(folder.path().to_owned());
        fs::write(&file, GOOD).unwrap();
        let first = catalogue.look();
        assert_eq!(first.fresh.len(), 1);
        let sha256 = first.known["look"].workflow.sha256.clone();
        fs::write(&file, format!("{GOOD}  - {{id: bot, uses: bot.status}}\n")).unwrap();
        let second = catalogue.look();
        let known = &second.known["look"];
        assert_eq!(known.workflow.sha256, sha256);
        let finding = &known.findings[0];
        assert_eq!((finding.line, finding.severity), (9, "error"), "{finding:?}");
        assert!(finding.message.contains("stands twice"), "{finding:?}");
        fs::remove_file(&file).unwrap();
        assert!(!catalogue.look().known.contains_key("look"));
    }

    #[test]
    fn a_shipped_workflow_stays_when_its_replacement_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("check-health.yaml"), "workflow: v2\n").unwrap();
        let listing = Catalogue::new(folder.path().to_owned()).look();
        let known = &listing.known["check-health"];
        assert_eq!(known.origin, "shipped");
        assert!(known.findings.iter().any(|finding| finding.severity == "error"));
    }
}
