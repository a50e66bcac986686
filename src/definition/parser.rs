//! The grammar: the text of an expression into its tree, or what is wrong with it.
//!
//! Recursive descent, one function a rule of section 3 of the specification, with its name. The tree keeps what was
//! written; only parentheses that mean nothing are dropped, in patterns too. What a filter may not hold (`now`,
//! `trait`, aggregates, calls but `coalesce`, `for`) is refused here; names and types are the checker's.
//!
//! One mistake is one problem: the first that cannot be read over ends the parse.

mod aggregate;
mod complaint;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use super::diagnostic::Problem;
pub use super::literal::{LiteralError, parse_duration, parse_instant};

use super::ast::{ArithmeticOp, Expr, ExprKind, Literal, Name, Path, Span, Spanned, TextTest};
use super::keyword;
use super::lexer::{self, Token, TokenKind};
use complaint::Place;

/// How deep expressions and patterns may be nested: far past what a person writes, far below what a stack holds.
const MOST_LEVELS: usize = 100;

/// How many `+ - * /` one arithmetic may hold, since each makes the tree one level deeper.
const MOST_OPERATORS: usize = 200;

/// Reads an expression.
///
/// The problems are in the order of their places and there is at least one.
pub fn parse(text: &str) -> Result<Expr, Vec<Problem>> {
    let lexed = lexer::lex(text);
    let mut parser = Parser::new(text, &lexed.tokens);
    let outcome = parser.whole();
    let mut problems = lexed.slips;
    problems.append(&mut parser.problems);
    match outcome {
        Ok(expression) if problems.is_empty() => return Ok(expression),
        Ok(_) => {}
        Err(Stopped) => {
            if matches!(parser.kind(), TokenKind::Stop) || problems.is_empty() {
                problems.extend(lexed.stop);
            }
        }
    }
    problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
    Err(problems)
}

/// The parse cannot go on; why is among the problems.
#[derive(Debug)]
struct Stopped;

type Parsed<T> = Result<T, Stopped>;

struct Parser<'t> {
    text: &'t str,
    /// At least one; the last is `End` or `Stop` and is never passed.
    tokens: &'t [Token<'t>],
    at: usize,
    problems: Vec<Problem>,
    levels: usize,
    /// Arithmetic operators in the outermost operand that is being read.
    operators: usize,
    operand_levels: usize,
    in_filter: bool,
    /// The last predicate read had no comparison, so one may still be what is missing.
    may_compare: bool,
    /// What the last comparison compared.
    compared: Option<Span>,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, tokens: &'t [Token<'t>]) -> Self {
        Self {
            text,
            tokens,
            at: 0,
            problems: Vec::new(),
            levels: 0,
            operators: 0,
            operand_levels: 0,
            in_filter: false,
            may_compare: false,
            compared: None,
        }
    }

    // The tokens.

    fn token_at(&self, at: usize) -> &'t Token<'t> {
        const END: &Token<'static> = &Token { kind: TokenKind::End, span: Span { start: 0, end: 0 } };
        self.tokens.get(at).or(self.tokens.last()).unwrap_or(END)
    }

    fn token(&self) -> &'t Token<'t> {
        self.token_at(self.at)
    }

    fn kind(&self) -> &'t TokenKind<'t> {
        &self.token().kind
    }

    fn next_kind(&self) -> &'t TokenKind<'t> {
        &self.token_at(self.at + 1).kind
    }

    fn span(&self) -> Span {
        self.token().span
    }

    /// Where the last token that was taken ends.
    fn end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |before| self.token_at(before).span.end)
    }

    fn since(&self, start: usize) -> Span {
        Span { start, end: self.end().max(start) }
    }

    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn take(&mut self, kind: &TokenKind<'_>) -> bool {
        let found = self.kind() == kind;
        if found {
            self.advance();
        }
        found
    }

    fn at_word(&self, word: &str) -> bool {
        is_word(self.kind(), word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn expect_word(&mut self, word: &'static str) -> Parsed<()> {
        if self.take_word(word) { Ok(()) } else { self.fail(Place::Word(word)) }
    }

    /// The `(` that has to follow, and where it is.
    fn open(&mut self, behind: &'static str) -> Parsed<Span> {
        let span = self.span();
        if self.take(&TokenKind::Open) { Ok(span) } else { self.fail(Place::Open(behind)) }
    }

    /// The `)` for the `(` at `open`; else `place` says what could have stood here.
    fn close(&mut self, open: Span, place: Place) -> Parsed<()> {
        if self.take(&TokenKind::Close) {
            return Ok(());
        }
        if matches!(self.kind(), TokenKind::End) {
            return self.fail_unclosed(open);
        }
        self.fail(place)
    }

    fn enter(&mut self) -> Parsed<()> {
        self.levels += 1;
        if self.levels > MOST_LEVELS { self.fail_too_deep("levels", MOST_LEVELS) } else { Ok(()) }
    }

    fn leave(&mut self) {
        self.levels = self.levels.saturating_sub(1);
    }

    // The rules.

    fn whole(&mut self) -> Parsed<Expr> {
        if matches!(self.kind(), TokenKind::End) {
            return self.fail_empty();
        }
        let expression = self.expression()?;
        if matches!(self.kind(), TokenKind::End) { Ok(expression) } else { self.fail(Place::AfterExpression) }
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.enter()?;
        let start = self.span().start;
        let mut sides = vec![self.conjunction()?];
        while self.take_word("or") {
            sides.push(self.conjunction()?);
        }
        self.leave();
        Ok(self.one_or(sides, start, ExprKind::Or))
    }

    fn conjunction(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        let mut sides = vec![self.negation()?];
        while self.take_word("and") {
            sides.push(self.negation()?);
        }
        Ok(self.one_or(sides, start, ExprKind::And))
    }

    fn one_or(&self, mut sides: Vec<Expr>, start: usize, many: fn(Vec<Expr>) -> ExprKind) -> Expr {
        match sides.pop() {
            Some(only) if sides.is_empty() => only,
            last => {
                sides.extend(last);
                Spanned { node: many(sides), span: self.since(start) }
            }
        }
    }

    fn negation(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        if !self.take_word("not") {
            return self.predicate();
        }
        self.enter()?;
        let negated = self.negation()?;
        self.leave();
        Ok(Spanned { node: ExprKind::Not(Box::new(negated)), span: self.since(start) })
    }

    fn predicate(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        let operand = self.operand()?;
        self.compared = Some(operand.span);
        let compared = self.comparison(operand)?;
        let word = self.span();
        if !self.take_word("for") {
            return Ok(compared);
        }
        self.refuse_in_filter(word, "`for`");
        let duration_ms = self.duration("`for`")?;
        self.may_compare = false;
        let condition = Box::new(compared);
        Ok(Spanned { node: ExprKind::For { condition, duration_ms }, span: self.since(start) })
    }

    fn comparison(&mut self, left: Expr) -> Parsed<Expr> {
        let start = left.span.start;
        self.may_compare = false;
        let left = Box::new(left);
        if let TokenKind::Compare(op) = *self.kind() {
            self.advance();
            let right = Box::new(self.operand()?);
            return Ok(Spanned { node: ExprKind::Compare { op, left, right }, span: self.since(start) });
        }
        if self.take_word("is") {
            let negated = self.take_word("not");
            if !self.take_word("known") {
                return self.fail(Place::AfterIs { negated });
            }
            return Ok(Spanned { node: ExprKind::IsKnown { negated, operand: left }, span: self.since(start) });
        }
        let negated = self.take_word("not");
        let node = if self.take_word("between") {
            let low = Box::new(self.operand()?);
            self.expect_word("and")?;
            ExprKind::Between { negated, value: left, low, high: Box::new(self.operand()?) }
        } else if self.take_word("in") {
            ExprKind::In { negated, value: left, items: self.items()? }
        } else if let Some(test) = self.text_test()? {
            ExprKind::TextTest { negated, test, left, right: Box::new(self.operand()?) }
        } else if negated {
            return self.fail(Place::AfterNot);
        } else {
            self.may_compare = true;
            return Ok(*left);
        };
        self.may_compare = false;
        Ok(Spanned { node, span: self.since(start) })
    }

    fn text_test(&mut self) -> Parsed<Option<TextTest>> {
        if self.take_word("contains") {
            return Ok(Some(TextTest::Contains));
        }
        let test = if self.take_word("starts") {
            TextTest::StartsWith
        } else if self.take_word("ends") {
            TextTest::EndsWith
        } else {
            return Ok(None);
        };
        self.expect_word("with")?;
        Ok(Some(test))
    }

    fn items(&mut self) -> Parsed<Vec<Spanned<Literal>>> {
        let open = self.open("in")?;
        let mut items = Vec::new();
        loop {
            let Some(item) = self.literal() else {
                return self.fail(Place::Item);
            };
            items.push(item);
            if !self.take(&TokenKind::Comma) {
                break;
            }
        }
        self.close(open, Place::AfterItem)?;
        Ok(items)
    }

    fn operand(&mut self) -> Parsed<Expr> {
        if self.operand_levels == 0 {
            self.operators = 0;
        }
        self.operand_levels += 1;
        let start = self.span().start;
        let mut left = self.term()?;
        loop {
            let op = match self.kind() {
                TokenKind::Plus => ArithmeticOp::Add,
                TokenKind::Minus => ArithmeticOp::Subtract,
                _ => break,
            };
            self.operator()?;
            let right = Box::new(self.term()?);
            left = Spanned { node: ExprKind::Arithmetic { op, left: Box::new(left), right }, span: self.since(start) };
        }
        self.operand_levels -= 1;
        Ok(left)
    }

    fn term(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        let mut left = self.factor()?;
        loop {
            let op = match self.kind() {
                TokenKind::Star => ArithmeticOp::Multiply,
                TokenKind::Slash => ArithmeticOp::Divide,
                _ => return Ok(left),
            };
            self.operator()?;
            let right = Box::new(self.factor()?);
            left = Spanned { node: ExprKind::Arithmetic { op, left: Box::new(left), right }, span: self.since(start) };
        }
    }

    fn operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > MOST_OPERATORS {
            return self.fail_too_deep("operators in one calculation", MOST_OPERATORS);
        }
        self.advance();
        Ok(())
    }

    fn factor(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        if let Some(literal) = self.literal() {
            return Ok(Spanned { node: ExprKind::Literal(literal.node), span: literal.span });
        }
        let node = match self.kind() {
            TokenKind::Minus => {
                self.advance();
                self.enter()?;
                let negated = self.factor()?;
                self.leave();
                ExprKind::Negate(Box::new(negated))
            }
            TokenKind::Open => {
                let open = self.span();
                self.advance();
                let inside = self.expression()?;
                self.close(open, Place::AfterExpressionInside)?;
                inside.node
            }
            TokenKind::Quoted(_) => ExprKind::Field(self.path()?),
            TokenKind::Word(word) => self.word(word)?,
            _ => return self.fail(Place::Operand),
        };
        Ok(Spanned { node, span: self.since(start) })
    }

    /// A literal, with its sign; nothing is taken if there is none.
    fn literal(&mut self) -> Option<Spanned<Literal>> {
        let start = self.span().start;
        let negative = matches!(self.kind(), TokenKind::Minus);
        let kind = if negative { self.next_kind() } else { self.kind() };
        let literal = match kind {
            TokenKind::Number(number) if negative && !number.is_zero() => Literal::Number(-*number),
            TokenKind::Number(number) => Literal::Number(*number),
            TokenKind::Duration(ms) => Literal::Duration(if negative { -*ms } else { *ms }),
            _ if negative => return None,
            TokenKind::Text(text) => Literal::Text(text.clone()),
            TokenKind::Instant(instant) => Literal::Instant(*instant),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("true") => Literal::Bool(true),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("false") => Literal::Bool(false),
            _ => return None,
        };
        self.advance();
        if negative {
            self.advance();
        }
        Some(Spanned { node: literal, span: self.since(start) })
    }

    /// What a word at the place of a value stands for.
    fn word(&mut self, word: &'t str) -> Parsed<ExprKind> {
        let span = self.span();
        if word.eq_ignore_ascii_case("now") {
            self.refuse_in_filter(span, "`now`");
            self.advance();
            return Ok(ExprKind::Now);
        }
        if word.eq_ignore_ascii_case("trait") {
            self.refuse_in_filter(span, "a trait");
            self.advance();
            if !self.take(&TokenKind::Dot) {
                return self.fail(Place::TraitDot);
            }
            return Ok(ExprKind::Trait(self.name_behind_dot()?));
        }
        if keyword::is_reserved(word) {
            return self.fail_reserved(Place::Operand);
        }
        if !matches!(self.next_kind(), TokenKind::Open) {
            return Ok(ExprKind::Field(self.path()?));
        }
        if let Some(function) = keyword::aggregate_named(word) {
            return Ok(ExprKind::Aggregate(Box::new(self.aggregate(function)?.node)));
        }
        match keyword::call_named(word) {
            Some(call) => self.call(call),
            None => self.fail_unknown_function(word),
        }
    }

    fn call(&mut self, name: &'static str) -> Parsed<ExprKind> {
        if name != "coalesce" {
            self.refuse_in_filter(self.span(), &format!("`{name}(…)`"));
        }
        self.advance();
        let open = self.open(name)?;
        if matches!(self.kind(), TokenKind::Close) {
            return self.fail_no_argument(name, open);
        }
        let node = match name {
            "segment" => ExprKind::Segment(self.text_argument(name)?),
            "bucket" => ExprKind::Bucket(self.text_argument(name)?),
            "age" => ExprKind::Age(Box::new(self.argument()?)),
            "anniversary" => ExprKind::Anniversary(Box::new(self.argument()?)),
            "percentile" => ExprKind::Percentile(Box::new(self.aggregate_argument()?)),
            _ => {
                let mut operands = vec![self.argument()?];
                while self.take(&TokenKind::Comma) {
                    operands.push(self.argument()?);
                }
                ExprKind::Coalesce(operands)
            }
        };
        self.close(open, Place::AfterArgument(name))?;
        Ok(node)
    }

    /// An operand that is one level deeper, since calls nest without an expression between them.
    fn argument(&mut self) -> Parsed<Expr> {
        self.enter()?;
        let operand = self.operand()?;
        self.leave();
        Ok(operand)
    }

    fn text_argument(&mut self, call: &'static str) -> Parsed<Spanned<String>> {
        let TokenKind::Text(text) = self.kind() else {
            return self.fail(Place::TextArgument(call));
        };
        let span = self.span();
        self.advance();
        Ok(Spanned { node: text.clone(), span })
    }

    /// A duration, positive as everywhere but in arithmetic.
    fn duration(&mut self, behind: &'static str) -> Parsed<Spanned<i64>> {
        let TokenKind::Duration(duration_ms) = *self.kind() else {
            return self.fail(Place::Duration(behind));
        };
        let span = self.span();
        self.advance();
        Ok(Spanned { node: duration_ms, span })
    }

    fn path(&mut self) -> Parsed<Path> {
        let mut names = vec![self.bare_name(Place::Path)?];
        while self.take(&TokenKind::Dot) {
            names.push(self.name_behind_dot()?);
        }
        Ok(Path { names })
    }

    /// The names behind the dot that was taken.
    fn path_behind_dot(&mut self) -> Parsed<Path> {
        let mut names = vec![self.name_behind_dot()?];
        while self.take(&TokenKind::Dot) {
            names.push(self.name_behind_dot()?);
        }
        Ok(Path { names })
    }

    fn bare_name(&mut self, place: Place) -> Parsed<Name> {
        match *self.kind() {
            TokenKind::Word(word) if keyword::is_reserved(word) => self.fail_reserved(place),
            TokenKind::Word(word) | TokenKind::Quoted(word) => Ok(self.name(word)),
            _ => self.fail(place),
        }
    }

    fn name_behind_dot(&mut self) -> Parsed<Name> {
        match *self.kind() {
            TokenKind::Word(word) | TokenKind::Quoted(word) => Ok(self.name(word)),
            _ => self.fail(Place::NameBehindDot),
        }
    }

    fn name(&mut self, name: &str) -> Name {
        let span = self.span();
        self.advance();
        Spanned { node: name.to_owned(), span }
    }
}

fn is_word(kind: &TokenKind<'_>, word: &str) -> bool {
    matches!(kind, TokenKind::Word(written) if written.eq_ignore_ascii_case(word))
}
