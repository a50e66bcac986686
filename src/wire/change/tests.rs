//! Changes are written as the specification shows them, and apache-avro reads what we write.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;

use super::*;
use crate::engine::effects::Reason;
use crate::engine::record::Origin;

fn number(text: &str) -> Value {
    Value::Number(text.parse().unwrap())
}

fn change(cause: Cause) -> Change {
    Change {
        customer_id: "c1".into(),
        segment: Arc::from("cart_abandoner"),
        entered: true,
        at: 1_767_265_200_000,
        sequence: 7,
        definition: Arc::from("3f9a1c2e"),
        cause,
        why: vec![Reason { condition: Arc::from("did(cart_abandonment over 7d)"), value: Value::Bool(true) }],
        traits: vec![(Arc::from("favourite_category"), Value::text("running"))],
    }
}

fn event() -> Cause {
    let origin = Origin { topic: "clicks".into(), partition: 3, offset: 41 };
    Cause::Event { event_type: Arc::from("click"), event_id: "e\"1".into(), origin }
}

fn json(change: &Change) -> String {
    let mut out = Vec::new();
    write_json(change, &mut out);
    String::from_utf8(out).unwrap()
}

fn avro(file: &str, bytes: &[u8]) -> Vec<(String, Avro)> {
    let text = crate::wire::schema::SHIPPED.iter().find(|(name, _)| *name == file).unwrap().1;
    let schema = Schema::parse_str(text).unwrap();
    let mut rest = bytes;
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty() && value.validate(&schema));
    let Avro::Record(fields) = value else { panic!("no record") };
    fields
}

#[test]
fn json_is_as_the_specification_shows_it() {
    let id = change_id("c1", "cart_abandoner", 7);
    assert_eq!(
        json(&change(Cause::Time)),
        format!(
            r#"{{"change_id":"{id}","customer_id":"c1","segment":"cart_abandoner","change":"entered","at":"2026-01-01T11:00:00.000Z","sequence":7,"definition":"3f9a1c2e","cause":{{"kind":"time"}},"why":[{{"condition":"did(cart_abandonment over 7d)","value":"true"}}],"traits":{{"favourite_category":"running"}}}}"#
        )
    );
    let mut left = change(event());
    left.entered = false;
    left.why.clear();
    left.traits = vec![(Arc::from("a"), number("19.90")), (Arc::from("b"), Value::Unknown)];
    let text = json(&left);
    assert!(text.contains(
        r#""change":"left","at":"2026-01-01T11:00:00.000Z","sequence":7,"definition":"3f9a1c2e","cause":{"kind":"event","type":"click","event_id":"e\"1","topic":"clicks","partition":3,"offset":41},"why":[],"traits":{"a":19.9,"b":null}}"#
    ), "{text}");
}

#[test]
fn change_ids_never_change() {
    // The hash of c1, NUL, s, NUL, 7, computed elsewhere.
    assert_eq!(change_id("c1", "s", 7), "58f450df1e77c80b15d69a3fa2284537");
    assert_ne!(change_id("c1", "s", 71), change_id("c1", "s", 7));
}

#[test]
fn avro_is_what_the_schema_says() {
    let mut written = change(event());
    written.traits = [
        ("a", Value::Unknown),
        ("b", Value::Bool(true)),
        ("c", number("5.00")),
        ("d", number("19.99")),
        ("e", number("0.1234567890123456789")),
        ("f", Value::Instant(0)),
        ("g", Value::List([Value::text("x"), number("1.50")].into())),
        ("h", Value::List([].into())),
    ]
    .map(|(name, value)| (Arc::from(name), value))
    .to_vec();
    let mut bytes = Vec::new();
    write_avro(&written, Header::None, &mut bytes);
    let fields = avro("segment_change.avsc", &bytes);
    let text = |text: &str| Avro::String(text.to_owned());
    let some = |value| Avro::Union(1, Box::new(value));
    let of = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    assert_eq!(of("change_id"), text(&change_id("c1", "cart_abandoner", 7)));
    assert_eq!(of("change"), Avro::Enum(0, "entered".to_owned()));
    assert_eq!((of("at"), of("sequence")), (Avro::TimestampMillis(1_767_265_200_000), Avro::Long(7)));
    let cause = [
        ("kind", Avro::Enum(0, "event".to_owned())),
        ("type", some(text("click"))),
        ("event_id", some(text("e\"1"))),
        ("topic", some(text("clicks"))),
        ("partition", some(Avro::Int(3))),
        ("offset", some(Avro::Long(41))),
    ];
    assert_eq!(of("cause"), Avro::Record(cause.map(|(name, value)| (name.to_owned(), value)).to_vec()));
    let Avro::Map(traits) = of("traits") else { panic!("no map") };
    let list = vec![text("x"), text("1.5")];
    let expected = [
        ("a", 0, Avro::Null),
        ("b", 1, Avro::Boolean(true)),
        ("c", 2, Avro::Long(5)),
        ("d", 3, Avro::Double(19.99)),
        ("e", 4, text("0.1234567890123456789")),
        ("f", 4, text("1970-01-01T00:00:00.000Z")),
        ("g", 5, Avro::Array(list)),
        ("h", 5, Avro::Array(Vec::new())),
    ];
    assert_eq!(traits.len(), expected.len());
    for (name, branch, value) in expected {
        assert_eq!(traits[name], Avro::Union(branch, Box::new(value)), "{name}");
    }
}

#[test]
fn every_cause_is_read_back_by_its_word() {
    for cause in [event(), Cause::Time, Cause::Definition, Cause::Consent, Cause::Erasure] {
        let word = cause_kind(&cause);
        let mut bytes = Vec::new();
        write_avro(&change(cause), Header::None, &mut bytes);
        let fields = avro("segment_change.avsc", &bytes);
        let Avro::Record(cause) = &fields[7].1 else { panic!("no cause") };
        assert!(matches!(&cause[0].1, Avro::Enum(_, kind) if kind == word), "{word}");
    }
}

#[test]
fn memberships_are_what_the_schema_says() {
    let entry = change(Cause::Time);
    let mut bytes = Vec::new();
    write_membership_avro(&entry, Header::None, &mut bytes);
    let fields = avro("segment_membership.avsc", &bytes);
    assert_eq!(fields[2].1, Avro::TimestampMillis(entry.at));
    assert_eq!(fields[4].1, Avro::String("3f9a1c2e".to_owned()));
    let mut json = Vec::new();
    write_membership_json(&entry, &mut json);
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"customer_id":"c1","segment":"cart_abandoner","since":"2026-01-01T11:00:00.000Z","sequence":7,"definition":"3f9a1c2e"}"#
    );
    assert_eq!(membership_key("c1", "loyalty.gold"), "c1/loyalty.gold");
}
