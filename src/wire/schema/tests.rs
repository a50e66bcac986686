//! The shipped schemas are what the specification lists; a site's own are told apart and complained about by name.

use super::*;

fn describe(field_type: &FieldType) -> String {
    match field_type {
        FieldType::Scalar(scalar) => scalar.to_string(),
        FieldType::Array(items) => format!("[{}]", describe(items)),
        FieldType::Record(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.name, describe(&f.field_type))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        FieldType::Other(what) => format!("({what})"),
    }
}

fn set(files: &[(&str, &str)]) -> Result<SchemaSet, SchemaError> {
    SchemaSet::parse(&files.iter().map(|(f, t)| ((*f).to_owned(), (*t).to_owned())).collect::<Vec<_>>())
}

/// A record with the envelope and then these fields.
fn event(name: &str, fields: &str) -> String {
    format!(
        r#"{{"type":"record","name":"{name}","namespace":"site","fields":[{{"name":"event_id","type":"string"}},
        {{"name":"customer_id","type":"string"}},
        {{"name":"occurred_at","type":{{"type":"long","logicalType":"timestamp-millis"}}}}{fields}]}}"#
    )
}

#[test]
fn shipped_event_types_have_the_fields_of_the_specification() {
    let set = SchemaSet::shipped().unwrap();
    let purchase = &set.schemas().events["purchase"];
    let fields = FieldType::Record(purchase.fields.clone());
    assert_eq!(
        describe(&fields),
        "{event_id: text, customer_id: text, occurred_at: instant, order_id: text, cart_id: text, total: number, \
         currency: text, items: [{product_id: text, category: text, brand: text, quantity: number, price: number}], \
         device: text, channel: text, coupon: text, store_id: text, utm_source: text, utm_campaign: text, \
         country: text}"
    );
    let events: Vec<_> = set.schemas().events.keys().map(String::as_str).collect();
    assert_eq!(events, ["cart_abandonment", "click", "purchase"]);
    let records: Vec<_> = set.records().map(|record| (record.name.as_str(), record.kind)).collect();
    assert!(records.contains(&("profile", RecordKind::Profile)) && records.len() == 6);
}

#[test]
fn every_shipped_schema_is_documented_and_complete_in_itself() {
    for (file, text) in SHIPPED {
        let Schema::Record(record) = Schema::parse_str(text).unwrap() else { panic!("{file} is no record") };
        assert_eq!(record.name.fullname(None), format!("segue.{}", file.trim_end_matches(".avsc")));
        assert!(record.doc.is_some(), "{file}");
        for field in &record.fields {
            assert!(field.doc.is_some(), "{file}: {}", field.name);
        }
    }
}

#[test]
fn types_of_avro_become_types_of_definitions() {
    let cases = [
        (r#""int""#, "number"),
        (r#""double""#, "number"),
        (r#"["null","boolean"]"#, "bool"),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#, "number"),
        (r#"{"type":"fixed","name":"u","size":16,"logicalType":"uuid"}"#, "text"),
        (r#"{"type":"string","logicalType":"uuid"}"#, "text"),
        (r#"{"type":"enum","name":"e","symbols":["A"]}"#, "text"),
        (r#"{"type":"int","logicalType":"date"}"#, "instant"),
        (r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#, "instant"),
        (r#"{"type":"int","logicalType":"time-millis"}"#, "(a time of day)"),
        (r#"{"type":"array","items":["null","string"]}"#, "[text]"),
        (r#"["string","int"]"#, "(a union of several types)"),
        (r#"{"type":"map","values":"int"}"#, "(a map)"),
        (
            r#"{"type":"record","name":"t","fields":[{"name":"a","type":"int"},{"name":"t","type":["null","t"]}]}"#,
            "{a: number, t: (a record inside itself)}",
        ),
    ];
    for (avro, expected) in cases {
        let text = event("e", &format!(r#",{{"name":"f","type":{avro}}}"#));
        let set = set(&[("e.avsc", &text)]).unwrap();
        assert_eq!(describe(&set.schemas().events["e"].fields[3].field_type), expected, "{avro}");
    }
}

#[test]
fn types_are_shared_between_files_in_any_order() {
    let visit = event("visit", r#", {"name":"place","type":"site.place"}"#);
    let place = r#"{"type":"record","name":"place","namespace":"site","fields":[{"name":"city","type":"string"}]}"#;
    let set = set(&[("visit.avsc", &visit), ("place.avsc", place)]).unwrap();
    assert_eq!(describe(&set.schemas().events["visit"].fields[3].field_type), "{city: text}");
    assert_eq!(set.records().count(), 1);
    assert!(!Schema::parse_str(&set.get("visit").unwrap().avro.canonical_form()).unwrap().canonical_form().is_empty());
}

#[test]
fn a_schema_that_cannot_be_used_is_named_with_the_reason() {
    let late = event("late", "").replace("timestamp-millis", "timestamp-micros");
    let cases = [
        ("a.avsc", "{", "a.avsc is not a valid Avro schema"),
        ("late.avsc", late.as_str(), "late.avsc: the record `late` must start with event_id"),
        ("profile.avsc", r#"{"type":"record","name":"profile","fields":[]}"#, "the record `profile` must start"),
        ("consent.avsc", &event("consent", ""), "consent.avsc: the record `consent` must have the field purpose"),
    ];
    for (file, text, expected) in cases {
        let error = set(&[(file, text)]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let twice = event("twice", "");
    assert!(matches!(set(&[("a.avsc", &twice), ("b.avsc", &twice)]), Err(SchemaError::Duplicate { .. })));
}

#[test]
fn a_directory_adds_to_the_shipped_schemas() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("store_visit.avsc"), event("store_visit", "")).unwrap();
    std::fs::write(directory.path().join("notes.txt"), "not a schema").unwrap();
    let alone = SchemaSet::load(directory.path()).unwrap();
    assert_eq!(alone.schemas().events.len(), 1);
    assert!(alone.get("erasure").is_some());
    assert_eq!(SchemaSet::shipped_and(directory.path()).unwrap().schemas().events.len(), 4);
}

#[test]
fn messages_of_other_versions_are_read_as_ours() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let old = event("visit", r#",{"name":"shop","type":"int"}"#);
    let renamed = event("store_visit", r#",{"name":"place","type":"long"}"#);
    let ours =
        event("visit", r#",{"name":"place","type":"long","aliases":["shop"]},{"name":"n","type":"int","default":3}"#)
            .replacen(r#""name":"visit""#, r#""name":"visit","aliases":["store_visit"]"#, 1);
    let own_click = event("click", r#",{"name":"page","type":["null","string"],"default":null}"#);
    write("visit.avsc", &ours);
    write("click.avsc", &own_click);
    std::fs::create_dir(directory.path().join("history")).unwrap();
    write("history/visit-1.avsc", &old);
    write("history/visit-0.avsc", &renamed);
    let set = SchemaSet::shipped_and(directory.path()).unwrap();
    let shipped_click = include_str!("../../../schemas/click.avsc");
    for (written, expected) in [(&*old, "visit"), (&renamed, "visit"), (&ours, "visit"), (shipped_click, "click")] {
        let writer = Schema::parse_str(written).unwrap();
        for known in fingerprints(&writer) {
            let (version, record) = set.with_fingerprint(known).expect(written);
            assert_eq!((record.name.as_str(), version), (expected, &writer));
        }
    }
    assert!(set.with_fingerprint([7; 8]).is_none());

    let refused = [
        (event("viist", ""), "there is no record `site.viist`"),
        (event("visit", r#",{"name":"place","type":"string"}"#), "place: its type cannot be read as ours"),
        ("{".to_owned(), "is not a valid Avro schema"),
    ];
    for (text, expected) in refused {
        write("history/wrong.avsc", &text);
        let error = SchemaSet::shipped_and(directory.path()).unwrap_err().to_string();
        assert!(error.contains("wrong.avsc") && error.contains(expected), "{error}");
    }
}
