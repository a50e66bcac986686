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
    worker.happened(&Happened { traits_undeclared: 2, traits_misfit: 1, ..Happened::default() });
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
        "segue_profile_traits_dropped_total{reason=\"undeclared\"} 2",
        "segue_profile_traits_dropped_total{reason=\"misfit\"} 1",
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
    telemetry.definitions_at_work(7, [("vip", "3a3e3318")]);
    telemetry.waiting("broker", true);
    let text = telemetry.text().unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("segue_"), "{line}");
    }
    check(&telemetry, &["segue_definitions_info{hash=\"0000000000000007\"} 1", "segue_waiting{for=\"broker\"} 1"], &[]);
}

/// What a scraper may rely on, and of which kind it is.
const PROMISED: [(&str, &str); 29] = [
    ("segue_build_info", "gauge"),
    ("segue_definitions_info", "gauge"),
    ("segue_segment_definition_info", "gauge"),
    ("segue_events_total", "counter"),
    ("segue_changes_total", "counter"),
    ("segue_members", "gauge"),
    ("segue_processing_seconds", "histogram"),
    ("segue_commit_seconds", "histogram"),
    ("segue_change_latency_seconds", "histogram"),
    ("segue_consumer_lag_records", "gauge"),
    ("segue_clock_lag_seconds", "gauge"),
    ("segue_timers_due", "gauge"),
    ("segue_timers_pending", "gauge"),
    ("segue_timers_passed_total", "counter"),
    ("segue_customers_read_total", "counter"),
    ("segue_customers_erased_total", "counter"),
    ("segue_profile_traits_dropped_total", "counter"),
    ("segue_store_size_bytes", "gauge"),
    ("segue_store_block_cache_bytes", "gauge"),
    ("segue_store_compaction_pending_bytes", "gauge"),
    ("segue_store_write_stalled", "gauge"),
    ("segue_store_background_errors", "gauge"),
    ("segue_restore_remaining_records", "gauge"),
    ("segue_transactions_committed_total", "counter"),
    ("segue_transactions_aborted_total", "counter"),
    ("segue_waiting", "gauge"),
    ("segue_data_dir_free_bytes", "gauge"),
    ("segue_data_dir_size_bytes", "gauge"),
    ("segue_process_resident_memory_bytes", "gauge"),
];

#[test]
fn all_that_was_promised_is_exposed_and_says_what_it_is() {
    let telemetry = Telemetry::new().unwrap();
    telemetry.definitions_at_work(7, [("vip", "3a3e3318")]);
    let mut worker = telemetry.worker();
    let mut partition = worker.partition(0);
    partition.consumer_lag_records("clicks", 0);
    worker.event("click", Outcome::Processed);
    worker.change(&"vip".into(), true);
    worker.committed(0.01);
    let text = telemetry.text().unwrap();
    for (name, kind) in PROMISED {
        let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.len() > 10), "{name} has no help text in\n{text}");
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is no {kind} in\n{text}");
    }
    let exposed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let missing: Vec<_> = exposed
        .filter(|name| !name.starts_with("segue_process_") && !PROMISED.iter().any(|(known, _)| known == name))
        .collect();
    assert!(missing.is_empty(), "exposed and not promised: {missing:?}");
}

#[test]
fn what_has_not_happened_yet_is_zero_and_not_absent() {
    let telemetry = Telemetry::new().unwrap();
    let lines = [
        "segue_transactions_aborted_total{cause=\"aborted\"} 0",
        "segue_transactions_aborted_total{cause=\"doubt\"} 0",
        "segue_waiting{for=\"broker\"} 0",
        "segue_waiting{for=\"registry\"} 0",
    ];
    check(&telemetry, &lines, &[]);
}

#[test]
fn what_happened_is_counted_once_committed() {
    let telemetry = Telemetry::new().unwrap();
    let mut worker = telemetry.worker();
    let happened = Happened { cache_hits: 3, cache_misses: 1, deadlines_passed: 2, ..Happened::default() };
    worker.happened(&happened);
    worker.aborted("doubt");
    worker.happened(&happened);
    worker.committed(0.01);
    let lines = [
        "segue_customers_read_total{cache=\"hit\"} 3",
        "segue_customers_read_total{cache=\"miss\"} 1",
        "segue_timers_passed_total 2",
    ];
    check(&telemetry, &lines, &[]);
}
