//! Starts of the bot that fail in a change that it reads only at its start: when it is tried, and when it is taken back.
//!
//! Both processes are real. The bot is started by a script that does what the test's file says.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::ReportParts as _;
use crate::kit::app::answer;
use crate::kit::until;
use crate::workflows::pair::Pair;

const LIMIT: Duration = Duration::from_secs(100);

/// A pair whose bot botops starts by a script.
struct Started {
    pair: Pair,
    /// The script reads here what to do: the file says how often the start fails, and in which way.
    plan: PathBuf,
}

impl Started {
    /// With `by_command` a command that ends starts the bot, and not botops itself.
    async fn start(by_command: bool) -> Self {
        let mut pair = Pair::start().await;
        let plan = pair.bot.folder.path().join("plan");
        let script = pair.bot.folder.path().join("start.sh");
        let command = pair.bot.command();
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let (bot, plan_file) = (words.join(" "), plan.display());
        let candidate = pair.bot.data().join("config-boot-once.json");
        let text = format!(
            "plan='{plan_file}'\n\
             if [ -s \"$plan\" ]; then\n\
             first=$(head -n 1 \"$plan\"); tail -n +2 \"$plan\" > \"$plan.new\"; mv \"$plan.new\" \"$plan\"\n\
             case \"$first\" in\n\
             dies) echo 'the library is missing'; exit 1 ;;\n\
             hangs) echo $$ > \"$plan.pid\"; exec sleep 1000 ;;\n\
             former) rm -f '{}' ;;\n\
             esac\nfi\n{}\n",
            candidate.display(),
            if by_command { format!("{bot} > /dev/null 2>&1 &") } else { format!("exec {bot}") }
        );
        std::fs::write(&script, text).unwrap();
        pair.settings.retain(|(name, _)| *name != "BOT_SUPERVISOR_COMMAND");
        let argv = json!(["/bin/sh", script.display().to_string()]).to_string();
        if by_command {
            pair.settings.retain(|(name, _)| !name.starts_with("BOT_SUPERVISOR"));
            pair.settings.push(("BOT_SUPERVISOR", format!("command:{argv}")));
        } else {
            pair.settings.push(("BOT_SUPERVISOR_COMMAND", argv));
        }
        pair.serve(None).await;
        pair.connected().await;
        let world = Self { pair, plan };
        world.quiet().await;
        world
    }

    /// What the next starts do, one word each; any later one starts the bot.
    fn plan(&self, starts: &[&str]) {
        let lines: String = starts.iter().map(|word| format!("{word}\n")).collect();
        std::fs::write(&self.plan, lines).unwrap();
    }

    async fn config(&self) -> Value {
        self.pair.get("/api/v1/config").await
    }

    async fn quiet(&self) {
        until("in sync and quiet", LIMIT, || async {
            let config = self.config().await;
            config["sync"] == "in_sync" && config["trial"].is_null()
        })
        .await;
    }

    /// Asks for another poll interval, which needs a start.
    async fn slower(&self, seconds: u32) -> Value {
        self.slower_within(seconds, 60).await
    }

    async fn slower_within(&self, seconds: u32, confirm_within_s: u32) -> Value {
        let etag = self.config().await["etag"].as_str().unwrap().to_owned();
        let body = json!({"reason": "a test", "confirm": "manual", "confirm_within_s": confirm_within_s, "restart": true,
                          "merge_patch": {"order_management": {"poll_interval_seconds": seconds}}});
        let apply = self.pair.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag);
        let (status, txn) = answer(apply.json(&body)).await;
        assert_eq!(
            (status, &txn["boot_once"], &txn["state"]),
            (202, &json!(true), &json!("activating")),
            "{txn:#}"
        );
        txn
    }

    async fn reaches(&self, txn: &Value, state: &str) -> Value {
        let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
        let there = || async {
            let view = self.pair.get(&path).await;
            assert!(view["state"] == state || view["terminal"] != true, "{view:#}");
            view["state"] == state
        };
        if tokio::time::timeout(LIMIT, until(&format!("it is {state}"), Duration::MAX, there)).await.is_err()
        {
            panic!("it is not {state}: {:#}", self.pair.get(&path).await);
        }
        self.pair.get(&path).await
    }

    async fn end_trial(&self, txn: &Value, verb: &str) -> (u16, Value) {
        let path = format!("/api/v1/config/txns/{}/{verb}", txn["txn"].as_str().unwrap());
        answer(self.pair.request(Method::POST, &path)).await
    }

    /// Asserts that the bot booted from what was committed before, and that the change ended once.
    async fn assert_back(&self, txn: &Value) {
        self.quiet().await;
        let (config, state) = (self.config().await, self.pair.bot.state().await);
        assert_eq!(config["committed"]["sha256"], txn["base"]["sha256"], "{config:#}");
        assert_eq!(state.running_config().running.sha256, txn["base"]["sha256"].as_str().unwrap());
        assert_eq!(state.running_config().pending_restart, Vec::<String>::new());
        assert!(state.running_config().trial.is_none());
        let audit = self.pair.get("/api/v1/config/audit?limit=500").await;
        let items = audit["items"].as_array().unwrap().iter();
        let ends: Vec<&Value> =
            items.filter(|item| item["txn"] == txn["txn"] && item["event"] == "rolled_back").collect();
        assert_eq!(ends.len(), 1, "{ends:#?}");
        assert_eq!(self.pair.get("/api/v1/config/audit/verify").await["valid"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_ends_at_once_when_it_is_started_with_a_change_runs_what_is_committed() {
    let world = Started::start(false).await;
    world.plan(&["dies"]);
    let txn = world.slower(20).await;
    let ended = world.reaches(&txn, "rolled_back").await;
    assert_eq!(ended["by"], "bot_crash", "{ended:#}");
    let outcome = ended["outcome"].as_str().unwrap();
    assert!(outcome.starts_with("the bot did not start with it"), "{outcome}");
    assert!(outcome.contains("the library is missing"), "it says what the bot wrote: {outcome}");
    world.assert_back(&txn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_does_not_start_for_some_time_is_started_again_and_runs_what_is_committed() {
    let world = Started::start(false).await;
    world.plan(&["dies", "dies", "dies", "dies"]);
    let txn = world.slower(20).await;
    let ended = world.reaches(&txn, "rolled_back").await;
    assert_eq!(ended["by"], "bot_crash", "{ended:#}");
    assert!(ended["outcome"].as_str().unwrap().starts_with("the bot did not start with it"), "{ended:#}");
    world.assert_back(&txn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_comes_up_with_the_former_config_ends_the_change() {
    let world = Started::start(false).await;
    world.plan(&["former"]);
    let txn = world.slower(20).await;
    let ended = world.reaches(&txn, "rolled_back").await;
    let outcome = ended["outcome"].as_str().unwrap();
    assert_eq!(outcome, "the bot was started for it and came up with the committed config", "{ended:#}");
    world.assert_back(&txn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_when_a_change_is_taken_back_is_told_and_the_next_start_runs_what_is_committed() {
    let mut world = Started::start(false).await;
    let txn = world.slower(20).await;
    world.reaches(&txn, "trial").await;
    world.plan(&["dies"; 20]);
    let (_, view) = world.end_trial(&txn, "cancel").await;
    assert!(view["state"] == "rolled_back" || view["state"] == "reverting", "{view:#}");
    let ended = world.reaches(&txn, "rolled_back").await;
    assert_eq!(ended["by"], "operator", "{ended:#}");
    let outcome = ended["outcome"].as_str().unwrap();
    assert!(outcome.contains("the bot still has to be started again"), "{outcome}");
    assert!(outcome.contains("the library is missing"), "{outcome}");
    let config = world.config().await;
    assert_eq!(config["committed"]["sha256"], txn["base"]["sha256"], "{config:#}");
    assert_eq!(config["sync"], "bot_offline", "{config:#}");
    world.plan(&[]);
    let params = json!({"reason": "it has to run again", "mode": "immediate"});
    let run = world.pair.execute("restart-bot", &params, "again").await.unwrap();
    let view = world.pair.ended(run["run_id"].as_str().unwrap_or_else(|| panic!("{run:#}"))).await.unwrap();
    assert_eq!(view["state"], "succeeded", "{view:#}");
    world.assert_back(&txn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_command_that_fails_leaves_no_candidate_for_a_later_start() {
    let world = Started::start(true).await;
    world.plan(&["dies", "dies", "dies"]);
    let txn = world.slower(20).await;
    let ended = world.reaches(&txn, "rolled_back").await;
    assert_eq!(ended["by"], "bot_crash", "{ended:#}");
    assert!(ended["outcome"].as_str().unwrap().starts_with("the bot did not start with it"), "{ended:#}");
    assert!(std::fs::read_to_string(&world.plan).unwrap().is_empty(), "it was started until it ran");
    world.assert_back(&txn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_hangs_holds_up_no_read_and_ends_the_change_when_it_dies() {
    let world = Started::start(false).await;
    world.plan(&["hangs"]);
    let txn = world.slower(20).await;
    let pid_file = world.plan.with_extension("pid");
    let pid = || std::fs::read_to_string(&pid_file).ok()?.trim().parse().ok();
    until("the start hangs", LIMIT, || async { pid().is_some() }).await;
    let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
    let view = world.pair.get(&path).await;
    assert_eq!(view["state"], "activating", "{view:#}");
    assert_eq!(world.config().await["committed"]["sha256"], txn["base"]["sha256"]);
    let pid = rustix::process::Pid::from_raw(pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let ended = world.reaches(&txn, "rolled_back").await;
    assert_eq!(ended["by"], "bot_crash", "{ended:#}");
    world.assert_back(&txn).await;
}

/// Takes 160 s, so it is run with `BOTOPS_LONG=1` alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_starts_no_more_is_handed_to_a_person_who_is_told_of_the_candidate() {
    if !crate::kit::is_long_run() {
        return;
    }
    let world = Started::start(true).await;
    world.plan(&["dies"; 200]);
    let txn = world.slower_within(20, 1).await;
    let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
    until("it has ended", 3 * LIMIT, || async { world.pair.get(&path).await["terminal"] == true }).await;
    let ended = world.pair.get(&path).await;
    assert_eq!(
        (&ended["state"], &ended["by"]),
        (&json!("failed_attention"), &json!("bot_crash")),
        "{ended:#}"
    );
    let outcome = ended["outcome"].as_str().unwrap();
    assert!(
        outcome.contains("A person has to start it") && outcome.contains("may still try version"),
        "{outcome}"
    );
    assert_eq!(world.config().await["committed"]["sha256"], txn["base"]["sha256"]);
}
