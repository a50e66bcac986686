//! A producer's schema as a registry gives it: a text, and the texts of the schemas that it refers to by name.

use std::collections::BTreeMap;

use apache_avro::Schema;
use serde_json::Value as Json;

/// References of references: deeper is a mistake or an attack.
const DEEPEST: usize = 64;

/// Parses a producer's schema. What it refers to is put in its place, so that the result is complete in itself.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_writer(text: &str, references: &[String]) -> Result<Schema, String> {
    if references.is_empty() {
        return Schema::parse_str(text).map_err(|error| error.to_string());
    }
    let parse = |text: &String| serde_json::from_str::<Json>(text).map_err(|error| error.to_string());
    let mut named = BTreeMap::new();
    for reference in references {
        let schema = parse(reference)?;
        if let Some(name) = full_name(&schema, "") {
            named.insert(name, schema);
        }
    }
    let mut schema = parse(&text.to_owned())?;
    put_in_place(&mut schema, "", &mut named, 0)?;
    Schema::parse(&schema).map_err(|error| error.to_string())
}

/// The name a type is defined under, with its namespace.
fn full_name(schema: &Json, namespace: &str) -> Option<String> {
    let name = schema.get("name")?.as_str()?;
    let namespace = schema.get("namespace").and_then(Json::as_str).unwrap_or(namespace);
    Some(qualified(name, namespace))
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// Replaces the first mention of each named type by its definition; the mentions after that find it by its name.
fn put_in_place(
    schema: &mut Json,
    namespace: &str,
    named: &mut BTreeMap<String, Json>,
    depth: usize,
) -> Result<(), String> {
    if depth > DEEPEST {
        return Err("its references have no end".to_owned());
    }
    match schema {
        Json::String(name) => {
            if let Some(mut definition) = named.remove(&qualified(name, namespace)).or_else(|| named.remove(name)) {
                // In its own namespace, or in none.
                if let Json::Object(fields) = &mut definition {
                    fields.entry("namespace").or_insert_with(|| Json::String(String::new()));
                }
                put_in_place(&mut definition, "", named, depth + 1)?;
                *schema = definition;
            }
        }
        Json::Array(branches) => {
            for branch in branches {
                put_in_place(branch, namespace, named, depth + 1)?;
            }
        }
        Json::Object(_) => {
            let name = full_name(schema, namespace);
            let inner = name.as_deref().and_then(|name| name.rsplit_once('.')).map_or(namespace, |(space, _)| space);
            let inner = inner.to_owned();
            for key in ["type", "items", "values"] {
                if let Some(part) = schema.get_mut(key) {
                    put_in_place(part, &inner, named, depth + 1)?;
                }
            }
            for field in schema.get_mut("fields").and_then(Json::as_array_mut).into_iter().flatten() {
                if let Some(part) = field.get_mut("type") {
                    put_in_place(part, &inner, named, depth + 1)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_refers_to_is_put_in_its_place() {
        let money = r#"{"type":"record","name":"money","namespace":"shop","fields":[{"name":"cents","type":"long"}]}"#;
        let item = r#"{"type":"record","name":"item","namespace":"shop","fields":[{"name":"price","type":"money"}]}"#;
        let order = r#"{"type":"record","name":"order","namespace":"shop","fields":[
            {"name":"items","type":{"type":"array","items":"item"}},
            {"name":"total","type":["null","shop.money"]}]}"#;
        let references = [money.to_owned(), item.to_owned()];
        let whole = r#"{"type":"record","name":"order","namespace":"shop","fields":[
            {"name":"items","type":{"type":"array","items":{"type":"record","name":"item","fields":[
                {"name":"price","type":{"type":"record","name":"money","fields":[{"name":"cents","type":"long"}]}}]}}},
            {"name":"total","type":["null","money"]}]}"#;
        assert_eq!(parse_writer(order, &references).unwrap(), Schema::parse_str(whole).unwrap());
        assert_eq!(parse_writer(whole, &[]).unwrap(), Schema::parse_str(whole).unwrap());
        assert!(parse_writer(order, &references[..1]).is_err(), "item is not known");
        assert!(parse_writer("{", &references).is_err());
    }
}
