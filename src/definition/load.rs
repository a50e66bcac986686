//! The door to a set of definitions: from a directory, or from texts, to what the engine runs and the tests that go with
//! it; or to every problem at once.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::engine::catalog::Catalog;
use crate::engine::schema::Schemas;

use super::compile;
use super::diagnostic::Diagnostic;
use super::read;
use super::source::SourceFile;
use super::spec::Spec;
use super::test_case::TestCase;

/// Directories in directories further down than this are not looked into.
const DIRECTORY_DEPTH_LIMIT: usize = 16;
/// A file with more bytes than this is not a file of definitions.
const FILE_SIZE_LIMIT: u64 = 32 * 1024 * 1024;

/// A set of definitions without a mistake.
#[derive(Debug, Clone)]
pub struct Definitions {
    /// What the engine runs.
    pub catalog: Catalog,
    /// The tests of the set, in the order written.
    pub tests: Vec<TestCase>,
    /// The files it was read from, in the order read.
    pub files: Vec<String>,
}

/// Reads all `.yaml` and `.yml` files of a directory, and of directories in it, in the order of their names; or the one
/// file, where it is one.
pub fn load(directory: &Path, schemas: &Schemas, time_zone: TimeZone) -> Result<Definitions, Vec<Diagnostic>> {
    let (files, problems) = definition_files(directory);
    match load_texts(&files, schemas, time_zone) {
        Ok(definitions) if problems.is_empty() => Ok(definitions),
        Ok(_) => Err(problems),
        Err(found) => Err(problems.into_iter().chain(found).collect()),
    }
}

/// The files of a set, name and text, and what is wrong with those that cannot be read.
#[must_use]
pub fn definition_files(directory: &Path) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let mut paths = Vec::new();
    let mut problems = Vec::new();
    if directory.is_file() {
        paths.push(directory.to_owned());
    } else {
        find_files(directory, 0, &mut paths, &mut problems);
    }
    let mut files = Vec::new();
    for path in &paths {
        match read_file(path) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(problem) => problems.push(*problem),
        }
    }
    if paths.is_empty() && problems.is_empty() {
        let message = "there is no definition file (`.yaml` or `.yml`) in this directory".to_owned();
        problems.push(unreadable(directory, message));
    }
    (files, problems)
}

/// Reads texts with the names of their files.
pub fn load_texts(
    files: &[(String, String)],
    schemas: &Schemas,
    time_zone: TimeZone,
) -> Result<Definitions, Vec<Diagnostic>> {
    let files: Vec<SourceFile> = files
        .iter()
        .map(|(name, text)| {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            SourceFile::new(name.clone(), text.to_owned())
        })
        .collect();
    let mut spec = Spec::default();
    let mut problems = Vec::new();
    for file in 0..files.len() {
        read::read_file(&files, file, &mut spec, &mut problems);
    }
    let compiled = compile::compile(&spec, &files, schemas, time_zone, &mut problems);
    match compiled {
        Some((catalog, tests)) if problems.is_empty() => {
            Ok(Definitions { catalog, tests, files: files.into_iter().map(|file| file.name).collect() })
        }
        _ => {
            if problems.iter().any(|problem| problem.code == "yaml") {
                // What the unreadable file defines would be missed everywhere else.
                problems.retain(|problem| !matches!(problem.code, "unknown-trait" | "unknown-segment"));
            }
            problems.sort_by_key(|problem| problem.place);
            Err(problems.iter().map(|problem| problem.diagnostic(&files)).collect())
        }
    }
}

fn find_files(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>, problems: &mut Vec<Diagnostic>) {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match entries {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
        Err(error) => {
            problems.push(unreadable(directory, format!("this directory cannot be read: {error}")));
            return;
        }
    };
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() && !hidden && depth < DIRECTORY_DEPTH_LIMIT {
            find_files(&path, depth + 1, paths, problems);
        } else if yaml && !hidden && !path.is_dir() {
            paths.push(path);
        }
    }
}

fn read_file(path: &Path) -> Result<String, Box<Diagnostic>> {
    let size = fs::metadata(path).map(|metadata| metadata.len());
    if size.is_ok_and(|size| size > FILE_SIZE_LIMIT) {
        let message = format!("this file is larger than {} MiB", FILE_SIZE_LIMIT >> 20);
        return Err(Box::new(unreadable(path, message)));
    }
    let bytes =
        fs::read(path).map_err(|error| Box::new(unreadable(path, format!("this file cannot be read: {error}"))))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + valid.filter(|byte| **byte == b'\n').count();
        Box::new(unreadable(path, format!("this file is not UTF-8 text (line {line})")))
    })
}

fn unreadable(path: &Path, message: String) -> Diagnostic {
    Diagnostic { line: 0, ..Diagnostic::new(&path.display().to_string(), "", &(0..0), "SEG100", message) }
}
