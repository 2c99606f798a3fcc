//! Artifacts: files that a run leaves behind, such as a log bundle.
//!
//! An artifact's name consists of its run's id and its step's id, so that a repeated step replaces its file instead
//! of adding a second one. A file appears complete or not at all. Hidden from users: the folder, and how log lines
//! are found, redacted and packed. Clients name artifacts, never folders or files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use botops_core::durable_file;
use chrono::{DateTime, Local, NaiveDateTime, TimeZone, Utc};
use data_encoding::HEXLOWER;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How many bundles are kept; the oldest ones are deleted first.
pub(crate) const KEEP: usize = 50;

/// Bytes of a line that are kept; botops and the reference bot write no longer ones.
const LINE_MAX: u64 = 64 * 1024;

/// Lines that are looked at before a file counts as one without times.
const LINES_WITHOUT_TIME: usize = 100;

/// The members of a log line in which its time may stand.
const TIME_KEYS: [&str; 4] = ["timestamp", "at", "ts", "time"];

/// How the file of a bundle ends.
pub(crate) const ENDING: &str = ".tar.zst";

/// A family of log files, by the beginning of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogSource {
    pub(crate) name: &'static str,
    pub(crate) prefixes: &'static [&'static str],
}

/// The log sources that a request can name.
pub(crate) const SOURCES: [LogSource; 6] = [
    LogSource { name: "trades", prefixes: &["trades"] },
    LogSource { name: "errors", prefixes: &["errors"] },
    LogSource { name: "health", prefixes: &["health"] },
    LogSource { name: "api", prefixes: &["botops", "paperbot"] },
    LogSource { name: "workflows", prefixes: &["workflow_execution_log"] },
    BOT_SOURCE,
];

/// What a bot writes under names of its own, and what it wrote to its terminal when botops started it: every file of the
/// bot's folder that belongs to no other source.
const BOT_SOURCE: LogSource = LogSource { name: "bot", prefixes: &["bot-output"] };

/// What to pack into a bundle.
#[derive(Debug, Clone)]
pub(crate) struct BundleRequest {
    pub(crate) name: String,
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
    pub(crate) sources: Vec<LogSource>,
    pub(crate) folders: Vec<PathBuf>,
    /// The folder of the bot's own logs, where names are the bot's.
    pub(crate) bot_folder: Option<PathBuf>,
    pub(crate) max_bytes: u64,
    /// Copied into the manifest as it is.
    pub(crate) about: Value,
}

/// The result of packing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PackedBundle {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) files: u32,
    pub(crate) truncated: bool,
    /// How many lines of the range each source has; every one that was asked for is there.
    pub(crate) lines_by_source: BTreeMap<String, u64>,
}

/// The result of reading a bundle back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InspectedBundle {
    pub(crate) sha256: String,
    pub(crate) files: u32,
    pub(crate) lines: u64,
    /// Lines that contain something that looks like a secret, or a known secret.
    pub(crate) secrets: u64,
}

/// Handle to the artifacts; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactStore {
    folder: Arc<PathBuf>,
    own_logs: Arc<Vec<PathBuf>>,
    canaries: Arc<Vec<SecretString>>,
}

/// One file of a bundle, for its manifest.
#[derive(Debug, Serialize)]
struct BundleEntry {
    file: String,
    source: &'static str,
    lines: u64,
    bytes: u64,
    redacted_lines: u64,
}

impl ArtifactStore {
    /// Artifacts in `folder`. `own_logs` are botops' log folders; `canaries` are texts that must never appear in a
    /// bundle.
    pub(crate) fn new(folder: PathBuf, own_logs: Vec<PathBuf>, canaries: Vec<SecretString>) -> Self {
        Self { folder: Arc::new(folder), own_logs: Arc::new(own_logs), canaries: Arc::new(canaries) }
    }

    /// botops' own log folders.
    pub(crate) fn own_logs(&self) -> &[PathBuf] {
        &self.own_logs
    }

    /// Whether a text has the form of an artifact's name; anything else must not reach the file system.
    pub(crate) fn is_name(name: &str) -> bool {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=110).contains(&name.len()) && name.chars().all(plain)
    }

    /// Opens an artifact and returns its length; `None` when there is none with this name.
    pub(crate) fn open_artifact(&self, name: &str) -> Option<(File, u64)> {
        if !Self::is_name(name) {
            return None;
        }
        let file = open_regular(&self.path_of(name)).ok()?;
        let length = file.metadata().ok()?.len();
        Some((file, length))
    }

    /// Deletes an artifact; true when there is none afterwards.
    pub(crate) fn delete_artifact(&self, name: &str) -> io::Result<bool> {
        if !Self::is_name(name) {
            return Ok(false);
        }
        match fs::remove_file(self.path_of(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{ENDING}"))
    }

    /// Packs log lines of a time range into a bundle. Ends with an error when `stop` is set.
    pub(crate) fn pack_bundle(&self, request: &BundleRequest, stop: &AtomicBool) -> io::Result<PackedBundle> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&*self.folder)?;
        self.prune_bundles()?;
        let part = self.folder.join(format!("{}.part", request.name));
        let spool = self.folder.join(format!("{}.spool", request.name));
        let packed = self.pack_into(request, &part, &spool, stop);
        // The spool's contents are in the bundle or useless.
        let _ = fs::remove_file(&spool);
        let packed = packed.inspect_err(|_| drop(fs::remove_file(&part)))?;
        durable_file::put_in_place(&part, &self.path_of(&request.name))?;
        Ok(packed)
    }

    fn pack_into(
        &self,
        request: &BundleRequest,
        part: &Path,
        spool: &Path,
        stop: &AtomicBool,
    ) -> io::Result<PackedBundle> {
        let out = create_private(part)?;
        let mut tar = tar::Builder::new(zstd::Encoder::new(out, 3)?);
        let mut entries = Vec::new();
        let mut left = request.max_bytes;
        let mut truncated = false;
        let mut without_lines = Vec::new();
        for (source, path) in log_files(request) {
            let mut filtered = create_private(spool)?;
            let picked = self.filter_lines(&path, request, &mut filtered, &mut left, stop)?;
            truncated |= picked.truncated;
            let name = format!("{}/{}", source.name, file_name(&path));
            if picked.lines == 0 {
                without_lines.push(name);
                continue;
            }
            append_file(&mut tar, &name, picked.bytes, File::open(spool)?)?;
            let PickedLines { lines, bytes, redacted_lines, .. } = picked;
            entries.push(BundleEntry { file: name, source: source.name, lines, bytes, redacted_lines });
        }
        let lines = entries.iter().map(|entry| entry.lines).sum();
        let files = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let lines_of = |source: &LogSource| {
            let own = entries.iter().filter(|entry| entry.source == source.name);
            (source.name.to_owned(), own.map(|entry| entry.lines).sum())
        };
        let lines_by_source = request.sources.iter().map(lines_of).collect();
        let manifest = json!({
            "format": 1, "about": request.about, "from": request.from, "to": request.to, "created_at": Utc::now(),
            "sources": request.sources.iter().map(|source| source.name).collect::<Vec<_>>(),
            "files": entries, "without_lines": without_lines, "truncated": truncated, "redacted": true,
        });
        let manifest = serde_json::to_vec_pretty(&manifest)?;
        append_file(&mut tar, "manifest.json", manifest.len() as u64, manifest.as_slice())?;
        let out = tar.into_inner()?.finish()?;
        out.sync_all()?;
        let (sha256, bytes) = hash_file(&mut File::open(part)?)?;
        Ok(PackedBundle { sha256, bytes, lines, files, truncated, lines_by_source })
    }

    /// Copies the lines inside the range, redacted.
    fn filter_lines(
        &self,
        path: &Path,
        request: &BundleRequest,
        out: &mut File,
        left: &mut u64,
        stop: &AtomicBool,
    ) -> io::Result<PickedLines> {
        let Ok(file) = open_regular(path) else { return Ok(PickedLines::default()) };
        // Of lines that have no time the file's is known: all of them were written by then.
        let mut inside = has_no_times(path)? && is_written_since(&file, request.from)?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let mut writer = io::BufWriter::with_capacity(256 * 1024, out);
        let mut picked = PickedLines::default();
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line)? {
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            let text = String::from_utf8_lossy(&line);
            let parsed = serde_json::from_str::<Value>(&text).ok();
            // A line without a time counts as written at the time of the line before it.
            if let Some(at) = time_of(&text, parsed.as_ref()) {
                inside = at >= request.from && at < request.to;
            }
            if !inside {
                continue;
            }
            let (clean, changed) = self.redact_line(&text, parsed);
            let size = clean.len() as u64 + 1;
            if size > *left {
                picked.truncated = true;
                break;
            }
            writer.write_all(clean.as_bytes())?;
            writer.write_all(b"\n")?;
            *left -= size;
            picked.lines += 1;
            picked.bytes += size;
            picked.redacted_lines += u64::from(changed);
        }
        writer.flush()?;
        Ok(picked)
    }

    /// The line without secrets, and whether it had any.
    fn redact_line(&self, text: &str, parsed: Option<Value>) -> (String, bool) {
        let mut clean = match parsed {
            Some(mut value @ (Value::Object(_) | Value::Array(_))) => {
                let before = value.clone();
                botops_core::redact::json(&mut value);
                if value == before { text.to_owned() } else { value.to_string() }
            }
            _ => botops_core::redact::line(text),
        };
        for canary in self.canaries.iter() {
            if clean.contains(canary.expose_secret()) {
                clean = clean.replace(canary.expose_secret(), botops_core::redact::MASK);
            }
        }
        let changed = clean != text;
        (clean, changed)
    }

    /// Reads a bundle back: its hash, its contents, and whether any line still needs redaction.
    pub(crate) fn inspect_bundle(&self, name: &str) -> io::Result<InspectedBundle> {
        let (mut file, _) =
            self.open_artifact(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let (sha256, _) = hash_file(&mut file)?;
        let (file, _) = self.open_artifact(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut archive = tar::Archive::new(zstd::Decoder::new(file)?);
        let mut inspected = InspectedBundle { sha256, files: 0, lines: 0, secrets: 0 };
        for entry in archive.entries()? {
            let entry = entry?;
            if entry.path_bytes().as_ref() == b"manifest.json" {
                continue;
            }
            inspected.files += 1;
            let mut reader = BufReader::with_capacity(256 * 1024, entry);
            let mut line = Vec::new();
            while read_line(&mut reader, &mut line)? {
                let text = String::from_utf8_lossy(&line);
                let parsed = serde_json::from_str(&text).ok();
                inspected.lines += 1;
                inspected.secrets += u64::from(self.redact_line(&text, parsed).1);
            }
        }
        Ok(inspected)
    }

    /// How many log files a request would read, and how many bytes they have as they lie there: not compressed, with the
    /// lines outside of the range.
    pub(crate) fn estimate_size(request: &BundleRequest) -> (u32, u64) {
        let sizes: Vec<u64> =
            log_files(request).iter().filter_map(|(_, path)| Some(fs::metadata(path).ok()?.len())).collect();
        (u32::try_from(sizes.len()).unwrap_or(u32::MAX), sizes.iter().sum())
    }

    fn prune_bundles(&self) -> io::Result<()> {
        let mut kept: Vec<(i64, PathBuf)> = fs::read_dir(&*self.folder)?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(ENDING))
            .filter_map(|entry| Some((entry.metadata().ok()?.mtime(), entry.path())))
            .collect();
        kept.sort();
        let surplus = (kept.len() + 1).saturating_sub(KEEP);
        kept.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

#[derive(Debug, Default)]
struct PickedLines {
    lines: u64,
    bytes: u64,
    redacted_lines: u64,
    truncated: bool,
}

/// The log files of the requested sources, in each folder sorted by name. Links and subfolders are skipped.
fn log_files(request: &BundleRequest) -> Vec<(LogSource, PathBuf)> {
    let mut found = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for folder in &request.folders {
        let Ok(listing) = fs::read_dir(folder) else { continue };
        let mut paths: Vec<PathBuf> = listing.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = file_name(&path);
            let is_log = [".jsonl", ".log", ".txt"].iter().any(|ending| name.ends_with(ending));
            let is_bots = request.bot_folder.as_ref() == Some(folder);
            let Some(source) = source_of(&name, is_bots).filter(|_| is_log) else { continue };
            if !request.sources.contains(&source) {
                continue;
            }
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_file() && seen.insert((meta.dev(), meta.ino())) {
                found.push((source, path));
            }
        }
    }
    found
}

/// The source that a file belongs to, by its name.
fn source_of(name: &str, is_bots: bool) -> Option<LogSource> {
    let named =
        SOURCES.into_iter().find(|source| source.prefixes.iter().any(|prefix| name.starts_with(prefix)));
    named.or_else(|| is_bots.then_some(BOT_SOURCE))
}

/// Whether none of the first lines of a file has a time.
fn has_no_times(path: &Path) -> io::Result<bool> {
    let mut reader = BufReader::new(open_regular(path)?);
    let mut line = Vec::new();
    for _ in 0..LINES_WITHOUT_TIME {
        if !read_line(&mut reader, &mut line)? {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if time_of(&text, serde_json::from_str(&text).ok().as_ref()).is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_written_since(file: &File, from: DateTime<Utc>) -> io::Result<bool> {
    Ok(DateTime::from_timestamp(file.metadata()?.mtime(), 0).is_some_and(|at| at >= from))
}

/// Opens a regular file, and refuses links.
fn open_regular(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_follow).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::from(io::ErrorKind::InvalidInput)) }
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn append_file<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    size: u64,
    data: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_cksum();
    tar.append_data(&mut header, name, data)
}

/// Reads the next line without its end, at most [`LINE_MAX`] bytes of it; false at the end of the file.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let count = reader.by_ref().take(LINE_MAX).read_until(b'\n', line)?;
    if count == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if count as u64 == LINE_MAX {
        // The rest of an overlong line is skipped.
        reader.skip_until(b'\n')?;
    }
    Ok(true)
}

/// When a line was written: a member of a line of JSON, or the beginning of a line of text, as most loggers write it.
fn time_of(text: &str, parsed: Option<&Value>) -> Option<DateTime<Utc>> {
    parsed.and_then(time_of_line).or_else(|| time_of_text(text))
}

/// The time at the beginning of a line of text: `2026-03-02T15:00:00Z`, or `2026-03-02 15:00:00,123` in the time zone of this
/// machine, as Python's logging writes it.
fn time_of_text(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim_start_matches(['[', '"', ' ']);
    let first = text.split([' ', ']', '"']).next()?;
    if let Ok(at) = DateTime::parse_from_rfc3339(first) {
        return Some(at.to_utc());
    }
    let local = NaiveDateTime::parse_from_str(text.get(..19)?, "%Y-%m-%d %H:%M:%S")
        .or_else(|_| NaiveDateTime::parse_from_str(text.get(..19).unwrap_or_default(), "%Y-%m-%dT%H:%M:%S"));
    Some(Local.from_local_datetime(&local.ok()?).earliest()?.to_utc())
}

fn time_of_line(line: &Value) -> Option<DateTime<Utc>> {
    let text = TIME_KEYS.iter().find_map(|key| line.get(key)?.as_str())?;
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

fn hash_file(file: &mut File) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            let digest: [u8; 32] = hash.finalize().into();
            return Ok((HEXLOWER.encode(&digest), bytes));
        }
        bytes += count as u64;
        hash.update(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(folder: &Path) -> BundleRequest {
        BundleRequest {
            name: "run-1-collect".to_owned(),
            from: "2026-01-01T10:00:00Z".parse().unwrap(),
            to: "2026-01-01T11:00:00Z".parse().unwrap(),
            sources: SOURCES.to_vec(),
            folders: vec![folder.to_owned()],
            bot_folder: None,
            max_bytes: 1 << 20,
            about: json!({}),
        }
    }

    #[test]
    fn a_bundle_holds_the_range_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let lines = [
            r#"{"timestamp":"2026-01-01T09:59:59Z","message":"before"}"#,
            r#"{"timestamp":"2026-01-01T10:00:00Z","message":"in","access_token":"hunter2"}"#,
            "  a trace that mentions canary-canary-canary",
            r#"{"timestamp":"2026-01-01T11:00:00Z","message":"after"}"#,
        ];
        fs::write(logs.join("errors-2026-01-01.jsonl"), lines.join("\n")).unwrap();
        fs::write(logs.join("secrets.env"), "password=hunter2").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", logs.join("errors-link.log")).unwrap();
        let canaries = vec![SecretString::from("canary-canary-canary".to_owned())];
        let artifacts = ArtifactStore::new(folder.path().join("artifacts"), Vec::new(), canaries);
        let packed = artifacts.pack_bundle(&request(&logs), &AtomicBool::new(false)).unwrap();
        assert_eq!((packed.lines, packed.files, packed.truncated), (2, 1, false));
        let inspected = artifacts.inspect_bundle("run-1-collect").unwrap();
        assert_eq!((inspected.lines, inspected.secrets), (2, 0));
        assert_eq!(inspected.sha256, packed.sha256);
        let (file, _) = artifacts.open_artifact("run-1-collect").unwrap();
        let mut whole = Vec::new();
        zstd::Decoder::new(file).unwrap().read_to_end(&mut whole).unwrap();
        let whole = String::from_utf8_lossy(&whole);
        for secret in ["hunter2", "canary-canary", "before", "after", "root:"] {
            assert!(!whole.contains(secret), "{secret} is in the bundle");
        }
        assert!(artifacts.delete_artifact("run-1-collect").unwrap());
        assert!(artifacts.open_artifact("run-1-collect").is_none());
    }

    #[test]
    fn a_bundle_over_its_limit_is_cut_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("{{\"timestamp\":\"2026-01-01T10:00:00Z\",\"m\":\"{}\"}}\n", "x".repeat(100));
        fs::write(folder.path().join("trades.jsonl"), line.repeat(100)).unwrap();
        let artifacts = ArtifactStore::new(folder.path().join("artifacts"), Vec::new(), Vec::new());
        let small = BundleRequest { max_bytes: 1_000, ..request(folder.path()) };
        let packed = artifacts.pack_bundle(&small, &AtomicBool::new(false)).unwrap();
        assert!(packed.truncated && packed.lines < 10);
    }

    #[test]
    fn the_bots_own_files_are_packed_whatever_their_names_and_lines_look_like() {
        let folder = tempfile::tempdir().unwrap();
        let (own, bots) = (folder.path().join("own"), folder.path().join("bots"));
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(&bots).unwrap();
        let local = |text: &str| {
            let at: DateTime<Utc> = text.parse().unwrap();
            at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S,123").to_string()
        };
        let inside = local("2026-01-01T10:30:00Z");
        let outside = local("2026-01-01T12:30:00Z");
        let python = format!("{inside} INFO one\nTraceback\n  two\n{outside} INFO three\n");
        fs::write(bots.join("bot.log"), python).unwrap();
        fs::write(bots.join("x.jsonl"), "{\"ts\":\"2026-01-01T10:59:00Z\"}\n").unwrap();
        fs::write(bots.join("iso.txt"), "[2026-01-01T10:00:00+00:00] four\n").unwrap();
        fs::write(own.join("bot-output.txt"), "a line without a time\nanother one\n").unwrap();
        fs::write(own.join("something.log"), "2026-01-01T10:10:00Z not of the bot\n").unwrap();
        fs::write(bots.join("errors.log"), "2026-01-01T23:00:00Z late\n").unwrap();
        let artifacts = ArtifactStore::new(folder.path().join("artifacts"), Vec::new(), Vec::new());
        let request = BundleRequest {
            folders: vec![own, bots.clone()],
            bot_folder: Some(bots),
            ..request(folder.path())
        };
        let packed = artifacts.pack_bundle(&request, &AtomicBool::new(false)).unwrap();
        assert_eq!((packed.files, packed.lines), (4, 7));
    }

    #[test]
    fn a_name_is_no_path() {
        for name in ["../x", "a/b", "", "A", "a.b", "a\0", "ä"] {
            assert!(!ArtifactStore::is_name(name), "{name}");
        }
        assert!(ArtifactStore::is_name("0190-abc-collect"));
    }
}
