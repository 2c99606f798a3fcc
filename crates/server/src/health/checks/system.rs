//! The machine botops runs on: CPU, memory, disk, load, processes, connections, files, cgroup limits, pressure.
//!
//! `sysinfo` gives CPU and memory; the rest is read from /proc directly, since a full refresh walks every process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::System;

use super::sample::{CheckMeasure, CheckOutcome, CheckSample, count, wide};
use crate::health::model::MetricLimits;

/// CPU use is computed from two readings at least this far apart.
const APART: Duration = Duration::from_millis(250);

/// Readings kept between runs, so that CPU use covers the time between them.
pub(crate) struct MachineReadings {
    system: System,
    read_at: Instant,
}

pub(crate) async fn check_machine(
    readings: Arc<Mutex<Option<MachineReadings>>>,
    folder: PathBuf,
) -> CheckSample {
    let checked = tokio::task::spawn_blocking(move || {
        // Only this check uses it, and it never runs twice at a time, so the lock is free.
        let mut kept = readings.lock().unwrap_or_else(PoisonError::into_inner);
        read_machine(&mut kept, &folder)
    });
    checked.await.unwrap_or_else(|_| CheckSample::failed(CheckOutcome::Internal, "the check broke off"))
}

fn read_machine(kept: &mut Option<MachineReadings>, folder: &Path) -> CheckSample {
    let machine = match kept {
        Some(machine) => machine,
        None => {
            let Ok(mut system) = System::new() else {
                return CheckSample::failed(CheckOutcome::Internal, "this machine cannot be measured");
            };
            // The first reading covers the time since the machine started, so it is discarded.
            system.refresh_cpu_usage();
            kept.insert(MachineReadings { system, read_at: Instant::now() })
        }
    };
    std::thread::sleep(APART.saturating_sub(machine.read_at.elapsed()));
    machine.system.refresh_cpu_usage();
    machine.system.refresh_memory();
    machine.read_at = Instant::now();
    let mut measures = Vec::new();
    let mut add = |name, value: f64, unit, limits| measures.push(CheckMeasure { name, value, unit, limits });
    add("cpu_usage", f64::from(machine.system.global_cpu_usage()), "%", MetricLimits::above(70.0, 90.0));
    let (total, available) = (machine.system.total_memory(), machine.system.available_memory());
    if total > 0 {
        let used = 100.0 * wide(total.saturating_sub(available)) / wide(total);
        add("memory_usage", used, "%", MetricLimits::above(80.0, 95.0));
    }
    if let Some((used, limit)) = cgroup_memory() {
        add("cgroup_memory_usage", 100.0 * wide(used) / wide(limit), "%", MetricLimits::above(80.0, 95.0));
    }
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        let used = 100.0 * wide(disk.f_blocks.saturating_sub(disk.f_bavail)) / wide(disk.f_blocks.max(1));
        add("disk_usage", used, "%", MetricLimits::above(80.0, 95.0));
        add(
            "disk_free",
            wide(disk.f_bavail) * wide(disk.f_frsize) / 1e6,
            "MB",
            MetricLimits::below(500.0, 100.0),
        );
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if let Some(load) = first_number("/proc/loadavg", "") {
        add("load_average", load, "tasks", MetricLimits::above(0.7 * count(cores) + 1.0, 4.0 * count(cores)));
    }
    if let Some(processes) = entries("/proc", |name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        add("process_count", count(processes), "processes", MetricLimits::above(2_000.0, 10_000.0));
    }
    if let Some(connections) = connections() {
        add("network_connections", connections, "connections", MetricLimits::above(10_000.0, 50_000.0));
    }
    if let Some(files) = entries("/proc/self/fd", |_| true) {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        add("open_files", count(files), "files", MetricLimits::NONE);
        add("open_files_usage", 100.0 * count(files) / wide(limit), "%", MetricLimits::above(80.0, 95.0));
    }
    for (name, path, limits) in [
        ("cpu_pressure", "/proc/pressure/cpu", MetricLimits::above(60.0, 95.0)),
        ("memory_pressure", "/proc/pressure/memory", MetricLimits::above(20.0, 60.0)),
        ("io_pressure", "/proc/pressure/io", MetricLimits::above(60.0, 95.0)),
    ] {
        if let Some(stalled) = first_number(path, "some avg10=") {
            add(name, stalled, "%", limits);
        }
    }
    CheckSample::ok(measures)
}

/// The first number after `mark`, on the file's first line that begins with `mark`.
fn first_number(path: &str, mark: &str) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(mark))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn entries(folder: &str, keep: impl Fn(&str) -> bool) -> Option<usize> {
    let entries = std::fs::read_dir(folder).ok()?;
    Some(entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_str().is_some_and(&keep)).count())
}

/// TCP sockets in use, as the kernel counts them; the list of connections is not read.
fn connections() -> Option<f64> {
    let in_use = |path: &str, mark: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(mark))?;
        let mut words = line.split_whitespace();
        words.find(|word| *word == "inuse")?;
        words.next()?.parse::<f64>().ok()
    };
    let four = in_use("/proc/net/sockstat", "TCP:")?;
    Some(four + in_use("/proc/net/sockstat6", "TCP6:").unwrap_or(0.0))
}

/// Used and allowed memory of this process's control group in bytes, when it has a limit.
fn cgroup_memory() -> Option<(u64, u64)> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = read("memory.max").filter(|limit| *limit > 0)?;
    Some((read("memory.current")?, limit))
}
