//! A grid bot whose config nobody here wrote: other fields, other units, secrets, its own roles.

use std::sync::Arc;
use std::time::Duration;

use botops_contract::Amount;
use reqwest::Method;
use serde_json::{Value, json};

use crate::configs::world::{CONFIG, SOON, World, auto, manual};
use crate::kit;
use crate::kit::app::answer;
use crate::kit::scripted_bot::ScriptedBot;
use crate::refusals::assert_problem;

const DOCUMENT: &str = r#"{
  "exchange": {"name": "kraken", "api_key": "hunter2hunter2"},
  "grid": {"levels": 40, "spacing_pct": 0.50, "stake": "25.00"},
  "stops": {"day": 120, "max_loss": 4.0},
  "pairs": [{"pair": "ETH/USDT", "share": 0.6}, {"pair": "BTC/USDT", "share": 0.4}]
}
"#;

fn schema() -> Value {
    let amount = |minimum: u32, more: Value| {
        let mut field = json!({"type": ["number", "string"], "pattern": "^[0-9]{1,9}(\\.[0-9]{1,8})?$",
            "minimum": minimum, "maximum": 10_000, "x-unit": "USDT", "x-apply": "hot"});
        field.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        field
    };
    let closed = |required: &[&str], properties: Value| json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties});
    let up = |class: &str| json!({"direction": "up", "class": class});
    let mut schema = closed(
        &["exchange", "grid", "pairs"],
        json!({
            "exchange": closed(&["name"], json!({
                "name": {"enum": ["kraken", "bybit"], "x-apply": "never", "x-risk": {"direction": "both", "class": "high"}},
                "api_key": {"$ref": "#/$defs/secret", "x-help": "As the exchange made it."},
            })),
            "grid": closed(&["levels", "spacing_pct", "stake"], json!({
                "levels": {"type": "integer", "minimum": 2, "maximum": 200, "x-unit": "levels", "x-apply": "hot",
                    "x-risk": up("low"), "x-help": "More levels bind more money."},
                "spacing_pct": {"type": "number", "minimum": 0.05, "maximum": 5, "x-unit": "%", "x-apply": "hot",
                    "x-risk": {"direction": "down", "class": "low"}},
                "stake": amount(5, json!({"x-risk": up("high")})),
            })),
            "stops": closed(&[], json!({
                "day": amount(1, json!({"x-role": "daily_loss_limit", "x-risk": up("high")})),
                "max_loss": {"type": "number", "minimum": 0.1, "maximum": 50, "x-unit": "%",
                    "x-role": "equity_loss_limit", "x-risk": up("high")},
            })),
            "pairs": {"type": "array", "maxItems": 20, "x-list-key": "pair", "x-role": "targets", "items": {
                "type": "object", "additionalProperties": false, "required": ["pair", "share"], "x-risk": up("low"),
                "properties": {"pair": {"type": "string"}, "share": {"type": "number", "minimum": 0, "maximum": 1,
                    "x-risk": up("low")}}}},
        }),
    );
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$defs"] = json!({"secret": {"type": "string", "minLength": 8, "x-secret": true}});
    schema
}

fn bring(bot: &ScriptedBot, schema: &str) {
    let schema = schema.to_owned();
    bot.script().raw.insert("config/schema", Arc::new(move || schema.clone()));
}

fn grid_bot() -> ScriptedBot {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| {
        report.positions = Some(Vec::new());
        (report.session, report.circuit_breaker) = (None, None);
    });
    bring(&bot, &schema().to_string());
    bot.script().config.run_built_in(DOCUMENT);
    bot
}

async fn events_with(world: &World, part: &str) -> Vec<Value> {
    let (_, events) = world.botops.get("/api/v1/events?kind=config&limit=500").await;
    let items = events["items"].as_array().unwrap().clone();
    items.into_iter().filter(|one| one["message"].as_str().unwrap().contains(part)).collect()
}

async fn versions(world: &World) -> Vec<Value> {
    let (_, list) = world.botops.get("/api/v1/config/versions").await;
    list["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_of_other_fields_is_checked_compared_tried_and_brought_back() {
    let world = World::start_beside(grid_bot()).await;
    let config = world.config().await;
    assert_eq!((&config["version"], &config["sync"]), (&json!(1), &json!("in_sync")), "{config:#}");
    assert_eq!(config["config"]["grid"]["stake"], "25.00", "{config:#}");
    assert_eq!(config["config"]["exchange"]["api_key"], "*****", "{config:#}");
    assert_eq!(config["schema"]["fault"], Value::Null, "{config:#}");
    let (_, served) = world.botops.get("/api/v1/config/schema").await;
    assert_eq!(served, schema(), "the schema is the bot's");
    // What is wrong is named with its place, its range and its unit.
    let body = json!({"merge_patch": {"grid": {"levels": 1}}});
    let (_, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
    let finding = &verdict["errors"][0];
    assert_eq!(
        (&finding["pointer"], &finding["expected"], &finding["fix"]),
        (
            &json!("/grid/levels"),
            &json!("a whole number from 2 to 200 (levels)"),
            &json!("More levels bind more money.")
        ),
        "{verdict:#}"
    );
    // paperbot's fields are as unknown as any.
    let body = json!({"merge_patch": {"risk_management": {"risk_per_trade": 0.01}}});
    let (_, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
    assert_eq!(verdict["errors"][0]["pointer"], "/risk_management", "{verdict:#}");
    // A difference has the unit, the key of its list and the way of the risk.
    let pairs = json!([{"pair": "BTC/USDT", "share": 0.4}, {"pair": "ETH/USDT", "share": 0.5}]);
    let body = json!({"merge_patch": {"grid": {"stake": 30}, "pairs": pairs}});
    let (_, diff) = world.botops.send(Method::POST, "/api/v1/config/diff", &body).await;
    let texts: Vec<&str> =
        diff["diff"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        ["grid.stake: 25.00 → 30 USDT; raises risk", "pairs[ETH/USDT].share: 0.6 → 0.5; lowers risk"],
        "{diff:#}"
    );
    assert_eq!(diff["risk"]["class"], "high", "{diff:#}");
    // Tried, watched by the fields that have the roles, and kept.
    let (status, txn) = world.apply_now(&auto(json!({"grid": {"stake": 30}}), 5.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    let txn = world.ended(txn["txn"].as_str().unwrap()).await;
    assert_eq!(txn["state"], "committed", "{txn:#}");
    let watched =
        |name: &str| txn["watch"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    // Of what this bot does not report nothing is said that nobody knows.
    for name in ["session", "breaker"] {
        assert!(
            watched(name)["text"].as_str().unwrap().ends_with("so none is watched"),
            "{:#}",
            watched(name)
        );
    }
    let watch = watched("drawdown");
    assert_eq!(watch["limit"], "0.04", "4 % as a part: {watch:#}");
    let source = watch["source"].as_str().unwrap();
    assert!(source.contains("/stops/max_loss") && source.contains("/stops/day"), "{source}");
    world.until_in_sync().await;
    // The result of the day at its limit, which this bot writes as a size, ends a trial.
    world.bot.change(|report| report.performance.daily_pl = "-50".parse::<Amount>().ok());
    kit::until("the loss is seen", SOON, || async {
        world.botops.get("/api/v1/metrics").await.1["daily_pnl"] == "-50"
    })
    .await;
    let id = world.try_out(json!({"grid": {"levels": 50}}), 60.0).await;
    world.bot.change(|report| report.performance.daily_pl = "-120".parse::<Amount>().ok());
    let txn = world.ended(&id).await;
    assert_eq!((&txn["state"], &txn["by"]), (&json!("rolled_back"), &json!("criteria")), "{txn:#}");
    assert!(txn["outcome"].as_str().unwrap().contains("-120"), "{txn:#}");
    // Back to the first version, which the bot itself had brought.
    let back = json!({"to": "v1", "reason": "as it was", "confirm_within_s": 5.0});
    let request = world.botops.request(Method::PUT, "/api/v1/config/rollback").json(&back);
    let (status, txn) = answer(request.header("if-match", world.etag().await)).await;
    assert_eq!((status, &txn["restored_from"]), (202, &json!(1)), "{txn:#}");
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    let running = world.running();
    assert_eq!(world.bot.script().config.documents[&running], DOCUMENT, "byte for byte");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_day_alone_is_what_the_drawdown_of_a_trial_is_told_with() {
    let bot = grid_bot();
    let mut schema = schema();
    schema["properties"]["stops"]["properties"]["max_loss"].as_object_mut().unwrap().remove("x-role");
    bring(&bot, &schema.to_string());
    bot.change(|report| report.performance.daily_pl = "-50".parse::<Amount>().ok());
    let world = World::start_beside(bot).await;
    let (status, txn) = world.apply_now(&auto(json!({"grid": {"stake": 30}}), 5.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    let txn = world.ended(txn["txn"].as_str().unwrap()).await;
    let watch = txn["watch"].as_array().unwrap().iter().find(|one| one["name"] == "drawdown").unwrap();
    let text = watch["text"].as_str().unwrap();
    assert!(
        text.contains("the day's result is -50, -") && !text.contains("the config names no limit"),
        "{text}"
    );
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_config_is_in_no_answer_and_a_mask_that_comes_back_stands_for_it() {
    let world = World::start_beside(grid_bot()).await;
    // What was read is sent back with another value beside the mask.
    let mut document = world.config().await["config"].clone();
    document["grid"]["spacing_pct"] = json!(0.75);
    let body = json!({"config": document, "reason": "a wider grid", "confirm_within_s": 5.0});
    let (status, txn) = world.apply_now(&body).await;
    assert_eq!((status, txn["diff"].as_array().unwrap().len()), (202, 1), "{txn:#}");
    let mut said = txn.to_string();
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    let running = world.running();
    let runs = world.bot.script().config.documents[&running].clone();
    assert!(runs.contains("hunter2hunter2"), "the secret is as it was: {runs}");
    // Another secret: seen to differ, and not what it is.
    let patch = json!({"exchange": {"api_key": "hunter3hunter3"}});
    let (status, txn) = world.apply_now(&manual(patch.clone(), 60.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(txn["diff"][0]["masked"], true, "{txn:#}");
    let id = txn["txn"].as_str().unwrap().to_owned();
    said.push_str(&txn.to_string());
    world.end_trial(&id, "confirm").await;
    assert_eq!(world.ended(&id).await["state"], "committed");
    let short = json!({"merge_patch": {"exchange": {"api_key": "hunter"}}});
    let copied =
        json!({"json_patch": [{"op": "copy", "from": "/exchange/api_key", "path": "/exchange/name"}]});
    for body in [short, copied, json!({"merge_patch": patch})] {
        for path in ["validate", "diff"] {
            let path = format!("/api/v1/config/{path}");
            said.push_str(&world.botops.send(Method::POST, &path, &body).await.1.to_string());
        }
    }
    let paths = ["", "/versions", "/versions/v1", "/versions/v3", "/diff?from=v1&to=v3", "/audit?limit=500"];
    for path in paths {
        let (status, value) = world.botops.get(&format!("{CONFIG}{path}")).await;
        assert_eq!(status, 200, "{path}: {value:#}");
        said.push_str(&value.to_string());
    }
    for path in ["/api/v1/events?limit=500", "/api/v1/state", "/api/v1/summary"] {
        said.push_str(&world.botops.get(path).await.1.to_string());
    }
    assert!(!said.contains("hunter"), "{}", &said[said.find("hunter").unwrap_or(0)..]);
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_changes_between_starts_is_told_and_versions_that_no_longer_fit_say_so() {
    let mut world = World::start_beside(grid_bot()).await;
    let (status, txn) = world.apply_now(&auto(json!({"grid": {"levels": 8}}), 5.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    world.ended(txn["txn"].as_str().unwrap()).await;
    let (status, txn) = world.apply_now(&auto(json!({"grid": {"levels": 60}}), 5.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    world.ended(txn["txn"].as_str().unwrap()).await;
    assert!(versions(&world).await.iter().all(|one| one["fits"] == true));
    let before = world.config().await["schema"]["sha256"].clone();
    // The next build of the bot takes fewer levels, and has no key any more.
    let mut narrower = schema();
    narrower["properties"]["grid"]["properties"]["levels"]["maximum"] = json!(10);
    bring(&world.bot, &narrower.to_string());
    world.bot.restart();
    kit::until("the change is told", SOON, || async {
        !events_with(&world, "another config schema").await.is_empty()
    })
    .await;
    let config = world.config().await;
    assert_eq!(
        (&config["schema"]["changed"], &config["schema"]["replaced"]),
        (&json!(true), &before),
        "{config:#}"
    );
    assert_eq!(config["committed"]["fits_schema"], false, "{config:#}");
    let told = events_with(&world, "another config schema").await;
    assert!(told[0]["message"].as_str().unwrap().contains("does not fit"), "{told:?}");
    let list = versions(&world).await;
    let fits: Vec<_> = list.iter().map(|one| one["fits"].clone()).collect();
    assert_eq!(fits, [json!(false), json!(true), json!(false)], "{list:#?}");
    let why = list[2]["does_not_fit_because"].as_str().unwrap();
    assert!(why.contains("/grid/levels") && why.contains("from 2 to 10"), "{why}");
    // The same after a start of botops, and a rollback to one that does not fit says why.
    let world = world.restart().await;
    assert_eq!(events_with(&world, "another config schema").await.len(), 1, "told once");
    let back = json!({"to": "v1", "reason": "as it was", "confirm_within_s": 5.0});
    let request = world.botops.request(Method::PUT, "/api/v1/config/rollback?dry_run=true").json(&back);
    let (status, plan) = answer(request.header("if-match", world.etag().await)).await;
    assert_eq!((status, &plan["would_apply"]), (200, &json!(false)), "{plan:#}");
    assert_eq!(plan["verdict"]["errors"][0]["pointer"], "/grid/levels", "{plan:#}");
    let (status, problem) = world.apply_now(&auto(json!({"grid": {"stake": 30}}), 5.0)).await;
    assert_eq!((status, &problem["error_code"]), (422, &json!("CFG_001")), "{problem:#}");
    let (status, txn) = world.apply_now(&auto(json!({"grid": {"levels": 9}}), 5.0)).await;
    assert_eq!(status, 202, "what puts it right is taken: {txn:#}");
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    assert_eq!(world.config().await["committed"]["fits_schema"], true);
    world.botops.stop().await;
}

/// Schemas that cannot be worked with, each with the pointer and a part of what is said.
fn unusable(remote: &str) -> Vec<(&'static str, String, &'static str, &'static str)> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut schema = schema();
        change(&mut schema);
        schema.to_string()
    };
    let stake = "/properties/grid/properties/stake";
    let deep = "{\"type\":\"object\",\"properties\":{\"a\":".repeat(5_000);
    vec![
        ("no JSON", "<html>".to_owned(), "", "not JSON"),
        (
            "a typo",
            with(&|schema| *schema.pointer_mut(stake).unwrap() = json!({"maximun": 5})),
            "/properties/grid/properties/stake/maximun",
            "`maximum`",
        ),
        (
            "no type",
            with(&|schema| schema.pointer_mut(stake).unwrap()["type"] = json!("money")),
            "/properties/grid/properties/stake/type",
            "`money` is no type of JSON Schema, which has `string`",
        ),
        (
            "remote",
            with(&|schema| *schema.pointer_mut(stake).unwrap() = json!({"$ref": remote})),
            "/properties/grid/properties/stake/$ref",
            "nothing is fetched",
        ),
        ("5 MB", with(&|schema| schema["description"] = json!("x".repeat(5_000_000))), "", "bytes"),
        ("too large", "x".repeat(9_000_000), "", "does not give it"),
        ("deep", deep, "", "recursion limit"),
        (
            "a loop",
            with(&|schema| schema["$defs"]["secret"] = json!({"$ref": "#/$defs/secret"})),
            "/$defs/secret/$ref",
            "itself",
        ),
        (
            "a pattern",
            with(&|schema| {
                schema.pointer_mut(stake).unwrap()["pattern"] = json!("(((a{1000}){1000}){1000})");
            }),
            "/properties/grid/properties/stake/pattern",
            "memory",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_cannot_be_used_is_named_with_its_place_and_harms_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let remote = format!("http://{}/schema.json", listener.local_addr().unwrap());
    let mut world = World::start_beside(grid_bot()).await;
    let (before, etag) = (world.running(), world.etag().await);
    let good = world.config().await["schema"]["sha256"].clone();
    for (name, schema, pointer, part) in unusable(&remote) {
        bring(&world.bot, &schema);
        world.bot.restart();
        let is_told = || async {
            let fault = world.config().await["schema"]["fault"].clone();
            fault["pointer"] == pointer && fault.to_string().contains(part)
        };
        kit::until(name, SOON, is_told).await;
        let config = world.config().await;
        let fault = config["schema"]["fault"].to_string();
        assert!(!config["schema"]["fault"]["remedy"].is_null(), "{name}: {fault}");
        assert_eq!(config["writable"], false, "{name}");
        assert_eq!(config["schema"]["sha256"], good, "{name}: the last good one is kept for reads");
        assert_eq!(config["config"]["exchange"]["api_key"], "*****", "{name}");
        let (_, problem) = answer(world.apply(&auto(json!({"grid": {"stake": 30}}), 5.0), &etag)).await;
        assert_problem(&problem, 502, "CFG_023");
        assert_eq!(problem["effect"], "none", "{name}: {problem:#}");
        assert!(problem["cause"].as_str().unwrap().contains(part), "{name}: {problem:#}");
        let (status, _) = world.botops.get("/api/v1/config/versions").await;
        assert_eq!(status, 200, "{name}");
    }
    assert!(!events_with(&world, "nothing is fetched").await.is_empty());
    assert!(listener.accept().is_err(), "nobody asked the other machine");
    assert_eq!(world.running(), before);
    assert_eq!(world.bot.count("POST", "config/check") + world.bot.count("POST", "config/activate"), 0);
    // A pattern that others would need years for is no fault: it takes no longer than its text.
    let mut slow = schema();
    slow["properties"]["exchange"]["properties"]["name"] = json!({"type": "string", "pattern": "^(a+)+$"});
    bring(&world.bot, &slow.to_string());
    world.bot.restart();
    kit::until("it is taken", SOON, || async { world.config().await["writable"] == true }).await;
    let body = json!({"merge_patch": {"exchange": {"name": format!("{}!", "a".repeat(50_000))}}});
    let (status, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
    assert_eq!((status, &verdict["valid"]), (200, &json!(false)));
    // Put right, all is as before.
    bring(&world.bot, &schema().to_string());
    world.bot.restart();
    world.until_in_sync().await;
    kit::until("it can be used", SOON, || async { world.config().await["writable"] == true }).await;
    let (status, txn) = world.apply_now(&auto(json!({"grid": {"stake": 30}}), 5.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bot_is_away_its_schema_is_known_from_before() {
    let mut world = World::start_beside(grid_bot()).await;
    world.bot.die();
    let World { mut bot, botops, folder } = world;
    botops.stop().await;
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())];
    let botops = kit::app::Running::start(folder.path(), &settings).await;
    let (status, served) = botops.get("/api/v1/config/schema").await;
    assert_eq!((status, &served), (200, &schema()));
    let (_, version) = botops.get("/api/v1/config/versions/v1").await;
    assert_eq!(
        (&version["fits"], &version["config"]["exchange"]["api_key"]),
        (&json!(true), &json!("*****"))
    );
    let body = json!({"merge_patch": {"grid": {"levels": 1}}});
    let (_, verdict) = botops.send(Method::POST, "/api/v1/config/validate?level=schema", &body).await;
    assert_eq!(verdict["errors"][0]["pointer"], "/grid/levels", "{verdict:#}");
    bot.revive();
    kit::until("in sync", SOON, || async { botops.get(CONFIG).await.1["sync"] == "in_sync" }).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_brings_no_schema_has_its_config_left_alone() {
    let bot = grid_bot();
    bot.script().hello.capabilities.retain(|one| one.name != "config-schema");
    let folder = kit::folder();
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let settings =
        [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str()), ("BOT_CONFIG_MIN_TRIAL", "200ms")];
    let botops = kit::app::Running::start(folder.path(), &settings).await;
    let none = || async { botops.get(CONFIG).await.1["sync"] == "not_applicable" };
    kit::until("there is no config here", Duration::from_secs(20), none).await;
    let (_, config) = botops.get(CONFIG).await;
    assert!(config["sync_reason"].as_str().unwrap().contains("`config-schema`"), "{config:#}");
    let body = auto(json!({"grid": {"stake": 30}}), 5.0);
    for (method, path) in [
        (Method::GET, "/api/v1/config/schema"),
        (Method::POST, "/api/v1/config/validate"),
        (Method::PUT, "/api/v1/config/apply"),
    ] {
        let (status, problem) = botops.send(method, path, &body).await;
        assert_eq!((status, &problem["error_code"]), (409, &json!("BOT_004")), "{path}: {problem:#}");
        assert!(problem["cause"].as_str().unwrap().contains("`config-schema`"), "{path}: {problem:#}");
    }
    assert!(!folder.path().join("data/config/HEAD").exists(), "no version is made up for it");
    assert_eq!(
        bot.count("GET", "config/schema") + bot.count("GET", "config/document"),
        0,
        "nothing was asked"
    );
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn update_targets_goes_by_the_role_and_is_not_on_offer_where_no_field_has_it() {
    let mut world = World::start_beside(grid_bot()).await;
    let path = "/api/v1/workflows/update-targets";
    assert_eq!(world.botops.get(path).await.1["available"], true);
    // By the names that this bot has for symbol and weight.
    let targets = json!([{"symbol": "ETH/USDT", "weight": 0.3}, {"symbol": "BTC/USDT", "weight": 0.4}]);
    let params = json!({"params": {"reason": "less of the first", "targets": targets}});
    let dry = format!("{path}/execute?dry_run=true");
    let (status, plan) = world.botops.send(Method::POST, &dry, &params).await;
    assert!(status == 200 && plan.to_string().contains("pairs[ETH/USDT].share: 0.6 → 0.3"), "{plan:#}");
    let mut without = schema();
    without["properties"]["pairs"].as_object_mut().unwrap().remove("x-role");
    bring(&world.bot, &without.to_string());
    world.bot.restart();
    kit::until("it is not on offer", SOON, || async { world.botops.get(path).await.1["available"] == false })
        .await;
    let (_, one) = world.botops.get(path).await;
    let why = one["unavailable_because"].as_str().unwrap();
    assert!(why.contains("role `targets`"), "{why}");
    let (status, problem) = world.botops.send(Method::POST, &format!("{path}/execute"), &params).await;
    assert_eq!((status, &problem["error_code"]), (409, &json!("BOT_004")), "{problem:#}");
    assert_eq!(problem["context"]["missing"][0]["missing"], "targets", "{problem:#}");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_no_longer_brings_its_schema_is_compared_by_its_hash_alone() {
    let mut world = World::start_beside(grid_bot()).await;
    let etag = world.etag().await;
    world.bot.script().hello.capabilities.retain(|one| one.name != "config-schema");
    world.bot.restart();
    kit::until("no change is taken", SOON, || async { world.config().await["writable"] == false }).await;
    world.until_in_sync().await;
    let config = world.config().await;
    assert_eq!(config["config"]["exchange"]["api_key"], "*****", "by what it brought before: {config:#}");
    let (status, problem) = answer(world.apply(&auto(json!({"grid": {"stake": 30}}), 5.0), &etag)).await;
    assert_eq!((status, &problem["error_code"]), (409, &json!("BOT_004")), "{problem:#}");
    assert_eq!(problem["context"]["capability"], "config-schema", "{problem:#}");
    let other = botops_contract::VersionRef { version: 9, sha256: "0".repeat(64) };
    world.bot.script().config.drift(other);
    kit::until("a drift is told", SOON, || async { world.config().await["sync"] == "drifted" }).await;
    assert_eq!(world.bot.count("POST", "config/check"), 0);
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_plain_sentences_go_by_the_schema_of_the_bot() {
    let world = World::start_beside(grid_bot()).await;
    let schema =
        crate::mcp::call(&world.botops, kit::app::KEY, "get_config", json!({"view": "schema"})).await;
    assert!(schema.to_string().contains("spacing_pct"), "{schema:#}");
    let arguments = json!({"action": "apply", "merge_patch": {"grid": {"stake": 30}}, "reason": "a test", "dry_run": true,
        "if_match": world.etag().await});
    let told = crate::mcp::call(&world.botops, kit::app::KEY, "change_config", arguments).await;
    assert_eq!(told["structuredContent"]["diff"][0]["path"], "/grid/stake", "{told:#}");
    let text = json!({"text": "set grid.stake to 30"});
    let (_, asked) = world.botops.send(Method::POST, "/api/v1/ask", &text).await;
    assert_eq!(asked["answer"]["diff"][0]["path"], "/grid/stake", "{asked:#}");
    world.botops.stop().await;
}
