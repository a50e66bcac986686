//! A producer's schema may be older or newer than ours: what is written with one and read with the other.

use super::*;

/// Writes `value` of a field of type `written`, reads the field as `read`; the value, or the sentence why not.
fn read(written: &str, value: Avro, read: &str) -> Result<Value, String> {
    let writer = Schema::parse_str(&event(&[format!(r#"{{"name":"f","type":{written}}}"#)])).unwrap();
    let set = reader(&event(&[format!(r#"{{"name":"f","type":{read}}}"#)]));
    read_with(&writer, &encode(&writer, event_value(vec![("f", value)])), &set)
}

fn read_with(writer: &Schema, bytes: &[u8], set: &SchemaSet) -> Result<Value, String> {
    let reader = set.reader_of(writer).ok_or("no such record")?;
    let mut record = blank();
    // What is not wanted must be skipped just as well.
    let mut skipping = Decoder::new(writer, reader, EventTypeId(1), &projection(&[])).map_err(|e| e.to_string())?;
    skipping.decode_into(bytes, &mut record).map_err(|e| e.to_string())?;
    let mut decoder = Decoder::new(writer, reader, EventTypeId(1), &projection(&["f"])).map_err(|e| e.to_string())?;
    decoder.decode_into(bytes, &mut record).map_err(|e| e.to_string())?;
    let Body::Event(event) = record.body else { return Err("no event".to_owned()) };
    Ok(event.fields[0].clone())
}

fn number(text: &str) -> Value {
    Value::Number(text.parse().unwrap())
}

fn some(branch: u32, value: Avro) -> Avro {
    Avro::Union(branch, Box::new(value))
}

const CENTS: &str = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#;
const MILLS: &str = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}"#;
const FIXED: &str = r#"{"type":"fixed","name":"d","size":4,"logicalType":"decimal","precision":9,"scale":2}"#;
const MILLIS: &str = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
const MICROS: &str = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
const DATE: &str = r#"{"type":"int","logicalType":"date"}"#;
const AB: &str = r#"{"type":"enum","name":"s","symbols":["A","B"]}"#;
const BA: &str = r#"{"type":"enum","name":"s","symbols":["B","A","C"]}"#;
const A_OR: &str = r#"{"type":"enum","name":"s","symbols":["OTHER","A"],"default":"OTHER"}"#;

#[test]
fn types_are_promoted_as_avro_does() {
    let text = || Avro::String("é".to_owned());
    let cases = [
        (r#""int""#, Avro::Int(-3), r#""double""#, number("-3")),
        (r#""long""#, Avro::Long(i64::MAX), r#""float""#, number("9223372036854775807")),
        (r#""float""#, Avro::Float(0.1), r#""double""#, number("0.1")),
        (r#""string""#, text(), r#"["null","string"]"#, Value::text("é")),
        (r#""bytes""#, Avro::Bytes("é".into()), r#""string""#, Value::text("é")),
        (r#"["string","null"]"#, some(0, text()), r#"["null","string"]"#, Value::text("é")),
        (r#"["string","null"]"#, some(1, Avro::Null), r#"["null","string"]"#, Value::Unknown),
        (r#"["null","int","string"]"#, some(2, text()), r#"["null","string"]"#, Value::text("é")),
        (r#"["null","string"]"#, some(1, text()), r#""string""#, Value::text("é")),
        (CENTS, Avro::Decimal(vec![0x04, 0xd2].into()), MILLS, number("12.34")),
        (FIXED, Avro::Decimal(vec![0, 0, 0x04, 0xd2].into()), MILLS, number("12.34")),
        (r#""bytes""#, Avro::Bytes(vec![0x04, 0xd2]), MILLS, number("1.234")),
        (MICROS, Avro::TimestampMicros(-1), MILLIS, Value::Instant(-1)),
        (r#""long""#, Avro::Long(5), MILLIS, Value::Instant(5)),
        (MILLIS, Avro::TimestampMillis(5), r#""long""#, number("5")),
        (DATE, Avro::Date(1), MILLIS, Value::Instant(86_400_000)),
        (AB, Avro::Enum(0, "A".to_owned()), BA, Value::text("A")),
        (AB, Avro::Enum(1, "B".to_owned()), A_OR, Value::text("OTHER")),
    ];
    for (written, value, expected_type, expected) in cases {
        assert_eq!(read(written, value, expected_type), Ok(expected), "{written} as {expected_type}");
    }
}

#[test]
fn what_avro_does_not_allow_is_refused() {
    let text = || Avro::String("a".to_owned());
    let cases = [
        (r#""long""#, Avro::Long(1), r#""int""#, "f: its type cannot be read as ours"),
        (r#""double""#, Avro::Double(1.0), r#""float""#, "f: its type"),
        (r#""string""#, text(), r#""long""#, "f: its type"),
        (r#""string""#, text(), r#"["null","long"]"#, "f: the union has no branch for it"),
        (AB, Avro::Enum(0, "A".to_owned()), r#""string""#, "f: its type"),
        (r#"["null","string"]"#, some(1, text()), r#"["null","long"]"#, ""),
        (r#"["boolean","string"]"#, some(0, Avro::Boolean(true)), r#""string""#, "a union branch or enum symbol"),
        (r#"["null","string"]"#, some(0, Avro::Null), r#""string""#, "a union branch or enum symbol"),
        (BA, Avro::Enum(2, "C".to_owned()), AB, "a union branch or enum symbol"),
        (r#""double""#, Avro::Double(f64::NAN), r#""double""#, "outside the supported range"),
        (MILLIS, Avro::TimestampMillis(i64::MAX), MILLIS, "outside the supported range"),
    ];
    for (written, value, expected_type, sentence) in cases {
        if sentence.is_empty() {
            continue;
        }
        let error = read(written, value, expected_type).unwrap_err();
        assert!(error.contains(sentence), "{error}: {written} as {expected_type}");
    }
}

#[test]
fn fields_come_go_move_and_change_their_names() {
    let field = |name: &str, rest: &str| format!(r#"{{"name":"{name}",{rest}}}"#);
    let writer_fields = [field("gone", r#""type":{"type":"array","items":"string"}"#), field("old", r#""type":"int""#)];
    let writer = Schema::parse_str(&event(&writer_fields)).unwrap();
    let gone = Avro::Array(vec![Avro::String("x".to_owned())]);
    let bytes = encode(&writer, event_value(vec![("gone", gone), ("old", Avro::Int(4))]));
    let cases = [
        (field("f", r#""type":"long","aliases":["old"]"#), Ok(number("4"))),
        (field("f", r#""type":"long","default":9"#), Ok(number("9"))),
        (field("f", r#""type":["null","string"],"default":null"#), Ok(Value::Unknown)),
        (field("f", &format!(r#""type":{MILLS},"default":"\u0004\u00d2""#)), Ok(number("1.234"))),
        (field("f", &format!(r#""type":{MICROS},"default":2500"#)), Ok(Value::Instant(2))),
        (field("f", &format!(r#""type":{DATE},"default":1"#)), Ok(Value::Instant(86_400_000))),
        (
            field("f", r#""type":{"type":"array","items":"string"},"default":["a"]"#),
            Ok(Value::List([Value::text("a")].into())),
        ),
        (field("f", r#""type":"long""#), Err("f: it is not written and has no default".to_owned())),
    ];
    for (ours, expected) in cases {
        assert_eq!(read_with(&writer, &bytes, &reader(&event(std::slice::from_ref(&ours)))), expected, "{ours}");
    }
}

#[test]
fn defaults_of_arrays_of_records_give_elements() {
    let writer = Schema::parse_str(&event(&[])).unwrap();
    let set = reader(&event(&[r#"{"name":"items","default":[{"p":1},{"p":2}],"type":{"type":"array","items":
        {"type":"record","name":"i","fields":[{"name":"p","type":"int"},{"name":"q","type":"int","default":7}]}}}"#
        .to_owned()]));
    let projection = projection(&["items.q", "items/p,q"]);
    let mut decoder = Decoder::new(&writer, set.get("e").unwrap(), EventTypeId(1), &projection).unwrap();
    let mut record = blank();
    decoder.decode_into(&encode(&writer, event_value(vec![])), &mut record).unwrap();
    let Body::Event(event) = record.body else { panic!("no event") };
    assert_eq!(event.fields, [Value::List([number("7"), number("7")].into())]);
    assert_eq!(event.elements, [[[number("1"), number("7")], [number("2"), number("7")]]]);
}

#[test]
fn records_without_whom_which_or_when_say_so() {
    let nullable = |name: &str| format!(r#"{{"name":"{name}","type":["null","string"]}}"#);
    let at = r#"{"name":"occurred_at","type":["null","long"]}"#;
    let text = format!(
        r#"{{"type":"record","name":"e","fields":[{},{},{at}]}}"#,
        nullable("event_id"),
        nullable("customer_id")
    );
    let writer = Schema::parse_str(&text).unwrap();
    let set = reader(&event(&[]));
    let id =
        |present: bool, text: &str| if present { some(1, Avro::String(text.to_owned())) } else { some(0, Avro::Null) };
    let cases = [
        (id(true, "e"), id(true, "c"), some(1, Avro::Long(0)), Ok(())),
        (id(true, "e"), id(false, ""), some(1, Avro::Long(0)), Err(DecodeError::NoCustomerId)),
        (id(true, "e"), id(true, ""), some(1, Avro::Long(0)), Err(DecodeError::NoCustomerId)),
        (id(false, ""), id(true, "c"), some(1, Avro::Long(0)), Err(DecodeError::NoEventId)),
        (id(true, "e"), id(true, "c"), some(0, Avro::Null), Err(DecodeError::BadTime)),
        (id(true, "e"), id(true, "c"), some(1, Avro::Long(253_402_300_799_999)), Ok(())),
        (id(true, "e"), id(true, "c"), some(1, Avro::Long(253_402_300_800_000)), Err(DecodeError::BadTime)),
        (id(true, "e"), id(true, "c"), some(1, Avro::Long(-62_135_596_800_001)), Err(DecodeError::BadTime)),
    ];
    let mut decoder = Decoder::new(&writer, set.get("e").unwrap(), EventTypeId(1), &projection(&[])).unwrap();
    for (event_id, customer_id, at, expected) in cases {
        let fields = [("event_id", event_id), ("customer_id", customer_id), ("occurred_at", at)];
        let value = Avro::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec());
        assert_eq!(decoder.decode_into(&encode(&writer, value.clone()), &mut blank()), expected, "{value:?}");
    }
    let bare = Schema::parse_str(r#"{"type":"record","name":"e","fields":[]}"#).unwrap();
    let mut decoder = Decoder::new(&bare, set.get("e").unwrap(), EventTypeId(1), &projection(&[])).unwrap();
    assert_eq!(decoder.decode_into(&[], &mut blank()), Err(DecodeError::NoCustomerId));
}

#[test]
fn control_records_give_what_they_are_for() {
    let set = SchemaSet::shipped().unwrap();
    let text = |text: &str| Avro::String(text.to_owned());
    let traits = [
        ("a", some(3, Avro::Double(1.5))),
        ("b", some(0, Avro::Null)),
        ("c", some(5, Avro::Array(vec![text("x"), text("y")]))),
        ("d", some(5, Avro::Array(vec![]))),
        ("e", some(3, Avro::Double(f64::INFINITY))),
        ("f", some(2, Avro::Long(7))),
    ];
    let traits = Avro::Map(traits.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
    let cases = [
        ("profile", event_value(vec![("traits", traits)])),
        (
            "consent",
            event_value(vec![
                ("purpose", text("m")),
                ("granted", Avro::Boolean(true)),
                ("source", some(0, Avro::Null)),
            ]),
        ),
        ("erasure", event_value(vec![("reason", some(1, text("asked")))])),
    ];
    let mut record = blank();
    for (name, value) in cases {
        let schema = set.get(name).unwrap();
        let mut decoder = Decoder::new(&schema.avro, schema, EventTypeId(0), &projection(&[])).unwrap();
        decoder.decode_into(&encode(&schema.avro, value), &mut record).unwrap();
        match &mut record.body {
            Body::Profile(traits) => {
                traits.sort_by(|a, b| a.0.cmp(&b.0));
                let values: Vec<_> = traits.iter().map(|(_, value)| value.clone()).collect();
                let list = Value::List([Value::text("x"), Value::text("y")].into());
                let empty = Value::List([].into());
                assert_eq!(values, [number("1.5"), Value::Unknown, list, empty, Value::Unknown, number("7")]);
            }
            Body::Consent { purpose, granted } => assert_eq!((purpose.as_str(), *granted), ("m", true)),
            Body::Erasure => assert_eq!(name, "erasure"),
            Body::Event(_) => panic!("{name} is no event"),
        }
    }
}

#[test]
fn hostile_counts_and_depths_are_refused() {
    let nulls = r#"{"name":"f","type":{"type":"array","items":"null"}}"#.to_owned();
    let list =
        r#"{"name":"f","type":["null",{"type":"record","name":"l","fields":[{"name":"n","type":["null","l"]}]}]}"#
            .to_owned();
    let texts = r#"{"name":"f","type":{"type":"array","items":"string"}}"#.to_owned();
    let envelope = [2, b'i', 2, b'c', 0];
    let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let cases: [(&String, Vec<u8>, DecodeError); 7] = [
        (&nulls, huge.to_vec(), DecodeError::BadLength),
        (&texts, huge.to_vec(), DecodeError::Truncated),
        (&texts, vec![0xff; 10], DecodeError::BadInteger),
        (&texts, [&huge[..9], &[0x03]].concat(), DecodeError::BadInteger),
        (&texts, vec![1, 1, 0], DecodeError::BadLength),
        (&texts, vec![2, 1, 0], DecodeError::BadLength),
        (&list, vec![2; 100_000], DecodeError::TooDeep),
    ];
    for (field, bytes, expected) in cases {
        let text = event(std::slice::from_ref(field));
        let (schema, set) = (Schema::parse_str(&text).unwrap(), reader(&text));
        for paths in [&["f"][..], &[]] {
            let reader = set.get("e").unwrap();
            let mut decoder = Decoder::new(&schema, reader, EventTypeId(1), &projection(paths)).unwrap();
            let bytes = [&envelope[..], &bytes].concat();
            assert_eq!(decoder.decode_into(&bytes, &mut blank()), Err(expected), "{field} {paths:?}");
        }
    }
}

#[test]
fn blocks_with_their_size_are_read_and_skipped_alike() {
    let text = event(&[r#"{"name":"f","type":{"type":"array","items":"string"}}"#.to_owned()]);
    let (schema, set) = (Schema::parse_str(&text).unwrap(), reader(&text));
    // One block of one item in two bytes, with its size; one without; the end.
    let bytes = [2, b'i', 2, b'c', 0, 1, 4, 2, b'x', 2, 2, b'y', 0];
    let expected = Value::List([Value::text("x"), Value::text("y")].into());
    assert_eq!(read_with(&schema, &bytes, &set), Ok(expected));
}
