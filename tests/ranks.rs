//! `segue run` over a real broker with percentiles: two workers that tell each other how values are distributed.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Broker, Event, Server, Site};

const DEFINITIONS: &str = "
segments:
  - {name: upper_quarter, when: percentile(sum(purchase.total)) >= 75}
";
const CUSTOMERS: usize = 40;

#[expect(clippy::disallowed_methods, reason = "the engine under test goes by the wall clock")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn purchase(id: usize, customer: usize, at: i64, total: usize) -> Event {
    json!({"type": "purchase", "event_id": format!("p{id}"), "customer_id": format!("customer-{customer:02}"),
           "occurred_at": at, "order_id": format!("o{id}"), "total": total, "currency": "EUR", "items": []})
}

/// Who is in, by all changes so far; each customer's changes are numbered without a hole and alternate.
fn members(changes: &[Value]) -> BTreeSet<String> {
    let mut inside = BTreeSet::new();
    let mut sequences = std::collections::BTreeMap::new();
    for change in changes {
        let customer = change["customer_id"].as_str().unwrap().to_owned();
        let sequence: &mut u64 = sequences.entry(customer.clone()).or_default();
        *sequence += 1;
        assert_eq!(change["sequence"].as_u64(), Some(*sequence), "{change}");
        let moved = if change["change"] == "entered" { inside.insert(customer) } else { inside.remove(&customer) };
        assert!(moved, "{change}");
    }
    inside
}

fn wait_for(site: &Site, engine: &mut Server, expected: &BTreeSet<String>) -> Vec<Value> {
    let mut found = Vec::new();
    for _ in 0..300 {
        assert!(engine.is_running(), "{}", engine.log_end());
        if site.broker.has_topic(&site.topic("changes")) {
            found = site.changes();
            if members(&found) == *expected {
                return found;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("expected {expected:?}\nfound {found:#?}\n{}", engine.log_end());
}

#[test]
fn ranks_are_among_the_customers_of_all_partitions() {
    let mut site = Site::new(Broker::shared(), 2, DEFINITIONS);
    site.more += "memory: {percentile_refresh: 2s}\n";
    let start = now_ms() - 60_000;
    let events: Vec<Event> = (0..CUSTOMERS).map(|n| purchase(n, n, start, n + 1)).collect();
    site.produce(&events);
    let mut engine = site.start();
    let mut expected: BTreeSet<String> = (30..CUSTOMERS).map(|n| format!("customer-{n:02}")).collect();
    wait_for(&site, &mut engine, &expected);

    // All of the state comes back from the changelog.
    Site::stop(engine);
    std::fs::remove_dir_all(site.data_dir()).unwrap();
    let mut engine = site.start();
    let before = wait_for(&site, &mut engine, &expected).len();

    // One rises, which the others feel with the next refresh: whoever now is the eleventh leaves by time.
    site.produce(&[purchase(1_000, 0, now_ms(), 1_000)]);
    expected.insert("customer-00".to_owned());
    expected.remove("customer-30");
    let changes = wait_for(&site, &mut engine, &expected);
    let since: Vec<_> = changes[before..]
        .iter()
        .map(|change| (change["customer_id"].as_str().unwrap(), change["cause"]["kind"].as_str().unwrap()))
        .collect();
    assert!(since.contains(&("customer-30", "time")), "{since:?}");
    assert!(since.iter().any(|(customer, _)| *customer == "customer-00"), "{since:?}");
    let left = changes.iter().rfind(|change| change["customer_id"] == "customer-30").unwrap();
    let at: jiff::Timestamp = left["at"].as_str().unwrap().parse().unwrap();
    assert_eq!(at.as_millisecond() % 2_000, 0, "{left}");
    Site::stop(engine);
}
