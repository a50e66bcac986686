//! `segue fmt` over every definition file there is: nothing but its style may change.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use segue::definition::{format, load_texts};
use segue::engine::schema::Schemas;
use segue::wire::schema::SchemaSet;

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

/// Every definition file of this repository, and every block of the guide: name, text.
fn every_file() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in [
        "deploy/segments",
        "deploy/segments-later",
        "examples",
        "tests/scenarios",
        "tests/definitions/good",
        "src/cli/demo",
    ] {
        if root.join(folder).is_dir() {
            yaml_files(&root.join(folder), &mut paths);
        }
    }
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(path).unwrap());
    let mut files: Vec<_> = paths.into_iter().map(read).collect();
    let guide = fs::read_to_string(root.join("docs/language.md")).unwrap();
    for (number, block) in guide.split("```yaml\n").skip(1).enumerate() {
        files.push((format!("block {number}"), block.split("```").next().unwrap().to_owned()));
    }
    assert!(files.len() > 50, "{} files", files.len());
    files
}

/// What a file means: hashes and tests, without the lines they are on. `None` for one that needs others or a schema.
fn meaning(text: &str, schemas: &Schemas) -> Option<Vec<String>> {
    let definitions = load_texts(&[("a.yaml".to_owned(), text.to_owned())], schemas, TimeZone::UTC).ok()?;
    let segments =
        definitions.catalog.segments.iter().map(|segment| format!("{} {}", segment.name, segment.definition));
    let tests = definitions.tests.into_iter().map(|mut test| {
        test.line = 0;
        test.events.iter_mut().for_each(|event| event.line = 0);
        test.expect.iter_mut().for_each(|expectation| expectation.line = 0);
        test.changes.iter_mut().flatten().for_each(|change| change.line = 0);
        format!("{test:?}")
    });
    Some(segments.chain(tests).collect())
}

#[test]
fn every_definition_file_keeps_its_meaning_and_its_comments() {
    let set = SchemaSet::shipped().unwrap();
    let mut n_compared = 0;
    for (name, text) in every_file() {
        let formatted = format(&name, &text).unwrap_or_else(|problems| panic!("{name}: {}", problems[0]));
        assert_eq!(format(&name, &formatted).unwrap(), formatted, "{name}, twice");
        // A file that is left alone would stay as untidy as it is made here.
        let untidy = text.replace("name: ", "name:    ").replace(", name:", " ,name:");
        assert_eq!(format(&name, &untidy).unwrap(), formatted, "{name}, untidy");
        // Quotes of one kind may become those of another, and a list in brackets one with dashes.
        let bare = |text: &str| text.replace(|c: char| c.is_whitespace() || "\"'\\[]{},-".contains(c), "");
        assert_eq!(bare(&formatted), bare(&text), "{name}: more than blank space changed");
        let before = meaning(&text, set.schemas());
        n_compared += usize::from(before.is_some());
        assert_eq!(meaning(&formatted, set.schemas()), before, "{name}");
    }
    assert!(n_compared > 40, "{n_compared}");
}

#[test]
fn what_is_shipped_is_in_style() {
    let own = ["deploy/segments", "examples/", "src/cli/demo"];
    for (name, text) in every_file().into_iter().filter(|(name, _)| own.iter().any(|folder| name.contains(folder))) {
        assert_eq!(format(&name, &text).unwrap(), text, "{name}: run `segue fmt` on it");
    }
}
