//! What a scraper sees after a worker has worked.

use super::*;
use crate::engine::effects::{Outcome, Refusal};

#[track_caller]
fn check(telemetry: &Telemetry, present: &[&str], absent: &[&str]) {
    let text = telemetry.text().unwrap();
    for line in present {
        assert!(text.lines().any(|found| found == *line), "no `{line}` in\n{text}");
    }
    for part in absent {
        assert!(!text.contains(part), "`{part}` in\n{text}");
    }
}

#[test]
fn what_was_counted_is_seen_after_the_commit() {
    let telemetry = Telemetry::new().unwrap();
    let mut worker = telemetry.worker();
    worker.event("click", Outcome::Processed);
    worker.event("click", Outcome::Refused(Refusal::TooLate));
    worker.change(&"vip".into(), true);
    worker.change(&"vip".into(), true);
    worker.change(&"vip".into(), false);
    worker.event_latency_seconds(0.002);
    check(&telemetry, &["segue_events_total{outcome=\"processed\",type=\"click\"} 0"], &["vip"]);
    worker.committed(0.01);
    let lines = [
        "segue_events_total{outcome=\"processed\",type=\"click\"} 1",
        "segue_events_total{outcome=\"too_late\",type=\"click\"} 1",
        "segue_events_total{outcome=\"undecodable\",type=\"click\"} 0",
        "segue_changes_total{direction=\"entered\",segment=\"vip\"} 2",
        "segue_changes_total{direction=\"left\",segment=\"vip\"} 1",
        "segue_members{segment=\"vip\"} 1",
        "segue_change_latency_seconds_count{cause=\"event\"} 1",
        "segue_commit_seconds_count 1",
        "segue_transactions_committed_total 1",
    ];
    check(&telemetry, &lines, &[]);
    assert_eq!(telemetry.members_by_segment(), [("vip".to_owned(), 1)]);
}

#[test]
fn what_was_given_up_is_not_counted() {
    let telemetry = Telemetry::new().unwrap();
    let mut worker = telemetry.worker();
    worker.event("click", Outcome::Processed);
    worker.change(&"vip".into(), true);
    worker.aborted("fenced");
    worker.committed(0.01);
    let lines = [
        "segue_events_total{outcome=\"processed\",type=\"click\"} 0",
        "segue_transactions_aborted_total{cause=\"fenced\"} 1",
    ];
    check(&telemetry, &lines, &["vip"]);
}

#[test]
fn a_partition_handed_over_is_no_longer_reported() {
    let telemetry = Telemetry::new().unwrap();
    let worker = telemetry.worker();
    let mut partition = worker.partition(3);
    partition.consumer_lag_records("clicks", 7);
    partition.clock_lag_ms(1_500);
    let lines = [
        "segue_consumer_lag_records{partition=\"3\",topic=\"clicks\"} 7",
        "segue_clock_lag_seconds{partition=\"3\"} 1.5",
    ];
    check(&telemetry, &lines, &[]);
    drop(partition);
    check(&telemetry, &[], &["partition=\"3\""]);
}

#[test]
fn every_name_has_our_prefix_and_a_help_text() {
    let telemetry = Telemetry::new().unwrap();
    telemetry.definitions_at_work(7);
    telemetry.waiting("broker", true);
    let text = telemetry.text().unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("segue_"), "{line}");
    }
    check(&telemetry, &["segue_definitions_info{hash=\"0000000000000007\"} 1", "segue_waiting{for=\"broker\"} 1"], &[]);
}
