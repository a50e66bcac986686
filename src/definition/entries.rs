//! The keys of one mapping of a definition file: taken one by one, and what is missing, unknown or written twice said.

use hashbrown::HashMap;

use super::diagnostic::nearest;
use super::source::{Place, Problem, Text};
use super::yaml::{Node, NodeKind};

/// Reads the mappings of one file and collects what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) file: usize,
    /// All of the file.
    pub(super) text: &'a str,
    pub(super) problems: &'a mut Vec<Problem>,
}

/// The entries of a mapping whose keys are known.
pub(super) struct Entries<'n> {
    /// The mapping.
    pub(super) place: Place,
    /// What it is, with its article: `a segment`.
    what: &'static str,
    list: Vec<(&'n str, Place, &'n Node)>,
    /// Keys that an unknown key was probably meant to be; they are not missed once more.
    meant: Vec<String>,
    /// A value was cut at a comma, so what is left of it is not worth a complaint.
    pub(super) cut: bool,
}

impl Reader<'_> {
    pub(super) fn place(&self, node: &Node) -> Place {
        Place::new(self.file, &node.range)
    }

    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The entries of a mapping with these keys.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &'static str, keys: &[&str]) -> Option<Entries<'n>> {
        let mut entries = self.all_entries(node, what, &keys.join("`, `"))?;
        self.known(&mut entries, keys);
        Some(entries)
    }

    /// Reports and drops entries with other keys than these.
    pub(super) fn known(&mut self, entries: &mut Entries<'_>, keys: &[&str]) {
        let what = entries.what;
        let (known, unknown) = entries.list.drain(..).partition(|(key, _, _)| keys.contains(key));
        entries.list = known;
        for (key, place, _) in unknown {
            let problem = Problem::new("unknown-key", place, format!("{what} has no key `{key}`"));
            let missed = keys.iter().copied().filter(|known| entries.get(known).is_none());
            if let Some(near) = nearest(key, missed) {
                self.problems.push(problem.help(format!("did you mean `{near}`?")));
                entries.meant.push(near.to_owned());
            } else {
                self.problems.push(problem.help(format!("its keys are `{}`", keys.join("`, `"))));
            }
        }
    }

    /// The entries of a mapping with any keys.
    pub(super) fn all_entries<'n>(
        &mut self,
        node: &'n Node,
        what: &'static str,
        expected: &str,
    ) -> Option<Entries<'n>> {
        let place = self.place(node);
        let NodeKind::Mapping(pairs) = &node.kind else {
            let message = format!("{what} is a set of keys, but this is {}", node.kind_name());
            self.report(Problem::new("wrong-kind", place, message).help(format!("its keys are `{expected}`")));
            return None;
        };
        let mut entries: Vec<(&str, Place, &Node)> = Vec::with_capacity(pairs.len());
        let mut cut = false;
        let mut first_places: HashMap<&str, Place> = HashMap::with_capacity(pairs.len());
        for (key, value) in pairs {
            let key_place = self.place(key);
            if self.is_cut_off(node, key_place, value) {
                if !cut {
                    let message = "a comma ends a value inside `{ }`, so this is not part of the one before it";
                    let help = "put the whole value in single quotes: `'…'`";
                    self.report(Problem::new("cut-off", key_place, message).help(help));
                }
                cut = true;
                continue;
            }
            let Some(name) = key.as_scalar().map(|scalar| scalar.value.as_str()) else {
                let message = format!("a key is a single word, but this is {}", key.kind_name());
                self.report(Problem::new("wrong-kind", key_place, message));
                continue;
            };
            if let Some(first) = first_places.get(name) {
                let problem = Problem::new("duplicate-key", key_place, format!("`{name}` is written twice in {what}"));
                self.report(problem.also(*first, "first written at").help("keep one of the two"));
                continue;
            }
            first_places.insert(name, key_place);
            entries.push((name, key_place, value));
        }
        Some(Entries { place, what, list: entries, meant: Vec::new(), cut })
    }

    /// Whether a key of `{ … }` has neither a value nor the `:` before one: it is what a comma cut off.
    fn is_cut_off(&self, mapping: &Node, key: Place, value: &Node) -> bool {
        let inline = self.text.get(mapping.range.clone()).is_some_and(|text| text.starts_with('{'));
        let after = self.text.get(key.end..).unwrap_or("").trim_start();
        inline && value.is_null() && after.starts_with([',', '}'])
    }

    /// The items of a list; a value that is not there is an empty list.
    pub(super) fn items<'n>(&mut self, node: Option<&'n Node>, what: &str) -> &'n [Node] {
        let Some(node) = node.filter(|node| !node.is_null()) else { return &[] };
        if let NodeKind::Sequence(items) = &node.kind {
            return items;
        }
        let message = format!("{what} is a list, but this is {}", node.kind_name());
        let help = match node.as_scalar() {
            Some(scalar) => format!("a list is written in brackets: `[{}]`", scalar.value),
            None => "start each of its items with `- `".to_owned(),
        };
        let place = self.place(node);
        self.report(Problem::new("wrong-kind", place, message).help(help));
        &[]
    }

    /// A single value as text.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        let place = self.place(node);
        if let Some(scalar) = node.as_scalar().filter(|_| !node.is_null()) {
            return Some(Text { value: scalar.value.clone(), place });
        }
        let message = format!("{what} is a text, but this is {}", node.kind_name());
        self.report(Problem::new("wrong-kind", place, message));
        None
    }

    /// A required value as text.
    pub(super) fn required_text(&mut self, entries: &Entries<'_>, key: &'static str) -> Option<Text> {
        let node = self.required(entries, key)?;
        self.text(node, &format!("`{key}`"))
    }

    /// A value that must be there.
    pub(super) fn required<'n>(&mut self, entries: &Entries<'n>, key: &'static str) -> Option<&'n Node> {
        let found = entries.get(key);
        if found.is_none() && !entries.meant.iter().any(|meant| meant == key) {
            let message = format!("{} needs the key `{key}`", entries.what);
            self.report(Problem::new("missing-key", entries.first_line(), message).help(format!("add `{key}: …`")));
        }
        found
    }
}

impl<'n> Entries<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.list.iter().find(|(name, _, _)| *name == key).map(|(_, _, node)| *node)
    }

    /// Takes out the entries with these keys.
    pub(super) fn remove(&mut self, keys: &[&str]) -> Vec<(&'n str, Place)> {
        let removed = self.list.iter().filter(|(key, _, _)| keys.contains(key));
        let removed = removed.map(|(key, place, _)| (*key, *place)).collect();
        self.list.retain(|(key, _, _)| !keys.contains(key));
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'n str, Place, &'n Node)> + '_ {
        self.list.iter().copied()
    }

    /// What to underline when something is missing: the first entry, not a whole block of lines.
    pub(super) fn first_line(&self) -> Place {
        match self.list.first() {
            Some((_, key, _)) => *key,
            None => self.place,
        }
    }
}
