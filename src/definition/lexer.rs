//! The words of an expression: text into tokens.
//!
//! A slip whose meaning is clear (`==`, `30 days`) is reported and read as what was meant, so that one mistake is one
//! error and the ones behind it are found too. After anything else that is wrong, reading stops.

use rust_decimal::Decimal;

use super::ast::{CompareOp, InstantLiteral, Span};
use super::diagnostic::Problem;
use super::keyword::is_name;
use super::literal::{self, LiteralError};

/// One token with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind<'t>,
    pub(super) span: Span,
}

/// The kinds of token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'t> {
    /// A keyword or a bare name, as written.
    Word(&'t str),
    /// A name in backquotes, without them.
    Quoted(&'t str),
    Number(Decimal),
    Text(String),
    /// Milliseconds.
    Duration(i64),
    Instant(InstantLiteral),
    Compare(CompareOp),
    Plus,
    Minus,
    Star,
    Slash,
    Open,
    Close,
    Comma,
    Dot,
    /// The end of the text.
    End,
    /// Where reading had to stop: the reason is [`Lexed::stop`].
    Stop,
}

/// What became of a text.
pub(super) struct Lexed<'t> {
    /// At least one; the last is `End` or `Stop`.
    pub(super) tokens: Vec<Token<'t>>,
    /// Slips that could be read all the same.
    pub(super) slips: Vec<Problem>,
    /// Why reading stopped at the `Stop` token.
    pub(super) stop: Option<Problem>,
}

/// Splits the text into tokens.
pub(super) fn lex(text: &str) -> Lexed<'_> {
    let mut lexer = Lexer { text, at: 0, lexed: Lexed { tokens: Vec::new(), slips: Vec::new(), stop: None } };
    while lexer.lexed.stop.is_none() {
        lexer.skip_blanks();
        let Some(first) = lexer.rest().chars().next() else {
            break;
        };
        lexer.token(first);
    }
    let (kind, span) = if let Some(problem) = &lexer.lexed.stop {
        (TokenKind::Stop, problem.span)
    } else {
        let end = lexer.lexed.tokens.last().map_or(0, |token| token.span.end);
        (TokenKind::End, Span { start: end, end })
    };
    lexer.lexed.tokens.push(Token { kind, span });
    lexer.lexed
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    lexed: Lexed<'t>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let comment = if rest.starts_with('#') { rest.find('\n').unwrap_or(rest.len()) } else { 0 };
            if blank + comment == 0 {
                return;
            }
            self.at += blank.max(comment);
        }
    }

    /// Takes the next `length` bytes as a token.
    fn push(&mut self, kind: TokenKind<'t>, length: usize) {
        let span = self.ahead(length);
        self.lexed.tokens.push(Token { kind, span });
        self.at = span.end;
    }

    fn ahead(&self, length: usize) -> Span {
        Span { start: self.at, end: self.at + length }
    }

    /// Takes the next `length` bytes as the token that was meant, and says so.
    fn slip(&mut self, kind: TokenKind<'t>, length: usize, code: &'static str, error: LiteralError) {
        let span = self.ahead(length);
        self.lexed.slips.push(problem(span, code, error));
        self.push(kind, length);
    }

    fn stop(&mut self, length: usize, code: &'static str, error: LiteralError) {
        self.lexed.stop = Some(problem(self.ahead(length), code, error));
    }

    fn token(&mut self, first: char) {
        match first {
            '(' => self.push(TokenKind::Open, 1),
            ')' => self.push(TokenKind::Close, 1),
            ',' => self.push(TokenKind::Comma, 1),
            '+' => self.push(TokenKind::Plus, 1),
            '-' => self.push(TokenKind::Minus, 1),
            '*' => self.push(TokenKind::Star, 1),
            '/' => self.push(TokenKind::Slash, 1),
            '.' => self.dot(),
            '"' => self.text_literal(),
            '\'' | '“' | '”' | '„' | '‘' | '’' | '«' => self.foreign_quotes(first),
            '`' => self.backquoted(),
            '0'..='9' => self.digits(),
            'a'..='z' | 'A'..='Z' => {
                let length = name_length(self.rest());
                let word = self.rest().get(..length).unwrap_or_default();
                self.push(TokenKind::Word(word), length);
            }
            _ => self.operator(first),
        }
    }

    fn operator(&mut self, first: char) {
        use CompareOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let compare = TokenKind::Compare;
        // The longest spelling first; the last column is what the language writes, where it is another.
        let spellings = [
            ("===", compare(Equal), Some("=")),
            ("!==", compare(NotEqual), Some("!=")),
            ("==", compare(Equal), Some("=")),
            ("=>", compare(GreaterOrEqual), Some(">=")),
            ("=<", compare(LessOrEqual), Some("<=")),
            ("<>", compare(NotEqual), Some("!=")),
            ("!=", compare(NotEqual), None),
            ("<=", compare(LessOrEqual), None),
            (">=", compare(GreaterOrEqual), None),
            ("=", compare(Equal), None),
            ("<", compare(Less), None),
            (">", compare(Greater), None),
            ("≠", compare(NotEqual), Some("!=")),
            ("≤", compare(LessOrEqual), Some("<=")),
            ("≥", compare(GreaterOrEqual), Some(">=")),
            ("&&", TokenKind::Word("and"), Some("and")),
            ("&", TokenKind::Word("and"), Some("and")),
            ("||", TokenKind::Word("or"), Some("or")),
            ("|", TokenKind::Word("or"), Some("or")),
            ("!", TokenKind::Word("not"), Some("not")),
            ("–", TokenKind::Minus, Some("-")),
            ("−", TokenKind::Minus, Some("-")),
            ("×", TokenKind::Star, Some("*")),
            ("÷", TokenKind::Slash, Some("/")),
        ];
        let found = spellings.into_iter().find(|(spelling, _, _)| self.rest().starts_with(spelling));
        match found {
            Some((spelling, kind, None)) => self.push(kind, spelling.len()),
            Some((spelling, kind, Some(right))) => {
                let message = format!("`{spelling}` is not an operator here");
                self.slip(kind, spelling.len(), "SEG002", LiteralError::new(message, format!("write `{right}`")));
            }
            None => self.unexpected(first),
        }
    }

    fn unexpected(&mut self, character: char) {
        let help = match character {
            '[' | ']' | '{' | '}' => "lists and groups are written in round parentheses: `in (\"a\", \"b\")`",
            ':' => "an instant is written `2026-03-01T10:00:00Z`, without a space",
            '%' | '$' | '€' | '£' => "write the number alone",
            '_' => "a name starts with a letter",
            c if c.is_alphabetic() => "names are letters a to z, digits and `_`; other text stands in double quotes",
            _ => "take it out, or put text in double quotes",
        };
        let message = format!("`{}` means nothing here", character.escape_debug());
        self.stop(character.len_utf8(), "SEG001", LiteralError::new(message, help));
    }

    fn dot(&mut self) {
        let behind_name = self
            .text
            .get(..self.at)
            .unwrap_or_default()
            .ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '`' | ')' | '.'));
        let digits = literal::leading_digits(self.rest().get(1..).unwrap_or_default());
        let written = self.rest().get(..=digits).unwrap_or_default();
        match literal::parse_number(written) {
            Ok(number) if digits > 0 && !behind_name => {
                let error = LiteralError::new("a number starts with a digit", format!("write `0{written}`"));
                self.slip(TokenKind::Number(number), digits + 1, "SEG005", error);
            }
            _ => self.push(TokenKind::Dot, 1),
        }
    }

    fn text_literal(&mut self) {
        let mut value = String::new();
        let mut escapes = Vec::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.lexed.slips.append(&mut escapes);
                    return self.push(TokenKind::Text(value), at + 1);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    Some((_, other)) => {
                        let start = self.at + at;
                        let span = Span { start, end: start + 1 + other.len_utf8() };
                        let message = format!("`\\{}` is not an escape", other.escape_debug());
                        let help = "in text only `\\\"` and `\\\\` are escapes: write a backslash as `\\\\`";
                        escapes.push(problem(span, "SEG004", LiteralError::new(message, help)));
                    }
                    None => break,
                },
                _ => value.push(character),
            }
        }
        self.stop(1, "SEG003", LiteralError::new("this text is not closed", "end it with `\"`"));
    }

    /// Text in the quotes of another language, or of a word processor.
    fn foreign_quotes(&mut self, open: char) {
        let closing: &[char] = match open {
            '\'' => &['\''],
            '‘' | '’' => &['’', '‘'],
            '«' => &['»'],
            _ => &['”', '“'],
        };
        let inside = self.rest().get(open.len_utf8()..).unwrap_or_default();
        let message = format!("text stands in double quotes, not in `{open}`");
        let stop = inside.char_indices().find(|(_, c)| closing.contains(c) || *c == '\n');
        let closed = stop.filter(|(_, c)| *c != '\n');
        let Some((end, close)) = closed else {
            let help = "write it as `\"text\"`";
            return self.stop(open.len_utf8(), "SEG003", LiteralError::new(message, help));
        };
        let value = inside.get(..end).unwrap_or_default();
        let length = open.len_utf8() + end + close.len_utf8();
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let error = LiteralError::new(message, format!("write `\"{quoted}\"`"));
        let behind = self.rest().get(length..).unwrap_or_default();
        // `'it's'`: where the text ends is anybody's guess.
        if behind.starts_with(|c: char| c.is_alphanumeric()) {
            return self.stop(length, "SEG003", error);
        }
        self.slip(TokenKind::Text(value.to_owned()), length, "SEG003", error);
    }

    fn backquoted(&mut self) {
        let inside = self.rest().get(1..).unwrap_or_default();
        let end = inside.find(['`', '\n']).filter(|end| inside.get(*end..).is_some_and(|rest| rest.starts_with('`')));
        let Some(end) = end else {
            let error = LiteralError::new("this name is not closed", "end it with a backquote");
            return self.stop(1, "SEG006", error);
        };
        let name = inside.get(..end).unwrap_or_default();
        if is_name(name) {
            return self.push(TokenKind::Quoted(name), end + 2);
        }
        let message = format!("`{}` is not a name", name.escape_debug());
        let help = "a name is a letter, then letters, digits and `_`; text stands in double quotes";
        self.slip(TokenKind::Quoted(name), end + 2, "SEG006", LiteralError::new(message, help));
    }

    fn digits(&mut self) {
        let rest = self.rest();
        if let Some((instant, length)) = literal::scan_instant(rest) {
            return match instant {
                Ok(instant) => self.push(TokenKind::Instant(instant), length),
                Err(error) => {
                    let meant = TokenKind::Instant(InstantLiteral::Exact(0));
                    self.slip(meant, length, "SEG009", error);
                }
            };
        }
        let whole = literal::leading_digits(rest);
        let after = rest.get(whole..).unwrap_or_default();
        let fraction = match after.strip_prefix('.').map_or(0, literal::leading_digits) {
            0 => 0,
            digits => digits + 1,
        };
        let number = whole + fraction;
        let suffix = word_length(rest.get(number..).unwrap_or_default());
        let written = rest.get(..number + suffix).unwrap_or_default();
        if suffix == 0 {
            self.number(written);
        } else if fraction == 0 && literal::is_duration_like(written) {
            self.duration(written);
        } else {
            self.malformed_number(written);
        }
    }

    fn number(&mut self, written: &str) {
        if let Some((spaced, duration_ms, error)) = self.spaced_duration(written) {
            return self.slip(TokenKind::Duration(duration_ms), spaced, "SEG007", error);
        }
        match literal::parse_number(written) {
            Ok(number) => self.push(TokenKind::Number(number), written.len()),
            Err(error) => self.slip(TokenKind::Number(Decimal::ZERO), written.len(), "SEG005", error),
        }
    }

    /// `30 days`: its length in bytes, what was meant and what to say.
    fn spaced_duration(&self, written: &str) -> Option<(usize, i64, LiteralError)> {
        let after = self.rest().get(written.len()..)?;
        let blanks = after.len() - after.trim_start_matches([' ', '\t']).len();
        let word = after.get(blanks..)?;
        let word = word.get(..name_length(word))?;
        let help = literal::duration_slip(&format!("{written}{word}"))?;
        let length = written.len() + blanks + word.len();
        let all = self.rest().get(..length)?;
        let error = LiteralError::new(format!("`{all}` is not how a duration is written"), help);
        Some((length, 0, error))
    }

    fn duration(&mut self, written: &str) {
        match literal::parse_duration(written) {
            Ok(duration_ms) => {
                let rest = self.rest().get(written.len()..).unwrap_or_default();
                let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                let next = rest.get(blanks..).unwrap_or_default();
                let next = next.get(..word_length(next)).unwrap_or_default();
                if !literal::is_duration_like(next) {
                    return self.push(TokenKind::Duration(duration_ms), written.len());
                }
                let length = written.len() + blanks + next.len();
                let error = LiteralError::new("a duration has no spaces in it", format!("write `{written}{next}`"));
                self.slip(TokenKind::Duration(duration_ms), length, "SEG007", error);
            }
            Err(error) => self.slip(TokenKind::Duration(0), written.len(), "SEG008", error),
        }
    }

    fn malformed_number(&mut self, written: &str) {
        if let Some(help) = literal::duration_slip(written) {
            let error = LiteralError::new(format!("`{written}` is not how a duration is written"), help);
            return self.slip(TokenKind::Duration(0), written.len(), "SEG007", error);
        }
        let help = "a number is digits, with a point before decimals; a duration is such as `1h30m`; \
                    a name starts with a letter";
        let error = LiteralError::new(format!("`{written}` is neither a number nor a duration"), help);
        self.stop(written.len(), "SEG005", error);
    }
}

fn problem(span: Span, code: &'static str, error: LiteralError) -> Problem {
    Problem { span, code, message: error.message, expected: None, help: error.help }
}

/// The length of the letters, digits and `_` at the start, in bytes.
fn name_length(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

/// The same with letters of any script: what a reader takes for one word.
fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}
