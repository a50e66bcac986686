//! From the YAML of a file to what it says: every list, every key, every expression parsed, every problem noted.

use crate::engine::value::Type;

use super::diagnostic::nearest;
use super::entries::{Entries, Reader};
use super::parser;
use super::source::{ExpressionText, Place, Problem, SourceFile, Text};
use super::spec::{Expression, GroupSpec, ProfileSpec, SegmentSpec, Spec, TierSpec, TraitSpec};
use super::test_case::TestSpec;
use super::yaml::{self, Node};

/// Names longer than this are refused.
const NAME_LIMIT: usize = 64;
/// More tiers than this in one group are refused.
const TIER_LIMIT: usize = 500;
/// The types a profile trait can have.
const PROFILE_TYPES: [(&str, Type); 4] =
    [("bool", Type::Bool), ("number", Type::Number), ("text", Type::Text), ("instant", Type::Instant)];

/// Adds what file number `file` says to `spec`, and what is wrong with it to `problems`.
pub(super) fn read_file(files: &[SourceFile], file: usize, spec: &mut Spec, problems: &mut Vec<Problem>) {
    let Some(source) = files.get(file) else { return };
    let documents = match yaml::parse(&source.text) {
        Ok(documents) => documents,
        Err(problem) => {
            let help = yaml_help(&problem.message).map(str::to_owned);
            let message = plain_words(&problem.message).map_or_else(|| problem.message.clone(), str::to_owned);
            problems.push(Problem::new("yaml", Place::new(file, &problem.range), message).help_if(help));
            return;
        }
    };
    for document in documents.iter().filter(|document| !document.is_null()) {
        let mut reader = FileReader { reader: Reader { file, text: &source.text, problems }, files, spec };
        reader.document(document);
    }
}

/// YAML's own words are of little help to who wrote an expression that YAML takes for something else.
fn yaml_help(message: &str) -> Option<&'static str> {
    if message.contains("mapping values are not allowed") || message.contains("mapping value") {
        return Some(
            "if this is an expression with `: ` in it, put all of it in single quotes, or on lines of its own after `|`",
        );
    }
    if message.contains("trailing content")
        || message.contains("did not find expected")
        || message.contains("expected ',' or")
        || message.contains("flow")
    {
        return Some(
            "an expression that starts with a quote, or holds `,` or `}` inside `{ }`, needs single quotes around all of it",
        );
    }
    if message.contains("tab") {
        return Some("indent with blanks");
    }
    if message.contains("scanning a quoted scalar") {
        return Some("end the value with the same quote; inside single quotes, a quote is written twice: `'it''s'`");
    }
    if message.contains("nested deeper") || message.contains("aliases written out") {
        return Some("definitions need no more than a few levels; write what repeats as a trait");
    }
    None
}

/// The commonest of YAML's complaints in the words of who writes definitions.
fn plain_words(message: &str) -> Option<&'static str> {
    let complaints = [
        ("mapping values are not allowed", "this `:` makes a key of what is before it, and there can be none here"),
        ("trailing content after double-quoted", "the value ends at its closing quote, but there is more behind it"),
        ("trailing content after single-quoted", "the value ends at its closing quote, but there is more behind it"),
        ("scanning a quoted scalar, found unexpected end", "this quote is never closed"),
        ("tabs disallowed", "lines cannot be indented with tabs"),
    ];
    complaints.into_iter().find(|(theirs, _)| message.contains(theirs)).map(|(_, ours)| ours)
}

struct FileReader<'a> {
    reader: Reader<'a>,
    files: &'a [SourceFile],
    spec: &'a mut Spec,
}

impl FileReader<'_> {
    fn document(&mut self, node: &Node) {
        let keys = ["profile", "traits", "segments", "groups", "tests"];
        let Some(entries) = self.reader.entries(node, "a definition file", &keys) else { return };
        for item in self.reader.items(entries.get("profile"), "`profile`") {
            self.profile_trait(item);
        }
        for item in self.reader.items(entries.get("traits"), "`traits`") {
            self.computed_trait(item);
        }
        for item in self.reader.items(entries.get("segments"), "`segments`") {
            self.segment(item);
        }
        for item in self.reader.items(entries.get("groups"), "`groups`") {
            self.group(item);
        }
        for item in self.reader.items(entries.get("tests"), "`tests`") {
            // Checked when the names of the whole set are known.
            self.spec.tests.push(TestSpec { file: self.reader.file, node: item.clone() });
        }
    }

    fn profile_trait(&mut self, node: &Node) {
        let Some(entries) = self.reader.entries(node, "a profile trait", &["name", "type", "description"]) else {
            return;
        };
        let name = self.name(&entries, "a profile trait");
        self.description(&entries);
        let value_type = self.reader.required_text(&entries, "type").and_then(|text| self.profile_type(&text));
        self.spec.profile.push(ProfileSpec { name, value_type });
    }

    fn profile_type(&mut self, text: &Text) -> Option<Type> {
        let words: Vec<&str> = text.value.split_whitespace().collect();
        let list = words == ["list", "of", "text"];
        let known = PROFILE_TYPES.iter().find(|(name, _)| words == [*name]).map(|(_, value_type)| value_type.clone());
        let found = if list { Some(Type::List(Box::new(Type::Text))) } else { known };
        if found.is_none() {
            let names = PROFILE_TYPES.iter().map(|(name, _)| *name).chain(["list of text"]);
            let help = match nearest(&text.value, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a profile trait is `bool`, `number`, `text`, `instant` or `list of text`".to_owned(),
            };
            let message = format!("a profile trait cannot have the type `{}`", text.value);
            self.reader.report(Problem::new("unknown-type", text.place, message).help(help));
        }
        found
    }

    fn computed_trait(&mut self, node: &Node) {
        let Some(entries) = self.reader.entries(node, "a trait", &["name", "description", "value"]) else { return };
        let name = self.name(&entries, "a trait");
        let description = self.description(&entries);
        let value = self.required_expression(&entries, "value");
        self.spec.traits.push(TraitSpec { name, description, value });
    }

    fn segment(&mut self, node: &Node) {
        let keys = ["name", "description", "when", "until", "purpose", "carry"];
        let Some(entries) = self.reader.entries(node, "a segment", &keys) else { return };
        let name = self.name(&entries, "a segment");
        let description = self.description(&entries);
        let when = self.required_expression(&entries, "when");
        let until = entries.get("until").and_then(|node| self.expression(node, "`until`", entries.cut));
        let purpose = self.purpose(&entries);
        let carry = self.carry(&entries);
        self.spec.segments.push(SegmentSpec { name, description, when, until, purpose, carry });
    }

    fn group(&mut self, node: &Node) {
        let keys = ["name", "description", "purpose", "carry", "tiers"];
        let Some(entries) = self.reader.entries(node, "a group", &keys) else { return };
        let name = self.name(&entries, "a group");
        let description = self.description(&entries);
        let purpose = self.purpose(&entries);
        let carry = self.carry(&entries);
        let tiers_node = self.reader.required(&entries, "tiers");
        let items = self.reader.items(tiers_node, "`tiers`");
        if let Some(node) = tiers_node.filter(|node| items.is_empty() && (node.is_null() || node.as_scalar().is_none()))
        {
            let place = self.reader.place(node);
            let help = "add tiers from the first choice to the last: `- {name: gold, when: …}`";
            self.reader.report(Problem::new("no-tiers", place, "a group needs at least one tier").help(help));
        }
        if let (Some(node), true) = (tiers_node, items.len() > TIER_LIMIT) {
            let message = format!("a group has at most {TIER_LIMIT} tiers, and this one has {}", items.len());
            let help =
                "each tier depends on all before it: use a trait for a number, and tiers for the bands that matter";
            let first = node.range.start;
            self.reader.report(
                Problem::new("no-tiers", Place::new(self.reader.file, &(first..first + 1)), message).help(help),
            );
        }
        let tiers = items.iter().take(TIER_LIMIT).filter_map(|item| self.tier(item)).collect();
        self.spec.groups.push(GroupSpec { name, description, purpose, carry, tiers });
    }

    fn tier(&mut self, node: &Node) -> Option<TierSpec> {
        let mut entries = self.reader.all_entries(node, "a tier", "name`, `when")?;
        for (key, place) in entries.remove(&["until", "purpose", "carry"]) {
            let help = if key == "until" {
                "a customer is in the first tier that matches at every moment; a lasting membership is a segment of its own"
            } else {
                "move it to the group: it holds for all of its tiers"
            };
            self.reader
                .report(Problem::new("unknown-key", place, format!("a tier has no `{key}` of its own")).help(help));
        }
        self.reader.known(&mut entries, &["name", "description", "when"]);
        let name = self.name(&entries, "a tier");
        let description = self.description(&entries);
        let when = self.required_expression(&entries, "when");
        Some(TierSpec { name, description, when })
    }

    fn name(&mut self, entries: &Entries<'_>, what: &str) -> Text {
        let missing = Text { value: String::new(), place: entries.place };
        let Some(name) = self.reader.required_text(entries, "name") else { return missing };
        if let Some(reason) = bad_name(&name.value) {
            let message = format!("`{}` cannot be the name of {what}: {reason}", shortened(&name.value));
            let suggestion = suggested_name(&name.value);
            let problem = Problem::new("bad-name", name.place, message);
            let help = suggestion.map(|name| format!("`{name}` would do"));
            let rule = "a small letter, then small letters, digits and `_`, at most 64 in all";
            self.reader.report(problem.help(help.unwrap_or_else(|| rule.to_owned())));
        }
        name
    }

    fn description(&mut self, entries: &Entries<'_>) -> String {
        let text = entries.get("description").and_then(|node| self.reader.text(node, "`description`"));
        text.map(|text| text.value).unwrap_or_default()
    }

    fn purpose(&mut self, entries: &Entries<'_>) -> Option<Text> {
        let purpose = self.reader.text(entries.get("purpose")?, "`purpose`")?;
        if purpose.value.trim().is_empty() {
            let help = "name what customers consented to, or leave the key out";
            self.reader.report(Problem::new("bad-purpose", purpose.place, "`purpose` is empty").help(help));
            return None;
        }
        Some(purpose)
    }

    fn carry(&mut self, entries: &Entries<'_>) -> Vec<Text> {
        let items = self.reader.items(entries.get("carry"), "`carry`");
        items.iter().filter_map(|item| self.reader.text(item, "the name of a trait")).collect()
    }

    fn required_expression(&mut self, entries: &Entries<'_>, key: &'static str) -> Option<Expression> {
        let node = self.reader.required(entries, key)?;
        self.expression(node, &format!("`{key}`"), entries.cut)
    }

    /// Parses an expression; of one that is `cut` short, what is wrong with it has been said.
    fn expression(&mut self, node: &Node, what: &str, cut: bool) -> Option<Expression> {
        let place = self.reader.place(node);
        let Some(scalar) = node.as_scalar().filter(|_| !node.is_null()) else {
            let message = format!("{what} is an expression, but this is {}", node.kind_name());
            let help = "an expression is a text such as `did(purchase over 30d)`";
            self.reader.report(Problem::new("wrong-kind", place, message).help(help));
            return None;
        };
        let source = ExpressionText::new(scalar.clone(), place);
        match parser::parse(&scalar.value) {
            Ok(expr) => Some(Expression { expr, source }),
            Err(_) if cut => None,
            Err(problems) => {
                for problem in problems {
                    let place = source.locate(self.files, problem.span);
                    self.reader.report(Problem {
                        code: problem.code,
                        place,
                        message: problem.message,
                        expected: problem.expected,
                        help: problem.help,
                        also: Vec::new(),
                    });
                }
                None
            }
        }
    }
}

/// Why a name is not one.
fn bad_name(name: &str) -> Option<&'static str> {
    let mut characters = name.chars();
    if !characters.next().is_some_and(|first| first.is_ascii_lowercase()) {
        return Some("names start with a small letter");
    }
    if !characters.all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_') {
        return Some("names are small letters, digits and `_`");
    }
    (name.len() > NAME_LIMIT).then_some("names have at most 64 characters")
}

/// The nearest thing that is a name.
fn suggested_name(name: &str) -> Option<String> {
    let mut suggestion = String::new();
    for character in name.trim().chars().take(NAME_LIMIT) {
        match character.to_ascii_lowercase() {
            kept @ ('a'..='z' | '0'..='9') => suggestion.push(kept),
            _ if suggestion.ends_with('_') => {}
            _ => suggestion.push('_'),
        }
    }
    let suggestion = suggestion.trim_matches('_');
    (bad_name(suggestion).is_none()).then(|| suggestion.to_owned())
}

/// A text short enough to be quoted in a sentence.
fn shortened(text: &str) -> String {
    if text.chars().count() <= NAME_LIMIT {
        return text.to_owned();
    }
    text.chars().take(20).chain("…".chars()).collect()
}
