//! The known workflows: those shipped with the binary, and those in the folder `workflows` of the data folder.
//!
//! A file of the folder replaces a shipped workflow of the same id. The folder is read at each list and each
//! execution (a handful of `stat` calls), so there is no watcher that could miss a rename. A file with faults never
//! hides its last good version, also across a restart; the faults are reported with line and column.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::checked::CheckedWorkflow;
use super::marked_document::{DefinitionFault, WorkflowFinding};
use super::strict_yaml::MAX_BYTES;
use botops_core::regular_file::open_regular;

/// The workflows that come with the binary: file name and text.
const SHIPPED: [(&str, &str); 4] = [
    ("check-health.yaml", include_str!("../../../../../workflows/check-health.yaml")),
    ("export-logs.yaml", include_str!("../../../../../workflows/export-logs.yaml")),
    ("restart-bot.yaml", include_str!("../../../../../workflows/restart-bot.yaml")),
    ("update-targets.yaml", include_str!("../../../../../workflows/update-targets.yaml")),
];

/// Files that are read at most, the first by name; nobody reviews a longer list.
const FILES_MAX: usize = 200;

/// Names of files left out that one line of the log tells.
const LEFT_OUT_NAMED: usize = 20;

/// A workflow and its origin.
#[derive(Debug, Clone)]
pub(crate) struct KnownWorkflow {
    pub(crate) workflow: Arc<CheckedWorkflow>,
    /// `shipped` with the binary, or `data` for a file in the data folder.
    pub(crate) origin: &'static str,
    pub(crate) findings: Vec<WorkflowFinding>,
}

/// The result of reading the folder: usable workflows, and the faults of files that belong to none.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkflowListing {
    pub(crate) known: BTreeMap<String, KnownWorkflow>,
    pub(crate) strays: Vec<WorkflowFinding>,
    /// Files beyond [`FILES_MAX`], which are not read.
    pub(crate) left_out: usize,
    /// Good definitions that were read for the first time, to be stored; by file name.
    pub(crate) fresh: Vec<(String, Arc<CheckedWorkflow>)>,
}

/// A file as it was when it was last read.
#[derive(Debug)]
struct WorkflowFileState {
    stamp: (u64, u64, i64, i64),
    good: Option<Arc<CheckedWorkflow>>,
    faults: Vec<DefinitionFault>,
}

/// The known workflows; the folder is read at each [`WorkflowCatalogue::list_files`].
#[derive(Debug)]
pub(crate) struct WorkflowCatalogue {
    folder: PathBuf,
    shipped: Vec<Arc<CheckedWorkflow>>,
    read_files: Mutex<BTreeMap<String, WorkflowFileState>>,
    /// The files left out when the log last told of them.
    told_left_out: Mutex<BTreeSet<String>>,
}

impl WorkflowCatalogue {
    /// Reads the shipped workflows. A fault in a shipped file is a defect that a test finds.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let mut shipped = Vec::new();
        for (file, text) in SHIPPED {
            match CheckedWorkflow::from_text(text) {
                Ok(workflow) => shipped.push(Arc::new(workflow)),
                Err(faults) => {
                    let first = faults.first().map(ToString::to_string).unwrap_or_default();
                    tracing::error!("the shipped workflow {file} cannot be used: {first}");
                }
            }
        }
        Self { folder, shipped, read_files: Mutex::default(), told_left_out: Mutex::default() }
    }

    /// Restores the last good definition of a file, as it was stored.
    pub(crate) fn restore_last_good(&self, file: String, workflow: CheckedWorkflow) {
        let mut read_files = self.read_files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = (0, 0, 0, 0);
        read_files
            .insert(file, WorkflowFileState { stamp, good: Some(Arc::new(workflow)), faults: Vec::new() });
    }

    /// Reads what has changed in the folder, and lists all workflows.
    pub(crate) fn list_files(&self) -> WorkflowListing {
        let mut listing = WorkflowListing::default();
        for workflow in &self.shipped {
            let known = KnownWorkflow {
                workflow: workflow.clone(),
                origin: "shipped",
                findings: warnings_of(workflow),
            };
            listing.known.insert(workflow.definition.id.clone(), known);
        }
        let mut read_files = self.read_files.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, left_out) = find_files(&self.folder);
        listing.left_out = left_out.len();
        self.tell_left_out(left_out);
        read_files.retain(|name, _| files.contains_key(name));
        for (name, path) in files {
            let Some(stamp) = file_stamp(&path) else { continue };
            let before = read_files.remove(&name);
            let entry = match before {
                Some(before) if before.stamp == stamp => before,
                before => {
                    let last_good = before.and_then(|before| before.good);
                    let entry = read_file(&name, &path, stamp, last_good);
                    if let (Some(good), true) = (&entry.good, entry.faults.is_empty()) {
                        listing.fresh.push((name.clone(), good.clone()));
                    }
                    entry
                }
            };
            add_file(&mut listing, &name, &entry);
            read_files.insert(name, entry);
        }
        listing
    }

    /// Names the files that are not read, in one line of the log whenever they are other ones.
    fn tell_left_out(&self, left_out: BTreeSet<String>) {
        let mut told = self.told_left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == left_out {
            return;
        }
        if !left_out.is_empty() {
            let named: Vec<_> =
                left_out.iter().take(LEFT_OUT_NAMED).map(|name| botops_core::text::clean(name, 80)).collect();
            let more = match left_out.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (count, named) = (left_out.len(), named.join(", "));
            tracing::warn!(
                "{count} workflow files are not read, since the folder has more than {FILES_MAX}: {named}{more}"
            );
        }
        *told = left_out;
    }
}

fn add_file(listing: &mut WorkflowListing, file: &str, entry: &WorkflowFileState) {
    let mut faults: Vec<WorkflowFinding> =
        entry.faults.iter().map(|fault| finding_of("error", file, fault)).collect();
    match &entry.good {
        Some(workflow) => {
            faults.extend(warnings_of(workflow));
            let known = KnownWorkflow { workflow: workflow.clone(), origin: "data", findings: faults };
            listing.known.insert(workflow.definition.id.clone(), known);
        }
        // The file never had a good version. A shipped workflow of its name stays in use and shows the faults.
        None => match listing.known.get_mut(file.trim_end_matches(".yaml")) {
            Some(shipped) => shipped.findings.extend(faults),
            None => listing.strays.extend(faults),
        },
    }
}

fn warnings_of(workflow: &CheckedWorkflow) -> Vec<WorkflowFinding> {
    let file = format!("{}.yaml", workflow.definition.id);
    workflow.warnings.iter().map(|fault| finding_of("warning", &file, fault)).collect()
}

fn finding_of(severity: &'static str, file: &str, fault: &DefinitionFault) -> WorkflowFinding {
    let DefinitionFault { line, column, message } = fault.clone();
    WorkflowFinding { severity, file: botops_core::text::clean(file, 80), line, column, message }
}

/// The files to read, and the names of those beyond [`FILES_MAX`].
fn find_files(folder: &Path) -> (BTreeMap<String, PathBuf>, BTreeSet<String>) {
    let Ok(listing) = fs::read_dir(folder) else { return Default::default() };
    let paths = listing.filter_map(Result::ok).map(|entry| entry.path());
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        (name.ends_with(".yaml") && !name.starts_with('.')).then_some((name, path))
    });
    // A folder has no order of its own: without this one, other files would be left out each time.
    let mut files: BTreeMap<String, PathBuf> = named.collect();
    let left_out = match files.keys().nth(FILES_MAX).cloned() {
        Some(first) => files.split_off(&first).into_keys().collect(),
        None => BTreeSet::new(),
    };
    (files, left_out)
}

/// Identifies the contents of a file without reading it: inode, length and times, which also change with a rename.
fn file_stamp(path: &Path) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn read_file(
    name: &str,
    path: &Path,
    stamp: (u64, u64, i64, i64),
    last_good: Option<Arc<CheckedWorkflow>>,
) -> WorkflowFileState {
    let fault = |message: String| vec![DefinitionFault { line: 1, column: 1, message }];
    let compiled = read_text(path)
        .map_err(fault)
        .and_then(|text| CheckedWorkflow::from_text(&text))
        .and_then(|workflow| {
            let expected = format!("{}.yaml", workflow.definition.id);
            if expected == name {
                Ok(workflow)
            } else {
                Err(fault(format!("a file with this id must be named {expected}")))
            }
        });
    match compiled {
        Ok(workflow) => WorkflowFileState { stamp, good: Some(Arc::new(workflow)), faults: Vec::new() },
        Err(faults) => {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            tracing::warn!("the workflow file {name} cannot be used ({first}); the last good one stays");
            WorkflowFileState { stamp, good: last_good, faults }
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = open_regular(path, fs::OpenOptions::new().read(true))
        .map_err(|error| format!("the file cannot be read ({})", error.kind()))?;
    let read = file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| format!("the file cannot be read ({})", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "workflow: v1\nid: look\ntitle: Look\nrisk: read\nparams: {type: object, additionalProperties: false}\n\
        policy: {locks: [], on_conflict: join, timeout_s: 60, on_crash: resume}\nsteps:\n  - {id: bot, uses: bot.status}\n";

    #[test]
    fn what_is_shipped_can_be_used_without_a_doubt() {
        for (file, text) in SHIPPED {
            let faults = CheckedWorkflow::from_text(text).map(|_| ()).err();
            assert!(faults.is_none(), "{file}: {}", faults.unwrap_or_default()[0]);
        }
        let folder = tempfile::tempdir().unwrap();
        let listing = WorkflowCatalogue::new(folder.path().to_owned()).list_files();
        assert_eq!(listing.known.len(), SHIPPED.len());
        for (id, known) in listing.known {
            assert!(known.findings.is_empty(), "{id}: {:?}", known.findings);
        }
    }

    #[test]
    fn a_bad_file_never_hides_the_good_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("look.yaml");
        let catalogue = WorkflowCatalogue::new(folder.path().to_owned());
        fs::write(&file, GOOD).unwrap();
        let first = catalogue.list_files();
        assert_eq!(first.fresh.len(), 1);
        let sha256 = first.known["look"].workflow.sha256.clone();
        fs::write(&file, format!("{GOOD}  - {{id: bot, uses: bot.status}}\n")).unwrap();
        let second = catalogue.list_files();
        let known = &second.known["look"];
        assert_eq!(known.workflow.sha256, sha256);
        let finding = &known.findings[0];
        assert_eq!((finding.line, finding.severity), (9, "error"), "{finding:?}");
        assert!(finding.message.contains("stands twice"), "{finding:?}");
        fs::remove_file(&file).unwrap();
        assert!(!catalogue.list_files().known.contains_key("look"));
    }

    #[test]
    fn of_too_many_files_the_first_by_name_are_read_and_the_others_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        for number in (0..300).rev() {
            let text = GOOD.replace("id: look", &format!("id: look-{number:03}"));
            fs::write(folder.path().join(format!("look-{number:03}.yaml")), text).unwrap();
        }
        let catalogue = WorkflowCatalogue::new(folder.path().to_owned());
        let listing = catalogue.list_files();
        let read = listing.known.values().filter(|known| known.origin == "data").count();
        assert_eq!((read, listing.left_out), (200, 100));
        assert!(listing.known.contains_key("look-000") && listing.known.contains_key("look-199"));
        assert!(!listing.known.contains_key("look-200"));
        let told = catalogue.told_left_out.lock().unwrap().clone();
        assert_eq!((told.len(), told.first().unwrap().as_str()), (100, "look-200.yaml"));
        for number in 0..120 {
            fs::remove_file(folder.path().join(format!("look-{number:03}.yaml"))).unwrap();
        }
        assert_eq!(catalogue.list_files().left_out, 0);
        assert!(catalogue.told_left_out.lock().unwrap().is_empty(), "the next time it is told again");
    }

    #[test]
    fn a_shipped_workflow_stays_when_its_replacement_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("check-health.yaml"), "workflow: v2\n").unwrap();
        let listing = WorkflowCatalogue::new(folder.path().to_owned()).list_files();
        let known = &listing.known["check-health"];
        assert_eq!(known.origin, "shipped");
        assert!(known.findings.iter().any(|finding| finding.severity == "error"));
    }
}
