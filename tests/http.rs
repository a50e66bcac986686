//! The HTTP side as its callers meet it: every route over a partition in memory, and the demo from its first line to its
//! last.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot start its server has failed")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use segue::config::{Http, Secret};
use segue::definition::load_texts;
use segue::engine::Engine;
use segue::engine::catalog::Catalog;
use segue::engine::customer::Limits;
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::http::{DefinitionFiles, OPENAPI, Server, Sources};
use segue::partition::{ErasureKey, Partition};
use segue::store::memory::MemoryStore;
use segue::telemetry::Telemetry;
use segue::wire::json::JsonDecoder;
use segue::wire::schema::SchemaSet;
use segue::worker::query::{Inbox, ends};
use segue::worker::status::Status;
use serde_json::{Value, json};

const DEFINITIONS: &str = "\
profile: [{name: city, type: text}]
traits: [{name: spent, value: sum(purchase.total)}]
segments:
  - {name: buyer, description: Bought something, when: did(purchase)}
  - {name: big, when: sum(purchase.total) >= 100 and did(click)}
  - {name: asked, when: did(purchase), purpose: marketing}
";

/// One day in 2026, milliseconds since the epoch.
const NOON: i64 = 1_767_268_800_000;

/// A server over one partition in memory, whose worker is a thread of the test.
struct Site {
    server: Server,
    status: Status,
    done: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Site {
    fn start(token: &str) -> Self {
        let schemas = SchemaSet::shipped().unwrap();
        let files = [("definitions.yaml".to_owned(), DEFINITIONS.to_owned())];
        let catalog = load_texts(&files, schemas.schemas(), jiff::tz::TimeZone::UTC).unwrap().catalog;
        let catalog = Arc::new(catalog);
        let status = Status::new(1, catalog.clone());
        let sources = Sources::new(status.clone(), Telemetry::new().unwrap());
        let listen = ([127, 0, 0, 1], 0).into();
        let settings = Http { listen, token: Secret::new(token), advertise: "http://segue-0.example".into() };
        let server = Server::start(&settings, sources.clone()).unwrap();
        let (asker, inbox) = ends();
        sources.ask(vec![asker]);
        let time_zone = jiff::tz::TimeZone::UTC;
        let (files, schemas) = (files.to_vec(), Arc::new(schemas));
        sources.defined_by(DefinitionFiles { files, directory: None, schemas: schemas.clone(), time_zone });
        let done = Arc::new(AtomicBool::new(false));
        let ended = done.clone();
        let worker = std::thread::spawn(move || answer(&inbox, partition(catalog, &schemas), &ended));
        Self { server, status, done, worker: Some(worker) }
    }

    /// Says that the worker has all the partitions there are.
    fn assign(&self) {
        self.status.update(0, |state| {
            state.owned = vec![0];
            state.n_partitions = 1;
            state.assigned = true;
        });
    }

    fn get(&self, path: &str) -> Answer {
        get(&format!("http://{}", self.server.address()), path, None)
    }

    #[track_caller]
    fn check(&self, path: &str, expected: &Value) {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.body, *expected, "{path}");
    }

    #[track_caller]
    fn check_problem(&self, path: &str, status: u16, kind: &str) {
        self.get(path).expect_problem(path, status, kind);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        drop(self.worker.take().map(JoinHandle::join));
    }
}

struct Answer {
    status: u16,
    content_type: String,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn expect_problem(self, path: &str, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{path}: {}", self.body);
        assert_eq!(self.content_type, "application/problem+json", "{path}");
        assert_eq!(self.body["type"], format!("urn:segue:problem:{kind}"), "{path}");
        assert_eq!(self.body["status"], status, "{path}");
    }
}

fn get(base: &str, path: &str, authorization: Option<&str>) -> Answer {
    let client = reqwest::blocking::Client::new();
    let mut request = client.get(format!("{base}{path}")).timeout(Duration::from_mins(1));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    take("get", path, request.send().unwrap())
}

/// The answer to a request, which is as `docs/openapi.json` describes it.
fn take(method: &str, path: &str, response: reqwest::blocking::Response) -> Answer {
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let text = response.text().unwrap();
    let answer = Answer { status, content_type, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) };
    let is_described = |path: &str| path.starts_with("/v1/") || ["/healthz", "/readyz", "/metrics"].contains(&path);
    if is_described(path.split('?').next().unwrap()) && status != 405 {
        expect_described(method, path, &answer);
    }
    answer
}

/// The addresses that are described, with `{…}` for what varies.
fn described() -> Value {
    serde_json::from_str::<Value>(OPENAPI).unwrap()["paths"].clone()
}

#[track_caller]
fn expect_described(method: &str, path: &str, answer: &Answer) {
    let paths = described();
    let asked: Vec<_> = path.split('?').next().unwrap().split('/').collect();
    let is_same = |pattern: &str| {
        let parts: Vec<_> = pattern.split('/').collect();
        parts.len() == asked.len()
            && parts.iter().zip(&asked).all(|(part, asked)| part == asked || part.starts_with('{'))
    };
    let mut patterns: Vec<_> = paths.as_object().unwrap().keys().filter(|pattern| is_same(pattern)).collect();
    patterns.sort_by_key(|pattern| pattern.contains('{'));
    let pattern = patterns.first().unwrap_or_else(|| panic!("{path} is not described"));
    let response = &paths[pattern.as_str()][method]["responses"][answer.status.to_string()];
    let essence = answer.content_type.split(';').next().unwrap();
    let schema = &response["content"][essence]["schema"];
    assert!(schema.is_object(), "{method} {path}: {} {essence} is not described", answer.status);
    let mut whole: Value = serde_json::from_str(OPENAPI).unwrap();
    whole["allOf"] = json!([schema]);
    let validator = jsonschema::draft202012::new(&whole).unwrap();
    let errors: Vec<_> = validator.iter_errors(&answer.body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:#?} in {:#}", answer.body);
}

fn post(site: &Site, path: &str, body: impl Into<reqwest::blocking::Body>, content_type: &str) -> Answer {
    let request = reqwest::blocking::Client::new().post(format!("http://{}{path}", site.server.address()));
    take("post", path, request.header("content-type", content_type).body(body).send().unwrap())
}

fn partition(catalog: Arc<Catalog>, schemas: &SchemaSet) -> Partition<MemoryStore> {
    let mut decoder = JsonDecoder::new(schemas, &catalog);
    let engine = Engine::new(catalog, Limits::default());
    let mut partition = Partition::new(engine, MemoryStore::default(), ErasureKey::default(), None);
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    let records = [
        json!({"type": "purchase", "event_id": "1", "customer_id": "ada", "occurred_at": NOON, "total": "120.50"}),
        json!({"type": "profile", "event_id": "2", "customer_id": "ada", "occurred_at": NOON, "traits": {"city": "Bonn"}}),
        json!({"type": "purchase", "event_id": "3", "customer_id": "ben ö", "occurred_at": NOON, "total": 1}),
        json!({"type": "purchase", "event_id": "4", "customer_id": "cem", "occurred_at": NOON, "total": 1}),
        json!({"type": "click", "event_id": "5", "customer_id": "dora", "occurred_at": NOON}),
        json!({"type": "purchase", "event_id": "6", "customer_id": "eve", "occurred_at": NOON, "total": 1}),
        json!({"type": "erasure", "event_id": "7", "customer_id": "eve", "occurred_at": NOON}),
    ];
    for json in records {
        decoder.decode_value_into(&json, &mut record).unwrap();
        partition.offer(&record, &Origin::default(), None).unwrap();
    }
    partition.commit(1.0).unwrap();
    partition
}

fn answer(inbox: &Inbox, mut partition: Partition<MemoryStore>, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        inbox.answer(std::iter::once((0, &mut partition)), NOON + 1);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_customer_is_shown_and_explained() {
    let site = Site::start("");
    site.assign();
    let ada = json!({
        "customer_id": "ada",
        "own_time": "2026-01-01T12:00:00.000Z",
        "sequence": 1,
        "profile": {"city": "Bonn"},
        "traits": {"spent": 120.5},
        "memberships": [{"segment": "buyer", "since": "2026-01-01T12:00:00.000Z"}],
        "consents": {"marketing": false},
    });
    site.check("/v1/customers/ada", &ada);
    let big = site.get("/v1/customers/ada/explain?segment=big").body;
    assert_eq!(big["at"], "2026-01-01T12:00:00.001Z");
    assert_eq!(big["segments"].as_array().unwrap().len(), 1);
    let when = &big["segments"][0]["when"];
    assert_eq!((&when["junction"], &when["holds"]), (&json!("and"), &json!(false)), "{big}");
    let parts: Vec<_> =
        when["parts"].as_array().unwrap().iter().map(|part| (&part["holds"], &part["decides"])).collect();
    assert_eq!(parts, [(&json!(true), &json!(false)), (&json!(false), &json!(true))], "{big}");
    assert_eq!(site.get("/v1/customers/ben%20%C3%B6/explain").body["segments"].as_array().unwrap().len(), 3);
}

#[test]
fn an_erasure_has_a_receipt() {
    let site = Site::start("");
    site.check_problem("/v1/customers/nobody/erasure", 503, "held-elsewhere");
    site.assign();
    // `printf eve | openssl dgst -sha256 -hmac ""`
    let hash = "9e03142cb48abe16e097e0eb81939ff2661d5065a685cc0efa5f2753d209f4e7";
    let receipt = json!({"customer_id": "eve", "erased_at": "2026-01-01T12:00:00.000Z", "sequence": 2,
                         "customer_hash": hash, "returned": false});
    site.check("/v1/customers/eve/erasure", &receipt);
    site.check_problem("/v1/customers/eve", 404, "unknown-customer");
    for other in ["ada", "nobody"] {
        site.check_problem(&format!("/v1/customers/{other}/erasure"), 404, "not-erased");
    }
    site.check_problem("/v1/customers/eve/erasure?colour=red", 400, "bad-request");
}

#[test]
fn segments_and_their_members_are_listed() {
    let site = Site::start("");
    site.assign();
    let segments = site.get("/v1/segments").body;
    let names: Vec<_> = segments["segments"].as_array().unwrap().iter().map(|segment| &segment["name"]).collect();
    assert_eq!(names, ["buyer", "big", "asked"]);
    assert_eq!(segments["segments"][0]["description"], "Bought something");
    assert_eq!(segments["segments"][2]["purpose"], "marketing");
    let ids = |path: &str| {
        let page = site.get(path).body;
        let ids: Vec<_> =
            page["members"].as_array().unwrap().iter().map(|member| member["customer_id"].clone()).collect();
        (ids, page["next"].clone())
    };
    assert_eq!(ids("/v1/segments/buyer/members?limit=2"), (vec![json!("ada"), json!("ben ö")], json!("ben ö")));
    assert_eq!(ids("/v1/segments/buyer/members?limit=2&after=ben%20%C3%B6"), (vec![json!("cem")], Value::Null));
    assert_eq!(ids("/v1/segments/big/members"), (vec![], Value::Null));
}

#[test]
fn what_cannot_be_answered_is_a_problem() {
    let site = Site::start("");
    site.check_problem("/readyz", 503, "not-ready");
    site.check_problem("/v1/customers/nobody", 503, "held-elsewhere");
    site.assign();
    site.check("/readyz", &json!({"status": "ready"}));
    site.check_problem("/v1/customers/nobody", 404, "unknown-customer");
    site.check_problem("/v1/customers/nobody/explain", 404, "unknown-customer");
    site.check_problem("/v1/customers/ada/explain?segment=buier", 404, "unknown-segment");
    site.check_problem("/v1/customers/ada/explain?colour=red", 400, "bad-request");
    site.check_problem("/v1/customers/%FF", 400, "bad-request");
    site.check_problem("/v1/segments/none/members", 404, "unknown-segment");
    for limit in ["0", "1001", "x", "-1"] {
        site.check_problem(&format!("/v1/segments/buyer/members?limit={limit}"), 400, "bad-request");
    }
    site.check_problem("/nowhere", 404, "no-such-page");
    let posted = reqwest::blocking::Client::new().post(format!("http://{}/v1/segments", site.server.address())).send();
    assert_eq!(posted.unwrap().status(), 405);
    site.status.update(0, |state| state.failed = Some("disk full".into()));
    site.check_problem("/healthz", 503, "unhealthy");
}

#[test]
fn the_token_guards_all_but_health_and_metrics() {
    let site = Site::start("s3cret");
    site.assign();
    let base = format!("http://{}", site.server.address());
    for path in ["/v1/segments", "/v1/segments/buyer/members", "/v1/customers/ada", "/v1/customers/ada/explain"] {
        for wrong in [None, Some("Bearer s3cre"), Some("s3cret")] {
            get(&base, path, wrong).expect_problem(path, 401, "unauthorized");
        }
        assert_eq!(get(&base, path, Some("Bearer s3cret")).status, 200, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(&base, path, None).status, 200, "{path}");
    }
}

#[test]
fn the_description_names_exactly_the_routes_there_are() {
    let source = include_str!("../src/http/mod.rs");
    let routes = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut routes: Vec<_> = routes.collect();
    routes.sort_unstable();
    let paths = described();
    let mut described: Vec<_> = paths.as_object().unwrap().keys().map(String::as_str).collect();
    described.sort_unstable();
    assert_eq!(described, routes);
    let site = Site::start("");
    assert_eq!(site.get("/openapi.json").body, serde_json::from_str::<Value>(OPENAPI).unwrap());
}

#[test]
fn definitions_are_tried_without_being_kept() {
    let site = Site::start("");
    site.assign();
    let listed = site.get("/v1/definitions").body;
    assert_eq!((&listed["on_disk"], &listed["files"][0]["text"]), (&json!("built-in"), &json!(DEFINITIONS)));

    let check = |trial: Value| post(&site, "/v1/definitions/check", trial.to_string(), "application/json");
    let wrong = check(json!({"text": "segments:\n  - {name: x, when: cuont(purchase) > 1}\n"}));
    assert_eq!((wrong.status, &wrong.body["valid"]), (200, &json!(false)));
    let found = &wrong.body["diagnostics"][0];
    assert_eq!((&found["line"], &found["column"], &found["length"]), (&json!(2), &json!(21), &json!(5)), "{found}");
    let right = check(json!({"text": "segments: [{name: x, when: trait.spent > 1}]"}));
    assert_eq!(right.body["segments"][0]["when"], "trait.spent > 1", "{}", right.body);
    let twice = check(json!({"text": "segments: [{name: big, when: did(click)}]"}));
    assert_eq!(twice.body["valid"], false, "the name is taken");
    let instead = check(json!({"text": DEFINITIONS, "file": "definitions.yaml"}));
    assert_eq!(instead.body["segments"].as_array().unwrap().len(), 3, "{}", instead.body);

    let attempt = |trial: Value| post(&site, "/v1/definitions/try", trial.to_string(), "application/json");
    let tried = attempt(json!({"text": "segments: [{name: x, when: sum(purchase.total) > 100}]"})).body;
    assert_eq!((&tried["looked_at"], &tried["customers"]), (&json!(4), &json!(["ada"])), "{tried}");
    assert_eq!((&tried["not_counted_yet"], &tried["complete"]), (&json!([]), &json!(true)));
    let tried = attempt(json!({"text": "segments: [{name: x, when: count(click over 9d) < 1}]"})).body;
    assert_eq!(tried["not_counted_yet"], json!(["count(click over 9d)"]), "{tried}");
    attempt(json!({"text": "segments: [{name: x, when: 1}]"})).expect_problem("try", 422, "wrong-definitions");
    attempt(json!({"text": DEFINITIONS, "file": "x.yaml"})).expect_problem("try", 404, "unknown-file");
    attempt(json!({"text": "", "file": null})).expect_problem("try", 422, "no-segment");
    attempt(json!({"text": "", "segment": "buier"})).expect_problem("try", 404, "unknown-segment");
    assert_eq!(site.get("/v1/segments").body["segments"].as_array().unwrap().len(), 3);
}

#[test]
fn bodies_that_are_no_trial_are_refused() {
    let site = Site::start("");
    let cases: [(String, &str, u16, &str); 5] = [
        ("{".into(), "application/json", 400, "bad-request"),
        ("{}".into(), "application/json", 400, "bad-request"),
        (json!({"text": "", "colour": 1}).to_string(), "application/json", 400, "bad-request"),
        (json!({"text": ""}).to_string(), "text/plain", 415, "not-json"),
        (json!({"text": "x".repeat(300_000)}).to_string(), "application/json", 413, "too-large"),
    ];
    for (body, content_type, status, kind) in cases {
        let shown: String = body.chars().take(40).collect();
        post(&site, "/v1/definitions/check", body, content_type).expect_problem(&shown, status, kind);
    }
}

#[test]
fn without_a_token_no_foreign_name_is_answered() {
    let ask = |site: &Site, host: &str| {
        let request = reqwest::blocking::Client::new().get(format!("http://{}/v1/status", site.server.address()));
        request.header("host", host).send().unwrap().status().as_u16()
    };
    let open = Site::start("");
    assert_eq!(ask(&open, "evil.example"), 421);
    assert_eq!(ask(&open, "segue-0.example:80"), 200);
    let guarded = Site::start("s3cret");
    assert_eq!(ask(&guarded, "segue.example"), 401);
}

#[test]
fn the_dashboard_is_there_and_may_load_nothing_from_elsewhere() {
    let site = Site::start("s3cret");
    let response = reqwest::blocking::get(format!("http://{}/", site.server.address())).unwrap();
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = response.text().unwrap();
    let linked = page.split(['"']).filter(|text| text.starts_with('/') && text.len() > 1);
    for path in linked {
        assert_eq!(get(&format!("http://{}", site.server.address()), path, None).status, 200, "{path}");
    }
}

#[test]
fn how_it_does_is_told() {
    let site = Site::start("");
    assert_eq!(site.get("/v1/status").body["complete"], false);
    site.assign();
    let status = site.get("/v1/status").body;
    assert_eq!(
        (&status["complete"], &status["partitions"], &status["processes"]),
        (&json!(true), &json!(1), &json!(1))
    );
    let history = site.get("/v1/segments/buyer/history").body;
    assert!(!history["samples"].as_array().unwrap().is_empty(), "{history}");
    site.check_problem("/v1/segments/none/history", 404, "unknown-segment");
    site.check_problem("/v1/changes", 503, "no-answer");
    site.check_problem("/v1/changes?segment=none", 404, "unknown-segment");
    site.check_problem("/v1/changes?after=x", 400, "bad-request");
    site.check_problem("/v1/changes/recent?limit=0", 400, "bad-request");
}

/// The demo, which is killed when the test fails before its end.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_demo_shows_the_engine_at_work() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.args(["demo", "--duration", "5m", "--visits-per-second", "20", "--listen", "127.0.0.1:0"]);
    let mut demo = Demo(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listed = lines.find_map(|line| Some(line.split_once("http://")?.1.split('/').next()?.to_owned()));
    let base = format!("http://{}", listed.expect("the address is told first"));
    for told in [" entered demo_here_now", " left    demo_here_now", "because time passed", "--- "] {
        assert!(lines.any(|line| line.contains(told)), "`{told}` is never told");
    }
    assert_eq!(get(&base, "/readyz", None).status, 200);
    let metrics = get(&base, "/metrics", None).body;
    assert!(metrics.as_str().unwrap().contains("segue_transactions_committed_total"), "{metrics}");
    let customer = get(&base, "/v1/customers/ada", None);
    assert!(matches!(customer.status, 200 | 404), "she may have been forgotten: {}", customer.body);
    get(&base, "/v1/customers/nobody", None).expect_problem("nobody", 404, "unknown-customer");

    let sent = Command::new("kill").arg("-INT").arg(demo.0.id().to_string()).status().unwrap();
    assert!(sent.success());
    let rest = lines.count();
    let status = demo.0.wait().unwrap();
    let mut complaints = String::new();
    demo.0.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((status.code(), complaints.as_str()), (Some(0), ""), "after {rest} more lines");
}
