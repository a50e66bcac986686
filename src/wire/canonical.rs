//! The parsing canonical form of a schema, and the fingerprint that single-object messages carry of it.
//!
//! apache-avro's own is another than the specification's for logical types: it keeps `{"type":"long"}`, precision and
//! scale, so its fingerprints are not those of producers in other languages. Both are known here.

use apache_avro::Schema;
use serde_json::Value as Json;

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The fingerprint of a schema as single-object messages carry it: CRC-64-AVRO of its parsing canonical form,
/// little-endian.
#[must_use]
pub fn fingerprint(schema: &Schema) -> [u8; 8] {
    fingerprint_of(&canonical(schema, false))
}

/// All fingerprints that producers may give a schema: the specification's first; then those of Apache's libraries for
/// Python and for Rust, whose canonical forms still tell where a logical type was.
#[must_use]
pub fn fingerprints(schema: &Schema) -> [[u8; 8]; 3] {
    [canonical(schema, false), canonical(schema, true), schema.canonical_form()].map(|form| fingerprint_of(&form))
}

fn fingerprint_of(form: &str) -> [u8; 8] {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    let step = |crc: u64| (crc >> 1) ^ if crc & 1 == 1 { EMPTY } else { 0 };
    let crc = form.bytes().fold(EMPTY, |crc, byte| (0..8).fold(crc ^ u64::from(byte), |crc, _| step(crc)));
    crc.to_le_bytes()
}

/// With `annotated`, a primitive type that has a logical type stays an object.
fn canonical(schema: &Schema, annotated: bool) -> String {
    let mut form = Form { text: String::new(), defined: Vec::new(), annotated };
    // A schema that was parsed can be written.
    form.schema(&serde_json::to_value(schema).unwrap_or_default(), "");
    form.text
}

struct Form {
    text: String,
    /// Full names of types that are written already.
    defined: Vec<String>,
    annotated: bool,
}

impl Form {
    fn schema(&mut self, schema: &Json, namespace: &str) {
        match schema {
            Json::String(name) if PRIMITIVES.contains(&name.as_str()) => self.quoted(name),
            Json::String(name) => self.quoted(&full_name(name, None, namespace)),
            Json::Array(branches) => self.list(branches, |form, branch| form.schema(branch, namespace)),
            Json::Object(attributes) => match attributes.get("type") {
                Some(Json::String(kind)) => self.kind(kind, schema, namespace),
                Some(inner) => self.schema(inner, namespace),
                None => {}
            },
            _ => {}
        }
    }

    fn kind(&mut self, kind: &str, schema: &Json, namespace: &str) {
        match kind {
            "array" | "map" => {
                let inside = if kind == "array" { "items" } else { "values" };
                self.pushed(&["{\"type\":\"", kind, "\",\"", inside, "\":"]);
                self.schema(&schema[inside], namespace);
                self.text.push('}');
            }
            "record" | "error" | "enum" | "fixed" => self.named(kind, schema, namespace),
            primitive if PRIMITIVES.contains(&primitive) => {
                let is_object = self.annotated && schema.get("logicalType").is_some();
                self.text.push_str(if is_object { "{\"type\":" } else { "" });
                self.quoted(primitive);
                self.text.push_str(if is_object { "}" } else { "" });
            }
            name => self.quoted(&full_name(name, None, namespace)),
        }
    }

    fn named(&mut self, kind: &str, schema: &Json, namespace: &str) {
        let name = full_name(schema["name"].as_str().unwrap_or(""), schema["namespace"].as_str(), namespace);
        if self.defined.contains(&name) {
            return self.quoted(&name);
        }
        self.defined.push(name.clone());
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        self.pushed(&["{\"name\":\"", &name, "\",\"type\":\"", kind, "\","]);
        match kind {
            "enum" => {
                self.text.push_str("\"symbols\":");
                let symbols = schema["symbols"].as_array().map_or(&[][..], Vec::as_slice);
                self.list(symbols, |form, symbol| form.quoted(symbol.as_str().unwrap_or("")));
            }
            "fixed" => self.pushed(&["\"size\":", &schema["size"].to_string()]),
            _ => {
                self.text.push_str("\"fields\":");
                let fields = schema["fields"].as_array().map_or(&[][..], Vec::as_slice);
                self.list(fields, |form, field| {
                    form.text.push_str("{\"name\":");
                    form.quoted(field["name"].as_str().unwrap_or(""));
                    form.text.push_str(",\"type\":");
                    form.schema(&field["type"], namespace);
                    form.text.push('}');
                });
            }
        }
        self.text.push('}');
    }

    fn list(&mut self, items: &[Json], mut write: impl FnMut(&mut Self, &Json)) {
        self.text.push('[');
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
    }

    fn quoted(&mut self, text: &str) {
        self.pushed(&["\"", text, "\""]);
    }

    fn pushed(&mut self, parts: &[&str]) {
        self.text.extend(parts.iter().copied());
    }
}

/// A name with its namespace: its own, or that of what it is in.
fn full_name(name: &str, namespace: Option<&str>, around: &str) -> String {
    match namespace.unwrap_or(around) {
        _ if name.contains('.') => name.to_owned(),
        "" => name.to_owned(),
        namespace => format!("{namespace}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::schema::SchemaSet;
    use apache_avro::headers::{HeaderBuilder, RabinFingerprintHeader};

    #[test]
    fn fingerprints_are_those_of_other_writers() {
        // What fastavro 1.12 (as the Java library) and Apache's library for Python 1.12 say of the shipped schemas.
        let expected: [(&str, u64, u64); 6] = [
            ("cart_abandonment", 0x64ea_76fa_6e76_fbb7, 0xce3c_8f80_e4a5_cb06),
            ("click", 0xc94f_b081_0489_38e2, 0xce41_31a2_d594_cb73),
            ("consent", 0x6226_0e04_b4ac_5372, 0x4079_ca5c_1f96_f4ae),
            ("erasure", 0x6105_e0fb_80e7_36cd, 0xe9f5_eb15_1c20_29e5),
            ("profile", 0x9d58_b6bc_8d35_2a11, 0x51f5_545b_b121_4c7d),
            ("purchase", 0x79c8_9b31_b640_8e34, 0xd1cb_f9d6_f3e0_9a92),
        ];
        let set = SchemaSet::shipped().unwrap();
        for (name, java, python) in expected {
            let record = set.get(name).unwrap();
            let rust = RabinFingerprintHeader::from_schema(&record.avro).build_header()[2..].try_into().unwrap();
            let known = [java.to_be_bytes(), python.to_be_bytes(), rust];
            assert_eq!(fingerprints(&record.avro), known, "{name}: {}", canonical(&record.avro, true));
            for fingerprint in known {
                assert_eq!(set.with_fingerprint(fingerprint).unwrap().1.name, name);
            }
        }
    }

    #[test]
    fn names_are_full_and_everything_else_is_stripped() {
        let schema = r#"{"type":"record","name":"a","namespace":"n.m","doc":"d","aliases":["b"],"fields":[
            {"name":"x","type":{"type":"enum","name":"e","symbols":["P","Q"],"default":"P"},"default":"Q","order":"ignore"},
            {"name":"y","type":["null","e",{"type":"fixed","name":"other.f","size":4}]},
            {"name":"z","type":{"type":"map","values":{"type":"array","items":"a"}}},
            {"name":"w","type":{"type":"int","logicalType":"date"}}]}"#;
        let expected = r#"{"name":"n.m.a","type":"record","fields":[{"name":"x","type":{"name":"n.m.e","type":"enum","symbols":["P","Q"]}},{"name":"y","type":["null","n.m.e",{"name":"other.f","type":"fixed","size":4}]},{"name":"z","type":{"type":"map","values":{"type":"array","items":"n.m.a"}}},{"name":"w","type":"int"}]}"#;
        assert_eq!(canonical(&Schema::parse_str(schema).unwrap(), false), expected);
    }
}
