//! The canonical form of a schema and its fingerprint, as Avro's specification has them and the libraries of other languages
//! compute them. The Rust library keeps attributes of logical types in it, so that its fingerprints are others.

use serde_json::Value;

/// What a fingerprint begins from: the fingerprint of nothing.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// CRC-64-AVRO of a schema's canonical form, as single-object messages carry it: little-endian.
#[must_use]
pub(crate) fn fingerprint_of(schema: &Value) -> [u8; 8] {
    let mut text = String::new();
    write(schema, "", &mut text);
    let crc = text.bytes().fold(EMPTY, |crc, byte| (crc >> 8) ^ entry((crc ^ u64::from(byte)) & 0xff));
    crc.to_le_bytes()
}

/// An entry of the table of the CRC. A schema is read once, so it is not worth keeping.
fn entry(index: u64) -> u64 {
    (0..8).fold(index, |entry, _| (entry >> 1) ^ (EMPTY & (entry & 1).wrapping_neg()))
}

/// Appends the canonical form of a schema that stands in `namespace`.
fn write(schema: &Value, namespace: &str, out: &mut String) {
    match schema {
        Value::String(name) => write_text(&named(name, namespace), out),
        Value::Array(branches) => write_list(branches, out, |branch, out| write(branch, namespace, out)),
        Value::Object(attributes) => match attributes.get("type") {
            Some(Value::String(kind)) => write_type(kind, schema, namespace, out),
            Some(inner) => write(inner, namespace, out),
            None => out.push_str("null"),
        },
        _ => out.push_str("null"),
    }
}

fn write_type(kind: &str, schema: &Value, namespace: &str, out: &mut String) {
    let of = |name: &str| schema.get(name).unwrap_or(&Value::Null);
    match kind {
        "array" | "map" => {
            let (role, inner) = if kind == "array" { ("items", of("items")) } else { ("values", of("values")) };
            out.extend(["{\"type\":\"", kind, "\",\"", role, "\":"]);
            write(inner, namespace, out);
        }
        "record" | "error" | "enum" | "fixed" => {
            let own = of("namespace").as_str().unwrap_or(namespace);
            let name = named(of("name").as_str().unwrap_or_default(), own);
            let inside = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
            out.push_str("{\"name\":");
            write_text(&name, out);
            out.extend([",\"type\":\"", kind, "\""]);
            match kind {
                "enum" => {
                    out.push_str(",\"symbols\":");
                    let symbols = of("symbols").as_array().map_or(&[][..], Vec::as_slice);
                    write_list(symbols, out, |symbol, out| write_text(symbol.as_str().unwrap_or_default(), out));
                }
                "fixed" => out.extend([",\"size\":", &of("size").to_string()]),
                _ => {
                    out.push_str(",\"fields\":");
                    let fields = of("fields").as_array().map_or(&[][..], Vec::as_slice);
                    write_list(fields, out, |field, out| write_field(field, inside, out));
                }
            }
        }
        // A primitive type, or a name, with attributes that do not matter.
        _ => return write_text(&named(kind, namespace), out),
    }
    out.push('}');
}

fn write_field(field: &Value, namespace: &str, out: &mut String) {
    out.push_str("{\"name\":");
    write_text(field.get("name").and_then(Value::as_str).unwrap_or_default(), out);
    out.push_str(",\"type\":");
    write(field.get("type").unwrap_or(&Value::Null), namespace, out);
    out.push('}');
}

fn write_list(items: &[Value], out: &mut String, each: impl Fn(&Value, &mut String)) {
    out.push('[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        each(item, out);
    }
    out.push(']');
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

/// The full name of a type, unless it is a primitive one.
fn named(name: &str, namespace: &str) -> String {
    const PRIMITIVE: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    let is_full = name.contains('.') || namespace.is_empty() || PRIMITIVE.contains(&name);
    if is_full { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::super::schema::SHIPPED;
    use super::*;

    /// As the Java and the Python library compute them.
    const KNOWN: [(&str, &str); 8] = [
        ("cart_abandonment.avsc", "64ea76fa6e76fbb7"),
        ("click.avsc", "c94fb081048938e2"),
        ("consent.avsc", "62260e04b4ac5372"),
        ("erasure.avsc", "6105e0fb80e736cd"),
        ("profile.avsc", "9d58b6bc8d352a11"),
        ("purchase.avsc", "79c89b31b6408e34"),
        ("segment_change.avsc", "d1a93c5194e268ce"),
        ("segment_membership.avsc", "99740955f9352e8f"),
    ];

    #[track_caller]
    fn check(schema: &str, canonical: &str) {
        let mut text = String::new();
        write(&serde_json::from_str(schema).unwrap(), "", &mut text);
        assert_eq!(text, canonical);
    }

    #[test]
    fn fingerprints_are_those_of_other_languages() {
        for (file, known) in KNOWN {
            let (_, schema) = SHIPPED.iter().find(|(name, _)| *name == file).expect("it is shipped");
            let fingerprint = fingerprint_of(&serde_json::from_str(schema).unwrap());
            let digits: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            assert_eq!(digits, known, "{file}");
        }
    }

    #[test]
    fn what_does_not_matter_to_a_reader_is_left_out() {
        check(r#"{"type": "long", "logicalType": "timestamp-millis"}"#, r#""long""#);
        check(r#"{"type": {"type": "string"}}"#, r#""string""#);
        check(
            r#"["null", {"type": "array", "items": "int", "doc": "x"}]"#,
            r#"["null",{"type":"array","items":"int"}]"#,
        );
        check(
            r#"{"type": "enum", "name": "e", "namespace": "a.b", "symbols": ["x", "y"], "default": "x"}"#,
            r#"{"name":"a.b.e","type":"enum","symbols":["x","y"]}"#,
        );
        check(
            r#"{"type": "record", "name": "a.r", "fields": [
                {"name": "f", "type": {"type": "fixed", "name": "h", "size": 4}, "default": "x"}, {"name": "g", "type": "h"}]}"#,
            r#"{"name":"a.r","type":"record","fields":[{"name":"f","type":{"name":"a.h","type":"fixed","size":4}},{"name":"g","type":"a.h"}]}"#,
        );
    }
}
