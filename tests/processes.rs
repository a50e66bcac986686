//! Two processes of one application on a real broker, asked over HTTP: whichever is asked knows every customer, and the
//! changes of both can be followed from either.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot start its server has failed")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};
use support::{Broker, Server, Site};

const DEFINITIONS: &str = "\
segments:
  - {name: clicker, description: Clicked once, when: did(click)}
  - {name: buyer, when: did(purchase)}
";
const PATIENCE: Duration = Duration::from_millis(200);
const TRIES: usize = 600;

struct Process {
    server: Server,
    base: String,
}

impl Process {
    /// A process of the site with a data directory of its own.
    fn start(site: &Site, name: &str) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_segue"), "run", "--config"]).arg(site.configure());
        command.env("SEGUE_APPLICATION__DATA_DIR", site.directory.path().join(name));
        command.env("SEGUE_APPLICATION__WORKERS", "1").env("SEGUE_LOG__FORMAT", "json");
        let log = site.directory.path().join(format!("{name}.log"));
        let mut server = Server::start("segue", command, &log);
        let address = || {
            let log = fs::read_to_string(&log).unwrap();
            let told = log.split("\"address\":\"").nth(1)?;
            Some(told.split('"').next()?.to_owned())
        };
        server.wait_until(|| address().is_some());
        Self { server, base: format!("http://{}", address().unwrap()) }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let client = reqwest::blocking::Client::new();
        let response = client.get(format!("{}{path}", self.base)).timeout(Duration::from_mins(1)).send().unwrap();
        (response.status().as_u16(), response.json().unwrap())
    }

    fn status(&self) -> Value {
        self.get("/v1/status").1
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..TRIES {
            assert!(self.server.is_running(), "{}", self.server.log_end());
            if is_so(self) {
                return;
            }
            std::thread::sleep(PATIENCE);
        }
        panic!("{what} never comes: {:#}\n{}", self.status(), self.server.log_end());
    }

    /// Follows the changes; after the event with this id, if any.
    fn follow(&self, query: &str, after: Option<&str>) -> Stream {
        let client = reqwest::blocking::Client::builder().timeout(None).build().unwrap();
        let mut request = client.get(format!("{}/v1/changes{query}", self.base));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.send().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Stream { lines: BufReader::new(response), id: String::new() };
        stream.comment("following");
        stream
    }
}

struct Stream {
    lines: BufReader<reqwest::blocking::Response>,
    /// The id of the last event.
    id: String,
}

impl Stream {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the stream has ended");
        let line = line.trim_end().to_owned();
        if let Some(id) = line.strip_prefix("id: ") {
            id.clone_into(&mut self.id);
        }
        line
    }

    /// Reads up to a comment.
    fn comment(&mut self, text: &str) {
        while self.line() != format!(": {text}") {}
        while !self.line().is_empty() {}
    }

    /// The next change.
    fn change(&mut self) -> Value {
        let mut data = None;
        loop {
            let line = self.line();
            if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).unwrap());
            }
            if line.is_empty()
                && let Some(change) = data.take()
            {
                return change;
            }
        }
    }

    fn changes(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.change()).collect()
    }
}

fn click(customer: &str, at: i64) -> Value {
    json!({"type": "click", "event_id": format!("{customer}-{at}"), "customer_id": customer, "occurred_at": at})
}

fn purchase(customer: &str, at: i64) -> Value {
    json!({"type": "purchase", "event_id": format!("p{at}"), "customer_id": customer, "occurred_at": at,
           "order_id": "o", "total": 1, "currency": "EUR", "items": []})
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("customer-{number:03}")).collect()
}

#[expect(clippy::disallowed_methods, reason = "live traffic happens now")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn workers(status: &Value) -> Vec<usize> {
    let workers = status["workers"].as_array().unwrap().iter();
    workers.map(|worker| worker["partitions"].as_array().unwrap().len()).collect()
}

#[test]
fn every_customer_is_found_from_every_process() {
    let site = Site::new(Broker::shared(), 4, DEFINITIONS);
    let names = names(24);
    site.produce(&names.iter().map(|name| click(name, now_ms())).collect::<Vec<_>>());
    let mut one = Process::start(&site, "one");
    one.wait_until("the first members", |one| one.get("/v1/segments").1["segments"][0]["members"] == 24);
    let mut other = Process::start(&site, "other");
    let both = |process: &Process| {
        let status = process.status();
        workers(&status) == [2, 2] && status["not_ready"] == json!([]) && status["complete"] == true
    };
    one.wait_until("its share", both);
    other.wait_until("its share", both);

    for process in [&one, &other] {
        for name in &names {
            let (status, customer) = process.get(&format!("/v1/customers/{name}"));
            assert_eq!((status, &customer["customer_id"]), (200, &json!(name)), "{customer}");
        }
        let (status, explained) = process.get(&format!("/v1/customers/{}/explain?segment=buyer", names[7]));
        assert_eq!((status, &explained["segments"][0]["member"]), (200, &json!(false)), "{explained}");
        let (status, problem) = process.get("/v1/customers/nobody");
        assert_eq!(status, 404, "{problem}");
        let (_, segments) = process.get("/v1/segments");
        assert_eq!((&segments["complete"], &segments["segments"][0]["members"]), (&json!(true), &json!(24)));
        assert_eq!(paged(process, 5), names);
    }

    // What the other held comes to us; until it is here, nobody is unknown who was known.
    other.server.kill();
    let mut found = BTreeMap::new();
    for _ in 0..TRIES {
        for name in &names {
            let (status, body) = one.get(&format!("/v1/customers/{name}"));
            assert!(status == 200 || body["type"] == "urn:segue:problem:held-elsewhere", "{status} {body}");
            found.insert(name, status);
        }
        if found.values().all(|status| *status == 200) {
            break;
        }
    }
    assert!(found.values().all(|status| *status == 200), "{found:?}");
    assert_eq!(one.get("/v1/customers/nobody").0, 404);
}

/// All members, page by page.
fn paged(process: &Process, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut after = String::new();
    loop {
        let (status, page) = process.get(&format!("/v1/segments/clicker/members?limit={limit}&after={after}"));
        assert_eq!((status, &page["complete"]), (200, &json!(true)), "{page}");
        let members = page["members"].as_array().unwrap().iter();
        ids.extend(members.map(|member| member["customer_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return ids,
        }
    }
}

#[test]
fn changes_are_followed_and_gone_on_with_from_any_process() {
    let mut site = Site::new(Broker::shared(), 3, DEFINITIONS);
    // As most sites have it: the records are Avro, and what is followed is JSON all the same.
    site.more.clear();
    let mut one = Process::start(&site, "one");
    one.wait_until("readiness", |one| one.status()["complete"] == true);
    let names = names(30);
    let mut all = one.follow("", None);
    let mut of_one = one.follow("?customer=customer-007", None);
    site.produce(&names[..20].iter().map(|name| click(name, now_ms())).collect::<Vec<_>>());
    let mut seen = all.changes(12);
    let place = all.id.clone();
    drop(all);
    site.produce(&names[20..].iter().map(|name| click(name, now_ms())).collect::<Vec<_>>());
    one.wait_until("the rest", |one| one.get("/v1/changes/recent?limit=1000").1["looked_at"] == 30);

    let mut other = Process::start(&site, "other");
    other.wait_until("readiness", |other| other.status()["complete"] == true);
    let mut again = other.follow("", Some(&place));
    seen.extend(again.changes(18));
    let mut who: Vec<_> = seen.iter().map(|change| change["customer_id"].as_str().unwrap()).collect();
    who.sort_unstable();
    assert_eq!(who, names.iter().map(String::as_str).collect::<Vec<_>>(), "each once");
    site.produce(&[purchase("customer-007", now_ms())]);
    assert_eq!(again.change()["segment"], "buyer", "live after what was missed");
    let of_one: Vec<_> = of_one.changes(2).iter().map(|change| change["segment"].clone()).collect();
    assert_eq!(of_one, ["clicker", "buyer"], "only theirs");
    let (_, recent) = other.get("/v1/changes/recent?segment=buyer");
    assert_eq!(recent["changes"][0]["customer_id"], "customer-007");
    assert_eq!(recent["changes"][0]["cause"]["type"], "purchase");
    // What happened to one of them, from whichever process, the latest first.
    let (_, past) = other.get("/v1/customers/customer-007/changes");
    let told: Vec<_> = past["changes"].as_array().unwrap().iter().map(|change| change["segment"].clone()).collect();
    assert_eq!(told, ["buyer", "clicker"], "{past}");
    let (_, past) = one.get("/v1/customers/customer-007/changes?limit=1");
    assert_eq!(past["changes"][0]["segment"], "buyer", "{past}");
    assert_eq!(one.get("/v1/customers/nobody/changes").1["changes"], json!([]));
    for bad in ["x", "1.2", "1.2.-3"] {
        assert_eq!(one.get(&format!("/v1/changes?after={bad}")).0, 400, "{bad}");
    }
    // A stream ends when its process does, with a word.
    one.server.signal("TERM");
    assert_eq!(one.server.ended(), 0, "{}", one.server.log_end());
}

#[test]
fn what_was_not_committed_is_never_followed() {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let mut one = Process::start(&site, "one");
    one.wait_until("readiness", |one| one.status()["complete"] == true);
    let mut stream = one.follow("", None);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", site.broker.address()).set("transactional.id", format!("{}-stray", site.name));
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(Duration::from_mins(1)).unwrap();
    producer.begin_transaction().unwrap();
    let (topic, stray) = (site.topic("changes"), json!({"customer_id": "stray", "segment": "clicker"}).to_string());
    producer.send(BaseRecord::to(&topic).key("stray").payload(&stray)).unwrap();
    producer.flush(Duration::from_mins(1)).unwrap();
    producer.abort_transaction(Duration::from_mins(1)).unwrap();
    site.produce(&[click("real", now_ms())]);
    assert_eq!(stream.change()["customer_id"], "real");
    // Nor for one who comes back to before it.
    let mut again = one.follow("", Some("0"));
    assert_eq!(again.change()["customer_id"], "real");
    let (_, recent) = one.get("/v1/changes/recent");
    assert_eq!(recent["changes"].as_array().unwrap().len(), 1, "{recent}");
}
