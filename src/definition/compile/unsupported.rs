//! What the language has and the engine does not evaluate yet, in one place: refused by name, never half done.

use super::super::ast::ExprKind;

/// Why an expression cannot be evaluated by this version, and what to do instead; `None` if it can be.
pub(super) fn refusal(kind: &ExprKind) -> Option<(String, String)> {
    match kind {
        ExprKind::Percentile(_) => Some((
            "`percentile` is not evaluated yet by this version".to_owned(),
            "compare the aggregate itself with a number".to_owned(),
        )),
        _ => None,
    }
}
