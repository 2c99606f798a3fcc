//! httprate: a fixed-rate HTTP/1.1 keep-alive driver (open loop), for latency at
//! equal load. A request that could not be sent on time because the previous one
//! on its connection was still open is timed from the moment it was due, so a
//! stalled server is not flattered. Loopback addresses only.

use std::{process::exit, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until},
};

const USAGE: &str =
    "httprate --port P --path /x [--header 'K: V']... [--conns 10] [--rate 500] [--seconds 5]";

fn fail(text: &str) -> ! {
    eprintln!("httprate: {text}\n{USAGE}");
    exit(2)
}

#[derive(Default)]
struct RateTally {
    micros: Vec<f64>,
    late: usize,
    bad: usize,
    broken: bool,
}

/// Reads one response; returns its status code.
async fn response(socket: &mut TcpStream, buf: &mut Vec<u8>) -> std::io::Result<u16> {
    buf.clear();
    let end = loop {
        if socket.read_buf(buf).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = buf.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&buf[..end]).to_ascii_lowercase();
    let status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
    let length: usize = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length:"))
        .and_then(|v| v.trim().parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData)?;
    while buf.len() < end + length {
        if socket.read_buf(buf).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(status)
}

async fn connection(
    port: u16,
    request: Vec<u8>,
    first: Instant,
    every: Duration,
    until: Instant,
) -> RateTally {
    let mut tally = RateTally::default();
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await else {
        tally.broken = true;
        return tally;
    };
    let _ = socket.set_nodelay(true);
    let mut buf = Vec::with_capacity(64 * 1024);
    let mut due = first;
    while due < until {
        let mut from = due;
        if Instant::now() < due {
            sleep_until(due).await;
            from = Instant::now();
        } else {
            tally.late += 1;
        }
        if socket.write_all(&request).await.is_err() {
            tally.broken = true;
            return tally;
        }
        match response(&mut socket, &mut buf).await {
            Ok(200) => tally.micros.push(from.elapsed().as_nanos() as f64 / 1000.0),
            Ok(_) => tally.bad += 1,
            Err(_) => {
                tally.broken = true;
                return tally;
            }
        }
        due += every;
    }
    tally
}

fn main() {
    let (mut port, mut path, mut headers) = (0u16, String::from("/"), String::new());
    let (mut conns, mut rate, mut seconds) = (10u32, 500f64, 5f64);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let Some(value) = args.next() else { fail("a value is missing") };
        let number = || value.parse::<f64>().unwrap_or_else(|_| fail("not a number"));
        match name.as_str() {
            "--port" => port = number() as u16,
            "--path" => path = value,
            "--header" => headers.push_str(&format!("{value}\r\n")),
            "--conns" => conns = number() as u32,
            "--rate" => rate = number(),
            "--seconds" => seconds = number(),
            _ => fail("unknown option"),
        }
    }
    if port == 0 || conns == 0 || rate <= 0.0 {
        fail("--port, --conns and --rate are needed")
    }
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}\r\n").into_bytes();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tallies = runtime.block_on(async {
        let start = Instant::now() + Duration::from_millis(200);
        let until = start + Duration::from_secs_f64(seconds);
        let tasks: Vec<_> = (0..conns)
            .map(|n| {
                let first = start + Duration::from_secs_f64(f64::from(n) / rate);
                let every = Duration::from_secs_f64(f64::from(conns) / rate);
                tokio::spawn(connection(port, request.clone(), first, every, until))
            })
            .collect();
        let mut all = Vec::new();
        for t in tasks {
            all.push(t.await.unwrap());
        }
        all
    });
    let mut us: Vec<f64> = tallies.iter().flat_map(|t| t.micros.iter().copied()).collect();
    us.sort_by(f64::total_cmp);
    let pick = |q: f64| {
        if us.is_empty() { f64::NAN } else { us[((us.len() - 1) as f64 * q).round() as usize] / 1000.0 }
    };
    println!(
        "{{\"requests\":{},\"late\":{},\"bad\":{},\"broken\":{},\"p50_ms\":{:.4},\"p95_ms\":{:.4},\"p99_ms\":{:.4},\"max_ms\":{:.4}}}",
        us.len(),
        tallies.iter().map(|t| t.late).sum::<usize>(),
        tallies.iter().map(|t| t.bad).sum::<usize>(),
        tallies.iter().filter(|t| t.broken).count(),
        pick(0.5),
        pick(0.95),
        pick(0.99),
        pick(1.0)
    );
}
