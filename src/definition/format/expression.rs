//! The style of an expression: one blank around operators and between words, none inside parentheses, keywords in small
//! letters. Line breaks, comments, parentheses and the way numbers and durations are written stay.

use super::super::keyword::{aggregate_named, call_named, is_reserved};
use super::super::lexer::{Token, TokenKind, lex};
use super::super::parser;

/// The expression in canonical style; `None` when it is better left alone.
pub(super) fn tidy(text: &str) -> Option<String> {
    let canonical = parser::parse(text).ok()?.to_string();
    let tokens = lex(text).tokens;
    let (_, tokens) = tokens.split_last()?;
    let mut tidied = String::with_capacity(text.len());
    let mut at = 0;
    let mut before: Option<&Token<'_>> = None;
    for (position, token) in tokens.iter().enumerate() {
        let written = text.get(token.span.start..token.span.end)?;
        let gap = text.get(at..token.span.start)?;
        if written.contains('\n') {
            return None;
        }
        match gap.rfind('\n') {
            Some(line_break) if before.is_some() => {
                push_lines(&mut tidied, gap.get(..line_break)?);
                tidied.push_str(gap.get(line_break + 1..)?);
            }
            // What is before the first token is indentation, or lines of comments.
            _ if before.is_none() => tidied.push_str(gap),
            _ => {
                let earlier = position.checked_sub(2).and_then(|index| tokens.get(index));
                if is_apart(before, token, earlier) {
                    tidied.push(' ');
                }
            }
        }
        tidied.push_str(&spelling(written, token, before, tokens.get(position + 1)));
        at = token.span.end;
        before = Some(token);
    }
    push_lines(&mut tidied, text.get(at..)?);
    let tidied = tidied.trim_end().to_owned();
    (parser::parse(&tidied).ok()?.to_string() == canonical).then_some(tidied)
}

/// What is between two tokens on lines of their own: comments.
fn push_lines(tidied: &mut String, gap: &str) {
    for (number, line) in gap.split('\n').enumerate() {
        let line = line.trim_end();
        match number {
            0 if line.is_empty() => {}
            0 => {
                tidied.push(' ');
                tidied.push_str(line.trim_start());
            }
            _ => {
                tidied.push('\n');
                tidied.push_str(line);
            }
        }
    }
    tidied.push('\n');
}

fn spelling(written: &str, token: &Token<'_>, before: Option<&Token<'_>>, after: Option<&Token<'_>>) -> String {
    let follows_dot = before.is_some_and(|before| matches!(before.kind, TokenKind::Dot));
    let is_called = after.is_some_and(|after| matches!(after.kind, TokenKind::Open));
    let keyword = match &token.kind {
        TokenKind::Word(word) if !follows_dot => {
            let last_word = before.map_or("", word_of).to_ascii_lowercase();
            let only_here = match last_word.as_str() {
                "starts" | "ends" => "with",
                "is" | "not" => "known",
                "this" => word,
                _ => "",
            };
            is_reserved(word)
                || only_here.eq_ignore_ascii_case(word)
                || is_called && (aggregate_named(word).is_some() || call_named(word).is_some())
        }
        _ => false,
    };
    if keyword { written.to_ascii_lowercase() } else { written.to_owned() }
}

fn word_of<'t>(token: &Token<'t>) -> &'t str {
    match token.kind {
        TokenKind::Word(word) => word,
        _ => "",
    }
}

/// Whether there is a blank between a token and the one before it.
fn is_apart(before: Option<&Token<'_>>, token: &Token<'_>, earlier: Option<&Token<'_>>) -> bool {
    use TokenKind::{Close, Comma, Dot, Minus, Open};
    let Some(before) = before else { return false };
    match (&before.kind, &token.kind) {
        (Open | Dot, _) | (_, Close | Comma | Dot) => false,
        (TokenKind::Word(word), Open) => !(aggregate_named(word).is_some() || call_named(word).is_some()),
        (Minus, _) => earlier.is_some_and(ends_operand),
        _ => true,
    }
}

/// Whether a minus behind this token subtracts.
fn ends_operand(token: &Token<'_>) -> bool {
    match token.kind {
        TokenKind::Word(word) => {
            !is_reserved(word) || ["now", "true", "false"].iter().any(|value| value.eq_ignore_ascii_case(word))
        }
        TokenKind::Quoted(_)
        | TokenKind::Number(_)
        | TokenKind::Text(_)
        | TokenKind::Duration(_)
        | TokenKind::Instant(_)
        | TokenKind::Close => true,
        _ => false,
    }
}
