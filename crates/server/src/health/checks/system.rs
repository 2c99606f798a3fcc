//! The machine botops runs on: CPU, memory, disk, load, processes, connections, files, cgroup limits, pressure.
//!
//! `sysinfo` gives CPU and memory; the rest is read from /proc directly, since a full refresh walks every process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::System;

use super::check_run::CheckRun;
use super::check_threads::CheckThreads;
use super::metric_limits::{
    CGROUP_MEMORY_USAGE, CPU_PRESSURE, CPU_USAGE, CheckMeasure, DISK_FREE, DISK_USAGE, IO_PRESSURE,
    LOAD_AVERAGE, MEMORY_PRESSURE, MEMORY_USAGE, NETWORK_CONNECTIONS, OPEN_FILES_USAGE, PROCESS_COUNT,
};
use super::sample::{CheckOutcome, CheckSample, count, wide};
use crate::health::model::MetricLimits;

/// CPU use is computed from two readings at least this far apart.
const APART: Duration = Duration::from_millis(250);

/// Readings kept between runs, so that CPU use covers the time between them.
pub(crate) struct MachineReadings {
    system: System,
    read_at: Instant,
}

pub(crate) async fn check_machine(
    threads: CheckThreads,
    readings: Arc<Mutex<Option<MachineReadings>>>,
    folder: PathBuf,
    run: CheckRun,
) -> CheckSample {
    let checked = threads.call(&run.component, move || {
        // Only this check uses it, and it never runs twice at a time, so the lock is free.
        let mut kept = readings.lock().unwrap_or_else(PoisonError::into_inner);
        read_machine(&mut kept, &folder)
    });
    checked.await.unwrap_or_else(|sample| sample)
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
    let mut measures = vec![CPU_USAGE.measure(f64::from(machine.system.global_cpu_usage()))];
    let (total, available) = (machine.system.total_memory(), machine.system.available_memory());
    if total > 0 {
        let used = 100.0 * wide(total.saturating_sub(available)) / wide(total);
        measures.push(MEMORY_USAGE.measure(used));
    }
    if let Some((used, limit)) = cgroup_memory() {
        measures.push(CGROUP_MEMORY_USAGE.measure(100.0 * wide(used) / wide(limit)));
    }
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        let used = 100.0 * wide(disk.f_blocks.saturating_sub(disk.f_bavail)) / wide(disk.f_blocks.max(1));
        measures.push(DISK_USAGE.measure(used));
        measures.push(DISK_FREE.measure(wide(disk.f_bavail) * wide(disk.f_frsize) / 1e6));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if let Some(load) = first_number("/proc/loadavg", "") {
        let limits = MetricLimits::above(0.7 * count(cores) + 1.0, 4.0 * count(cores));
        measures.push(LOAD_AVERAGE.measure_within(load, limits));
    }
    if let Some(processes) = entries("/proc", |name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        measures.push(PROCESS_COUNT.measure(count(processes)));
    }
    measures.extend(connections().map(|connections| NETWORK_CONNECTIONS.measure(connections)));
    if let Some(files) = entries("/proc/self/fd", |_| true) {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        measures.push(CheckMeasure::without_limits("open_files", count(files), "files"));
        measures.push(OPEN_FILES_USAGE.measure(100.0 * count(files) / wide(limit)));
    }
    for (row, path) in [
        (CPU_PRESSURE, "/proc/pressure/cpu"),
        (MEMORY_PRESSURE, "/proc/pressure/memory"),
        (IO_PRESSURE, "/proc/pressure/io"),
    ] {
        measures.extend(first_number(path, "some avg10=").map(|stalled| row.measure(stalled)));
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
