//! `segue state` over a real broker: what a stopped engine remembers, whether it is right, and the way back.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod support;

use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use segue::store::durable::DurableStore as _;
use segue::store::rocks::{Budget, RocksStore, Shared};
use segue::store::{Batch, Store as _, Update};
use serde_json::Value;
use support::Site;
use support::load::{now_ms, ran_once, traffic, traffic_of_ran_once};

/// Runs `segue state`; gives its exit code and what it told.
fn state(site: &Site, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.arg("state").args(words).arg("--config").arg(site.configure());
    let output = command.output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(told).unwrap())
}

#[track_caller]
fn check(site: &Site, words: &[&str], code: i32, expected: &[&str]) -> String {
    let (found, told) = state(site, words);
    assert_eq!(found, code, "{words:?}: {told}");
    for part in expected {
        assert!(told.contains(part), "{words:?}: no `{part}` in {told}");
    }
    told
}

#[test]
fn a_stopped_store_is_shown_verified_wiped_and_filled_again() {
    let site = ran_once();
    let told = check(&site, &["show", "--deadlines", "3"], 0, &["\"partition\":0", "\"deadlines\":["]);
    let line: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(line["customers"], 97);
    assert!(line["timers"].as_u64().is_some_and(|timers| timers <= 97) && line["clock"].is_string(), "{line}");
    let n_clicks = traffic_of_ran_once().iter().filter(|event| event["type"] == "click").count();
    assert_eq!(line["offsets"][site.topic("clicks")], n_clicks);
    // The store stands right after its marker, by counting records and transactions.
    let logged = site.broker.read(&format!("{}-changelog", site.name));
    let last = logged.iter().filter(|record| record.partition == 0).map(|record| record.offset).max().unwrap();
    assert_eq!(line["changelog_position"], last + 1);
    let told = check(&site, &["show", "--customer", "customer-5"], 0, &["\"customer_id\":\"customer-5\""]);
    assert!(told.contains("regular"), "{told}");
    check(&site, &["show", "--customer", "nobody"], 1, &["nobody"]);
    check(&site, &["verify"], 0, &["\"agrees_with_changelog\":true", "\"agrees_with_group\":true", "\"different\":0"]);

    // Somebody who is only in the store, and a deadline that nobody has.
    let path = site.data_dir().join(&site.name).join("partition-0");
    {
        let mut store = RocksStore::open(&path, &Shared::new(Budget::default())).unwrap();
        let (key, value) = store.scan(None, 1).unwrap().remove(0);
        let update = Update {
            key: [key, b"x".to_vec()].concat(),
            value: Some(value),
            previous_deadline: None,
            deadline: Some(1),
        };
        store.write(&Batch { updates: vec![update], marker: None }).unwrap();
        store.flush().unwrap();
    }
    check(&site, &["verify"], 1, &["\"agrees_with_changelog\":false", "\"surplus\":1"]);
    check(&site, &["wipe", "--partition", "0", "--dry-run"], 0, &["would remove", "partition-0"]);
    assert!(path.exists());
    check(&site, &["wipe", "--partition", "0"], 0, &["remove"]);
    assert!(!path.exists());

    let mut events = traffic_of_ran_once();
    events.extend(traffic(now_ms() - 60_000, 110, 2_000));
    site.produce(&events[600..]);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    check(&site, &["show"], 4, &["partition-0"]);
    check(&site, &["repair", "--partition", "0"], 4, &["waiting for the sessions", "is active"]);
    Site::stop(engine);
    check(&site, &["verify"], 0, &["\"agrees_with_changelog\":true"]);
}

#[test]
fn offsets_that_disagree_are_set_to_where_the_state_is() {
    let site = ran_once();
    // The member that has just left is waited for.
    check(&site, &["repair", "--partition", "0"], 0, &["waiting for the sessions", "nothing to do"]);
    let group: BaseConsumer = site.broker.client().set("group.id", &site.name).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&site.topic("clicks"), 0, Offset::Offset(3)).unwrap();
    group.commit(&offsets, CommitMode::Sync).unwrap();
    check(&site, &["verify"], 1, &["\"agrees_with_group\":false"]);
    let n_clicks = traffic_of_ran_once().iter().filter(|event| event["type"] == "click").count();
    let change = format!("{} 0: 3 -> {n_clicks}", site.topic("clicks"));
    check(&site, &["repair", "--partition", "0", "--dry-run"], 0, &[&format!("would {change}")]);
    check(&site, &["verify"], 1, &["\"agrees_with_group\":false"]);
    check(&site, &["repair", "--partition", "0"], 0, &[&change]);
    check(&site, &["verify"], 0, &["\"agrees_with_group\":true"]);

    let mut events = traffic_of_ran_once();
    events.extend(traffic(now_ms() - 60_000, 110, 2_000));
    site.produce(&events[600..]);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
}

#[test]
fn a_reset_forgets_everything() {
    let site = ran_once();
    check(&site, &["reset", "--dry-run"], 0, &["would remove the group"]);
    let changelog = format!("{}-changelog", site.name);
    assert!(site.broker.has_topic(&changelog));
    check(&site, &["reset"], 0, &[&format!("remove the topic {changelog}"), "remove the group"]);
    assert!(!site.data_dir().join(&site.name).join("partition-0").exists());
    while site.broker.has_topic(&changelog) {
        std::thread::sleep(Duration::from_millis(100));
    }
    // From the beginning: all changes come a second time.
    let before = site.changes().len();
    let mut engine = site.start();
    while site.changes().len() < 2 * before {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(Duration::from_millis(200));
    }
    Site::stop(engine);
}
