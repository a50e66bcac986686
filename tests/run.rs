//! `segue run` over a real broker: what subscribers see is what an uninterrupted replay of the same events gives.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod support;

use std::collections::BTreeMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};
use support::{Broker, Event, Site};

const DEFINITIONS: &str = r"
segments:
  - {name: converted, when: did(click then purchase within 10m)}
  - {name: browsing, when: count(click over 30m) >= 3}
  - name: spender
    when: sum(purchase.total over 1d) >= 50
    until: count(click over 1h) >= 20
";

const MINUTE: i64 = 60_000;

#[expect(clippy::disallowed_methods, reason = "the engine under test goes by the wall clock")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Far enough ahead for everything to have left its window.
fn at_the_end() -> i64 {
    now_ms() + 3_600_000
}

fn click(id: usize, customer: &str, at: i64) -> Event {
    json!({"type": "click", "event_id": format!("c{id}"), "customer_id": customer, "occurred_at": at})
}

fn purchase(id: usize, customer: &str, at: i64, total: i64) -> Event {
    json!({"type": "purchase", "event_id": format!("p{id}"), "customer_id": customer, "occurred_at": at,
           "order_id": format!("o{id}"), "total": total, "currency": "EUR", "items": []})
}

/// Many clicks and few purchases of some customers, one event each 777 ms from `start` on.
fn traffic(start: i64, count: usize, first_id: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for id in first_id..first_id + count {
        let at = start + 777 * i64::try_from(id - first_id).unwrap();
        let customer = format!("customer-{}", (id * 7919) % 41);
        let is_purchase = id % 23 == 0;
        events.push(if is_purchase { purchase(id, &customer, at, 20) } else { click(id, &customer, at) });
    }
    events
}

#[test]
fn a_backlog_is_taken_in_the_order_in_which_things_happened() {
    let mut site = Site::new(Broker::shared(), 3, DEFINITIONS);
    // An event that is taken out of order is refused, or misses its pair.
    site.more += "time: {allowed_lateness: 1s, grace: 0s}\n";
    let events = traffic(now_ms() - 3 * 24 * 60 * MINUTE, 6_000, 1);
    site.produce(&events);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, at_the_end()));
    assert_eq!(site.messages("dead_letters"), []);
    Site::stop(engine);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let site = Site::new(Broker::shared(), 2, DEFINITIONS);
    let start = now_ms() - 2 * 24 * 60 * MINUTE;
    let mut events = traffic(start, 500, 1);
    site.produce(&events);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, at_the_end()));
    Site::stop(engine);

    // What came while nobody was there, and what comes live.
    let missed = traffic(now_ms() - 30 * MINUTE, 300, 1_000);
    site.produce(&missed);
    events.extend(missed);
    let mut engine = site.start();
    let live = traffic(now_ms(), 2, 2_000);
    site.produce(&live);
    events.extend(live);
    let expected = site.expected(&events, now_ms());
    let by_now = |story: &BTreeMap<_, Vec<_>>| story.values().map(Vec::len).sum::<usize>();
    while site.changes().len() < by_now(&expected) {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let found = support::story(&site.changes());
    for (customer, changes) in &expected {
        assert_eq!(&found[customer][..changes.len()], changes, "{customer}");
    }
    Site::stop(engine);
}

#[test]
fn what_is_refused_comes_out_as_it_came_with_the_reason() {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let now = now_ms();
    let far = json!({"type": "click", "event_id": "f", "customer_id": "a", "occurred_at": now + 3_600_000}).to_string();
    let blank = json!({"type": "click", "event_id": "b", "customer_id": "", "occurred_at": now}).to_string();
    let cases: [(&str, &[u8]); 6] = [
        ("undecodable", b"\xff\xfe garbage"),
        ("undecodable", b"{\"type\": 5}"),
        ("unknown_schema", b"{\"type\": \"no_such_thing\"}"),
        ("unknown_schema", b"\0\0\0\0\x05abc"),
        ("in_the_future", far.as_bytes()),
        ("no_customer_id", blank.as_bytes()),
    ];
    let clicks = site.topic("clicks");
    site.broker.produce(&clicks, 0, cases.iter().map(|(_, value)| ("key", *value)));
    site.produce(&[click(1, "a", now - 3), click(2, "a", now - 2), click(3, "a", now - 1)]);
    let mut engine = site.start();
    while !site.broker.has_topic(&site.topic("changes")) || site.changes().is_empty() {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let letters = site.messages("dead_letters");
    assert_eq!(letters.len(), cases.len());
    for (offset, (letter, (reason, value))) in letters.iter().zip(cases).enumerate() {
        let header = |name: &str| {
            let header = letter.headers.iter().find(|(known, _)| known == name);
            String::from_utf8(header.unwrap_or_else(|| panic!("no header {name}")).1.clone()).unwrap()
        };
        assert_eq!(letter.value.as_deref(), Some(value));
        assert_eq!(letter.key.as_deref(), Some(b"key".as_slice()));
        assert_eq!(header("reason"), reason);
        assert_eq!(header("topic"), clicks);
        assert_eq!(header("partition"), "0");
        assert_eq!(header("offset"), offset.to_string());
        assert!(!header("error").is_empty());
    }
    Site::stop(engine);
}

/// A record that the dead-letter topic does not take whole would be refused for ever, and nothing after it come.
#[test]
fn what_is_larger_than_a_dead_letter_may_be_is_cut_and_the_stream_goes_on() {
    let site = Site::new(Broker::shared(), 1, DEFINITIONS);
    let clicks = site.topic("clicks");
    site.broker.configure_topic(&clicks, "max.message.bytes", "8000000");
    // Nothing that could be compressed.
    let huge: Vec<u8> =
        (1..=750_000_u64).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes()).collect();
    site.broker.produce(&clicks, 0, [("key", huge.as_slice())]);
    let now = now_ms();
    site.produce(&[click(1, "a", now - 3), click(2, "a", now - 2), click(3, "a", now - 1)]);
    let mut engine = site.start();
    while !site.broker.has_topic(&site.topic("changes")) || site.changes().is_empty() {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let letters = site.messages("dead_letters");
    let [letter] = letters.as_slice() else { panic!("one dead letter, not {}", letters.len()) };
    assert!(huge.starts_with(letter.value.as_deref().unwrap()));
    let headers: BTreeMap<_, _> = letter.headers.iter().cloned().collect();
    assert_eq!(headers["reason"], b"too_large");
    assert_eq!(headers["cut-from"], b"6000003");
    Site::stop(engine);
}

/// Kafka's default is 1 MiB.
#[test]
fn a_customer_of_megabytes_is_kept_like_any_other() {
    const CLICKS: usize = 250;
    let definitions =
        "segments:\n  - {name: fan, when: 'top(click.page) = \"none\"'}\n  - {name: keen, when: count(click) > 250}\n";
    let site = Site::new(Broker::shared(), 1, definitions);
    let start = now_ms() - MINUTE;
    // Nothing that could be compressed.
    let page = |id: usize| -> String {
        let words =
            (id * 1_000..id * 1_000 + 750).map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        words.map(|word| format!("{word:016x}")).collect::<Vec<_>>().concat()
    };
    let click_on_page = |id: usize| {
        let mut event = click(id, "large", start + i64::try_from(id).unwrap());
        event["page"] = json!(page(id));
        event
    };
    let mut events: Vec<_> = (0..CLICKS).map(click_on_page).collect();
    site.produce(&events);
    let mut engine = site.start();
    let largest = || {
        let logged = site.messages("changelog");
        logged.iter().filter_map(|message| Some(message.value.as_ref()?.len())).max().unwrap_or_default()
    };
    while !site.broker.has_topic(&site.topic("changelog")) || largest() < 2_500_000 {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    Site::stop(engine);
    // Whoever has no store reads it back.
    let mut engine = site.start_in("elsewhere");
    events.push(click_on_page(CLICKS));
    site.produce(&events[CLICKS..]);
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
}

#[test]
fn topics_that_do_not_fit_together_are_refused_by_name() {
    let mut site = Site::new(Broker::shared(), 2, DEFINITIONS);
    site.broker.create_topic(&site.topic("visits"), 3, &[]);
    let profiles = site.topic("profiles");
    let visits = site.topic("visits");
    site.configure();
    // The profiles now come from a topic of another size.
    let config = site.directory.path().join("data.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&profiles, &visits)).unwrap();
    site.more.clear();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_segue")).args(["run", "--config"]).arg(&config).output();
    let output = output.unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{words}");
    assert!(
        words.contains(&format!("{visits} 3")) && words.contains(&format!("{} 2", site.topic("clicks"))),
        "{words}"
    );
}

#[test]
fn memberships_say_who_is_in_and_forget_who_left() {
    let site = Site::new(Broker::shared(), 2, DEFINITIONS);
    let now = now_ms();
    let (stays, leaves) = ("stays", "leaves");
    let mut events: Vec<_> = (0..3).map(|id| click(id, stays, now - 10 + i64::try_from(id).unwrap())).collect();
    events.extend((10..13).map(|id| click(id, leaves, now - 90 * MINUTE + i64::try_from(id).unwrap())));
    site.produce(&events);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now));
    let mut last: BTreeMap<String, Option<Value>> = BTreeMap::new();
    for message in site.messages("memberships") {
        let key = String::from_utf8(message.key.unwrap()).unwrap();
        last.insert(key, message.value.map(|value| serde_json::from_slice(&value).unwrap()));
    }
    assert_eq!(last["leaves/browsing"], None);
    let stays = last["stays/browsing"].as_ref().unwrap();
    assert_eq!(stays["customer_id"], "stays");
    assert_eq!(stays["sequence"], 1);
    Site::stop(engine);
}

/// The Avro encoding of an event, which has its type's name.
fn avro(event: &Event) -> (apache_avro::Schema, Vec<u8>) {
    let file = format!("schemas/{}.avsc", event["type"].as_str().unwrap());
    let schema = apache_avro::Schema::parse_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let text = |name: &str| apache_avro::types::Value::String(event[name].as_str().unwrap().to_owned());
    let at = apache_avro::types::Value::TimestampMillis(event["occurred_at"].as_i64().unwrap());
    let fields = [("event_id", text("event_id")), ("customer_id", text("customer_id")), ("occurred_at", at)];
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let value = apache_avro::types::Value::Record(fields).resolve(&schema).unwrap();
    let bytes = GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap();
    (schema, bytes)
}

#[test]
fn avro_goes_in_and_out_by_fingerprint() {
    let mut site = Site::new(Broker::shared(), 1, DEFINITIONS);
    site.more.clear();
    let events: Vec<_> = (0..3).map(|id| click(id, "a", now_ms() - 10 + i64::try_from(id).unwrap())).collect();
    let values: Vec<Vec<u8>> = events
        .iter()
        .map(|event| {
            let (schema, bytes) = avro(event);
            [&[0xc3, 0x01][..], &segue::wire::framing::fingerprint(&schema), &bytes].concat()
        })
        .collect();
    site.broker.produce(&site.topic("clicks"), 0, values.iter().map(|value| ("a", value.as_slice())));
    let mut engine = site.start();
    let schema = apache_avro::Schema::parse_str(include_str!("../schemas/segment_change.avsc")).unwrap();
    let header = [&[0xc3, 0x01][..], &segue::wire::framing::fingerprint(&schema)].concat();
    let change = first_change(&site, &mut engine, &schema, &header);
    assert_eq!(
        (&change["segment"], &change["change"], &change["sequence"]),
        (&json!("browsing"), &json!("entered"), &json!(1))
    );
    assert_eq!(change["cause"]["topic"], json!(site.topic("clicks")));
    Site::stop(engine);
}

#[test]
fn avro_goes_in_and_out_by_registry_id_and_an_outage_of_the_registry_is_waited_out() {
    let registry = support::Registry::start();
    let mut site = Site::new(Broker::shared(), 1, DEFINITIONS);
    site.more = format!("schemas: {{registry: \"{}\"}}\n", registry.url());
    let events: Vec<_> = (0..3).map(|id| click(id, "a", now_ms() - 10 + i64::try_from(id).unwrap())).collect();
    let send = |event: &Event, id: u32| {
        let value = [&[0][..], &id.to_be_bytes(), &avro(event).1].concat();
        site.broker.produce(&site.topic("clicks"), 0, [("a", value.as_slice())]);
    };
    let id = registry.register(&site.broker.unique("subject"), &std::fs::read_to_string("schemas/click.avsc").unwrap());
    send(&events[0], id);
    send(&events[1], id);
    let mut engine = site.start();
    while !site.broker.has_topic(&site.topic("changes")) {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // A schema that is not known yet, from a registry that says nothing: the record waits, and so do those behind it.
    let other = std::fs::read_to_string("schemas/click.avsc").unwrap();
    let other = other.replacen("\"fields\"", "\"aliases\": [\"visit\"], \"fields\"", 1);
    let other = registry.register(&site.broker.unique("subject"), &other);
    assert_ne!(id, other);
    registry.stop();
    send(&events[2], other);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(site.messages("changes"), []);
    assert_eq!(site.messages("dead_letters"), []);
    let address = address_of(&engine);
    engine.wait_until(|| readiness(&address).contains("waits: schema registry"));
    registry.cont();
    engine.wait_until(|| readiness(&address).contains("\"ready\""));
    let schema = apache_avro::Schema::parse_str(include_str!("../schemas/segment_change.avsc")).unwrap();
    let change = first_change(&site, &mut engine, &schema, &[0]);
    assert_eq!((&change["segment"], &change["change"]), (&json!("browsing"), &json!("entered")));
    assert_eq!(site.messages("dead_letters"), []);
    Site::stop(engine);
}

#[test]
fn a_registry_that_is_away_at_the_start_is_named_by_readiness() {
    let registry = support::Registry::start();
    let mut site = Site::new(Broker::shared(), 1, DEFINITIONS);
    site.more = format!("schemas: {{registry: \"{}\"}}\n", registry.url());
    registry.stop();
    let mut engine = site.start();
    let address = address_of(&engine);
    engine.wait_until(|| readiness(&address).contains("waits: schema registry"));
    registry.cont();
    engine.wait_until(|| readiness(&address).contains("\"ready\""));
    Site::stop(engine);
}

#[test]
fn a_broker_that_is_away_at_the_start_is_named_by_readiness() {
    let mut site = Site::new(Broker::shared(), 1, DEFINITIONS);
    // Nobody listens there once the listener is dropped.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.brokers = closed.to_string();
    let mut engine = site.start();
    let address = address_of(&engine);
    engine.wait_until(|| readiness(&address).contains("waits: broker"));
    Site::stop(engine);
}

/// Where an engine answers HTTP, once it says so.
fn address_of(engine: &support::Server) -> String {
    loop {
        let log = engine.log_end();
        if let Some(address) = log.split("\"address\":\"").nth(1).and_then(|rest| rest.split('"').next()) {
            return address.to_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// What `/readyz` answers.
fn readiness(address: &str) -> String {
    reqwest::blocking::get(format!("http://{address}/readyz")).unwrap().text().unwrap()
}

/// Waits for a change, which must begin with `header`, and a schema id where that is a zero.
fn first_change(site: &Site, engine: &mut support::Server, schema: &apache_avro::Schema, header: &[u8]) -> Value {
    while !site.broker.has_topic(&site.topic("changes")) || site.messages("changes").is_empty() {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let value = site.messages("changes").remove(0).value.unwrap();
    let body = value.strip_prefix(header).unwrap_or_else(|| panic!("{value:?} does not begin with {header:?}"));
    let mut body = if header == [0] { &body[4..] } else { body };
    let decoded = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut body).unwrap();
    Value::try_from(decoded).unwrap()
}
