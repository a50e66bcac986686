//! JSON records, through one door: a projection of `purchase`, and what comes out as text.

use super::*;
use crate::engine::catalog::EventType;
use crate::engine::projection::{ProjectedArray, ProjectedField};
use crate::engine::record::{Body, Envelope};
use crate::engine::value::Type;

fn field(path: &str, value_type: Type) -> ProjectedField {
    ProjectedField { path: path.split('.').map(str::to_owned).collect(), value_type }
}

fn catalog() -> Catalog {
    let list = |item| Type::List(Box::new(item));
    let projection = Projection {
        fields: vec![
            field("total", Type::Number),
            field("coupon", Type::Text),
            field("items.category", list(Type::Text)),
            field("occurred_at", Type::Instant),
        ],
        arrays: vec![ProjectedArray {
            path: vec!["items".to_owned()],
            fields: vec![
                field("price", Type::Number),
                field("category", Type::Text),
                field("occurred_at", Type::Instant),
                field("customer_id", Type::Text),
            ],
        }],
    };
    let purchase = EventType { name: "purchase".to_owned(), projection, feeds: Vec::new() };
    Catalog {
        event_types: vec![EventType::default(), purchase],
        event_type_ids: [("purchase".to_owned(), EventTypeId(1))].into_iter().collect(),
        ..Catalog::default()
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Unknown => "?".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Instant(at) => format!("@{at}"),
        Value::Duration(duration) => format!("{duration}ms"),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
    }
}

fn show_all(values: &[Value]) -> String {
    values.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn decode(text: &str) -> Result<String, JsonError> {
    let mut decoder = JsonDecoder::new(&SchemaSet::shipped().unwrap(), &catalog());
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    decoder.decode_into(text.as_bytes(), &mut record)?;
    let body = match &record.body {
        Body::Event(event) => {
            let elements = event.elements.iter().flatten().map(|element| format!(" ({})", show_all(element)));
            format!("{} {}{}", event.event_type.0, show_all(&event.fields), elements.collect::<String>())
        }
        Body::Profile(traits) => {
            let traits: Vec<_> = traits.iter().map(|(name, value)| format!("{name}={}", show(value))).collect();
            traits.join(" ")
        }
        Body::Consent { purpose, granted } => format!("{purpose} {granted}"),
        Body::Erasure => "erasure".to_owned(),
    };
    let envelope = &record.envelope;
    Ok(format!("{} {} {}: {body}", envelope.event_id, envelope.customer_id, envelope.occurred_at))
}

/// A record with the envelope and these fields.
fn with(kind: &str, fields: &str) -> String {
    format!(r#"{{"type":"{kind}","event_id":"e","customer_id":"c","occurred_at":"2026-01-01T00:00:00.5Z"{fields}}}"#)
}

fn check(text: &str, expected: &str) {
    assert_eq!(decode(text).unwrap_or_else(|error| panic!("{error}: {text}")), expected, "{text}");
}

#[test]
fn events_give_the_projected_fields() {
    let at = "1767225600500";
    check(&with("purchase", ""), &format!("e c {at}: 1 ? ? ? @{at}"));
    check(&with("purchase", r#","total":19.9,"coupon":null,"items":[]"#), &format!("e c {at}: 1 19.9 ? [] @{at}"));
    check(&with("purchase", r#","total":"19.90","extra":{}"#), &format!("e c {at}: 1 19.90 ? ? @{at}"));
    check(
        &with(
            "purchase",
            r#","total":0.1234567890123456789,"coupon":"x","items":[{"price":"2","category":"a"},{"price":3},null]"#,
        ),
        &format!("e c {at}: 1 0.1234567890123456789 \"x\" [\"a\"] @{at} (2 \"a\" @{at} \"c\") (3 ? @{at} \"c\")"),
    );
    check(r#"{"type":"click","event_id":"e","customer_id":"c","occurred_at":-1}"#, "e c -1: 0 ");
}

#[test]
fn control_records_give_what_they_are_for() {
    check(
        &with("profile", r#","traits":{"a":1.50,"b":null,"c":["x"],"d":true,"e":"t","f":1e99}"#),
        r#"e c 1767225600500: a=1.50 b=? c=["x"] d=true e="t" f=?"#,
    );
    check(&with("consent", r#","purpose":"marketing","granted":false"#), "e c 1767225600500: marketing false");
    check(&with("erasure", ""), "e c 1767225600500: erasure");
}

#[test]
fn wrong_records_are_refused_with_a_sentence() {
    let cases = [
        ("", Refusal::Undecodable, "not a JSON object"),
        ("[]", Refusal::Undecodable, "not a JSON object"),
        (r#"{"event_id":"e"}"#, Refusal::Undecodable, "the field `type` is missing"),
        (&with("visit", ""), Refusal::UnknownSchema, "there is no record type `visit`"),
        (&with("purchase", r#","total":"a lot""#), Refusal::Undecodable, "`total` must be a number, or text"),
        (&with("purchase", r#","total":true"#), Refusal::Undecodable, "`total` must be"),
        (&with("purchase", r#","order_id":1"#), Refusal::Undecodable, "`order_id` must be text"),
        (
            &with("purchase", r#","items":[{"quantity":"1"}]"#),
            Refusal::Undecodable,
            "`items.quantity` must be a number",
        ),
        (&with("purchase", r#","total":1e50"#), Refusal::Undecodable, "outside the supported range"),
        (&with("profile", ""), Refusal::Undecodable, "`traits` is missing"),
        (&with("profile", r#","traits":{"a":{}}"#), Refusal::Undecodable, "`traits.a` must be"),
        (&with("profile", r#","traits":{"a":[1]}"#), Refusal::Undecodable, "`traits.a` must be a list of text"),
        (&with("consent", r#","purpose":"m""#), Refusal::Undecodable, "`granted` is missing"),
        (&with("click", r#","customer_id":"""#), Refusal::NoCustomerId, "customer_id is missing"),
        (&with("click", r#","event_id":null"#), Refusal::NoEventId, "event_id is missing"),
        (&with("click", r#","event_id":7"#), Refusal::Undecodable, "`event_id` must be text"),
        (&with("click", r#","occurred_at":"soon""#), Refusal::BadTime, "occurred_at is missing"),
        (&with("click", r#","occurred_at":253402300800000"#), Refusal::BadTime, "occurred_at is missing"),
        (&with("click", r#","occurred_at":null"#), Refusal::BadTime, "occurred_at is missing"),
        (&with("click", r#","occurred_at":true"#), Refusal::Undecodable, "`occurred_at` must be an instant"),
    ];
    for (text, refusal, sentence) in cases {
        let error = decode(text).unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}: {text}");
        assert_eq!(error.refusal(), refusal, "{text}");
    }
}
