//! wsload: opens C WebSocket clients, reads M broadcasts, prints one JSON object.
//!
//! A broadcast is identified by the value of its time-stamp field (or, without
//! one, by its bytes). For each broadcast, over all clients:
//!   read_*    time the driver had the message in hand, minus the server's stamp
//!   kernel_*  time the kernel had it at the client's socket, minus the server's stamp
//!   spread_*  kernel arrival minus the earliest kernel arrival of the same broadcast
//! The last needs no stamp in the message. Loopback addresses only.

mod stamped;

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::exit,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt, StreamExt};
use stamped::StampedStream;
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue},
        protocol::WebSocketConfig,
    },
};

const USAGE: &str = "wsload --port P [--path /api/v1/stream] [--header 'K: V']... [--clients 100]
  [--broadcasts 5] [--interval-ms 5000] [--ts-field sent_ns] [--ts-unit ns|us|ms|s|rfc3339]
  [--pid N]... [--threads 1] [--handshakes 128] [--settle-ms 500]";

struct LoadOptions {
    port: u16,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    clients: usize,
    broadcasts: usize,
    interval: Duration,
    ts_field: String,
    ts_unit: String,
    pids: Vec<u32>,
    threads: usize,
    handshakes: usize,
    settle: Duration,
}

fn fail(text: &str) -> ! {
    eprintln!("wsload: {text}\n{USAGE}");
    exit(2)
}

fn options() -> LoadOptions {
    let mut o = LoadOptions {
        port: 0,
        path: "/api/v1/stream".into(),
        headers: Vec::new(),
        clients: 100,
        broadcasts: 5,
        interval: Duration::from_secs(5),
        ts_field: "sent_ns".into(),
        ts_unit: "ns".into(),
        pids: Vec::new(),
        threads: 1,
        handshakes: 128,
        settle: Duration::from_millis(500),
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let Some(value) = args.next() else { fail("a value is missing") };
        let number = || value.parse::<u64>().unwrap_or_else(|_| fail("not a number"));
        match name.as_str() {
            "--port" => o.port = number() as u16,
            "--path" => o.path = value,
            "--header" => {
                let Some((k, v)) = value.split_once(':') else { fail("header") };
                let (Ok(k), Ok(v)) = (k.trim().parse(), v.trim().parse()) else { fail("header") };
                o.headers.push((k, v));
            }
            "--clients" => o.clients = number() as usize,
            "--broadcasts" => o.broadcasts = number() as usize,
            "--interval-ms" => o.interval = Duration::from_millis(number()),
            "--ts-field" => o.ts_field = value,
            "--ts-unit" => o.ts_unit = value,
            "--pid" => o.pids.push(number() as u32),
            "--threads" => o.threads = number() as usize,
            "--handshakes" => o.handshakes = number() as usize,
            "--settle-ms" => o.settle = Duration::from_millis(number()),
            _ => fail("unknown option"),
        }
    }
    if o.port == 0 {
        fail("--port is needed")
    }
    o
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// Value of `"field":` in a JSON text, quotes stripped; no full parse.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let quoted = format!("\"{name}\"");
    let rest = text[text.find(&quoted)? + quoted.len()..].trim_start().strip_prefix(':')?.trim_start();
    if let Some(string) = rest.strip_prefix('"') {
        return string.split('"').next();
    }
    rest.split([',', '}', ' ', '\n']).next()
}

/// Days since 1970-01-01 of a proleptic Gregorian date.
fn days(y: i64, m: i64, d: i64) -> i64 {
    let (y, m) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let era = y.div_euclid(400);
    let year = y - era * 400;
    era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * m + 2) / 5 + d - 1 - 719_468
}

fn rfc3339(text: &str) -> Option<u128> {
    let int = |r: std::ops::Range<usize>| text.get(r)?.parse::<i64>().ok();
    let seconds = days(int(0..4)?, int(5..7)?, int(8..10)?) * 86_400
        + int(11..13)? * 3600
        + int(14..16)? * 60
        + int(17..19)?;
    let rest = text.get(19..)?;
    let digits: String =
        rest.strip_prefix('.').unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
    let zone = &rest[if digits.is_empty() { 0 } else { digits.len() + 1 }..];
    let offset = match zone.as_bytes().first() {
        Some(sign @ (b'+' | b'-')) => {
            let at = zone.get(1..3)?.parse::<i64>().ok()? * 3600 + zone.get(4..6)?.parse::<i64>().ok()? * 60;
            if *sign == b'+' { at } else { -at }
        }
        _ => 0,
    };
    let nanos: u128 = format!("{digits:0<9}")[..9].parse().ok()?;
    Some((seconds - offset) as u128 * 1_000_000_000 + nanos)
}

fn stamp(text: &str, o: &LoadOptions) -> Option<u128> {
    let value = field(text, &o.ts_field)?;
    let scale = match o.ts_unit.as_str() {
        "rfc3339" => return rfc3339(value),
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        _ => 1_000_000_000,
    };
    if let Ok(n) = value.parse::<u128>() {
        return Some(n * scale);
    }
    value.parse::<f64>().ok().map(|f| (f * scale as f64) as u128)
}

fn status_kib(pid: u32, key: &str) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|s| s.lines().find(|l| l.starts_with(key))?.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

fn rss_kib(pids: &[u32]) -> u64 {
    pids.iter().map(|p| status_kib(*p, "VmRSS:")).sum()
}

/// CPU nanoseconds of every thread of the processes (finer than the 10 ms of stat).
fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter()
        .flat_map(|p| std::fs::read_dir(format!("/proc/{p}/task")).into_iter().flatten().flatten())
        .filter_map(|t| {
            std::fs::read_to_string(t.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

struct BroadcastReceipt {
    group: u128,
    stamp: Option<u128>,
    read: u128,
    kernel: u128,
}

#[derive(Default)]
struct LoadTally {
    receipts: Mutex<Vec<BroadcastReceipt>>,
    armed: AtomicBool,
    counted: AtomicUsize,
    bytes: AtomicU64,
    dropped: AtomicUsize,
    stop: Notify,
}

async fn connect(o: &LoadOptions, n: usize) -> Result<WebSocketStream<StampedStream>, String> {
    let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, o.port));
    let mut last = String::new();
    for attempt in 0..5 {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(100 * attempt + n as u64 % 50)).await;
        }
        let socket = match TcpStream::connect(address).await {
            Ok(s) => s,
            Err(e) => {
                last = format!("connect: {e}");
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        let mut request = format!("ws://127.0.0.1:{}{}", o.port, o.path).into_client_request().unwrap();
        for (k, v) in &o.headers {
            request.headers_mut().insert(k, v.clone());
        }
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let shake = client_async_with_config(request, StampedStream::new(socket), Some(config));
        match tokio::time::timeout(Duration::from_secs(20), shake).await {
            Ok(Ok((ws, _))) => return Ok(ws),
            Ok(Err(e)) => last = format!("handshake: {e}"),
            Err(_) => last = "handshake: timed out".into(),
        }
    }
    Err(last)
}

async fn client(mut ws: WebSocketStream<StampedStream>, o: Arc<LoadOptions>, tally: Arc<LoadTally>) {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let stop = tally.stop.notified();
    tokio::pin!(stop);
    stop.as_mut().enable();
    loop {
        let got = tokio::select! {
            biased;
            got = ws.next() => got,
            () = &mut stop => break,
        };
        let read = now_ns();
        let kernel = ws.get_ref().arrival_ns;
        let text = match got {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(b))) => match String::from_utf8(b.to_vec()) {
                Ok(s) => s.into(),
                Err(_) => continue,
            },
            Some(Ok(Message::Close(_)) | Err(_)) | None => {
                tally.dropped.fetch_add(1, Relaxed);
                return;
            }
            Some(Ok(_)) => continue,
        };
        let stamp = stamp(&text, &o);
        let group = stamp.unwrap_or_else(|| hasher.hash_one(text.as_str()) as u128);
        tally.bytes.fetch_add(text.len() as u64, Relaxed);
        tally.receipts.lock().unwrap().push(BroadcastReceipt { group, stamp, read, kernel });
        if tally.armed.load(Relaxed) {
            tally.counted.fetch_add(1, Relaxed);
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), async {
        let _ = ws.send(Message::Close(None)).await;
        while let Some(Ok(_)) = ws.next().await {}
    })
    .await;
}

fn pick(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

fn quantiles(name: &str, mut ms: Vec<f64>) -> String {
    ms.sort_by(f64::total_cmp);
    if ms.is_empty() {
        return format!("\"{name}_p50_ms\":null,\"{name}_p99_ms\":null,\"{name}_max_ms\":null");
    }
    format!(
        "\"{name}_p50_ms\":{:.3},\"{name}_p99_ms\":{:.3},\"{name}_max_ms\":{:.3}",
        pick(&ms, 0.5),
        pick(&ms, 0.99),
        pick(&ms, 1.0)
    )
}

fn apart(a: u128, b: u128) -> f64 {
    (a as i128 - b as i128) as f64 / 1e6
}

async fn run(o: Arc<LoadOptions>) {
    let tally = Arc::new(LoadTally::default());
    let rss_before = rss_kib(&o.pids);
    let begun = Instant::now();
    let gate = Arc::new(Semaphore::new(o.handshakes));
    let mut pending = tokio::task::JoinSet::new();
    for n in 0..o.clients {
        let permit = gate.clone().acquire_owned().await.unwrap();
        let (o, tally) = (o.clone(), tally.clone());
        pending.spawn(async move {
            let outcome = connect(&o, n).await;
            drop(permit);
            outcome.map(|ws| tokio::spawn(client(ws, o, tally)))
        });
    }
    let mut clients = Vec::with_capacity(o.clients);
    let (mut failures, mut reason) = (0usize, String::new());
    while let Some(outcome) = pending.join_next().await {
        match outcome.unwrap() {
            Ok(handle) => clients.push(handle),
            Err(e) => {
                failures += 1;
                reason = e;
            }
        }
    }
    let connect_s = begun.elapsed().as_secs_f64();
    tokio::time::sleep(o.settle).await;
    let rss_connected = rss_kib(&o.pids);
    let alive = clients.len() - tally.dropped.load(Relaxed);

    let armed_at = now_ns();
    tally.armed.store(true, Relaxed);
    let cpu_start = cpu_ns(&o.pids);
    let armed = Instant::now();
    // one more than asked: the first may have been under way when counting began
    let wanted = (o.broadcasts + 1) * alive;
    let limit = o.interval * (o.broadcasts as u32 + 3) + Duration::from_secs(20);
    let mut rss_peak = rss_connected;
    while tally.counted.load(Relaxed) < wanted && armed.elapsed() < limit && alive > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        rss_peak = rss_peak.max(rss_kib(&o.pids));
    }
    let window_s = armed.elapsed().as_secs_f64();
    let cpu_s = cpu_ns(&o.pids).saturating_sub(cpu_start) as f64 / 1e9;
    let counted = tally.counted.load(Relaxed);

    let receipts = std::mem::take(&mut *tally.receipts.lock().unwrap());
    let dropped = tally.dropped.load(Relaxed);
    let mut groups: HashMap<u128, Vec<&BroadcastReceipt>> = HashMap::new();
    for r in &receipts {
        groups.entry(r.group).or_default().push(r);
    }
    let mut rounds: Vec<_> = groups
        .into_values()
        .filter(|g| {
            g.iter().all(|r| r.read >= armed_at && r.stamp.is_none_or(|s| s >= armed_at || o.ts_unit != "ns"))
        })
        .collect();
    rounds.sort_by_key(|g| g.iter().map(|r| r.read).min());
    let small = rounds.iter().filter(|g| g.len() * 2 < alive).count();
    rounds.retain(|g| g.len() * 2 >= alive);
    rounds.truncate(o.broadcasts);

    let (mut all_read, mut all_kernel, mut all_spread) = (vec![], vec![], vec![]);
    let mut lost = 0usize;
    let mut lines = Vec::new();
    for g in &rounds {
        lost += alive.saturating_sub(g.len());
        let first = g.iter().map(|r| r.kernel).min().unwrap_or(0);
        let read: Vec<f64> = g.iter().filter_map(|r| Some(apart(r.read, r.stamp?))).collect();
        let kernel: Vec<f64> =
            g.iter().filter(|r| r.kernel > 0).filter_map(|r| Some(apart(r.kernel, r.stamp?))).collect();
        let spread: Vec<f64> = g.iter().filter(|r| r.kernel > 0).map(|r| apart(r.kernel, first)).collect();
        lines.push(format!(
            "{{\"received\":{},{},{},{}}}",
            g.len(),
            quantiles("read", read.clone()),
            quantiles("kernel", kernel.clone()),
            quantiles("spread", spread.clone())
        ));
        all_read.extend(read);
        all_kernel.extend(kernel);
        all_spread.extend(spread);
    }
    lost += o.broadcasts.saturating_sub(rounds.len()) * alive;

    tally.stop.notify_waiters();
    for c in clients {
        let _ = c.await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rss_after = rss_kib(&o.pids);
    let per = |kib: u64| if alive == 0 { 0.0 } else { kib.saturating_sub(rss_before) as f64 / alive as f64 };
    println!(
        "{{\"clients\":{},\"connected\":{},\"failed\":{failures},\"failure\":{:?},\"dropped\":{dropped},\"connect_s\":{connect_s:.3},\
\"connects_per_s\":{:.0},\"broadcasts\":{},\"message_bytes\":{},\"partial\":{small},\"lost\":{lost},{},{},{},\
\"rss_before_kib\":{rss_before},\"rss_connected_kib\":{rss_connected},\"rss_peak_kib\":{rss_peak},\"rss_after_kib\":{rss_after},\
\"rss_per_conn_idle_kib\":{:.2},\"rss_per_conn_peak_kib\":{:.2},\"server_cpu_s\":{cpu_s:.4},\"window_s\":{window_s:.3},\
\"server_cpu_us_per_message\":{:.2},\"messages\":{counted},\"rounds\":[{}]}}",
        o.clients,
        alive,
        reason,
        alive as f64 / connect_s,
        rounds.len(),
        tally.bytes.load(Relaxed) as usize / receipts.len().max(1),
        quantiles("read", all_read),
        quantiles("kernel", all_kernel),
        quantiles("spread", all_spread),
        per(rss_connected),
        per(rss_peak),
        if counted == 0 { 0.0 } else { cpu_s * 1e6 / counted as f64 },
        lines.join(",")
    );
}

fn main() {
    let o = Arc::new(options());
    // SAFETY: plain resource-limit calls with a local struct.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        if limit.rlim_cur < o.clients as u64 + 64 {
            fail("the open-file limit is too low for that many clients");
        }
    }
    let mut builder = if o.threads > 1 {
        let mut b = tokio::runtime::Builder::new_multi_thread();
        b.worker_threads(o.threads);
        b
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build().unwrap().block_on(run(o));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_and_stamps() {
        let text = r#"{"type":"metrics","at": "2025-11-22T00:00:01.5Z","sent_ns":17,"x":1}"#;
        assert_eq!(field(text, "sent_ns"), Some("17"));
        assert_eq!(field(text, "at"), Some("2025-11-22T00:00:01.5Z"));
        assert_eq!(field(text, "none"), None);
        assert_eq!(rfc3339("1970-01-02T00:00:01.25Z"), Some(86_401_250_000_000));
        assert_eq!(rfc3339("2025-11-22T02:00:00+02:00"), rfc3339("2025-11-22T00:00:00Z"));
        assert_eq!(rfc3339("2000-03-01T00:00:00Z"), Some(951_868_800_000_000_000));
    }

    #[test]
    fn quantiles_pick_nearest_rank() {
        let v: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(pick(&v, 1.0), 100.0);
        assert_eq!(pick(&v, 0.0), 1.0);
    }
}
