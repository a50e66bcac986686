//! A change in one line of words, coloured on a terminal.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};

use serde_json::Value;

use crate::engine::catalog::Catalog;

/// How changes are told.
#[derive(Debug, Default)]
pub(super) struct Words {
    descriptions: HashMap<String, String>,
    is_coloured: bool,
}

impl Words {
    /// For standard output, with what the segments say of themselves.
    pub(super) fn new(catalog: Option<&Catalog>) -> Self {
        let described = catalog.into_iter().flat_map(|catalog| &catalog.segments);
        let descriptions = described.map(|segment| (segment.name.clone(), segment.description.clone())).collect();
        Self { descriptions, is_coloured: is_coloured() }
    }

    /// The line of a change.
    pub(super) fn line(&self, change: &Value) -> String {
        let text = |field: &str| change[field].as_str().unwrap_or_default();
        let time = text("at").get(11..19).unwrap_or_default();
        let entered = text("change") == "entered";
        let segment = text("segment");
        let verb = self.paint(if entered { "32" } else { "33" }, if entered { "entered" } else { "left   " });
        let name = self.paint("1", &format!("{segment:<24}"));
        format!(
            "{time}  {:<8} {verb} {name} because {}{}",
            text("customer_id"),
            reasons(change),
            self.meaning(segment, entered)
        )
    }

    /// What the segment means, once it is entered.
    fn meaning(&self, segment: &str, entered: bool) -> String {
        match self.descriptions.get(segment) {
            Some(description) if entered && !description.is_empty() => self.paint("2", &format!("  ({description})")),
            _ => String::new(),
        }
    }

    /// The text in an ANSI style, on a terminal.
    pub(super) fn paint(&self, style: &str, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Only for people, and only for those who have not asked for none (`NO_COLOR`).
fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// What happened, and what that made of the conditions that decided: `a purchase came: sum(purchase.total …) is 210`.
fn reasons(change: &Value) -> String {
    let cause = match change["cause"]["kind"].as_str().unwrap_or_default() {
        "event" => format!("of a {}", change["cause"]["type"].as_str().unwrap_or("record").replace('_', " ")),
        "time" => "time passed".to_owned(),
        "consent" => "of a consent record".to_owned(),
        "erasure" => "they asked to be forgotten".to_owned(),
        "definition" => "the definition is new".to_owned(),
        other => other.to_owned(),
    };
    let reason = |reason: &Value| {
        let (condition, value) = (reason["condition"].as_str()?, reason["value"].as_str()?);
        Some(match value {
            "true" => condition.to_owned(),
            "false" => format!("not {condition}"),
            _ => format!("{condition} (it is {value})"),
        })
    };
    let why: Vec<String> = change["why"].as_array().into_iter().flatten().take(2).filter_map(reason).collect();
    if why.is_empty() { cause } else { format!("{cause}: {}", why.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_are_told_in_words() {
        let cases = [
            (
                json!({"cause": {"kind": "event", "type": "cart_abandonment"},
                    "why": [{"condition": "count(cart_abandonment) >= 3", "value": "3"}]}),
                "of a cart abandonment: count(cart_abandonment) >= 3 (it is 3)",
            ),
            (
                json!({"cause": {"kind": "time"}, "why": [{"condition": "did(click over 20s)", "value": "false"}]}),
                "time passed: not did(click over 20s)",
            ),
            (json!({"cause": {"kind": "erasure"}, "why": []}), "they asked to be forgotten"),
            (json!({}), ""),
        ];
        for (change, expected) in cases {
            assert_eq!(reasons(&change), expected, "{change}");
        }
    }
}
