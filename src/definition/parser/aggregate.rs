//! Aggregates: what they are over, patterns of events, filters and windows.

use super::super::ast::{
    Aggregate, Anchor, CalendarUnit, Expr, Function, On, Operand, Pattern, PatternKind, Relation, Source, Spanned,
    Step, Window,
};
use super::super::keyword;
use super::super::lexer::TokenKind;
use super::complaint::Place;
use super::{Parsed, Parser};

impl Parser<'_> {
    /// At the function's name.
    pub(super) fn aggregate(&mut self, function: Function) -> Parsed<Spanned<Aggregate>> {
        let name = keyword::name_of(function);
        let span = self.span();
        self.refuse_in_filter(span, &format!("`{name}(…)`"));
        self.advance();
        let open = self.open(name)?;
        if matches!(self.kind(), TokenKind::Close) {
            return self.fail_no_argument(name, open);
        }
        let (over, place) = match function {
            Function::Did | Function::Count => {
                let pattern = self.pattern()?;
                let place = if ends_in_filter(&pattern) { Place::AfterFilter } else { Place::AfterStep(function) };
                (Operand::Pattern(pattern), place)
            }
            _ => self.values(function)?,
        };
        let window = self.window()?;
        let place = if matches!(window, Window::Ever) { place } else { Place::AfterWindow };
        self.close(open, place)?;
        let aggregate = Aggregate { function: Spanned { node: function, span }, over, window };
        Ok(Spanned { node: aggregate, span: self.since(span.start) })
    }

    /// The aggregate that `percentile` ranks.
    pub(super) fn aggregate_argument(&mut self) -> Parsed<Spanned<Aggregate>> {
        if let TokenKind::Word(word) = *self.kind()
            && matches!(self.next_kind(), TokenKind::Open)
            && let Some(function) = keyword::aggregate_named(word)
        {
            return self.aggregate(function);
        }
        self.fail(Place::AggregateArgument)
    }

    fn values(&mut self, function: Function) -> Parsed<(Operand, Place)> {
        let source = self.source()?;
        let path = if !source.each && self.take(&TokenKind::Dot) { Some(self.path_behind_dot()?) } else { None };
        let needs_path = !matches!(function, Function::First | Function::Last);
        if needs_path && path.is_none() && !source.each {
            return self.fail_no_path(function, &source);
        }
        let filter = self.filter()?;
        let place = if filter.is_some() { Place::AfterFilter } else { Place::AfterSource };
        Ok((Operand::Values { source, path, filter }, place))
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        self.enter()?;
        let start = self.span().start;
        let first = self.step()?;
        let kind = if self.take_word("then") {
            PatternKind::Then(Box::new(self.relation_within(first, "then")?))
        } else if self.take_word("without") {
            PatternKind::Without(Box::new(self.relation_within(first, "without")?))
        } else if self.take_word("after") {
            let duration_ms = self.duration("`after`")?;
            self.expect_word("without")?;
            let second = self.step()?;
            let on = self.on()?;
            PatternKind::After(Box::new(Relation { first, second, on, duration_ms }))
        } else {
            self.leave();
            // Parentheses around a whole pattern mean nothing.
            return Ok(match first {
                Step::Pattern(pattern) => *pattern,
                step @ Step::Events { .. } => {
                    Pattern { kind: PatternKind::Step(Box::new(step)), span: self.since(start) }
                }
            });
        };
        self.leave();
        Ok(Pattern { kind, span: self.since(start) })
    }

    fn relation_within(&mut self, first: Step, word: &'static str) -> Parsed<Relation> {
        let second = self.step()?;
        let on = self.on()?;
        if !self.take_word("within") {
            return self.fail(Place::Within(word));
        }
        let duration_ms = self.duration("`within`")?;
        Ok(Relation { first, second, on, duration_ms })
    }

    fn step(&mut self) -> Parsed<Step> {
        let open = self.span();
        if self.take(&TokenKind::Open) {
            let pattern = self.pattern()?;
            self.close(open, Place::AfterPatternInside)?;
            return Ok(match pattern.kind {
                PatternKind::Step(step) => *step,
                _ => Step::Pattern(Box::new(pattern)),
            });
        }
        let source = self.source()?;
        let filter = self.filter()?;
        Ok(Step::Events { source, filter })
    }

    fn source(&mut self) -> Parsed<Source> {
        let start = self.span().start;
        let each = self.take_word("each");
        let event = self.bare_name(Place::Event)?;
        let path = if each {
            if !self.take(&TokenKind::Dot) {
                return self.fail(Place::EachDot);
            }
            Some(self.path_behind_dot()?)
        } else {
            None
        };
        Ok(Source { each, event, path, span: self.since(start) })
    }

    fn on(&mut self) -> Parsed<Option<On>> {
        let start = self.span().start;
        if !self.take_word("on") {
            return Ok(None);
        }
        let first = self.path()?;
        let equal = TokenKind::Compare(super::super::ast::CompareOp::Equal);
        let second = if self.take(&equal) { Some(self.path()?) } else { None };
        Ok(Some(On { first, second, span: self.since(start) }))
    }

    fn filter(&mut self) -> Parsed<Option<Box<Expr>>> {
        if !self.take_word("where") {
            return Ok(None);
        }
        let outside = std::mem::replace(&mut self.in_filter, true);
        let filter = self.expression()?;
        self.in_filter = outside;
        Ok(Some(Box::new(filter)))
    }

    fn window(&mut self) -> Parsed<Window> {
        if self.take_word("over") {
            return Ok(Window::Over(self.duration("`over`")?));
        }
        if self.take_word("this") {
            let unit = match self.kind() {
                TokenKind::Word(word) => unit_named(word),
                _ => None,
            };
            let Some(unit) = unit else {
                return self.fail(Place::Unit);
            };
            self.advance();
            return Ok(Window::This(unit));
        }
        if !self.take_word("since") {
            return Ok(Window::Ever);
        }
        let span = self.span();
        if let TokenKind::Instant(instant) = *self.kind() {
            self.advance();
            return Ok(Window::SinceInstant(Spanned { node: instant, span }));
        }
        let last = self.at_word("last");
        if !(last || self.at_word("first")) || !matches!(self.next_kind(), TokenKind::Open) {
            return self.fail(Place::Since);
        }
        self.advance();
        let open = self.open("last")?;
        let event = self.bare_name(Place::Event)?;
        let filter = self.filter()?;
        self.close(open, if filter.is_some() { Place::AfterAnchorFilter } else { Place::AfterAnchor })?;
        Ok(Window::SinceAnchor(Box::new(Anchor { last, event, filter, span: self.since(span.start) })))
    }
}

fn unit_named(word: &str) -> Option<CalendarUnit> {
    match word.to_ascii_lowercase().as_str() {
        "day" => Some(CalendarUnit::Day),
        "week" => Some(CalendarUnit::Week),
        "month" => Some(CalendarUnit::Month),
        "year" => Some(CalendarUnit::Year),
        _ => None,
    }
}

/// Whether the pattern's last words are a filter, which could still go on.
fn ends_in_filter(pattern: &Pattern) -> bool {
    let step = match &pattern.kind {
        PatternKind::Step(step) => step,
        PatternKind::After(relation) if relation.on.is_none() => &relation.second,
        _ => return false,
    };
    matches!(step, Step::Events { filter: Some(_), .. })
}
