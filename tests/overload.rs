//! More than can be done: one customer who never rests, a backlog many times what a second takes, everybody at once. Nothing is
//! lost, the others go on, and memory stays within its budget.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::load::now_ms;
use support::{Broker, Event, Site};

const DEFINITIONS: &str = r#"
segments:
  - {name: clicker, when: did(click)}
  - {name: robot, when: count(click over 1h) >= 19000}
  - {name: curious, when: distinct(click.page over 1d) >= 200}
  - {name: fan, when: 'top(click.page over 1d) = "page-0"'}
  - {name: warm, when: did(purchase over 3s)}
"#;
const HOT: &str = "hot";
const N_HOT: i64 = 20_000;

fn click(customer: &str, number: i64, at: i64) -> Event {
    json!({"type": "click", "event_id": format!("{customer}-{number}"), "customer_id": customer, "occurred_at": at,
           "page": format!("page-{}", number % 5_000)})
}

fn purchase(customer: &str, at: i64) -> Event {
    json!({"type": "purchase", "event_id": format!("p-{customer}"), "customer_id": customer, "occurred_at": at,
           "order_id": "o", "total": 5, "currency": "EUR", "items": []})
}

#[test]
fn a_customer_who_never_rests_keeps_nobody_else_waiting() {
    let mut site = Site::new(Broker::shared(), 4, DEFINITIONS);
    site.more += "commit: {max_events: 500}\n";
    let start = now_ms() - N_HOT * 50;
    let hot: Vec<Event> = (0..N_HOT).map(|number| click(HOT, number, start + number * 50)).collect();
    let elsewhere = (0..1_000).map(|number| format!("quiet-{number}"));
    let elsewhere: Vec<String> = elsewhere.filter(|name| site.partition_of(name) != site.partition_of(HOT)).collect();
    let others: Vec<Event> = elsewhere.iter().map(|name| click(name, 0, start)).collect();
    site.produce(&hot);
    site.produce(&others);
    let mut engine = site.start();
    let n_told = |is_hot: bool| {
        let changes = if site.broker.has_topic(&site.topic("changes")) { site.changes() } else { Vec::new() };
        changes.iter().filter(|change| (change["customer_id"] == HOT) == is_hot).count()
    };
    while n_told(false) < others.len() {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(Duration::from_millis(50));
    }
    let done = site.messages("changes").iter().filter(|message| message.key.as_deref() == Some(b"hot")).count();
    let events: Vec<Event> = hot.into_iter().chain(others).collect();
    let expected = site.expected(&events, now_ms());
    assert!(done < expected[HOT].len(), "the others came when all was done");
    site.wait_for(&mut engine, &expected);
    Site::stop(engine);
}

/// Everybody leaves at one instant, while more comes in.
#[test]
fn everybody_at_once_in_little_memory() {
    let mut site = Site::new(Broker::shared(), 2, DEFINITIONS);
    site.more += "store: {memory: 32MiB}\n";
    let at = now_ms() - 10_000;
    let customers: Vec<String> = (0..60_000).map(|number| format!("customer-{number}")).collect();
    let mut events: Vec<Event> = customers.iter().map(|name| purchase(name, at)).collect();
    events.extend(customers.iter().step_by(3).map(|name| click(name, 1, at + 9_000)));
    site.produce(&events);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    assert_eq!(site.messages("dead_letters"), []);
    let peak_mib = engine.peak_memory_bytes() >> 20;
    assert!(peak_mib < 700, "{peak_mib} MiB");
    Site::stop(engine);
}
