//! Files that apache-avro wrote, whole and damaged.

use apache_avro::types::Value as Avro;
use apache_avro::{DeflateSettings, Writer, ZstandardSettings};

use super::*;
use crate::engine::catalog::EventTypeId;
use crate::engine::projection::Projection;
use crate::engine::record::{Body, Envelope};
use crate::wire::schema::{RecordSchema, SchemaSet};

fn erasure() -> RecordSchema {
    SchemaSet::shipped().unwrap().get("erasure").unwrap().clone()
}

/// A file of erasures of these customers.
fn file(customers: &[&str], codec: Codec) -> Vec<u8> {
    let schema = erasure().avro;
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for customer in customers {
        let fields = [
            ("event_id", Avro::String("e".to_owned())),
            ("customer_id", Avro::String((*customer).to_owned())),
            ("occurred_at", Avro::TimestampMillis(1)),
            ("reason", Avro::Union(0, Box::new(Avro::Null))),
        ];
        writer.append_value(Avro::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())).unwrap();
    }
    writer.into_inner().unwrap()
}

/// What comes out of a file: customers, refusals, and the error at the end if there is one.
fn read(bytes: &[u8]) -> Vec<String> {
    let mut container = match Container::new(bytes) {
        Ok(container) => container,
        Err(error) => return vec![error.to_string()],
    };
    let schema = erasure();
    let mut decoder =
        Decoder::new(container.schema(), &schema, EventTypeId::default(), &Projection::default()).unwrap();
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    let mut found = Vec::new();
    loop {
        found.push(match container.next_into(&mut decoder, &mut record) {
            Ok(Next::Record) => record.envelope.customer_id.to_string(),
            Ok(Next::Refused(error)) => error.to_string(),
            Ok(Next::RestOfBlock { error, lost }) => format!("{lost}: {error}"),
            Ok(Next::End) => return found,
            Err(error) => {
                found.push(error.to_string());
                return found;
            }
        });
    }
}

#[test]
fn every_codec_is_read() {
    let deflate = Codec::Deflate(DeflateSettings::default());
    let zstandard = Codec::Zstandard(ZstandardSettings::default());
    for codec in [Codec::Null, deflate, Codec::Snappy, zstandard] {
        assert_eq!(read(&file(&["a", "b"], codec)), ["a", "b"], "{codec:?}");
    }
    assert!(read(&file(&[], Codec::Null)).is_empty());
}

#[test]
fn a_bad_record_does_not_take_the_others_along() {
    assert_eq!(read(&file(&["a", "", "c"], Codec::Null)), ["a", "customer_id is missing or empty", "c"]);
    let mut bytes = file(&["a", "bbb", "c"], Codec::Null);
    let at = bytes.windows(3).position(|window| window == b"bbb").unwrap();
    bytes[at] = 0xff;
    assert_eq!(read(&bytes), ["a", "a text is not UTF-8", "c"]);
    bytes[at - 1] = 0x01;
    assert_eq!(read(&bytes), ["a", "2: a length or count is impossible"]);
}

#[test]
fn damage_is_reported_and_never_harmful() {
    let bytes = file(&["a", "b"], Codec::Null);
    assert_eq!(read(b"{}"), ["it is not an Avro object container file"]);
    let last = bytes.len() - 1;
    let mut wrong = bytes.clone();
    wrong[last] ^= 1;
    assert_eq!(read(&wrong), ["a block is damaged: its end mark is missing"]);
    for end in 0..bytes.len() {
        let found = read(&bytes[..end]);
        assert!(found.len() <= 1 && !found.contains(&"a".to_owned()), "cut at {end}: {found:?}");
    }
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] = wrong[at].wrapping_add(1);
        if let Ok(mut container) = Container::new(wrong.as_slice()) {
            let mut decoder = container.skipper.clone();
            let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
            while !matches!(container.next_into(&mut decoder, &mut record), Ok(Next::End) | Err(_)) {}
        }
    }
}
