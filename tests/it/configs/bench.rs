//! How fast config changes are. Prints figures and asserts none:
//! `cargo test --release --test it -- --ignored figures --nocapture`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::{World, careful, manual};
use crate::kit::app::answer;
use reqwest::Method;

fn p95(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 95 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, asserts nothing"]
async fn figures_of_the_config() {
    let world = World::start().await;
    let mut document: Value = world.config().await["config"].clone();
    let targets: Vec<Value> =
        (0..50).map(|n| json!({"symbol": format!("S{n:02}"), "weight": 0.01})).collect();
    document["targets"] = json!(targets);
    let mut body = json!({"config": document}).to_string();
    // Padded to 64 KiB with white space, which has to be parsed too.
    body.insert_str(1, &" ".repeat(64 * 1024 - body.len()));
    let mut times = Vec::new();
    for _ in 0..300 {
        let request = world.botops.request(Method::POST, "/api/v1/config/validate");
        let request = request.header("content-type", "application/json").body(body.clone());
        let began = Instant::now();
        let (status, verdict) = answer(request).await;
        times.push(began.elapsed());
        assert_eq!(status, 200, "{verdict:#}");
    }
    println!("validate 64 KiB p95: {:?}", p95(times));
    let mut times = Vec::new();
    let mut ends = Vec::new();
    for n in 0..60 {
        let etag = world.etag().await;
        let request = world.apply(&manual(careful(4_000 + n), 30.0), &etag);
        let began = Instant::now();
        let (status, txn) = answer(request).await;
        times.push(began.elapsed());
        assert_eq!(status, 202, "{txn:#}");
        world.end_trial(txn["txn"].as_str().unwrap(), "cancel").await;
    }
    println!("apply to trial p95: {:?}", p95(times));
    for n in 0..20 {
        let committed = world.running();
        let began = Instant::now();
        world.try_out(careful(3_000 + n), 0.5).await;
        while world.running() != committed {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        ends.push(began.elapsed().saturating_sub(Duration::from_millis(500)));
        world.until_in_sync().await;
    }
    println!("auto-revert, after the deadline, start of apply counted in: p95 {:?}", p95(ends));
}
