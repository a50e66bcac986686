//! How this application does, for the overview: what comes in and goes out, how far behind it is, and its workers.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use crate::telemetry::Read;

use super::customers::Nothing;
use super::health::PATIENCE_MS;
use super::history::Sample;
use super::peers::{Asked, Local, LocalJson, add};
use super::problem::Problem;
use super::{Shared, api, now_ms};

/// `GET /v1/status`
pub(super) async fn show(
    State(shared): State<Shared>,
    nothing: Result<Query<Nothing>, QueryRejection>,
    asked: Asked,
) -> Result<LocalJson, Problem> {
    nothing.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let mut status = own(&shared);
    let own_partitions = shared.sources.own_partitions();
    let mut partitions = own_partitions.clone();
    let others = shared.ask_others(&asked).await;
    for theirs in others.answers.iter().filter(|theirs| theirs.status == 200) {
        partitions.extend(&theirs.partitions);
        merge(&mut status, &theirs.body);
    }
    status["complete"] = shared.sources.is_all(&partitions).into();
    status["silent"] = others.silent.into();
    Ok(Local(own_partitions, Json(status)))
}

fn own(shared: &Shared) -> Value {
    let sources = &shared.sources;
    let (now, telemetry) = (now_ms(), &sources.telemetry);
    let before = shared.history.lately();
    let since = before.as_ref().map_or(0, |before| (now - before.at).max(0));
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let seconds = since as f64 / 1000.0;
    let changes: u64 = telemetry.changes_by_segment().values().map(|flow| flow.entered + flow.left).sum();
    let lag: Vec<Value> = telemetry
        .lag_by_topic()
        .into_iter()
        .map(|(topic, records)| json!({"topic": topic, "records": records}))
        .collect();
    let complaints = |found: Result<(), Vec<String>>| found.err().unwrap_or_default();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "at": api::instant(now),
        "started_at": api::instant(shared.started_at),
        "definitions": format!("{:016x}", sources.status.catalog().hash),
        "segments": sources.status.catalog().segments.len(),
        "partitions": sources.partition_count(),
        "processes": 1,
        "complete": false,
        "unhealthy": complaints(sources.status.health(now, PATIENCE_MS)),
        "not_ready": complaints(sources.status.readiness()),
        "silent": [],
        "events": events(&telemetry.records_by_type(), before.as_ref(), seconds),
        "changes": {
            "total": changes,
            "per_second": rate(before.as_ref().map_or(changes, |before| before.changes), changes, seconds),
        },
        "lag": lag,
        "clock_lag_seconds": telemetry.clock_lag_seconds(),
        "workers": workers(shared),
        "samples": shared.history.of_rates(),
    })
}

fn events(records: &BTreeMap<String, Read>, before: Option<&Sample>, seconds: f64) -> Vec<Value> {
    let told = records.iter().map(|(name, read)| {
        let earlier = before.and_then(|before| before.records.get(name)).map_or(0, |read| read.records);
        json!({
            "type": name,
            "records": read.records,
            "refused": read.refused,
            "per_second": rate(earlier, read.records, seconds),
        })
    });
    told.collect()
}

fn rate(before: u64, after: u64, seconds: f64) -> f64 {
    if seconds < 1.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_second = after.saturating_sub(before) as f64 / seconds;
    (per_second * 10.0).round() / 10.0
}

fn workers(shared: &Shared) -> Vec<Value> {
    let told = shared.sources.status.workers().into_iter().enumerate().map(|(number, state)| {
        json!({
            "process": &*shared.address,
            "worker": number,
            "partitions": state.owned,
            "restoring": state.restoring,
            "waiting_for": state.waits_for(),
            "failed": state.failed,
        })
    });
    told.collect()
}

/// Adds what another process says of itself.
fn merge(ours: &mut Value, theirs: &Value) {
    add(ours, theirs, &["processes"]);
    if let (Some(changes), Some(more)) = (ours.get_mut("changes"), theirs.get("changes")) {
        add(changes, more, &["total", "per_second"]);
    }
    for (list, key, numbers) in [
        ("events", "type", ["records", "refused", "per_second"].as_slice()),
        ("lag", "topic", ["records"].as_slice()),
        ("samples", "at", ["events", "changes", "lag"].as_slice()),
    ] {
        add_lists(ours, theirs, list, key, numbers);
    }
    for list in ["workers", "unhealthy", "not_ready"] {
        if let (Some(ours), Some(theirs)) = (ours[list].as_array_mut(), theirs[list].as_array()) {
            ours.extend(theirs.iter().cloned());
        }
    }
    let clock = [&*ours, theirs].map(|status| status["clock_lag_seconds"].as_f64());
    ours["clock_lag_seconds"] = clock.into_iter().flatten().max_by(f64::total_cmp).into();
}

/// Adds up the entries of two lists that have the same key; those that only the other has are appended, unless they are
/// of an instant before our time.
fn add_lists(ours: &mut Value, theirs: &Value, list: &str, key: &str, numbers: &[&str]) {
    let Some(ours) = ours[list].as_array_mut() else { return };
    for other in theirs[list].as_array().into_iter().flatten() {
        match ours.iter_mut().find(|entry| entry[key] == other[key]) {
            Some(entry) => add(entry, other, numbers),
            None if key != "at" => ours.push(other.clone()),
            None => {}
        }
    }
}
