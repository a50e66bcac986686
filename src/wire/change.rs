//! What goes out: changes and memberships, as JSON lines and as Avro.

use sha2::{Digest, Sha256};

use super::text::{binary, push_instant, push_json, push_json_text, push_value, whole};
use super::varint::zigzag;
use crate::engine::effects::{Cause, Change};
use crate::engine::value::Value;

/// What comes before an Avro record, so that a reader finds its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// Nothing.
    #[default]
    None,
    /// The wire format of schema registries: a zero and the schema's id there.
    Registry(u32),
    /// Avro's single-object encoding: a mark and the schema's fingerprint.
    SingleObject([u8; 8]),
}

impl Header {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Registry(id) => {
                out.push(0);
                out.extend_from_slice(&id.to_be_bytes());
            }
            Self::SingleObject(fingerprint) => {
                out.extend_from_slice(&super::framing::SINGLE_OBJECT_MARK);
                out.extend_from_slice(&fingerprint);
            }
        }
    }
}

/// The identity of a change: the same for the same customer, segment and sequence, so that a subscriber can drop what it
/// has handled. 32 hexadecimal digits of SHA-256.
#[must_use]
pub fn change_id(customer_id: &str, segment: &str, sequence: u64) -> String {
    String::from_utf8_lossy(&change_id_digits(customer_id, segment, sequence)).into_owned()
}

/// The same, as the bytes of the digits.
#[must_use]
pub fn change_id_digits(customer_id: &str, segment: &str, sequence: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(customer_id);
    hash.update([0]);
    hash.update(segment);
    hash.update([0]);
    let mut digits = [0; 20];
    hash.update(decimal_digits(sequence, &mut digits));
    let digest = hash.finalize();
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest.iter()) {
        for (digit, half) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *digit = if half < 10 { b'0' + half } else { b'a' + half - 10 };
        }
    }
    digits
}

/// The digits of a number, at the end of a buffer as long as the longest.
fn decimal_digits(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut n_digits = 0;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
        n_digits += 1;
        if number == 0 {
            break;
        }
    }
    &buffer[buffer.len() - n_digits..]
}

/// The key of a membership record: `CUSTOMER/SEGMENT`.
#[must_use]
pub fn membership_key(customer_id: &str, segment: &str) -> String {
    [customer_id, "/", segment].concat()
}

/// The word for what brought a change about.
#[must_use]
pub fn cause_kind(cause: &Cause) -> &'static str {
    match cause {
        Cause::Event { .. } => "event",
        Cause::Time => "time",
        Cause::Definition => "definition",
        Cause::Consent => "consent",
        Cause::Erasure => "erasure",
    }
}

/// Appends a change as one JSON object, without a line end.
pub fn write_json(change: &Change, out: &mut Vec<u8>) {
    write_json_as(change, &change_id_digits(&change.customer_id, &change.segment, change.sequence), out);
}

/// The same for who knows the change's identity already.
pub fn write_json_as(change: &Change, id: &[u8; 32], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"change_id\":\"");
    out.extend_from_slice(id);
    out.push(b'"');
    json_text_field(out, ",\"customer_id\":", &change.customer_id);
    json_text_field(out, ",\"segment\":", &change.segment);
    json_text_field(out, ",\"change\":", if change.entered { "entered" } else { "left" });
    json_instant_field(out, ",\"at\":", change.at);
    json_number_field(out, ",\"sequence\":", change.sequence);
    json_text_field(out, ",\"definition\":", &change.definition);
    out.extend_from_slice(b",\"cause\":{");
    json_cause(out, &change.cause);
    out.extend_from_slice(b"},\"why\":[");
    for (position, reason) in change.why.iter().enumerate() {
        json_text_field(out, if position == 0 { "{\"condition\":" } else { ",{\"condition\":" }, &reason.condition);
        let mut value = Vec::new();
        push_value(&mut value, &reason.value);
        json_text_field(out, ",\"value\":", &String::from_utf8_lossy(&value));
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"traits\":{");
    for (position, (name, value)) in change.traits.iter().enumerate() {
        json_text_field(out, if position == 0 { "" } else { "," }, name);
        out.push(b':');
        push_json(out, value);
    }
    out.extend_from_slice(b"}}");
}

fn json_cause(out: &mut Vec<u8>, cause: &Cause) {
    json_text_field(out, "\"kind\":", cause_kind(cause));
    if let Cause::Event { event_type, event_id, origin } = cause {
        json_text_field(out, ",\"type\":", event_type);
        json_text_field(out, ",\"event_id\":", event_id);
        json_text_field(out, ",\"topic\":", &origin.topic);
        json_number_field(out, ",\"partition\":", origin.partition);
        json_number_field(out, ",\"offset\":", origin.offset);
    }
}

/// Appends the membership that an entry began as one JSON object: what `segment_membership` holds.
pub fn write_membership_json(entry: &Change, out: &mut Vec<u8>) {
    json_text_field(out, "{\"customer_id\":", &entry.customer_id);
    json_text_field(out, ",\"segment\":", &entry.segment);
    json_instant_field(out, ",\"since\":", entry.at);
    json_number_field(out, ",\"sequence\":", entry.sequence);
    json_text_field(out, ",\"definition\":", &entry.definition);
    out.push(b'}');
}

fn json_text_field(out: &mut Vec<u8>, before: &str, text: &str) {
    out.extend_from_slice(before.as_bytes());
    push_json_text(out, text);
}

fn json_instant_field(out: &mut Vec<u8>, before: &str, instant_ms: i64) {
    out.extend_from_slice(before.as_bytes());
    out.push(b'"');
    push_instant(out, instant_ms);
    out.push(b'"');
}

fn json_number_field(out: &mut Vec<u8>, before: &str, number: impl std::fmt::Display) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(number.to_string().as_bytes());
}

/// Appends a change as `segment_change.avsc` has it.
pub fn write_avro(change: &Change, header: Header, out: &mut Vec<u8>) {
    write_avro_as(change, &change_id_digits(&change.customer_id, &change.segment, change.sequence), header, out);
}

/// The same for who knows the change's identity already.
pub fn write_avro_as(change: &Change, id: &[u8; 32], header: Header, out: &mut Vec<u8>) {
    header.write(out);
    avro_bytes(out, id);
    avro_bytes(out, change.customer_id.as_bytes());
    avro_bytes(out, change.segment.as_bytes());
    avro_long(out, i64::from(!change.entered));
    avro_long(out, change.at);
    avro_long(out, sequence(change));
    avro_bytes(out, change.definition.as_bytes());
    avro_cause(out, &change.cause);
    avro_count(out, change.why.len());
    let mut text = Vec::new();
    for reason in &change.why {
        avro_bytes(out, reason.condition.as_bytes());
        avro_text(out, &mut text, &reason.value);
    }
    out.push(0);
    avro_count(out, change.traits.len());
    for (name, value) in &change.traits {
        avro_bytes(out, name.as_bytes());
        avro_trait(out, &mut text, value);
    }
    out.push(0);
}

/// Appends the membership that an entry began as `segment_membership.avsc` has it.
pub fn write_membership_avro(entry: &Change, header: Header, out: &mut Vec<u8>) {
    header.write(out);
    avro_bytes(out, entry.customer_id.as_bytes());
    avro_bytes(out, entry.segment.as_bytes());
    avro_long(out, entry.at);
    avro_long(out, sequence(entry));
    avro_bytes(out, entry.definition.as_bytes());
}

fn sequence(change: &Change) -> i64 {
    i64::try_from(change.sequence).unwrap_or(i64::MAX)
}

fn avro_cause(out: &mut Vec<u8>, cause: &Cause) {
    avro_long(
        out,
        match cause {
            Cause::Event { .. } => 0,
            Cause::Time => 1,
            Cause::Definition => 2,
            Cause::Consent => 3,
            Cause::Erasure => 4,
        },
    );
    let Cause::Event { event_type, event_id, origin } = cause else {
        // Type, event id, topic, partition, offset: null.
        return out.extend_from_slice(&[0; 5]);
    };
    for text in [event_type.as_ref(), event_id.as_str(), origin.topic.as_str()] {
        avro_long(out, 1);
        avro_bytes(out, text.as_bytes());
    }
    avro_long(out, 1);
    avro_long(out, i64::from(origin.partition));
    avro_long(out, 1);
    avro_long(out, origin.offset);
}

/// A trait's value: null, boolean, long, double, string or array of string, by their numbers in the union.
fn avro_trait(out: &mut Vec<u8>, scratch: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Unknown => avro_long(out, 0),
        Value::Bool(truth) => {
            avro_long(out, 1);
            out.push(u8::from(*truth));
        }
        Value::Number(number) => match (whole(*number), binary(*number)) {
            (Some(whole), _) => {
                avro_long(out, 2);
                avro_long(out, whole);
            }
            (None, Some(binary)) => {
                avro_long(out, 3);
                out.extend_from_slice(&binary.to_le_bytes());
            }
            (None, None) => {
                avro_long(out, 4);
                avro_text(out, scratch, value);
            }
        },
        Value::Text(_) | Value::Instant(_) | Value::Duration(_) => {
            avro_long(out, 4);
            avro_text(out, scratch, value);
        }
        Value::List(items) => {
            avro_long(out, 5);
            avro_count(out, items.len());
            for item in items.iter() {
                avro_text(out, scratch, item);
            }
            out.push(0);
        }
    }
}

fn avro_text(out: &mut Vec<u8>, scratch: &mut Vec<u8>, value: &Value) {
    scratch.clear();
    push_value(scratch, value);
    avro_bytes(out, scratch);
}

/// The one block of an array or a map, which a zero ends; an empty one is just that zero.
fn avro_count(out: &mut Vec<u8>, count: usize) {
    if count > 0 {
        avro_long(out, i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn avro_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    avro_long(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
}

fn avro_long(out: &mut Vec<u8>, number: i64) {
    let mut coded = zigzag(number);
    while coded >= 0x80 {
        out.push(coded.to_le_bytes()[0] | 0x80);
        coded >>= 7;
    }
    out.push(coded.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests;
