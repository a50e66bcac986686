//! Checks an expression: every name in it exists, and every operator gets what it takes. One mistake gives one message:
//! a part that is wrong has no type, and what has no type is not complained about again.

use crate::engine::catalog::{ArithmeticOp, CompareOp, TextTest};
use crate::engine::value::Type;

use super::super::ast::{Expr, ExprKind, Literal, Name, Span, Spanned};
use super::super::source::{Place, Problem, SourceFile};
use super::super::spec::Expression;
use super::fields::EventScope;
use super::names::{Names, TraitEntry};
use super::{mismatch, operators};

/// Checks one expression of a set.
pub(super) struct Checker<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) files: &'a [SourceFile],
    /// Types of computed traits by position; `None` for one that is wrong, or not worked out.
    pub(super) trait_types: &'a [Option<Type>],
    pub(super) expression: &'a Expression,
    pub(super) problems: &'a mut Vec<Problem>,
}

/// What bare paths mean: nothing, or the fields of the event that a filter looks at.
pub(super) type Scope<'s> = Option<&'s EventScope<'s>>;

impl Checker<'_> {
    /// The type of the whole expression.
    pub(super) fn check(&mut self) -> Option<Type> {
        let expression = self.expression;
        self.type_of(&expression.expr, None)
    }

    /// Checks that the whole expression is a condition.
    pub(super) fn check_condition(&mut self, what: &str) {
        let expression = self.expression;
        self.condition(&expression.expr, None, what);
    }

    pub(super) fn place(&self, span: Span) -> Place {
        self.expression.source.locate(self.files, span)
    }

    pub(super) fn report(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: Option<String>) {
        let problem = Problem::new(code, self.place(span), message).help_if(help);
        self.problems.push(problem);
    }

    pub(super) fn type_of(&mut self, expr: &Expr, scope: Scope<'_>) -> Option<Type> {
        if let Some(problem) = scope.and_then(|scope| super::filter::not_in_filter(expr, scope)) {
            self.report("not-in-filter", expr.span, problem.message, Some(problem.help));
            return None;
        }
        match &expr.node {
            ExprKind::Or(parts) => self.conditions(parts, scope, "or"),
            ExprKind::And(parts) => self.conditions(parts, scope, "and"),
            ExprKind::Not(part) => self.condition(part, scope, "`not` takes").map(|()| Type::Bool),
            ExprKind::For { condition, .. } => self.condition(condition, scope, "`for` takes").map(|()| Type::Bool),
            ExprKind::Compare { op, left, right } => self.compare(expr, *op, left, right, scope),
            ExprKind::Between { value, low, high, .. } => self.between(value, low, high, scope),
            ExprKind::In { value, items, .. } => self.within(value, items, scope),
            ExprKind::TextTest { test, left, right, .. } => self.text_test(*test, left, right, scope),
            ExprKind::IsKnown { operand, .. } => self.type_of(operand, scope).map(|_| Type::Bool),
            ExprKind::Arithmetic { op, left, right } => self.arithmetic(expr, *op, left, right, scope),
            ExprKind::Negate(part) => self.negate(expr, part, scope),
            ExprKind::Literal(literal) => Some(operators::literal(literal)),
            ExprKind::Now => Some(Type::Instant),
            ExprKind::Trait(name) => self.trait_type(name),
            ExprKind::Field(path) => self.field(path, scope),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Segment(name) => self.segment(name),
            ExprKind::Bucket(_) => Some(Type::Number),
            ExprKind::Age(part) => self.of_instant(part, scope, "age").map(|()| Type::Number),
            ExprKind::Anniversary(part) => self.of_instant(part, scope, "anniversary").map(|()| Type::Duration),
            ExprKind::Percentile(aggregate) => self.percentile(aggregate),
            ExprKind::Coalesce(parts) => self.coalesce(parts, scope),
        }
    }

    fn conditions(&mut self, parts: &[Expr], scope: Scope<'_>, word: &str) -> Option<Type> {
        let checked: Vec<Option<()>> =
            parts.iter().map(|part| self.condition(part, scope, &format!("`{word}` joins"))).collect();
        checked.iter().all(Option::is_some).then_some(Type::Bool)
    }

    /// Checks that an expression is true or false; `what` begins the sentence that says so.
    pub(super) fn condition(&mut self, expr: &Expr, scope: Scope<'_>, what: &str) -> Option<()> {
        let found = self.type_of(expr, scope)?;
        if found == Type::Bool {
            return Some(());
        }
        let joined = if what.ends_with("joins") { "conditions" } else { "a condition" };
        let message = format!("{what} {joined}, but this is {}", mismatch::with_article(&found));
        self.report("not-a-condition", expr.span, message, Some(mismatch::condition_help(&found)));
        None
    }

    fn compare(&mut self, expr: &Expr, op: CompareOp, left: &Expr, right: &Expr, scope: Scope<'_>) -> Option<Type> {
        let (left_type, right_type) = (self.type_of(left, scope), self.type_of(right, scope));
        let (left_type, right_type) = (left_type?, right_type?);
        let symbol = mismatch::symbol(op);
        if left_type != right_type {
            let span = mismatch::blamed(expr, left, right);
            let message = mismatch::compared(symbol, &left_type, &right_type);
            let help = mismatch::help((left, &left_type), (right, &right_type));
            self.report("type-mismatch", span, message, help);
            return None;
        }
        let equality = matches!(op, CompareOp::Equal | CompareOp::NotEqual);
        if equality && matches!(left_type, Type::List(_)) {
            let help = "ask about an element: `… contains …`, or about the number of values: `distinct(…)`";
            self.report("type-mismatch", expr.span, format!("`{symbol}` cannot compare lists"), Some(help.to_owned()));
            return None;
        }
        if !equality && !operators::is_ordered(&left_type) {
            let message = format!("`{symbol}` needs an order, and {} has none", mismatch::plural(&left_type));
            let help = "numbers, instants and durations can be ordered".to_owned();
            self.report("type-mismatch", expr.span, message, Some(help));
            return None;
        }
        Some(Type::Bool)
    }

    fn between(&mut self, value: &Expr, low: &Expr, high: &Expr, scope: Scope<'_>) -> Option<Type> {
        let value_type = self.type_of(value, scope);
        let (low_type, high_type) = (self.type_of(low, scope), self.type_of(high, scope));
        let value_type = value_type?;
        if !operators::is_ordered(&value_type) {
            let message = format!("`between` needs an order, and {} has none", mismatch::plural(&value_type));
            self.report("type-mismatch", value.span, message, None);
            return None;
        }
        let mut fits = true;
        for (end, end_type) in [(low, low_type?), (high, high_type?)] {
            if end_type != value_type {
                let message = mismatch::compared("between", &value_type, &end_type);
                let help = mismatch::help((value, &value_type), (end, &end_type));
                self.report("type-mismatch", end.span, message, help);
                fits = false;
            }
        }
        fits.then_some(Type::Bool)
    }

    fn within(&mut self, value: &Expr, items: &[Spanned<Literal>], scope: Scope<'_>) -> Option<Type> {
        let value_type = self.type_of(value, scope)?;
        if matches!(value_type, Type::List(_)) {
            let help = "ask about each of them: `… contains \"a\" or … contains \"b\"`".to_owned();
            self.report("type-mismatch", value.span, "`in` cannot look for a list", Some(help));
            return None;
        }
        for item in items {
            let item_type = operators::literal(&item.node);
            if item_type != value_type {
                let message = mismatch::compared("in", &value_type, &item_type);
                let item = Expr { node: ExprKind::Literal(item.node.clone()), span: item.span };
                let help = mismatch::help((value, &value_type), (&item, &item_type));
                self.report("type-mismatch", item.span, message, help);
                return None;
            }
        }
        Some(Type::Bool)
    }

    fn text_test(&mut self, test: TextTest, left: &Expr, right: &Expr, scope: Scope<'_>) -> Option<Type> {
        let (left_type, right_type) = (self.type_of(left, scope), self.type_of(right, scope));
        let (left_type, right_type) = (left_type?, right_type?);
        let word = match test {
            TextTest::Contains => "contains",
            TextTest::StartsWith => "starts with",
            TextTest::EndsWith => "ends with",
        };
        let wanted = match (&left_type, test) {
            (Type::Text, _) => Type::Text,
            (Type::List(item), TextTest::Contains) => item.as_ref().clone(),
            (other, _) => {
                let searched = if test == TextTest::Contains { "a text or a list" } else { "a text" };
                let message = format!("`{word}` looks into {searched}, but this is {}", mismatch::with_article(other));
                let help =
                    matches!(other, Type::List(_)).then(|| "ask for a whole element: `LIST contains \"…\"`".to_owned());
                self.report("type-mismatch", left.span, message, help);
                return None;
            }
        };
        if right_type != wanted {
            let message = format!(
                "`{word}` looks for {} in {}, but this is {}",
                mismatch::with_article(&wanted),
                mismatch::with_article(&left_type),
                mismatch::with_article(&right_type)
            );
            let help = mismatch::literal_help(right, &wanted);
            self.report("type-mismatch", right.span, message, help);
            return None;
        }
        Some(Type::Bool)
    }

    fn arithmetic(
        &mut self,
        expr: &Expr,
        op: ArithmeticOp,
        left: &Expr,
        right: &Expr,
        scope: Scope<'_>,
    ) -> Option<Type> {
        let (left_type, right_type) = (self.type_of(left, scope), self.type_of(right, scope));
        let (left_type, right_type) = (left_type?, right_type?);
        let found = operators::arithmetic(op, &left_type, &right_type);
        if found.is_none() {
            let (message, help) = mismatch::arithmetic(op, (left, &left_type), (right, &right_type));
            self.report("type-mismatch", expr.span, message, help);
        }
        found
    }

    fn negate(&mut self, expr: &Expr, part: &Expr, scope: Scope<'_>) -> Option<Type> {
        let found = self.type_of(part, scope)?;
        if matches!(found, Type::Number | Type::Duration) {
            return Some(found);
        }
        let message = format!("`-` goes before a number or a duration, but this is {}", mismatch::with_article(&found));
        self.report("type-mismatch", expr.span, message, Some("leave the `-` out".to_owned()));
        None
    }

    fn of_instant(&mut self, part: &Expr, scope: Scope<'_>, call: &str) -> Option<()> {
        let found = self.type_of(part, scope)?;
        if found == Type::Instant {
            return Some(());
        }
        let message = format!("`{call}` takes an instant, but this is {}", mismatch::with_article(&found));
        let help = mismatch::literal_help(part, &Type::Instant);
        let help =
            help.or_else(|| Some(format!("for example `{call}(trait.birth_date)` or `{call}(first(purchase))`")));
        self.report("type-mismatch", part.span, message, help);
        None
    }

    fn coalesce(&mut self, parts: &[Expr], scope: Scope<'_>) -> Option<Type> {
        let types: Vec<Option<Type>> = parts.iter().map(|part| self.type_of(part, scope)).collect();
        let mut types = types.into_iter().collect::<Option<Vec<Type>>>()?.into_iter();
        let first = types.next()?;
        for (part, found) in parts.iter().skip(1).zip(types) {
            if found != first {
                let message = format!(
                    "`coalesce` chooses between values of one type: the first is {}, but this is {}",
                    mismatch::with_article(&first),
                    mismatch::with_article(&found)
                );
                let help = mismatch::literal_help(part, &first);
                let like_the_first = || format!("write {} here, or take this one out", mismatch::with_article(&first));
                self.report("type-mismatch", part.span, message, Some(help.unwrap_or_else(like_the_first)));
                return None;
            }
        }
        Some(first)
    }

    fn percentile(&mut self, aggregate: &Spanned<super::super::ast::Aggregate>) -> Option<Type> {
        let found = self.aggregate(&aggregate.node)?;
        if !operators::is_ordered(&found) {
            let message = format!("`percentile` needs an order, and {} has none", mismatch::plural(&found));
            self.report("type-mismatch", aggregate.span, message, None);
            return None;
        }
        Some(Type::Number)
    }

    fn trait_type(&mut self, name: &Name) -> Option<Type> {
        match self.names.traits.get(name.node.as_str()) {
            Some(TraitEntry::Profile(entry)) => entry.value_type.clone(),
            Some(TraitEntry::Computed(position, _)) => self.trait_types.get(*position).cloned().flatten(),
            None => {
                let problem = self.names.unknown_trait(&name.node, self.place(name.span));
                self.problems.push(problem);
                None
            }
        }
    }

    fn segment(&mut self, name: &Spanned<String>) -> Option<Type> {
        if !self.names.segment_positions.contains_key(&name.node) {
            let problem = self.names.unknown_segment(&name.node, self.place(name.span));
            self.problems.push(problem);
            return None;
        }
        Some(Type::Bool)
    }
}
