//! The schema takes every right definition file, refuses what is typically wrong, and is the one that is committed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::definition::{json, yaml};

/// Every way in which a value is not as a schema says, by the few keywords that ours uses.
fn violations(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    for (keyword, argument) in schema.as_object().unwrap() {
        let fits = match keyword.as_str() {
            "$ref" => {
                let target = root.pointer(argument.as_str().unwrap().trim_start_matches('#')).unwrap();
                violations(root, target, value, path, found);
                true
            }
            "type" => match argument {
                Value::String(name) => is_a(name, value),
                names => names.as_array().unwrap().iter().any(|name| is_a(name.as_str().unwrap(), value)),
            },
            "enum" => argument.as_array().unwrap().contains(value),
            "required" => value.as_object().is_none_or(|object| {
                argument.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
            }),
            "properties" => {
                for (key, schema) in argument.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        violations(root, schema, value, &format!("{path}.{key}"), found);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|object| object.keys().all(|key| known.contains_key(key)))
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    violations(root, argument, item, &format!("{path}[]"), found);
                }
                true
            }
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap()),
            "anyOf" => argument.as_array().unwrap().iter().any(|schema| {
                let mut inner = Vec::new();
                violations(root, schema, value, path, &mut inner);
                inner.is_empty()
            }),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= argument.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| matches(argument.as_str().unwrap(), text)),
            "$schema" | "$defs" | "title" | "description" => true,
            other => panic!("the keyword {other} is not known here"),
        };
        if !fits {
            found.push(format!("{path}: {keyword}"));
        }
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_i64().is_some(),
        other => panic!("no type {other}"),
    }
}

/// The patterns of the schema, by hand.
fn matches(pattern: &str, text: &str) -> bool {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    match pattern {
        "^[a-z][a-z0-9_]*$" => is_name(text),
        "^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)?$" => text.split('.').count() <= 2 && text.split('.').all(is_name),
        _ => text.starts_with(|c: char| c.is_ascii_digit()) && text.get(4..5) == Some("-"),
    }
}

fn problems(text: &str) -> Vec<String> {
    let schema = schema();
    let mut found = Vec::new();
    for document in yaml::parse(text).unwrap() {
        violations(&schema, &schema, &json::from_yaml(&document), "", &mut found);
    }
    found
}

#[test]
fn the_committed_schema_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/definitions.schema.json");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, json_schema(), "run `segue check --schema > docs/definitions.schema.json`");
}

#[test]
fn every_right_definition_file_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut n_files = 0;
    for folder in
        ["deploy/segments", "examples/cdnow/segments", "tests/scenarios", "tests/definitions/good", "src/cli/demo"]
    {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                n_files += 1;
                assert_eq!(problems(&fs::read_to_string(&path).unwrap()), [""; 0], "{}", path.display());
            }
        }
    }
    assert!(n_files > 40, "{n_files}");
}

#[test]
fn what_is_typically_wrong_is_refused() {
    let cases = [
        ("segmants: []", ": additionalProperties"),
        ("segments: {name: a}", ".segments: type"),
        ("segments: [{name: a}]", ".segments[]: required"),
        ("segments: [{name: A, when: x}]", ".segments[].name: pattern"),
        ("segments: [{name: a, when: [x]}]", ".segments[].when: type"),
        ("segments: [{name: a, when: x, untill: y}]", ".segments[]: additionalProperties"),
        ("segments: [{name: a, when: x, carry: b}]", ".segments[].carry: type"),
        ("profile: [{name: a, type: date}]", ".profile[].type: enum"),
        ("traits: [{name: a, when: x}]", ".traits[]: additionalProperties"),
        ("groups: [{name: a, tiers: []}]", ".groups[].tiers: minItems"),
        ("groups: [{name: a, tiers: [{name: b, when: x, purpose: p}]}]", ".groups[].tiers[]: additionalProperties"),
        ("tests: [{name: t, events: []}]", ".tests[]: anyOf"),
        ("tests: [{name: t, events: [{type: click}], expect: []}]", ".tests[].events[]: anyOf"),
        ("tests: [{name: t, events: [], expect: [{at: soon}]}]", ".tests[].expect[].at: anyOf"),
        (
            "tests: [{name: t, events: [], changes: [{at: 1, segment: a, change: in}]}]",
            ".tests[].changes[].change: enum",
        ),
    ];
    for (text, expected) in cases {
        assert!(problems(text).iter().any(|problem| problem == expected), "{text}: {:?}", problems(text));
    }
}
