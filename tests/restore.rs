//! Crashes, lost disks and lost agreement: whatever happens, subscribers see what an uninterrupted run would have sent, or
//! the engine stops and says why.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use segue::kafka::changelog::Changelog;
use segue::kafka::{Clients, Stop};
use segue::store::rocks::{Budget, RocksStore, Shared};
use support::load::{DAY_MS, DEFINITIONS, now_ms, pause, ran_once, traffic, traffic_of_ran_once};
use support::{Broker, Server, Site};

#[test]
fn killed_again_and_again_it_sends_what_an_uninterrupted_run_sends() {
    let mut site = Site::new(Broker::shared(), 3, DEFINITIONS);
    // Many small transactions, so that a kill hits one.
    site.more += "commit: {interval: 10ms, max_events: 50}\n";
    let events = traffic(now_ms() - 2 * DAY_MS, 30_000, 1);
    site.produce(&events);
    let expected = site.expected(&events, now_ms() + DAY_MS);
    for round in 0..5 {
        let mut engine = site.start();
        std::thread::sleep(pause(round));
        engine.kill();
    }
    let mut engine = site.start();
    site.wait_for(&mut engine, &expected);
    assert_eq!(site.messages("dead_letters"), []);
    Site::stop(engine);
}

#[test]
fn a_lost_disk_costs_time_and_nothing_else() {
    let site = Site::new(Broker::shared(), 2, DEFINITIONS);
    let mut events = traffic(now_ms() - DAY_MS / 2, 400, 1);
    site.produce(&events);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    engine.kill();
    std::fs::remove_dir_all(site.data_dir()).unwrap();

    // These need what was remembered, and nothing that they bring about falls due before the test is over.
    let more = traffic(now_ms() - 60_000, 110, 1_000);
    site.produce(&more);
    events.extend(more);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
}

/// Copies a directory and all below it, as it is at the moment.
fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy_all(&entry.path(), &target);
        } else {
            // A running database removes files while they are being copied.
            let _ = std::fs::copy(entry.path(), target);
        }
    }
}

#[test]
fn a_stale_disk_is_brought_forward() {
    let site = Site::new(Broker::shared(), 2, DEFINITIONS);
    let mut events = traffic(now_ms() - DAY_MS / 2, 400, 1);
    site.produce(&events);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
    let backup = site.directory.path().join("backup");
    copy_all(&site.data_dir(), &backup);

    let more = traffic(now_ms() - 60_000, 110, 1_000);
    site.produce(&more);
    events.extend(more);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    engine.kill();
    std::fs::remove_dir_all(site.data_dir()).unwrap();
    copy_all(&backup, &site.data_dir());

    // Of one topic: live, topics are not waited for.
    let mut more = traffic(now_ms(), 10, 2_000);
    more.retain(|event| event["type"] == "click");
    site.produce(&more);
    events.extend(more);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
}

#[test]
fn a_disk_copied_in_mid_load_serves_another_process() {
    let mut site = Site::new(Broker::shared(), 2, DEFINITIONS);
    site.more += "commit: {interval: 10ms, max_events: 50}\n";
    let events = traffic(now_ms() - 2 * DAY_MS, 20_000, 1);
    site.produce(&events);
    let mut engine = site.start();
    std::thread::sleep(pause(3));
    copy_all(&site.data_dir(), &site.directory.path().join("copy"));
    engine.kill();
    let mut engine = site.start_in("copy");
    site.wait_for(&mut engine, &site.expected(&events, now_ms() + DAY_MS));
    Site::stop(engine);
}

/// Overwrites the middle of each table file of the stores; gives how many there were.
fn damage(directory: &Path) -> usize {
    let mut n_damaged = 0;
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            n_damaged += damage(&path);
        } else if path.extension().is_some_and(|extension| extension == "sst") {
            let mut bytes = std::fs::read(&path).unwrap();
            let end = bytes.len().min(600);
            bytes[20..end].fill(0xa5);
            std::fs::write(&path, bytes).unwrap();
            n_damaged += 1;
        }
    }
    n_damaged
}

#[test]
fn a_damaged_store_is_filled_again() {
    let site = ran_once();
    assert!(damage(&site.data_dir()) > 0);
    let more = traffic(now_ms() - 60_000, 110, 2_000);
    site.produce(&more);
    let mut events = traffic_of_ran_once();
    events.extend(more);
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    assert!(engine.has_said("filling the store again from the changelog"));
    Site::stop(engine);
}

/// Who had the partition before may be held up, or its process may not have ended yet.
#[test]
fn a_store_that_somebody_else_has_open_is_waited_for() {
    let site = ran_once();
    let path = site.data_dir().join(&site.name).join("partition-0");
    assert!(path.is_dir());
    let held = RocksStore::open(&path, &Shared::new(Budget::default())).unwrap();
    let more = traffic(now_ms() - 60_000, 110, 2_000);
    site.produce(&more);
    let mut events = traffic_of_ran_once();
    events.extend(more);
    let mut engine = site.start();
    while !engine.has_said("waiting for a store") {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(held);
    site.wait_for(&mut engine, &site.expected(&events, now_ms()));
    Site::stop(engine);
}

#[test]
fn another_process_takes_over_from_one_that_hangs_and_is_not_disturbed_when_that_wakes_up() {
    let mut site = Site::new(Broker::shared(), 4, DEFINITIONS);
    site.more += "commit: {interval: 20ms, max_events: 100}\n";
    let mut events = traffic(now_ms() - 2 * DAY_MS, 30_000, 1);
    site.produce(&events);
    let expected = site.expected(&events, now_ms() + DAY_MS);
    let mut sleeper = site.start_in("sleeper");
    std::thread::sleep(pause(2));
    // It joins while the first one works, and takes over its half while that is halted.
    let mut second = site.start_in("second");
    std::thread::sleep(pause(3));
    sleeper.signal("STOP");
    site.wait_for(&mut second, &expected);
    sleeper.signal("CONT");

    // Of one topic: live, topics are not waited for.
    let mut more = traffic(now_ms() - 60_000, 110, 100_000);
    more.retain(|event| event["type"] == "click");
    site.produce(&more);
    events.extend(more);
    let expected = site.expected(&events, now_ms());
    site.wait_for(&mut second, &expected);
    assert!(sleeper.is_running(), "{}", sleeper.log_end());
    Site::stop(second);
    Site::stop(sleeper);
}

#[test]
fn a_broker_that_goes_away_is_waited_for() {
    let broker = Box::leak(Box::new(Broker::start()));
    let mut site = Site::new(broker, 2, DEFINITIONS);
    site.more += "commit: {interval: 20ms, max_events: 100}\n";
    let events = traffic(now_ms() - 2 * DAY_MS, 20_000, 1);
    site.produce(&events);
    let expected = site.expected(&events, now_ms() + DAY_MS);
    let mut engine = site.start();
    std::thread::sleep(pause(1));
    broker.stop();
    // Longer than a transaction may be open, so that the broker has aborted the one it hangs in.
    std::thread::sleep(Duration::from_secs(20));
    assert!(engine.is_running(), "{}", engine.log_end());
    broker.cont();
    site.wait_for(&mut engine, &expected);
    Site::stop(engine);
}

/// Starts it and waits for it to end by itself; gives its last words.
fn last_words(site: &Site) -> String {
    let mut engine: Server = site.start();
    let code = engine.ended();
    let words = engine.log_end();
    assert_eq!(code, 4, "{words}");
    words
}

#[test]
fn offsets_that_disagree_with_the_state_stop_it() {
    let site = ran_once();
    let group: BaseConsumer = site.broker.client().set("group.id", &site.name).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&site.topic("clicks"), 0, Offset::Offset(3)).unwrap();
    // Accepted once the group has given up the member that left.
    while group.commit(&offsets, CommitMode::Sync).is_err() {
        std::thread::sleep(Duration::from_millis(500));
    }
    let words = last_words(&site);
    for part in ["offset", &site.topic("clicks"), "would go on at 3", "segue state repair"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn a_changelog_that_was_made_anew_under_a_store_stops_it() {
    let site = ran_once();
    let changelog = format!("{}-changelog", site.name);
    let admin: AdminClient<DefaultClientContext> = site.broker.client().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.delete_topics(&[&changelog], &AdminOptions::new())).unwrap();
    while site.broker.has_topic(&changelog) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let words = last_words(&site);
    assert!(words.contains(&changelog) && words.contains("truncated") && words.contains("segue state wipe"), "{words}");
}

#[test]
fn a_changelog_whose_beginning_was_removed_stops_a_start_from_nothing() {
    let site = ran_once();
    let changelog = format!("{}-changelog", site.name);
    let admin: AdminClient<DefaultClientContext> = site.broker.client().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&changelog, 0, Offset::Offset(5)).unwrap();
    // The broker takes it only where the policy allows deletion; the harm is the same.
    let policy = [("cleanup.policy", "compact,delete")];
    let resource =
        AlterConfig { specifier: ResourceSpecifier::Topic(&changelog), entries: policy.into_iter().collect() };
    runtime.block_on(admin.alter_configs([&resource], &AdminOptions::new())).unwrap();
    // Until the broker has noticed the new policy, it refuses.
    while {
        let answer = runtime.block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
        answer.elements().iter().any(|element| element.error().is_err())
    } {
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::remove_dir_all(site.data_dir()).unwrap();
    let words = last_words(&site);
    assert!(
        words.contains(&changelog) && words.contains("before offset 5") && words.contains("segue state reset"),
        "{words}"
    );
}

#[test]
fn partitions_added_stop_it() {
    let site = ran_once();
    let admin: AdminClient<DefaultClientContext> = site.broker.client().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let grow = |topic: &str| {
        runtime.block_on(admin.create_partitions([&NewPartitions::new(topic, 2)], &AdminOptions::new())).unwrap();
    };
    grow(&site.topic("clicks"));
    let words = last_words(&site);
    assert!(words.contains(&format!("{} 2", site.topic("clicks"))), "{words}");
    for topic in ["purchases", "cart-abandonments", "profiles", "consents", "erasures"] {
        grow(&site.topic(topic));
    }
    let words = last_words(&site);
    assert!(words.contains("-changelog has 1 partitions and the input topics have 2"), "{words}");
    grow(&format!("{}-changelog", site.name));
    let words = last_words(&site);
    assert!(words.contains("had 1 partitions, and now they have 2"), "{words}");
}

#[test]
fn offsets_that_are_gone_stop_it() {
    let site = ran_once();
    let admin: AdminClient<DefaultClientContext> = site.broker.client().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Possible once the group has given up the member that left.
    loop {
        let answers = runtime.block_on(admin.delete_groups(&[&site.name], &AdminOptions::new())).unwrap();
        if answers.iter().all(Result::is_ok) {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let words = last_words(&site);
    assert!(words.contains("would go on at none at all") && words.contains("segue state repair"), "{words}");
}

#[test]
#[ignore = "a measurement: cargo test --test restore -- --ignored --nocapture"]
#[allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a figure for people")]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a figure for people")]
fn how_fast_a_lost_disk_is_filled_again() {
    let copies: usize = std::env::var("SEGUE_CUSTOMERS").map_or(1_000_000, |text| text.parse().unwrap());
    let site = ran_once();
    let changelog = format!("{}-changelog", site.name);
    let records = site.broker.read(&changelog).into_iter();
    let customers = records.filter(|message| message.key.as_ref().is_some_and(|key| key.starts_with(b"c")));
    let values: Vec<Vec<u8>> = customers.filter_map(|message| message.value).collect();
    let bytes: usize = values.iter().map(Vec::len).sum();
    // In no order, as customers come.
    let scattered = |copy: usize| copy.wrapping_mul(0x9e37_79b9_7f4a_7c15) as u32;
    let keys: Vec<String> = (0..copies).map(|copy| format!("ccopy-{:08x}-{copy}", scattered(copy))).collect();
    // Fewer at a time than the producer's queue takes.
    for chunk in keys.chunks(50_000) {
        let records = chunk.iter().zip(values.iter().cycle()).map(|(key, value)| (key.as_str(), value.as_slice()));
        site.broker.produce(&changelog, 0, records);
    }
    let read_seconds = seconds_to_read(&site, &changelog);
    let began = std::time::Instant::now();
    let mut engine = site.start_in("fresh");
    while !engine.has_said("put to work") {
        assert!(engine.is_running(), "{}", engine.log_end());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), engine.cpu_seconds());
    println!(
        "{copies} customers of {} bytes on average: {seconds:.1} s, {cpu_seconds:.2} s of processor time, of which reading \
         alone takes {read_seconds:.2}: {:.0} customers per second of it; {} MiB at most",
        bytes / values.len(),
        copies as f64 / cpu_seconds,
        engine.peak_memory_bytes() >> 20
    );
    std::thread::sleep(Duration::from_secs(10));
    println!("{:.2} s of processor time ten seconds later", engine.cpu_seconds());
    Site::stop(engine);
}

/// Processor time for nothing but reading a changelog.
fn seconds_to_read(site: &Site, changelog: &str) -> f64 {
    let clients = Clients::new(&site.broker.address(), &BTreeMap::new()).unwrap();
    let changelog = Changelog { clients: &clients, topic: changelog, partition: 0, patience: Duration::from_mins(1) };
    let high = changelog.extent().unwrap().high;
    let before = support::cpu_seconds_of(std::process::id());
    changelog.read(0, high, &Stop::default(), |_| ControlFlow::Continue(())).unwrap();
    support::cpu_seconds_of(std::process::id()) - before
}
