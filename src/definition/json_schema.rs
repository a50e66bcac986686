//! The JSON Schema of a definition file, for editors. `docs/definitions.schema.json` is its committed copy.

use serde_json::{Value, json};

/// The schema as text.
#[must_use]
pub fn json_schema() -> String {
    // What was just made can be written.
    serde_json::to_string_pretty(&schema()).unwrap_or_default() + "\n"
}

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "segue definitions",
        "description": "Customer segments, traits and groups of tiers, with their tests. See docs/language.md.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "profile": list_of("profileTrait", "Profile traits: what profile records may carry, and its type."),
            "traits": list_of("trait", "Computed traits: a value kept up to date for every customer."),
            "segments": list_of("segment", "Segments: who is in, and from when to when."),
            "groups": list_of("group", "Exclusive tiers: a customer is in the first one that matches, or in none."),
            "tests": list_of("test", "What happens to a customer, and where that must lead."),
        },
        "$defs": {
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 64},
            "text": {"type": ["string", "number", "boolean"]},
            "expression": {
                "description": "An expression such as did(purchase over 30d).",
                "type": ["string", "number", "boolean"],
            },
            "instant": {
                "description": "2026-01-01, or RFC 3339 with an offset.",
                "anyOf": [
                    {"type": "integer"},
                    {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$"},
                ],
            },
            "segmentName": {"type": "string", "pattern": "^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)?$"},
            "carry": {
                "description": "Computed or profile traits sent along with each change.",
                "type": ["array", "null"],
                "items": {"$ref": "#/$defs/name"},
            },
            "purpose": {
                "description": "Only customers who consented to this purpose are members.",
                "$ref": "#/$defs/text",
            },
            "profileTrait": profile_trait(),
            "trait": object(&["name", "value"], json!({
                "name": reference("name"),
                "description": reference("text"),
                "value": reference("expression"),
            })),
            "segment": segment(),
            "group": group(),
            "tier": object(&["name", "when"], json!({
                "name": reference("name"),
                "description": reference("text"),
                "when": reference("expression"),
            })),
            "test": test(),
            "event": event(),
            "expectation": expectation(),
            "change": change(),
        },
    })
}

fn profile_trait() -> Value {
    object(
        &["name", "type"],
        json!({
            "name": reference("name"),
            "type": {"enum": ["bool", "number", "text", "instant", "list of text"]},
            "description": reference("text"),
        }),
    )
}

fn segment() -> Value {
    object(
        &["name", "when"],
        json!({
            "name": reference("name"),
            "description": reference("text"),
            "when": reference("expression"),
            "until": {
                "description": "Enters on when, stays until this.",
                "$ref": "#/$defs/expression",
            },
            "purpose": reference("purpose"),
            "carry": reference("carry"),
        }),
    )
}

fn group() -> Value {
    object(
        &["name", "tiers"],
        json!({
            "name": reference("name"),
            "description": reference("text"),
            "purpose": reference("purpose"),
            "carry": reference("carry"),
            "tiers": {"type": "array", "minItems": 1, "items": reference("tier")},
        }),
    )
}

fn test() -> Value {
    let mut test = object(
        &["name", "events"],
        json!({
            "name": reference("text"),
            "description": reference("text"),
            "events": {"type": ["array", "null"], "items": reference("event")},
            "expect": {"type": ["array", "null"], "items": reference("expectation")},
            "changes": {
                "description": "The exact list of changes over the whole test.",
                "type": ["array", "null"],
                "items": reference("change"),
            },
        }),
    );
    test["anyOf"] = json!([{"required": ["expect"]}, {"required": ["changes"]}]);
    test
}

/// A record: its fields depend on the site's schemas, so any key goes.
fn event() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "anyOf": [{"required": ["at"]}, {"required": ["occurred_at"]}],
        "properties": {
            "type": {"type": "string"},
            "at": reference("instant"),
            "occurred_at": reference("instant"),
            "event_id": {"type": "string"},
            "customer_id": {"type": "string"},
        },
    })
}

fn expectation() -> Value {
    let segments = json!({"type": ["array", "null"], "items": reference("segmentName")});
    object(
        &["at"],
        json!({"at": reference("instant"), "customer": {"type": "string"}, "in": segments, "out": segments}),
    )
}

fn change() -> Value {
    object(
        &["at", "segment", "change"],
        json!({
            "at": reference("instant"),
            "customer": {"type": "string"},
            "segment": reference("segmentName"),
            "change": {"enum": ["entered", "left"]},
        }),
    )
}

/// An object with no other keys than these.
#[expect(clippy::needless_pass_by_value, reason = "written where it is called")]
fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "additionalProperties": false, "properties": properties})
}

fn list_of(what: &str, description: &str) -> Value {
    json!({"description": description, "type": ["array", "null"], "items": reference(what)})
}

fn reference(what: &str) -> Value {
    json!({"$ref": format!("#/$defs/{what}")})
}

#[cfg(test)]
mod tests;
