//! What was written, where: the file's keys and the environment's over them, until a setting takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use crate::definition::diagnostic::nearest;

use super::Problem;
use super::setting::{Setting, Written};

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the file; a line of 0 is the file as a whole.
    File { name: String, line: usize, column: usize },
    /// In an environment variable.
    Environment(String),
}

impl Place {
    pub(super) fn whole(name: &str) -> Self {
        Self::File { name: name.to_owned(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line: 0, .. } => f.write_str(name),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
        }
    }
}

type Key = (String, String);

/// What was written and not yet taken.
pub(super) struct Source {
    name: String,
    /// By section and key: a text, a map or nothing, and where it stands. What has no section has an empty one.
    written: BTreeMap<Key, (Option<Written>, Place)>,
    /// Sections as they come in the file.
    sections: Vec<(String, Place)>,
    /// Environment variables without a double underscore: other programs', unless they are a slip.
    single: Vec<String>,
    /// Names within maps, from the environment: by section and key.
    within: BTreeMap<Key, Vec<(String, String, Place)>>,
    /// Every key there is, as settings ask for them.
    known: Vec<(&'static str, &'static str)>,
    /// Where each taken key stood.
    places: BTreeMap<Key, Place>,
    /// Keys with a problem: one for each is enough.
    failed: BTreeSet<Key>,
    /// Whether the file is YAML at all.
    readable: bool,
    problems: Vec<Problem>,
}

impl Source {
    /// Reads the file's text.
    pub(super) fn new(name: &str, text: &str) -> Self {
        let mut source = Self {
            name: name.to_owned(),
            written: BTreeMap::new(),
            sections: Vec::new(),
            single: Vec::new(),
            within: BTreeMap::new(),
            known: Vec::new(),
            places: BTreeMap::new(),
            failed: BTreeSet::new(),
            readable: true,
            problems: Vec::new(),
        };
        match MarkedYaml::load_from_str(text) {
            Ok(documents) => {
                let characters: Vec<char> = text.chars().collect();
                for document in &documents {
                    source.read_document(&characters, document);
                }
            }
            Err(error) => {
                let place = source.place(error.marker().line(), error.marker().col());
                source.problems.push(Problem { place, message: error.info().to_owned() });
                source.readable = false;
            }
        }
        source
    }

    /// Lays the environment's `SEGUE_SECTION__KEY` variables over the file.
    pub(super) fn overlay(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        for (variable, value) in environment {
            let Some(path) = variable.strip_prefix("SEGUE_") else { continue };
            let parts: Vec<&str> = path.splitn(3, "__").collect();
            let place = Place::Environment(variable.clone());
            match *parts.as_slice() {
                [section, key] => {
                    let written = self.environment_value(&value, &place);
                    self.written.insert(key_of(section, key), (Some(written), place));
                }
                [section, key, name] => {
                    self.within.entry(key_of(section, key)).or_default().push((name.to_owned(), value, place));
                }
                _ => self.single.push(variable),
            }
        }
    }

    /// Gives a setting what was written for it.
    pub(super) fn apply(&mut self, section: &'static str, key: &'static str, setting: &mut dyn Setting) {
        self.known.push((section, key));
        let id = (section.to_owned(), key.to_owned());
        if let Some((written, place)) = self.written.remove(&id) {
            let result = match (written, setting.as_map()) {
                // A key with nothing after it keeps its default.
                (None, _) => Ok(()),
                (Some(Written::Map(map)), Some(target)) => {
                    *target = map;
                    Ok(())
                }
                (Some(Written::Map(_)), None) => Err("expected one value, found several".to_owned()),
                (Some(Written::Text(text)), _) => setting.set(&text),
            };
            self.places.insert(id.clone(), place);
            if let Err(message) = result {
                self.problem(section, key, &message);
            }
        }
        for (name, value, place) in self.within.remove(&id).unwrap_or_default() {
            let name = setting.name_from_environment(&name);
            match setting.as_map() {
                Some(map) => drop(map.insert(name, value)),
                None => self.problems.push(Problem { place, message: format!("{section}.{key} has no names within") }),
            }
        }
    }

    /// What no setting took is unknown.
    pub(super) fn refuse_the_rest(&mut self) {
        let sections: BTreeSet<&str> = self.known.iter().map(|known| known.0).collect();
        let mut unknown = Vec::new();
        for (section, place) in &self.sections {
            if !sections.contains(section.as_str()) {
                let hint = nearest(section, sections.iter().copied()).map_or_else(
                    || format!("; there are {}", sections.iter().copied().collect::<Vec<_>>().join(", ")),
                    |section| format!("; did you mean `{section}`?"),
                );
                unknown.push((place.clone(), format!("unknown section `{section}`{hint}")));
            }
        }
        let taken = std::mem::take(&mut self.written).into_iter().map(|(key, (_, place))| (key, place));
        let within = std::mem::take(&mut self.within).into_iter();
        let within = within.flat_map(|(key, values)| values.into_iter().map(move |(.., place)| (key.clone(), place)));
        for ((section, key), place) in taken.chain(within) {
            let message = match section.as_str() {
                "" if sections.contains(key.as_str()) => format!("{key}: expected keys below it"),
                "" => format!("unknown key `{key}`{}", self.hint(&section, &key)),
                _ => format!("unknown key `{section}.{key}`{}", self.hint(&section, &key)),
            };
            let in_unknown_section =
                self.sections.iter().any(|(name, _)| *name == section) && !sections.contains(&*section);
            if !in_unknown_section || matches!(place, Place::Environment(_)) {
                unknown.push((place, message));
            }
        }
        for (section, key) in &self.known {
            let spelling = |joint: &str| format!("SEGUE_{section}{joint}{key}").to_ascii_uppercase();
            if self.single.contains(&spelling("_")) {
                let message = format!("sets nothing; did you mean {}?", spelling("__"));
                unknown.push((Place::Environment(spelling("_")), message));
            }
        }
        self.problems.extend(unknown.into_iter().map(|(place, message)| Problem { place, message }));
    }

    /// Notes what is wrong with a key, where it was written; only the first of several.
    pub(super) fn problem(&mut self, section: &str, key: &str, message: &str) {
        let id = (section.to_owned(), key.to_owned());
        if !self.failed.insert(id.clone()) {
            return;
        }
        let place = self.places.get(&id).cloned().unwrap_or_else(|| Place::whole(&self.name));
        self.problems.push(Problem { place, message: format!("{section}.{key}: {message}") });
    }

    /// Whether the file is YAML, so that what it lacks can be told.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.place.cmp(&b.place));
        self.problems
    }

    fn place(&self, line: usize, column: usize) -> Place {
        Place::File { name: self.name.clone(), line, column: column + 1 }
    }

    fn start(&self, node: &MarkedYaml<'_>) -> Place {
        self.place(node.span.start.line(), node.span.start.col())
    }

    fn read_document(&mut self, characters: &[char], document: &MarkedYaml<'_>) {
        match &document.data {
            YamlData::Mapping(sections) => {
                for (name, section) in sections {
                    self.read_section(characters, name, section);
                }
            }
            YamlData::Value(Scalar::Null) => {}
            _ => {
                let place = self.start(document);
                self.problems.push(Problem { place, message: "expected sections such as `kafka:`".to_owned() });
            }
        }
    }

    fn read_section(&mut self, characters: &[char], name: &MarkedYaml<'_>, section: &MarkedYaml<'_>) {
        let section_name = text_of(characters, name).unwrap_or_default();
        match &section.data {
            YamlData::Mapping(entries) => {
                self.sections.push((section_name.clone(), self.start(name)));
                for (key, value) in entries {
                    let place = self.start(key);
                    let key = text_of(characters, key).unwrap_or_default();
                    match written(characters, value) {
                        Ok(written) => drop(self.written.insert((section_name.clone(), key), (written, place))),
                        Err(message) => {
                            let id = (section_name.clone(), key.clone());
                            self.places.insert(id, place);
                            self.problem(&section_name, &key, &message);
                        }
                    }
                }
            }
            YamlData::Value(Scalar::Null) => self.sections.push((section_name, self.start(name))),
            _ => drop(self.written.insert((String::new(), section_name), (None, self.start(name)))),
        }
    }

    /// An environment variable's value: a YAML map in one line, or else the text as it is.
    fn environment_value(&mut self, value: &str, place: &Place) -> Written {
        if !value.trim_start().starts_with('{') {
            return Written::Text(value.to_owned());
        }
        let characters: Vec<char> = value.chars().collect();
        let result = match MarkedYaml::load_from_str(value) {
            Ok(documents) => documents.first().map_or(Ok(None), |node| written(&characters, node)),
            Err(error) => Err(error.info().to_owned()),
        };
        match result {
            Ok(written) => written.unwrap_or(Written::Text(String::new())),
            Err(message) => {
                self.problems.push(Problem { place: place.clone(), message });
                Written::Map(BTreeMap::new())
            }
        }
    }

    /// What to write instead of an unknown key, to be put after the message.
    fn hint(&self, section: &str, key: &str) -> String {
        if let Some((right, _)) = self.known.iter().find(|known| known.1 == key) {
            return format!("; did you mean `{right}.{key}`?");
        }
        let own: Vec<&str> = self.known.iter().filter(|known| known.0 == section).map(|known| known.1).collect();
        match nearest(key, own.iter().copied()) {
            Some(near) => format!("; did you mean `{section}.{near}`?"),
            None if own.is_empty() => String::new(),
            None => format!("; `{section}` has {}", own.join(", ")),
        }
    }
}

fn key_of(section: &str, key: &str) -> Key {
    (section.to_ascii_lowercase(), key.to_ascii_lowercase())
}

/// A value: a text, a map of texts, or nothing.
fn written(characters: &[char], node: &MarkedYaml<'_>) -> Result<Option<Written>, String> {
    match &node.data {
        YamlData::Value(Scalar::Null) => Ok(None),
        YamlData::Mapping(entries) => {
            let mut map = BTreeMap::new();
            for (name, value) in entries {
                let pair = text_of(characters, name).zip(text_of(characters, value));
                let (name, value) = pair.ok_or("expected `name: value` pairs of texts")?;
                map.insert(name, value);
            }
            Ok(Some(Written::Map(map)))
        }
        // `brokers: [a:9092, b:9092]` is what librdkafka writes with commas.
        YamlData::Sequence(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| text_of(characters, item)).collect();
            Ok(Some(Written::Text(texts.ok_or("expected a list of texts")?.join(","))))
        }
        _ => text_of(characters, node)
            .map(|text| Some(Written::Text(text)))
            .ok_or_else(|| "expected one value".to_owned()),
    }
}

/// A scalar's text as it was written: `0100` is not made a number of.
fn text_of(characters: &[char], node: &MarkedYaml<'_>) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Null) => Some(String::new()),
        YamlData::Value(_) => {
            let span = characters.get(node.span.start.index()..node.span.end.index())?;
            Some(span.iter().collect::<String>().trim().to_owned())
        }
        _ => None,
    }
}
