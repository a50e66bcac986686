//! What to say when the text does not fit the grammar: what could have stood there, and what was probably meant.

use super::super::ast::{Function, Source, Span};
use super::super::diagnostic::{Problem, did_you_mean, nearest};
use super::super::keyword;
use super::super::lexer::TokenKind;
use super::super::literal::{duration_slip, unit_of_word};
use super::{Parsed, Parser, Stopped, is_word};

/// Where in the grammar the text stopped fitting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    AfterExpression,
    AfterExpressionInside,
    Operand,
    AfterIs { negated: bool },
    AfterNot,
    Item,
    AfterItem,
    TraitDot,
    NameBehindDot,
    Path,
    AfterArgument(&'static str),
    TextArgument(&'static str),
    AggregateArgument,
    Duration(&'static str),
    Word(&'static str),
    Open(&'static str),
    Event,
    EachDot,
    AfterStep(Function),
    AfterSource,
    AfterFilter,
    AfterPatternInside,
    AfterWindow,
    AfterAnchor,
    AfterAnchorFilter,
    Within(&'static str),
    Unit,
    Since,
}

const COMPARISONS: &[&str] = &["not", "between", "in", "contains", "starts with", "ends with", "is known"];
const JOINS: &[&str] = &["and", "or", "for"];
const WINDOWS: &[&str] = &["over", "since", "this"];
const RELATIONS: &[&str] = &["then", "without", "after"];

const A_VALUE: &str = "a value: a field, a number, \"text\", `trait.name` or a function such as `count(purchase)`";
const A_WINDOW: &str = "a window (`over 30d`, `since 2026-01-01`, `this week`)";
const A_DURATION: &str = "a duration such as `7d` or `1h30m`";

impl Place {
    fn expected(&self, may_compare: bool) -> String {
        let comparison =
            if may_compare { "a comparison (`=`, `>`, `between`, `in`, `contains`, `is known`), " } else { "" };
        match self {
            Self::AfterExpression => format!("{comparison}`and`, `or`, or the end"),
            Self::AfterExpressionInside => format!("{comparison}`and`, `or`, or `)`"),
            Self::Operand => A_VALUE.into(),
            Self::AfterIs { negated: false } => "`known` or `not known`".into(),
            Self::AfterIs { negated: true } => "`known`".into(),
            Self::AfterNot => "`between`, `in`, `contains`, `starts with` or `ends with`".into(),
            Self::Item => "a fixed value: a number, \"text\", `true`, `false`, a duration or an instant".into(),
            Self::AfterItem => "`,` or `)`".into(),
            Self::TraitDot => "`.` and the name of a trait".into(),
            Self::NameBehindDot => "a name".into(),
            Self::Path => "the name of a field".into(),
            Self::AfterArgument("coalesce") => "`,` or `)`".into(),
            Self::AfterArgument(_) | Self::AfterWindow => "`)`".into(),
            Self::TextArgument(_) => "a text in double quotes".into(),
            Self::AggregateArgument => "an aggregate such as `sum(purchase.total over 365d)`".into(),
            Self::Duration(_) => A_DURATION.into(),
            Self::Word(word) => format!("`{word}`"),
            Self::Open(_) => "`(`".into(),
            Self::Event => "the name of an event, such as `purchase`".into(),
            Self::EachDot => "`.` and the field that holds the list".into(),
            Self::AfterStep(_) => format!("`where`, `then`, `without`, `after`, {A_WINDOW}, or `)`"),
            Self::AfterSource => format!("`where`, {A_WINDOW}, or `)`"),
            Self::AfterFilter => format!("{comparison}`and`, `or`, {A_WINDOW}, or `)`"),
            Self::AfterPatternInside => "`where`, `then`, `without`, `after` or `)`".into(),
            Self::AfterAnchor => "`where` or `)`".into(),
            Self::AfterAnchorFilter => format!("{comparison}`and`, `or`, or `)`"),
            Self::Within(_) => "`within` and a duration, such as `within 1h`".into(),
            Self::Unit => "`day`, `week`, `month` or `year`".into(),
            Self::Since => "an instant such as `2026-01-01`, `first(…)` or `last(…)`".into(),
        }
    }

    /// The keywords that could stand here.
    fn keywords(&self) -> Vec<&str> {
        let of = |lists: &[&[&'static str]]| lists.concat();
        match self {
            Self::AfterExpression | Self::AfterExpressionInside => of(&[COMPARISONS, JOINS]),
            Self::AfterStep(_) | Self::AfterPatternInside => of(&[&["where"], RELATIONS, WINDOWS]),
            Self::AfterSource => of(&[&["where"], WINDOWS]),
            Self::AfterFilter => of(&[COMPARISONS, JOINS, WINDOWS, RELATIONS]),
            Self::AfterAnchor => vec!["where"],
            Self::AfterAnchorFilter => of(&[COMPARISONS, JOINS]),
            Self::AfterIs { .. } => vec!["known", "not known"],
            Self::AfterNot => vec!["between", "in", "contains", "starts with", "ends with"],
            Self::Word(word) => vec![word],
            Self::Within(_) => vec!["within", "on"],
            Self::Unit => vec!["day", "week", "month", "year"],
            Self::Since => vec!["first", "last"],
            _ => Vec::new(),
        }
    }

    fn may_take_window(&self) -> bool {
        matches!(self, Self::AfterStep(_) | Self::AfterSource | Self::AfterFilter)
    }

    fn may_end_expression(&self) -> bool {
        matches!(
            self,
            Self::AfterExpression | Self::AfterExpressionInside | Self::AfterFilter | Self::AfterAnchorFilter
        )
    }
}

impl Parser<'_> {
    fn written(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn report(
        &mut self,
        span: Span,
        code: &'static str,
        message: String,
        expected: Option<String>,
        help: Option<String>,
    ) {
        self.problems.push(Problem { span, code, message, expected, help });
    }

    /// The text does not fit at this token.
    pub(super) fn fail<T>(&mut self, place: Place) -> Parsed<T> {
        if matches!(self.kind(), TokenKind::Stop) {
            return Err(Stopped);
        }
        let before = self.token_at(self.at.saturating_sub(1));
        if matches!(before.kind, TokenKind::Text(_)) && self.written(before.span).contains('\n') {
            // The quotes are out of step: the text that runs over a line is the one that was not closed.
            let span = Span { start: before.span.start, end: before.span.start + 1 };
            self.report(
                span,
                "SEG003",
                "this text is not closed".to_owned(),
                None,
                Some("end it with `\"`".to_owned()),
            );
            return Err(Stopped);
        }
        let expected = place.expected(self.may_compare);
        let (code, help) = self.slip(&place);
        let span = self.span();
        let message = match self.kind() {
            TokenKind::End => "something is missing at the end".to_owned(),
            _ => match place {
                Place::Duration(behind) => format!("{behind} is not followed by a duration"),
                Place::Within(word) => format!("`{word}` says no `within`"),
                Place::Operand => format!("a value is missing before `{}`", shortened(self.written(span))),
                _ => format!("`{}` does not fit here", shortened(self.written(span))),
            },
        };
        self.report(span, code, message, Some(expected), help);
        Err(Stopped)
    }

    /// The slip that is behind a text that does not fit, if it is a common one.
    fn slip(&self, place: &Place) -> (&'static str, Option<String>) {
        let help = self.window_slip(place).map(|help| ("SEG013", Some(help)));
        let help = help.or_else(|| self.place_slip(place).map(|help| ("SEG010", Some(help))));
        let help = help.or_else(|| self.word_slip(place).map(|help| ("SEG011", Some(help))));
        help.unwrap_or(("SEG010", None))
    }

    /// `last 30d`, `within 30d`, `30d`, `over 2026-01-01`: a window in other words.
    fn window_slip(&self, place: &Place) -> Option<String> {
        if matches!((place, self.kind()), (Place::Since, TokenKind::Duration(_))) {
            return Some(format!("write `over {}`", self.written(self.span())));
        }
        if matches!((place, self.kind()), (Place::Duration("`over`"), TokenKind::Instant(_))) {
            return Some(format!("write `since {}`", self.written(self.span())));
        }
        if !place.may_take_window() {
            return None;
        }
        let fillers = ["in", "the", "last", "past", "during", "within", "for", "previous", "of", "on", "from", "after"];
        let mut at = self.at;
        while fillers.iter().any(|filler| is_word(&self.token_at(at).kind, filler)) {
            at += 1;
        }
        let token = self.token_at(at);
        match token.kind {
            TokenKind::Duration(_) => Some(format!("write the window as `over {}`", self.written(token.span))),
            TokenKind::Instant(_) => Some(format!("write the window as `since {}`", self.written(token.span))),
            _ => None,
        }
    }

    fn place_slip(&self, place: &Place) -> Option<String> {
        let written = self.written(self.span());
        let help = match (place, self.kind()) {
            (Place::Operand, TokenKind::Compare(_)) => return Some(self.repeat_help()),
            (Place::Operand, TokenKind::Close) => "put a value before the `)`",
            (Place::Operand | Place::AfterExpression, TokenKind::Open) => return self.call_help(),
            (Place::AfterExpression, TokenKind::Close) => "this `)` closes nothing: take it out",
            (Place::Duration(_), TokenKind::Number(_)) => {
                return Some(format!("add a unit, such as `{written}d` for days or `{written}h` for hours"));
            }
            (Place::Duration(_), TokenKind::Minus) => "durations here are positive: leave out the `-`",
            (Place::Within(_), _) => "say how far apart at most: `A then B within 1h`, `A without B within 1h`",
            (Place::AfterStep(function), TokenKind::Dot) => return Some(self.counted_field_help(*function)),
            (Place::AfterStep(_), TokenKind::Comma) => "one event at a time: join conditions with `or` and `and`",
            (Place::Event, TokenKind::Star) => "name one event: conditions on several are joined with `or` and `and`",
            (Place::Open("in"), _) => "write the values in parentheses: `in (\"a\", \"b\")`",
            (Place::Item, TokenKind::Close) => "`in ()` needs at least one value, such as `in (\"a\", \"b\")`",
            (Place::TextArgument(call), TokenKind::Word(_) | TokenKind::Quoted(_)) => {
                return Some(format!("write `{call}(\"{}\")`", self.written(self.span()).trim_matches('`')));
            }
            (Place::Item, TokenKind::Word(_) | TokenKind::Quoted(_)) => {
                return Some(format!("text stands in double quotes: `\"{}\"`", written.trim_matches('`')));
            }
            (Place::AfterIs { .. }, TokenKind::Text(_) | TokenKind::Number(_) | TokenKind::Duration(_)) => {
                "compare with `=`"
            }
            (Place::AfterWindow, _) if is_word(self.kind(), "where") => "`where` stands before the window",
            (Place::AfterWindow, _) if RELATIONS.iter().any(|word| self.at_word(word)) => {
                "the window stands at the end, after the whole pattern"
            }
            (Place::AfterStep(_) | Place::AfterWindow, _) if self.at_word("on") => {
                "`on` stands before `within`: `A then B on customer_field within 1h`"
            }
            (Place::AfterStep(_) | Place::AfterFilter, _) if RELATIONS.iter().any(|word| self.at_word(word)) => {
                "put the steps so far in parentheses: `(A then B within 1h) then C within 1h`"
            }
            (Place::AfterPatternInside, _) if WINDOWS.iter().any(|word| self.at_word(word)) => {
                "the window stands at the end, after the whole pattern"
            }
            (Place::Unit, TokenKind::Word(_)) if self.at_word("quarter") => {
                "write the date it started: `since 2026-01-01`"
            }
            (Place::AfterExpression | Place::AfterExpressionInside, TokenKind::Compare(_)) => {
                "compare two things at a time: join comparisons with `and`, or use `between 1 and 5`"
            }
            _ if place.may_end_expression() => return self.expression_slip(),
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// Slips where an expression could have ended.
    fn expression_slip(&self) -> Option<String> {
        let before = self.at.checked_sub(1).map(|before| self.token_at(before))?;
        if let TokenKind::Word(word) = before.kind {
            if word.eq_ignore_ascii_case("now") && matches!(self.kind(), TokenKind::Open) {
                return Some("write `now` without parentheses".to_owned());
            }
            let is_function = keyword::aggregate_named(word).is_some() || keyword::call_named(word).is_some();
            if is_function && matches!(self.kind(), TokenKind::Word(_) | TokenKind::Text(_)) {
                return Some(format!(
                    "write what `{word}` is of in parentheses: `{word}({})`",
                    self.written(self.span())
                ));
            }
        }
        let help = match *self.kind() {
            TokenKind::Comma => {
                "decimals are written with a point and thousands without a sign; conditions are joined \
                                 with `and` or `or`"
            }
            TokenKind::Text(_) | TokenKind::Number(_) if self.may_compare => {
                "put a comparison such as `=` between them"
            }
            TokenKind::Word(word) => match word.to_ascii_lowercase().as_str() {
                "like" | "matches" | "includes" | "has" | "containing" => "write `contains`",
                "startswith" | "starts_with" | "begins" => "write `starts with`",
                "endswith" | "ends_with" => "write `ends with`",
                "exists" => "write `is known`",
                "equals" | "equal" | "eq" | "are" => "write `=`",
                "more" | "greater" | "above" => "write `>`",
                "less" | "fewer" | "below" => "write `<`",
                "isnt" | "ne" => "write `!=`",
                "over" | "since" | "this" => "a window stands inside the parentheses: `count(purchase over 30d)`",
                "where" => "`where` stands inside the parentheses: `count(purchase where total > 50)`",
                "then" | "without" | "after" => {
                    "events in sequence stand inside the parentheses: `did(A then B within 1h)`"
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// A word that is nearly one of the keywords that could stand here.
    fn word_slip(&self, place: &Place) -> Option<String> {
        let TokenKind::Word(word) = *self.kind() else {
            return None;
        };
        match place {
            Place::AfterIs { .. } => {
                let empty = ["null", "empty", "missing", "unknown", "set", "none", "defined", "present"];
                if empty.iter().any(|candidate| word.eq_ignore_ascii_case(candidate)) {
                    return Some("write `is known` or `is not known`".to_owned());
                }
                let known = did_you_mean(word, place.keywords());
                Some(known.unwrap_or_else(|| "compare with `=`; `is` is only for `is known`".to_owned()))
            }
            Place::Duration(_) => duration_slip(word)
                .or_else(|| unit_of_word(word).map(|_| "write the number and the unit, such as `1d`".to_owned())),
            _ => did_you_mean(word, place.keywords()),
        }
    }

    /// `total >= 50 and <= 60`.
    fn repeat_help(&self) -> String {
        let compared =
            self.compared.map(|span| self.written(span)).filter(|text| text.len() <= 60 && !text.contains('\n'));
        match compared {
            Some(compared) if self.at > 1 => format!(
                "say again what is compared: `{compared} {} …`, or use `{compared} between 1 and 5`",
                self.written(self.span())
            ),
            _ => "put what is compared before it".to_owned(),
        }
    }

    fn call_help(&self) -> Option<String> {
        let before = self.at.checked_sub(1).map(|before| self.token_at(before))?;
        match before.kind {
            TokenKind::Word(word) if word.eq_ignore_ascii_case("now") => Some("write `now` without parentheses".into()),
            _ => None,
        }
    }

    fn counted_field_help(&self, function: Function) -> String {
        let before = self.at.checked_sub(1).map_or("", |before| self.written(self.token_at(before).span));
        let name = keyword::name_of(function);
        format!(
            "`{name}` looks at whole events: write `{name}({before} where … is known)`, or `{name}(each {before}.…)` \
             for the elements of a list"
        )
    }

    /// A reserved word where a name or a value should stand.
    pub(super) fn fail_reserved<T>(&mut self, place: Place) -> Parsed<T> {
        let TokenKind::Word(word) = *self.kind() else {
            return self.fail(place);
        };
        let used_as_value = match self.next_kind() {
            TokenKind::Compare(_) | TokenKind::Dot => true,
            TokenKind::Word(next) => ["is", "in", "contains", "between"].iter().any(|w| next.eq_ignore_ascii_case(w)),
            _ => false,
        };
        if place == Place::Operand && !used_as_value {
            return self.fail(place);
        }
        let message = format!("`{word}` is a keyword of the language, so it cannot be a bare name");
        let help = format!("if it is a name, write it in backquotes: `` `{word}` ``");
        self.report(self.span(), "SEG014", message, Some(place.expected(false)), Some(help));
        Err(Stopped)
    }

    pub(super) fn fail_unclosed<T>(&mut self, open: Span) -> Parsed<T> {
        let message = "this `(` is never closed".to_owned();
        self.report(open, "SEG012", message, Some("`)`".to_owned()), Some("close it with `)`".to_owned()));
        Err(Stopped)
    }

    pub(super) fn fail_unknown_function<T>(&mut self, word: &str) -> Parsed<T> {
        let other = match word.to_ascii_lowercase().as_str() {
            "average" | "mean" => Some("avg"),
            "total" => Some("sum"),
            "minimum" | "least" | "lowest" => Some("min"),
            "maximum" | "highest" => Some("max"),
            "unique" | "uniq" | "count_distinct" | "distinct_count" => Some("distinct"),
            "has" | "any" | "exists" => Some("did"),
            "latest" => Some("last"),
            "earliest" => Some("first"),
            "values" | "collect" => Some("list"),
            "most_frequent" | "favourite" | "favorite" | "mode" => Some("top"),
            "ifnull" | "nvl" => Some("coalesce"),
            "in_segment" => Some("segment"),
            _ => nearest(word, keyword::function_names()),
        };
        let expected = keyword::function_names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let help = other.map(|name| format!("did you mean `{name}`?"));
        let message = format!("there is no function `{}`", shortened(word));
        self.report(self.span(), "SEG015", message, Some(format!("one of {expected}")), help);
        Err(Stopped)
    }

    /// `count()`.
    pub(super) fn fail_no_argument<T>(&mut self, name: &'static str, open: Span) -> Parsed<T> {
        let (expected, example) = match name {
            "did" | "count" => ("the name of an event", "purchase over 30d"),
            "first" | "last" => ("the name of an event, with a field if you want its value", "purchase.total"),
            "segment" => ("the name of a segment in double quotes", "\"trial\""),
            "bucket" => ("a text in double quotes", "\"holdout\""),
            "age" | "anniversary" => ("an instant", "trait.birth_date"),
            "percentile" => ("an aggregate", "sum(purchase.total over 365d)"),
            "coalesce" => ("one or more values", "trait.nickname, trait.first_name"),
            _ => ("the name of an event and its field", "purchase.total over 30d"),
        };
        let span = Span { start: open.start, end: self.span().end };
        let help = format!("write what it is of, such as `{name}({example})`");
        self.report(span, "SEG016", format!("`{name}` is of nothing"), Some(expected.to_owned()), Some(help));
        Err(Stopped)
    }

    /// `sum(purchase)`.
    pub(super) fn fail_no_path<T>(&mut self, function: Function, source: &Source) -> Parsed<T> {
        let (name, event) = (keyword::name_of(function), &source.event.node);
        let message = format!("`{name}` needs a field of `{event}`");
        let help = format!("write `{name}({event}.FIELD)` with the field's name");
        self.report(source.span, "SEG017", message, Some(format!("`.` and a field of `{event}`")), Some(help));
        Err(Stopped)
    }

    pub(super) fn fail_empty<T>(&mut self) -> Parsed<T> {
        let help = "for example `did(purchase over 30d)`".to_owned();
        self.report(self.span(), "SEG018", "there is no expression".to_owned(), Some(A_VALUE.to_owned()), Some(help));
        Err(Stopped)
    }

    pub(super) fn fail_too_deep<T>(&mut self, of_what: &str, most: usize) -> Parsed<T> {
        let message = format!("this is too deep: at most {most} {of_what}");
        let help = "take a part out as a trait of its own and use it as `trait.name`".to_owned();
        self.report(self.span(), "SEG019", message, None, Some(help));
        Err(Stopped)
    }

    /// Says that something stands in a filter that must not, and lets the parse go on.
    pub(super) fn refuse_in_filter(&mut self, span: Span, what: &str) {
        if !self.in_filter {
            return;
        }
        let message = format!("{what} cannot stand in a `where`: it looks at the fields of one event alone");
        let help = match what {
            "`now`" => "to look at recent events, use a window: `over 30d`",
            "`for`" => "`for` stands outside, behind a condition: `did(…) for 7d`; a window is written `over 30d`",
            _ => "put this condition outside the parentheses, joined with `and`",
        };
        self.report(span, "SEG020", message, None, Some(help.to_owned()));
    }
}

/// A piece of the text for a message.
fn shortened(text: &str) -> String {
    let line = text.split('\n').next().unwrap_or_default();
    match line.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}
