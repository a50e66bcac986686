//! What a customer lacks to enter a segment, in words: `2 more purchases before 2026-03-03T10:00:00.000Z`.

use rust_decimal::Decimal;

use crate::engine::explain::{Condition, Explanation};
use crate::engine::missing::Missing;
use crate::engine::value::Value;

use super::text::value_text;

/// What is missing for a customer who is out; `None` for one who is in, or who would be if it had just come about.
#[must_use]
pub fn words(explanation: &Explanation) -> Option<String> {
    let is_out = !explanation.standing.member && !explanation.when.holds;
    is_out.then(|| of_condition(&explanation.when))
}

fn of_condition(condition: &Condition) -> String {
    let lacking = condition.parts.iter().filter(|part| !part.holds);
    match condition.junction {
        Some("and") => lacking.map(grouped).collect::<Vec<_>>().join(" and "),
        Some("or") => lacking.map(of_condition).collect::<Vec<_>>().join(", or "),
        _ => match (&condition.missing, condition.next_flip) {
            (_, Some(at)) => format!("waiting until {}", value_text(&Value::Instant(at))),
            (Some(missing), None) => amount(missing),
            (None, None) => match (condition.junction, condition.parts.first()) {
                (Some(_), Some(part)) => format!("that not {}", quoted(&part.text)),
                _ => format!("that {}", quoted(&condition.text)),
            },
        },
    }
}

/// In an enumeration of what all is needed, alternatives are kept together.
fn grouped(condition: &Condition) -> String {
    let words = of_condition(condition);
    let n_alternatives = condition.parts.iter().filter(|part| !part.holds).count();
    if condition.junction == Some("or") && n_alternatives > 1 { format!("({words})") } else { words }
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn amount(missing: &Missing) -> String {
    let Missing { present, more, strictly, of, is_count, before } = missing;
    let again = if present.is_zero() { "" } else { " more" };
    let than = if *strictly { "more than " } else { "" };
    let words = match of.split_once(' ') {
        _ if !is_count => format!("{than}{more}{again} of {of}"),
        None => format!("{more}{again} {}", events(of, *more)),
        Some((event, filter)) if filter.starts_with("where ") => {
            format!("{more}{again} {} {filter}", events(event, *more))
        }
        Some(_) => format!("{more}{again} of {}", quoted(of)),
    };
    let before = before.map(|at| format!(" before {}", value_text(&Value::Instant(at))));
    words + &before.unwrap_or_default()
}

/// The name of an event, in the plural if there are several: `cart abandonments`.
fn events(name: &str, count: Decimal) -> String {
    let name = name.replace('_', " ");
    if count == Decimal::ONE {
        return name;
    }
    match name.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if name.ends_with(['s', 'x']) => format!("{name}es"),
        _ => format!("{name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(present: i64, more: &str, of: &str, is_count: bool, expected: &str) {
        let missing = Missing {
            present: Decimal::from(present),
            more: more.parse().unwrap(),
            strictly: false,
            of: of.to_owned(),
            is_count,
            before: None,
        };
        assert_eq!(amount(&missing), expected);
        let before = Missing { before: Some(0), ..missing };
        assert_eq!(amount(&before), format!("{expected} before 1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn amounts_in_words() {
        check(1, "2", "purchase", true, "2 more purchases");
        check(0, "1", "cart_abandonment", true, "1 cart abandonment");
        check(0, "2", "delivery where fee > 3", true, "2 deliveries where fee > 3");
        check(3, "1", "click then purchase within 1h", true, "1 more of `click then purchase within 1h`");
        check(3, "14.50", "purchase.total", false, "14.50 more of purchase.total");
    }
}
