//! Every wrong definition in `tests/definitions/bad` gets exactly the messages in the file beside it: they are for people,
//! so a change of one is looked at. `SEGUE_REWRITE=1 cargo test --test diagnostics` writes them anew.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use jiff::tz::TimeZone;
use segue::definition::{load, load_texts};
use segue::engine::schema::{EventSchema, Field, FieldType, Schemas};
use segue::engine::value::Type;
use segue::wire::schema::SchemaSet;

fn field(name: &str, field_type: FieldType) -> Field {
    Field { name: name.to_owned(), field_type, doc: None }
}

fn text() -> FieldType {
    FieldType::Scalar(Type::Text)
}

/// The shipped events, and one with all that a schema can hold.
fn schemas() -> Schemas {
    let mut schemas = SchemaSet::shipped().unwrap().schemas().clone();
    let line = FieldType::Record(vec![
        field("sku", text()),
        field("price", FieldType::Scalar(Type::Number)),
        field("tags", FieldType::Array(Box::new(text()))),
    ]);
    let address = FieldType::Record(vec![field("city", text()), field("floor", FieldType::Scalar(Type::Number))]);
    let store_visit = EventSchema {
        name: "store_visit".to_owned(),
        fields: vec![
            field("event_id", text()),
            field("customer_id", text()),
            field("occurred_at", FieldType::Scalar(Type::Instant)),
            field("address", address),
            field("paid", FieldType::Scalar(Type::Bool)),
            field("aisles", FieldType::Array(Box::new(text()))),
            field("lines", FieldType::Array(Box::new(line))),
            field("extras", FieldType::Other("a map".to_owned())),
            field("grid", FieldType::Array(Box::new(FieldType::Array(Box::new(text()))))),
        ],
    };
    schemas.events.insert(store_visit.name.clone(), store_visit);
    schemas
}

fn messages(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    match load_texts(&[(name, text)], &schemas(), TimeZone::UTC) {
        Ok(_) => "no problem found\n".to_owned(),
        Err(diagnostics) => {
            let messages: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            messages.join("\n\n") + "\n"
        }
    }
}

fn definitions(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions").join(kind);
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths
}

#[test]
fn every_wrong_definition_is_refused_in_the_words_agreed_on() {
    let paths = definitions("bad");
    assert!(paths.len() >= 60, "only {} wrong definitions", paths.len());
    let mut different = Vec::new();
    for path in paths {
        let found = messages(&path);
        let snapshot = path.with_extension("txt");
        if env::var_os("SEGUE_REWRITE").is_some() {
            fs::write(&snapshot, &found).unwrap();
        }
        let expected = fs::read_to_string(&snapshot).unwrap_or_default();
        if found != expected || found.starts_with("no problem") {
            different.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn every_right_definition_is_accepted() {
    for path in definitions("good") {
        assert_eq!(messages(&path), "no problem found\n", "{}", path.display());
    }
}

#[test]
fn what_cannot_be_read_is_said_in_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let message = |path: &Path| {
        let problems = load(path, &schemas(), TimeZone::UTC).unwrap_err();
        assert_eq!(problems.len(), 1);
        problems[0].to_string().replace(&*directory.path().to_string_lossy(), "DIR")
    };
    let expected = "error[SEG100]: there is no definition file (`.yaml` or `.yml`) in this directory\n --> DIR";
    assert_eq!(message(directory.path()), expected);
    let expected =
        "error[SEG100]: this directory cannot be read: No such file or directory (os error 2)\n --> DIR/none";
    assert_eq!(message(&directory.path().join("none")), expected);
    fs::write(directory.path().join("a.yaml"), b"segments:\n- \xff").unwrap();
    assert_eq!(message(directory.path()), "error[SEG100]: this file is not UTF-8 text (line 2)\n --> DIR/a.yaml");
}
