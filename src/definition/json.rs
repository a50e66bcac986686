//! Values written in YAML as the JSON that stands for the same: numbers keep every digit.

use serde_json::{Map, Number, Value};

use super::yaml::{Node, NodeKind, Scalar};

/// The JSON of a node; of a key written twice the first counts, and keys that are not single values are left out.
pub(super) fn from_yaml(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Scalar(scalar) => from_scalar(scalar),
        NodeKind::Sequence(items) => Value::Array(items.iter().map(from_yaml).collect()),
        NodeKind::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                if let Some(key) = key.as_scalar() {
                    object.entry(key.value.clone()).or_insert_with(|| from_yaml(value));
                }
            }
            Value::Object(object)
        }
    }
}

fn from_scalar(scalar: &Scalar) -> Value {
    let text = scalar.value.as_str();
    if !scalar.plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// A decimal number as YAML writes it: JSON's form, and `+1`, `.5` and `1.` besides.
fn number(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(position) => digits.split_at(position),
        None => (digits, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    if mantissa == "." {
        return None;
    }
    format!("{sign}{whole}{point}{fraction}{exponent}").parse().ok()
}
