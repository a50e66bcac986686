//! What operators and other programs meet of a running engine: the headers of changes, metrics, and the commands that read
//! topics. Against a real broker and registry.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Output};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};
use support::{Broker, Event, Message, Registry, Server, Site};

const DEFINITIONS: &str = "
segments:
  - {name: keen, description: Clicked twice, when: count(click over 30m) >= 2}
  - {name: brief, when: did(click over 2s)}
";

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[expect(clippy::disallowed_methods, reason = "the engine under test goes by the wall clock")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn click(id: &str, customer: &str) -> Event {
    json!({"type": "click", "event_id": id, "customer_id": customer, "occurred_at": now_ms()})
}

/// Sends a click with a trace context.
fn send_traced(site: &Site, event: &Event) {
    let producer: ThreadedProducer<DefaultProducerContext> = site.broker.client().create().unwrap();
    let customer = event["customer_id"].as_str().unwrap();
    let (topic, value) = (site.topic("clicks"), event.to_string());
    let headers = OwnedHeaders::new().insert(Header { key: "traceparent", value: Some(TRACE) });
    let record = BaseRecord::to(&topic).partition(site.partition_of(customer)).key(customer).payload(&value);
    producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
    producer.flush(std::time::Duration::from_secs(30)).unwrap();
}

fn wait_until(engine: &mut Server, what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{what} does not happen: {}", engine.log_end());
}

fn wait_for_changes(site: &Site, engine: &mut Server, count: usize) {
    let topic = site.topic("changes");
    wait_until(engine, "a change", || site.broker.has_topic(&topic) && site.messages("changes").len() >= count);
}

fn headers(message: &Message) -> BTreeMap<&str, String> {
    let text = |value: &Vec<u8>| String::from_utf8(value.clone()).unwrap();
    message.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
}

/// The program with these arguments and the site's configuration.
fn segue(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.args(arguments).arg("--config").arg(site.directory.path().join("data.yaml"));
    command.output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, parts: &[&str]) -> String {
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{told}");
    for part in parts {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where the engine answers HTTP, by its log.
fn http(site: &Site) -> String {
    http_of(site, "data")
}

fn http_of(site: &Site, data: &str) -> String {
    let log = std::fs::read_to_string(site.directory.path().join(format!("{data}.log"))).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut addresses = lines.filter_map(|line| line["address"].as_str().map(str::to_owned));
    addresses.next_back().expect("it says where it answers")
}

fn get(address: &str, path: &str) -> String {
    reqwest::blocking::get(format!("http://{address}{path}")).unwrap().text().unwrap()
}

#[test]
fn a_change_is_a_cloud_event_and_carries_the_trace_of_what_caused_it() {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let mut engine = site.start();
    send_traced(&site, &click("a", "ada"));
    wait_for_changes(&site, &mut engine, 2);
    let messages = site.messages("changes");
    let changes = site.changes();
    let [entered, left] = [headers(&messages[0]), headers(&messages[1])];
    assert_eq!(entered["ce_specversion"], "1.0");
    assert_eq!(entered["ce_id"], changes[0]["change_id"].as_str().unwrap());
    assert_eq!(entered["ce_source"], format!("/segue/{}", site.name));
    assert_eq!(entered["ce_type"], "segue.segment.entered");
    assert_eq!(entered["ce_subject"], "brief");
    assert_eq!(entered["ce_time"], changes[0]["at"].as_str().unwrap());
    assert_eq!(entered["content-type"], "application/json");
    assert_eq!(entered.get("traceparent").map(String::as_str), Some(TRACE));
    // Time caused this one, and time has no trace.
    assert_eq!(left["ce_type"], "segue.segment.left");
    assert_eq!(left.get("traceparent"), None);
    Site::stop(engine);
}

#[test]
fn a_registry_is_given_schemas_and_keeps_them_compatible() {
    let registry = Registry::shared();
    let mut site = Site::new(Broker::shared(), 1, DEFINITIONS);
    site.more = format!("output: {{format: avro}}\nschemas: {{registry: \"{}\"}}\n", registry.url());
    site.configure();
    expect(&segue(&site, &["topics", "create"]), 0, &[&format!("registered {}-value", site.topic("clicks"))]);
    expect(&segue(&site, &["topics", "create"]), 0, &[&format!("exists   {}-value", site.topic("clicks"))]);
    let mut engine = site.start();
    site.produce(&[click("a", "ada"), click("b", "ada")]);
    wait_for_changes(&site, &mut engine, 2);
    for topic in ["changes", "memberships", "clicks"] {
        let rule: Value = serde_json::from_str(
            &reqwest::blocking::get(format!("{}/config/{}-value", registry.url(), site.topic(topic)))
                .unwrap()
                .text()
                .unwrap(),
        )
        .unwrap();
        assert_eq!(rule["compatibilityLevel"], "FULL_TRANSITIVE", "{topic}: {rule}");
    }
    // People's tools read that form too.
    let tail = segue(&site, &["tail", "--from-beginning", "--no-follow", "--segment", "keen"]);
    let told = expect(&tail, 0, &[]);
    assert!(told.contains("ada      entered keen") && told.contains("(Clicked twice)"), "{told}");
    assert!(!told.contains("brief") && !told.contains('\x1b'), "{told}");
    // And so does a subscriber in another language.
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", support::clients_home().join("python"));
    python.arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/subscribe.py"));
    let of_site =
        ["--brokers", &site.broker.address(), "--topic", &site.topic("changes"), "--segment", "keen", "--count", "1"];
    expect(&python.args(of_site).output().unwrap(), 0, &["ada entered keen because of event", "segue.segment.entered"]);
    let tail = segue(&site, &["tail", "--from-beginning", "--limit", "1", "--json"]);
    let change: Value = serde_json::from_str(&expect(&tail, 0, &[])).unwrap();
    assert_eq!((&change["customer_id"], &change["sequence"]), (&json!("ada"), &json!(1)));
    Site::stop(engine);
}

#[test]
fn what_was_refused_is_read_and_sent_again() {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    site.configure();
    let mut engine = site.start();
    site.broker.produce(&site.topic("clicks"), 0, [("ada", b"\xff garbage".as_slice()), ("ada", b"{}")]);
    site.produce(&[click("a", "ada")]);
    wait_for_changes(&site, &mut engine, 1);
    let list = expect(&segue(&site, &["dead-letters", "list"]), 0, &[]);
    assert_eq!(list.lines().count(), 2, "{list}");
    let listed = segue(&site, &["dead-letters", "list", "--json", "--limit", "1"]);
    let letter: Value = serde_json::from_str(&expect(&listed, 0, &[])).unwrap();
    assert_eq!(letter["reason"], "undecodable");
    assert_eq!((&letter["topic"], &letter["offset"]), (&json!(site.topic("clicks")), &json!(0)));
    assert_eq!((&letter["key"], &letter["value"]), (&json!("ada"), &json!({"hex": "ff2067617262616765"})));
    expect(&segue(&site, &["dead-letters", "list", "--reason", "too_late"]), 0, &["no dead letters that match"]);

    let resend = ["dead-letters", "resend", "--limit", "1"];
    expect(&segue(&site, &[&resend[..], &["--dry-run"]].concat()), 0, &["1 would be sent again"]);
    expect(&segue(&site, &resend), 0, &["1 sent again"]);
    wait_until(&mut engine, "another refusal", || site.messages("dead_letters").len() == 3);
    let again = site.messages("dead_letters").pop().unwrap();
    assert_eq!(again.value.as_deref(), Some(b"\xff garbage".as_slice()));
    let again = headers(&again);
    assert_eq!((again["resent-from"].as_str(), again["offset"].as_str()), ("0:0", "3"));
    Site::stop(engine);
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let site = Site::new(Broker::shared(), 2, DEFINITIONS);
    let config = site.configure();
    // The outputs are still to be made.
    let told = expect(&segue(&site, &["doctor"]), 0, &["`segue run` can start"]);
    for check in ["ok       definitions", "warning  topics", "ok       co-partitioning", "ok       permissions"] {
        assert!(told.contains(check), "no `{check}` in\n{told}");
    }
    expect(&segue(&site, &["topics", "create"]), 0, &[]);
    let told = expect(&segue(&site, &["doctor", "--try-writing"]), 0, &["records written (and aborted)"]);
    assert!(told.contains("ok       topics "), "{told}");
    assert!(site.messages("changes").is_empty(), "what the doctor writes is not seen");
    site.broker.configure_topic(&site.topic("dead_letters"), "max.message.bytes", "1048588");
    expect(&segue(&site, &["doctor"]), 0, &["warning  topic settings", "takes records of 1048588 bytes"]);
    let answer = segue(&site, &["doctor", "--json"]);
    let findings: Value = serde_json::from_str(&expect(&answer, 0, &[])).unwrap();
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["verdict"] != "error"), "{findings}");

    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&site.topic("clicks"), "nowhere")).unwrap();
    expect(&segue(&site, &["doctor"]), 4, &["there is no nowhere", "segue topics create", "1 to mend"]);
    std::fs::write(&config, text.replace(&site.broker.address(), "127.0.0.1:1")).unwrap();
    let told = expect(&segue(&site, &["doctor"]), 4, &["error    broker", "skipped  co-partitioning"]);
    assert!(told.contains("ok       definitions"), "{told}");
}

#[test]
fn a_running_engine_exposes_all_that_dashboards_and_alerts_ask_for() {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let mut engine = site.start();
    site.produce(&[click("a", "ada")]);
    wait_for_changes(&site, &mut engine, 2);
    let address = http(&site);
    let mut missing = Vec::new();
    wait_until(&mut engine, "the first measurement", || {
        let text = get(&address, "/metrics");
        missing = asked_for().into_iter().filter(|name| !text.contains(&format!("\n{name}"))).collect();
        missing.is_empty() || text.contains("segue_data_dir_free_bytes ") && text.contains("segue_clock_lag_seconds{")
    });
    assert!(missing.is_empty(), "asked for by deploy/, and not exposed: {missing:?}\n{}", get(&address, "/metrics"));

    // The health check of the image, which finds the address in the configuration.
    let config = site.directory.path().join("data.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", &address)).unwrap();
    expect(&segue(&site, &["health"]), 0, &["\"ok\""]);
    expect(&segue(&site, &["health", "--ready"]), 0, &["\"ready\""]);
    Site::stop(engine);
    expect(&segue(&site, &["health"]), 4, &["nobody answers"]);
}

/// The metrics that dashboards and alerts name.
fn asked_for() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let texts =
        ["grafana/dashboards/segue.json", "alerts.yml"].map(|file| std::fs::read_to_string(root.join(file)).unwrap());
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = texts.iter().flat_map(|text| text.split(|letter| !is_part(letter)));
    let mut names: Vec<_> = words.filter(|word| word.starts_with("segue_")).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 20, "{names:?}");
    names
}

#[test]
fn a_collector_is_sent_the_log_lines() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let collector = listener.local_addr().unwrap();
    site.more = format!("output: {{format: json}}\nlog: {{otlp: \"http://{collector}\"}}\n");
    let (sender, sent) = std::sync::mpsc::channel();
    std::thread::spawn(move || collect(&listener, &sender));
    let mut engine = site.start();
    site.produce(&[click("a", "xanthippe")]);
    wait_for_changes(&site, &mut engine, 1);
    // The rest is sent at the end.
    Site::stop(engine);
    let (head, mut body) = sent.recv_timeout(std::time::Duration::from_secs(30)).expect("something was sent");
    assert!(head.starts_with("POST /v1/logs ") && head.contains("application/x-protobuf"), "{head}");
    while let Ok((_, more)) = sent.try_recv() {
        body += &more;
    }
    assert!(body.contains("answering HTTP") && body.contains(&site.name), "{body}");
    assert!(!body.contains("xanthippe"), "customers are nobody's business at info: {body}");
}

/// Takes requests as a collector does, and hands over head and body of each.
fn collect(listener: &std::net::TcpListener, sender: &std::sync::mpsc::Sender<(String, String)>) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "the request ends too soon");
        }
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        if sender.send((head, String::from_utf8_lossy(&body).into_owned())).is_err() {
            return;
        }
    }
}

#[test]
fn log_lines_are_json_with_fields_that_keep_their_names() {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let mut engine = site.start();
    site.produce(&[click("a", "xanthippe"), click("b", "xanthippe")]);
    wait_for_changes(&site, &mut engine, 2);
    Site::stop(engine);
    let log = std::fs::read_to_string(site.directory.path().join("data.log")).unwrap();
    let mut messages = Vec::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no {field} in {line}");
        }
        messages.push(line["message"].as_str().unwrap().to_owned());
    }
    assert!(messages.iter().any(|message| message == "answering HTTP"), "{messages:?}");
    assert!(!log.contains("xanthippe"), "customers are nobody's business at info: {log}");
    // Nothing for each event or each commit.
    assert!(messages.len() < 30, "{log}");
}

#[test]
fn who_asked_to_be_forgotten_is_and_has_a_receipt() {
    let site = Site::new(Broker::shared(), 2, DEFINITIONS);
    let mut engine = site.start();
    site.produce(&[click("a", "xanthippe"), click("b", "xanthippe")]);
    wait_for_changes(&site, &mut engine, 2);
    let erased_at = now_ms();
    let erasure = json!({"type": "erasure", "event_id": "e", "customer_id": "xanthippe", "occurred_at": erased_at});
    site.produce(&[erasure]);
    let asked = || serde_json::from_str::<Value>(&get(&http(&site), "/v1/customers/xanthippe/erasure")).unwrap();
    wait_until(&mut engine, "an erasure", || site.changes().iter().any(|change| change["cause"]["kind"] == "erasure"));
    let n_changes = site.changes().len();
    let receipt = asked();
    let instant = jiff::Timestamp::from_millisecond(erased_at).unwrap();
    assert_eq!(receipt["erased_at"], format!("{instant:.3}"), "{receipt}");
    assert_eq!((&receipt["sequence"], &receipt["returned"]), (&json!(n_changes), &json!(false)), "{receipt}");
    assert!(get(&http(&site), "/v1/customers/xanthippe").contains("unknown-customer"));

    // Nothing of them is left: every key with their name ends in a tombstone.
    for topic in [site.topic("memberships"), format!("{}-changelog", site.name)] {
        let mut last = BTreeMap::new();
        for message in site.broker.read(&topic) {
            last.insert(message.key.unwrap(), message.value);
        }
        let is_theirs = |text: &[u8]| String::from_utf8_lossy(text).contains("xanthippe");
        let (theirs, of_others): (Vec<_>, Vec<_>) = last.into_iter().partition(|(key, _)| is_theirs(key));
        assert!(!theirs.is_empty() && theirs.iter().all(|(_, value)| value.is_none()), "{topic}: {theirs:?}");
        assert!(!of_others.iter().flat_map(|(_, value)| value).any(|value| is_theirs(value)), "{topic}");
    }

    // What happened before and comes late is dropped; what happens after is of somebody new, who is counted on.
    let late = json!({"type": "click", "event_id": "late", "customer_id": "xanthippe", "occurred_at": erased_at - 1});
    site.produce(&[late, click("c", "xanthippe")]);
    wait_for_changes(&site, &mut engine, n_changes + 1);
    assert_eq!(site.changes()[n_changes]["sequence"], n_changes + 1);
    let later = asked();
    assert_eq!(later["returned"], true);
    assert_eq!((&later["erased_at"], &later["sequence"]), (&receipt["erased_at"], &receipt["sequence"]));

    // The changelog remembers.
    engine.kill();
    let log = std::fs::read_to_string(site.directory.path().join("data.log")).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told: Vec<_> = lines.filter(|line| line["message"] == "erased a customer").collect();
    assert_eq!(told.len(), 1, "{log}");
    assert_eq!((&told[0]["customer_hash"], &told[0]["offset"]), (&receipt["customer_hash"], &json!(0)), "{}", told[0]);
    assert_eq!(told[0]["erased_at"], receipt["erased_at"]);
    assert!(!log.contains("xanthippe"), "{log}");
    let mut engine = site.start_in("elsewhere");
    let log = site.directory.path().join("elsewhere.log");
    engine.wait_until(|| std::fs::read_to_string(&log).unwrap().contains("answering HTTP"));
    let elsewhere = http_of(&site, "elsewhere");
    let remembered = || get(&elsewhere, "/v1/customers/xanthippe/erasure");
    let later = later.to_string();
    wait_until(&mut engine, "a receipt", || remembered() == later);
    Site::stop(engine);
}
