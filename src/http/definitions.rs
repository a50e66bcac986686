//! The definitions at work, and a place to try others: what is wrong with them, and whom they would hold now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::definition::diagnostic::{Diagnostic, nearest};
use crate::definition::{definition_files, load_texts};
use crate::engine::Engine;
use crate::engine::catalog::{Aggregate, Catalog, SegmentId, Window};
use crate::engine::customer::Limits;
use crate::wire;
use crate::wire::schema::SchemaSet;
use crate::worker::query::{Answer, Question};

use super::customers::NoQuery;
use super::problem::Problem;
use super::{Shared, api, now_ms};

/// Customers of each partition that a trial looks at.
const SAMPLE: usize = 500;
/// Customers that a trial looks at altogether.
const SAMPLE_MAX: usize = 4_000;
/// Members that a trial names.
const NAMED: usize = 100;
/// The file that a trial's text stands for when it names none.
const TRIAL: &str = "trial.yaml";

/// Where the definitions at work came from.
#[derive(Debug, Clone)]
pub struct DefinitionFiles {
    /// Their files: name and text.
    pub files: Vec<(String, String)>,
    /// Where they were read from, if from a directory.
    pub directory: Option<PathBuf>,
    /// The schemas they were checked against.
    pub schemas: Arc<SchemaSet>,
    /// The zone of their calendar.
    pub time_zone: TimeZone,
}

impl DefinitionFiles {
    /// The files of a directory, as they are now.
    pub fn of_directory(directory: PathBuf, schemas: Arc<SchemaSet>, time_zone: TimeZone) -> Self {
        let files = named_from(&directory, definition_files(&directory).0);
        Self { files, directory: Some(directory), schemas, time_zone }
    }

    /// The files with one of them replaced, or another added.
    fn with(&self, name: &str, text: &str) -> Vec<(String, String)> {
        let mut files = self.files.clone();
        match files.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => text.clone_into(old),
            None => files.push((name.to_owned(), text.to_owned())),
        }
        files
    }

    fn compile(&self, files: &[(String, String)]) -> Result<Catalog, Vec<Diagnostic>> {
        load_texts(files, self.schemas.schemas(), self.time_zone.clone()).map(|definitions| definitions.catalog)
    }
}

/// Names relative to the directory: where that is, is nobody's business.
fn named_from(directory: &std::path::Path, files: Vec<(String, String)>) -> Vec<(String, String)> {
    let relative = |name: String| {
        let path = std::path::Path::new(&name).strip_prefix(directory).map(|path| path.display().to_string());
        path.unwrap_or(name)
    };
    files.into_iter().map(|(name, text)| (relative(name), text)).collect()
}

/// A text to try.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// The text of a file of definitions.
    text: String,
    /// The file at work that it is to replace; without it, it is one more.
    file: Option<String>,
    /// Which segment to look at; the first of the text otherwise.
    segment: Option<String>,
}

/// `GET /v1/definitions`
pub(super) async fn list(State(shared): State<Shared>, nothing: NoQuery) -> Result<Json<Value>, Problem> {
    nothing.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let origin = shared.sources.origin()?;
    let hash = shared.sources.status.catalog().hash;
    blocking(move || {
        let (on_disk, diagnostics) = origin.on_disk();
        let files: Vec<Value> = origin.files.iter().map(|(name, text)| json!({"name": name, "text": text})).collect();
        Ok(json!({
            "definitions": format!("{hash:016x}"),
            "files": files,
            "on_disk": on_disk,
            "diagnostics": diagnostics,
        }))
    })
    .await
}

impl DefinitionFiles {
    /// Whether the directory still holds what is at work, and what is wrong with what it holds now.
    fn on_disk(&self) -> (&'static str, Vec<Diagnostic>) {
        let Some(directory) = &self.directory else { return ("built-in", Vec::new()) };
        let (files, mut problems) = definition_files(directory);
        let files = named_from(directory, files);
        if files == self.files && problems.is_empty() {
            return ("same", Vec::new());
        }
        if let Err(found) = self.compile(&files) {
            problems.extend(found);
        }
        (if problems.is_empty() { "changed" } else { "wrong" }, problems)
    }
}

/// `POST /v1/definitions/check`
pub(super) async fn check(
    State(shared): State<Shared>,
    trial: Result<Json<Trial>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(trial) = trial.map_err(|rejection| Problem::rejected(&rejection))?;
    let origin = shared.sources.origin()?;
    let name = file_of(&origin, &trial)?;
    blocking(move || {
        let compiled = origin.compile(&origin.with(&name, &trial.text));
        let segments = compiled.as_ref().map(|catalog| defined(&origin, &name, catalog)).unwrap_or_default();
        let diagnostics = compiled.err().unwrap_or_default();
        Ok(json!({"valid": diagnostics.is_empty(), "file": name, "diagnostics": diagnostics, "segments": segments}))
    })
    .await
}

/// `POST /v1/definitions/try`
pub(super) async fn attempt(
    State(shared): State<Shared>,
    trial: Result<Json<Trial>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(trial) = trial.map_err(|rejection| Problem::rejected(&rejection))?;
    let origin = shared.sources.origin()?;
    let name = file_of(&origin, &trial)?;
    let _one_at_a_time = shared.trials.clone().acquire_owned().await.map_err(|_| Problem::no_answer())?;
    let answers = shared.sources.ask_all(&Question::Sample { limit: SAMPLE }).await?;
    let complete = shared.sources.is_all(&answers.partitions);
    let mut customers: Vec<(String, Vec<u8>)> = answers
        .answers
        .into_iter()
        .flat_map(|answer| if let Answer::Sample(customers) = answer { customers } else { Vec::new() })
        .collect();
    customers.truncate(SAMPLE_MAX);
    let running = shared.sources.status.catalog();
    blocking(move || {
        let compiled = origin.compile(&origin.with(&name, &trial.text));
        let catalog = match compiled {
            Ok(catalog) => catalog,
            Err(diagnostics) => return Err(Problem::wrong_definitions(&diagnostics)),
        };
        let segment = chosen(&origin, &name, &catalog, trial.segment.as_deref())?;
        let mut told = look(&Arc::new(catalog), &running, segment, customers, now_ms());
        told["complete"] = complete.into();
        Ok(told)
    })
    .await
}

/// The name of the file that a trial stands for.
fn file_of(origin: &DefinitionFiles, trial: &Trial) -> Result<String, Problem> {
    match &trial.file {
        None => Ok(TRIAL.to_owned()),
        Some(name) if origin.files.iter().any(|(known, _)| known == name) => Ok(name.clone()),
        Some(name) => {
            let known = origin.files.iter().map(|(known, _)| known.as_str());
            Err(Problem::unknown_file(name, nearest(name, known)))
        }
    }
}

/// The segments that are only there with the trial, or differ from what the other files define.
fn defined(origin: &DefinitionFiles, name: &str, catalog: &Catalog) -> Vec<Value> {
    let without = origin.compile(&origin.with(name, "")).unwrap_or_default();
    let is_of_trial = |segment: &&crate::engine::catalog::Segment| !without.segment_ids.contains_key(&segment.name);
    let told = catalog.segments.iter().filter(is_of_trial).map(|segment| {
        json!({
            "name": segment.name,
            "description": segment.description,
            "when": segment.when_text,
            "until": segment.until_text,
        })
    });
    told.collect()
}

fn chosen(origin: &DefinitionFiles, name: &str, catalog: &Catalog, asked: Option<&str>) -> Result<SegmentId, Problem> {
    if let Some(asked) = asked {
        let names = catalog.segments.iter().map(|segment| segment.name.as_str());
        let id = catalog.segment_ids.get(asked).copied();
        return id.ok_or_else(|| Problem::unknown_segment(asked, nearest(asked, names)));
    }
    let defined = defined(origin, name, catalog);
    let first = defined.first().and_then(|segment| segment["name"].as_str());
    let id = first.and_then(|first| catalog.segment_ids.get(first)).copied();
    id.ok_or_else(Problem::no_segment)
}

/// Evaluates customers under definitions that are not theirs. Nothing of it is kept.
fn look(
    catalog: &Arc<Catalog>,
    running: &Catalog,
    segment: SegmentId,
    customers: Vec<(String, Vec<u8>)>,
    now: i64,
) -> Value {
    let mut remembered: BTreeMap<u64, i64> = BTreeMap::new();
    for aggregate in &running.aggregates {
        let reach = remembered.entry(aggregate.key).or_default();
        *reach = reach_of(aggregate).max(*reach);
    }
    let is_remembered =
        |wanted: &Aggregate| remembered.get(&wanted.key).is_some_and(|reach| reach_of(wanted) <= *reach);
    let others: BTreeSet<&str> = catalog
        .aggregates
        .iter()
        .filter(|aggregate| !is_remembered(aggregate))
        .map(|aggregate| &*aggregate.text)
        .collect();
    let ranks = definition_ranks(catalog, segment).then_some("percentile(…): ranks are known only to the partitions");
    let others: Vec<&str> = others.into_iter().chain(ranks).collect();
    let (looked_at, mut n_members, mut named) = (customers.len(), 0, Vec::new());
    let mut engine = Engine::new(catalog.clone(), Limits::default());
    let Some(definition) = catalog.segments.get(segment.index()) else { return Value::Null };
    for (customer_id, bytes) in customers {
        let Ok(mut customer) = wire::customer::decode(&bytes) else { continue };
        engine.redefine(&customer_id, &mut customer, now, |_| None, &mut Vec::new());
        if !customer.standing(definition.key).member {
            continue;
        }
        n_members += 1;
        if named.len() < NAMED {
            named.push(customer_id);
        }
    }
    json!({
        "segment": definition.name,
        "at": api::instant(now),
        "looked_at": looked_at,
        "members": n_members,
        "customers": named,
        "not_counted_yet": others,
    })
}

/// How far back a sliding window reaches, milliseconds; aggregates over windows of different lengths may share what is
/// kept for the longest.
fn reach_of(aggregate: &Aggregate) -> i64 {
    if let Window::Over { duration_ms } = aggregate.window { duration_ms } else { 0 }
}

/// Whether a segment asks for a customer's rank among all.
fn definition_ranks(catalog: &Catalog, segment: SegmentId) -> bool {
    let definition = catalog.segments.get(segment.index());
    let texts = definition.map(|definition| [Some(&definition.when_text), definition.until_text.as_ref()]);
    texts.into_iter().flatten().flatten().any(|text| text.contains("percentile("))
}

/// What takes a while and must not hold up other requests.
async fn blocking(work: impl FnOnce() -> Result<Value, Problem> + Send + 'static) -> Result<Json<Value>, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer.map(Json),
        Err(_) => Err(Problem::internal("looking at definitions failed")),
    }
}
