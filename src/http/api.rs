//! The JSON that is answered: never the engine's own types, so that those may change.

use serde_json::{Map, Value as Json, json};

use crate::engine::explain::{Condition, Explanation};
use crate::engine::missing::Missing;
use crate::engine::value::Value;
use crate::wire::missing;
use crate::wire::text::{push_json, value_text};
use crate::worker::query::{CustomerView, Receipt};

/// An instant as RFC 3339 text.
pub fn instant(instant_ms: i64) -> Json {
    Json::from(value_text(&Value::Instant(instant_ms)))
}

/// A value; unknown is null, instants and durations are text.
pub fn value(value: &Value) -> Json {
    let mut text = Vec::new();
    push_json(&mut text, value);
    // What was just written is JSON.
    serde_json::from_slice(&text).unwrap_or_default()
}

/// What is known of a customer.
pub fn customer(view: &CustomerView) -> Json {
    let values = |entries: &[(String, Value)]| -> Map<String, Json> {
        entries.iter().map(|(name, entry)| (name.clone(), value(entry))).collect()
    };
    let memberships: Vec<Json> =
        view.memberships.iter().map(|(segment, since)| json!({"segment": segment, "since": instant(*since)})).collect();
    let consents: Map<String, Json> =
        view.consents.iter().map(|(purpose, granted)| (purpose.clone(), Json::from(*granted))).collect();
    json!({
        "customer_id": view.customer_id,
        "own_time": view.own_time.map(instant),
        "sequence": view.sequence,
        "profile": values(&view.profile),
        "traits": values(&view.traits),
        "memberships": memberships,
        "consents": consents,
    })
}

/// That a customer was erased, and what is kept of them.
pub fn erasure(customer_id: &str, receipt: &Receipt) -> Json {
    json!({
        "customer_id": customer_id,
        "erased_at": instant(receipt.erased_at),
        "sequence": receipt.sequence,
        "customer_hash": receipt.hash,
        "returned": receipt.has_returned,
    })
}

/// Why a customer is in a segment, or is not.
pub fn explanation(segment: &str, explanation: &Explanation) -> Json {
    let standing = &explanation.standing;
    json!({
        "segment": segment,
        "member": standing.member,
        "since": standing.member.then(|| instant(standing.since)),
        "next_flip": explanation.next_flip.map(instant),
        "missing": missing::words(explanation),
        "looked_until": explanation.looked_until.map(instant),
        "when": condition(&explanation.when),
        "until": explanation.until.as_ref().map(condition),
    })
}

fn missing_amount(of: &Missing) -> Json {
    json!({"more": value(&Value::Number(of.more)), "of": of.of, "before": of.before.map(instant)})
}

fn condition(of: &Condition) -> Json {
    let mut object = json!({
        "condition": &*of.text,
        "holds": of.holds,
        "value": value(&of.value),
        "decides": of.decides,
        "next_flip": of.next_flip.map(instant),
        "missing": of.missing.as_ref().map(missing_amount),
    });
    if let (Some(junction), Some(object)) = (of.junction, object.as_object_mut()) {
        object.insert("junction".into(), junction.into());
        object.insert("parts".into(), of.parts.iter().map(condition).collect());
    }
    object
}
