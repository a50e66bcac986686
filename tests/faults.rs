//! Ends, halts, restarts and outages at the worst moments: subscribers see what an uninterrupted run would have sent.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod support;

use std::time::Duration;

use support::load::{DAY_MS, DEFINITIONS, now_ms, pause, traffic};
use support::{Broker, Proxy, Site, Story};

/// A site with a backlog that takes many small transactions, so that whatever happens hits one.
fn loaded(broker: &'static Broker, partitions: i32, count: usize) -> (Site, Story) {
    let mut site = Site::new(broker, partitions, DEFINITIONS);
    site.more += "commit: {interval: 10ms, max_events: 50}\n";
    let events = traffic(now_ms() - 2 * DAY_MS, count, 1);
    site.produce(&events);
    let expected = site.expected(&events, now_ms() + DAY_MS);
    (site, expected)
}

/// The steps of a commit and of a restore, in order, and which time each is reached the process ends.
const STEPS: [&str; 10] = [
    "sending:3",
    "sent:9",
    "offsets:6",
    "committing:7",
    "committing:12",
    "committed:5",
    "storing:8",
    "stored:4",
    "filling:2",
    "restored:2",
];

#[test]
fn killed_at_each_step_of_a_commit_it_sends_what_an_uninterrupted_run_sends() {
    let (site, expected) = loaded(Broker::shared(), 3, 20_000);
    for step in STEPS {
        if step.starts_with("filling") {
            std::fs::remove_dir_all(site.data_dir()).unwrap();
        }
        let mut engine = site.start_failing("data", step);
        // Ended by a signal, which is no exit code.
        assert_eq!(engine.ended(), -1, "{step}: {}", engine.log_end());
    }
    let mut engine = site.start();
    site.wait_for(&mut engine, &expected);
    assert_eq!(site.messages("dead_letters"), []);
    Site::stop(engine);
}

#[test]
fn halted_in_a_commit_until_others_have_taken_over_it_does_no_harm() {
    // Enough partitions for each worker to have one.
    let (site, expected) = loaded(Broker::shared(), 10, 40_000);
    let mut second = site.start_in("second");
    let mut sleepers = Vec::new();
    for step in ["sending", "sent", "offsets", "committed"] {
        let mut sleeper = site.start_failing(step, &format!("{step}:2:halt"));
        sleeper.halted();
        // Longer than the session, so that its partitions go to others.
        std::thread::sleep(Duration::from_millis(7_500));
        sleeper.signal("CONT");
        sleepers.push(sleeper);
    }
    site.wait_for(&mut second, &expected);
    for mut sleeper in sleepers {
        assert!(sleeper.is_running(), "{}", sleeper.log_end());
        Site::stop(sleeper);
    }
    Site::stop(second);
}

#[test]
fn processes_come_and_go_under_load() {
    let (site, expected) = loaded(Broker::shared(), 6, 40_000);
    let mut first = site.start_in("first");
    std::thread::sleep(pause(1));
    let second = site.start_in("second");
    let third = site.start_in("third");
    std::thread::sleep(pause(2) * 2);
    // One after the other is restarted, as in a roll-out.
    Site::stop(first);
    first = site.start_in("first");
    std::thread::sleep(pause(3));
    Site::stop(second);
    let second = site.start_in("second");
    std::thread::sleep(pause(4));
    Site::stop(third);
    Site::stop(second);
    site.wait_for(&mut first, &expected);
    Site::stop(first);
}

#[test]
fn processes_come_and_go_where_the_broker_shares_partitions_out() {
    let (mut site, expected) = loaded(Broker::shared(), 6, 40_000);
    site.properties = "group.protocol: consumer";
    let mut first = site.start_in("first");
    std::thread::sleep(pause(1));
    let mut second = site.start_in("second");
    let third = site.start_in("third");
    std::thread::sleep(pause(2) * 2);
    // One comes back after a word, and one without: its name is free again when its session is over.
    Site::stop(first);
    first = site.start_in("first");
    std::thread::sleep(pause(3));
    second.kill();
    let second = site.start_in("second");
    std::thread::sleep(pause(4));
    Site::stop(third);
    site.wait_for(&mut first, &expected);
    for engine in [first, second] {
        assert!(
            !engine.has_said("going back"),
            "partitions change hands without a commit that fails: {}",
            engine.log_end()
        );
        Site::stop(engine);
    }
}

#[test]
fn a_broker_that_crashes_is_waited_for() {
    let broker: &'static Broker = Box::leak(Box::new(Broker::start()));
    let (site, expected) = loaded(broker, 2, 30_000);
    let mut engine = site.start();
    for round in 0..3 {
        std::thread::sleep(pause(round) * 2);
        broker.kill();
        std::thread::sleep(pause(round));
        broker.restart();
    }
    site.wait_for(&mut engine, &expected);
    assert!(!engine.has_said("fetching anew"), "it starved");
    Site::stop(engine);
}

#[test]
fn a_slow_network_that_breaks_off_only_takes_time() {
    let proxy = Proxy::start(Duration::from_millis(15));
    let broker: &'static Broker = Box::leak(Box::new(Broker::start_behind(&proxy)));
    let (mut site, expected) = loaded(broker, 2, 10_000);
    site.brokers = format!("127.0.0.1:{}", proxy.port());
    let mut engine = site.start();
    for round in 0..6 {
        std::thread::sleep(pause(round) * 2);
        proxy.cut();
    }
    site.wait_for(&mut engine, &expected);
    Site::stop(engine);
}

#[test]
fn a_transaction_that_timed_out_is_done_again() {
    let (site, expected) = loaded(Broker::shared(), 2, 10_000);
    let mut engine = site.start_failing("data", "sent:5:halt");
    engine.halted();
    // The broker gives a transaction 15 seconds, and the group gives a member less.
    std::thread::sleep(Duration::from_secs(20));
    engine.signal("CONT");
    site.wait_for(&mut engine, &expected);
    Site::stop(engine);
}

#[test]
fn a_disk_that_is_full_stops_it_and_costs_nothing() {
    let (site, expected) = loaded(Broker::shared(), 2, 20_000);
    let mut engine = site.start_cramped("data", 20_000);
    assert_eq!(engine.ended(), 4, "{}", engine.log_end());
    assert!(engine.has_said("File too large"), "it says why: {}", engine.log_end());
    let mut engine = site.start();
    site.wait_for(&mut engine, &expected);
    assert_eq!(site.messages("dead_letters"), []);
    Site::stop(engine);
}

/// The outage is longer than every session, transaction and delivery is given.
#[test]
#[ignore = "takes minutes: ./dev soak"]
fn an_outage_of_70_seconds_is_waited_for() {
    let broker: &'static Broker = Box::leak(Box::new(Broker::start()));
    let (site, expected) = loaded(broker, 2, 60_000);
    let mut engine = site.start();
    std::thread::sleep(pause(0) * 2);
    broker.stop();
    std::thread::sleep(Duration::from_secs(70));
    broker.cont();
    std::thread::sleep(pause(1) * 2);
    broker.kill();
    std::thread::sleep(Duration::from_secs(70));
    broker.restart();
    site.wait_for(&mut engine, &expected);
    Site::stop(engine);
}

#[test]
fn what_piled_up_unevenly_is_caught_up_with_in_the_order_in_which_it_happened() {
    let mut site = Site::new(Broker::shared(), 3, DEFINITIONS);
    // An event that is taken out of order is refused, or misses its pair.
    site.more += "time: {allowed_lateness: 1s, grace: 0s}\ncommit: {interval: 10ms, max_events: 50}\n";
    let events = traffic(now_ms() - 2 * DAY_MS, 30_000, 1);
    let (before, after) = events.split_at(15_000);
    site.produce(before);
    let engine = site.start();
    std::thread::sleep(pause(0));
    Site::stop(engine);
    // One topic after the other, and one of them much longer than the others.
    for kind in ["purchase", "click"] {
        site.produce(&after.iter().filter(|event| event["type"] == kind).cloned().collect::<Vec<_>>());
    }
    let mut engine = site.start();
    site.wait_for(&mut engine, &site.expected(&events, now_ms() + DAY_MS));
    assert_eq!(site.messages("dead_letters"), []);
    Site::stop(engine);
}
