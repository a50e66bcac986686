//! What is wrong with a definition and where: one shape for every error, to be read by people (`Display`) and by
//! programs (`Serialize`).
//!
//! Codes are stable. `SEG001`–`SEG099` are about the text of an expression; everything that needs the rest of the set
//! (files, names, types) starts at `SEG100`.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::ast::Span;

/// What is wrong in the text of one expression; the loader knows which file and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, in the expression's own text. May be empty: then it is the place between two characters.
    pub span: Span,
    /// A stable code such as `SEG012`.
    pub code: &'static str,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What would fit here.
    pub expected: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

/// One error in a file of definitions.
///
/// Sorts by file, line and column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// The file, as it was given.
    pub file: String,
    /// The line, from 1; 0 for what is wrong with a file or directory as a whole.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are underlined, at least 1.
    pub length: usize,
    /// The text of that line; of a very long one, the part around the place.
    pub source_line: String,
    /// How many characters of the line are left out before it.
    #[serde(skip)]
    pub left_out: usize,
    /// A stable code such as `SEG012`.
    pub code: &'static str,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What would fit here.
    pub expected: Option<String>,
    /// The nearest name, or what to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic about the bytes `place` of `text`, which is all of `file`. What reaches over the end of its first
    /// line is underlined up to there.
    #[must_use]
    pub fn new(file: &str, text: &str, place: &Range<usize>, code: &'static str, message: impl Into<String>) -> Self {
        let before = text.get(..floor_char_boundary(text, place.start)).unwrap_or_default();
        Self::on_line(before.matches('\n').count() + 1, file, text, place, code, message)
    }

    /// The same where the line, from 1, is known.
    pub(super) fn on_line(
        line: usize,
        file: &str,
        text: &str,
        place: &Range<usize>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let start = floor_char_boundary(text, place.start);
        let end = floor_char_boundary(text, place.end.max(start));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let source_line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let line_end = line_start + source_line.len();
        let (shown_start, shown_end) = around(text, start, line_start..line_end);
        let characters = |from: usize, to: usize| text.get(from..to).map_or(0, |part| part.chars().count());
        Self {
            file: file.to_owned(),
            line,
            column: characters(line_start, start) + 1,
            length: characters(start, end.min(shown_end)).max(1),
            source_line: text.get(shown_start..shown_end).unwrap_or_default().to_owned(),
            left_out: characters(line_start, shown_start),
            code,
            message: message.into(),
            expected: None,
            help: None,
        }
    }

    /// The diagnostic for `problem`, whose span the caller has mapped to the bytes `place` of `text`.
    #[must_use]
    pub fn of_problem(file: &str, text: &str, place: &Range<usize>, problem: Problem) -> Self {
        Self {
            expected: problem.expected,
            help: problem.help,
            ..Self::new(file, text, place, problem.code, problem.message)
        }
    }

    /// The same with what would fit.
    #[must_use]
    pub fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the underline stands below its text whatever their width is.
        let lead: String = self
            .source_line
            .chars()
            .take(self.column - 1 - self.left_out)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "error[{}]: {}", self.code, self.message)?;
        if self.line == 0 {
            return write!(f, " --> {}", self.file);
        }
        writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.source_line)?;
        write!(f, "{gutter} | {lead}{}", "^".repeat(self.length))?;
        if let Some(expected) = &self.expected {
            write!(f, "\n{gutter} = expected: {expected}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{gutter} = help: {help}")?;
        }
        Ok(())
    }
}

/// The candidate that `name` is most likely a slip of, if any is near enough to be worth saying.
#[must_use]
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let written = name.to_lowercase();
    let length = written.chars().count();
    let letters = letters(name);
    candidates
        .into_iter()
        .filter(|candidate| may_be_near(letters.as_ref(), name.len(), candidate))
        .filter_map(|candidate| {
            let wanted = candidate.to_lowercase();
            let wanted_length = wanted.chars().count();
            let cut_off = (length.max(wanted_length) / 3).min(4);
            if length.abs_diff(wanted_length) > cut_off {
                return None;
            }
            let distance = strsim::osa_distance(&written, &wanted);
            (distance <= cut_off).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How often each letter occurs in a text of ASCII, small and capital ones alike; `None` for other texts.
fn letters(text: &str) -> Option<[i16; 32]> {
    let mut counts = [0_i16; 32];
    for byte in text.bytes() {
        let count = counts.get_mut(usize::from(byte % 32)).filter(|_| byte.is_ascii())?;
        *count = count.saturating_add(1);
    }
    Some(counts)
}

/// Whether a candidate can be within the distance that [`nearest`] allows: a slip changes at most two counts of letters by
/// one. Cheap, because sets with many unknown names compare each of them with every name there is.
fn may_be_near(name: Option<&[i16; 32]>, length: usize, candidate: &str) -> bool {
    let most = (length.max(candidate.len()) / 3).min(4);
    let (Some(name), true) = (name, candidate.is_ascii()) else { return true };
    if length.abs_diff(candidate.len()) > most {
        return false;
    }
    let Some(candidate) = letters(candidate) else { return true };
    let apart: u32 = name.iter().zip(candidate).map(|(a, b)| u32::from(a.abs_diff(b))).sum();
    usize::try_from(apart).is_ok_and(|apart| apart <= 2 * most)
}

/// `did you mean x?` with the nearest candidate.
#[must_use]
pub fn did_you_mean<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// What is shown of a line: all of it, or of a very long one the part around `start`.
fn around(text: &str, start: usize, line: Range<usize>) -> (usize, usize) {
    /// Bytes; lines that people write are shorter.
    const WIDEST: usize = 600;
    if line.len() <= WIDEST {
        return (line.start, line.end);
    }
    let from = floor_char_boundary(text, start.saturating_sub(WIDEST / 4).max(line.start));
    (from, floor_char_boundary(text, (from + WIDEST).min(line.end)))
}

fn floor_char_boundary(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}
