//! Segments: their sizes and flows, then and now, and their members; of all processes together.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::definition::diagnostic::nearest;
use crate::engine::catalog::{Catalog, Segment};
use crate::worker::query::{Answer, MemberPage, Question};

use super::customers::NoQuery;
use super::peers::{Asked, Local, LocalJson, add};
use super::problem::Problem;
use super::{Shared, api, now_ms};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;
/// A page is handed out unfinished after this, with the place to go on from.
const LOOK_FOR: Duration = Duration::from_secs(5);

/// What `members` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

type Name = Result<Path<String>, PathRejection>;

/// `GET /v1/segments`
pub(super) async fn list(State(shared): State<Shared>, nothing: NoQuery, asked: Asked) -> Result<LocalJson, Problem> {
    nothing.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let catalog = shared.sources.status.catalog();
    let telemetry = &shared.sources.telemetry;
    let members: HashMap<String, i64> = telemetry.members_by_segment().into_iter().collect();
    let flows = shared.history.last_hour(&catalog, &telemetry.changes_by_segment(), now_ms());
    let described = catalog.segments.iter().map(|segment| {
        let flow = flows.get(&segment.name).copied().unwrap_or_default();
        let mut object = describe(&catalog, segment);
        object["members"] = members.get(&segment.name).copied().unwrap_or_default().into();
        object["entered_last_hour"] = flow.entered.into();
        object["left_last_hour"] = flow.left.into();
        object
    });
    let mut segments: Vec<Value> = described.collect();
    let mut partitions = shared.sources.own_partitions();
    let own = partitions.clone();
    for theirs in shared.ask_others(&asked).await.answers.iter().filter(|theirs| theirs.status == 200) {
        partitions.extend(&theirs.partitions);
        let listed = theirs.body["segments"].as_array().into_iter().flatten();
        let listed: HashMap<&str, &Value> = listed.filter_map(|other| Some((other["name"].as_str()?, other))).collect();
        for segment in &mut segments {
            if let Some(other) = segment["name"].as_str().and_then(|name| listed.get(name)) {
                add(segment, other, &["members", "entered_last_hour", "left_last_hour"]);
            }
        }
    }
    let answer = json!({
        "definitions": format!("{:016x}", catalog.hash),
        "complete": shared.sources.is_all(&partitions),
        "segments": segments,
    });
    Ok(Local(own, Json(answer)))
}

/// What a segment says of itself.
fn describe(catalog: &Catalog, segment: &Segment) -> Value {
    let purpose = segment.purpose.and_then(|id| catalog.purposes.get(id.index()));
    let carry: Vec<&str> = segment.carry.iter().map(|(name, _)| name.as_str()).collect();
    json!({
        "name": segment.name,
        "description": segment.description,
        "when": segment.when_text,
        "until": segment.until_text,
        "purpose": purpose.map(|purpose| &purpose.name),
        "group": segment.group,
        "carry": carry,
        "definition": segment.definition,
        "state": "active",
    })
}

/// `GET /v1/segments/{name}/history`
pub(super) async fn history(
    State(shared): State<Shared>,
    name: Name,
    nothing: NoQuery,
    asked: Asked,
) -> Result<LocalJson, Problem> {
    let Path(segment) = name.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    nothing.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    must_exist(&shared, &segment)?;
    let mut partitions = shared.sources.own_partitions();
    let own = partitions.clone();
    let mut samples = shared.history.of_segment(&shared.sources.status.catalog(), &segment);
    for theirs in shared.ask_others(&asked).await.answers.iter().filter(|theirs| theirs.status == 200) {
        partitions.extend(&theirs.partitions);
        let listed = theirs.body["samples"].as_array().into_iter().flatten();
        let listed: HashMap<&str, &Value> = listed.filter_map(|other| Some((other["at"].as_str()?, other))).collect();
        for sample in &mut samples {
            if let Some(other) = sample["at"].as_str().and_then(|at| listed.get(at)) {
                add(sample, other, &["members", "entered", "left"]);
            }
        }
    }
    let complete = shared.sources.is_all(&partitions);
    Ok(Local(own, Json(json!({"segment": segment, "complete": complete, "samples": samples}))))
}

/// `GET /v1/segments/{name}/members?after=&limit=`
pub(super) async fn members(
    State(shared): State<Shared>,
    name: Name,
    page: Result<Query<Page>, QueryRejection>,
    asked: Asked,
) -> Result<LocalJson, Problem> {
    let Path(segment) = name.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let Query(page) = page.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    must_exist(&shared, &segment)?;
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` must be between 1 and {PAGE_MAX}")));
    }
    let others = shared.ask_others(&asked);
    let ours = look(&shared, &segment, page.after, limit);
    let (others, ours) = futures_util::future::join(others, ours).await;
    let (ours, own) = ours?;
    let mut partitions = own.clone();
    let mut pages = vec![ours];
    for theirs in others.answers.iter().filter(|theirs| theirs.status == 200) {
        partitions.extend(&theirs.partitions);
        pages.push(page_in(&theirs.body));
    }
    let MemberPage { members, until } = MemberPage::merged(pages, limit);
    let listed: Vec<Value> = members
        .iter()
        .map(|(customer_id, since)| json!({"customer_id": customer_id, "since": api::instant(*since)}))
        .collect();
    let complete = shared.sources.is_all(&partitions);
    let answer = json!({"segment": segment, "complete": complete, "members": listed, "next": until});
    Ok(Local(own, Json(answer)))
}

type Looked = (MemberPage, std::collections::BTreeSet<i32>);

/// Looks at customers here, some at a time, until there are enough members, or none left, or the time is over.
async fn look(shared: &Shared, segment: &str, after: Option<String>, limit: usize) -> Result<Looked, Problem> {
    let began = now();
    let mut found = MemberPage { members: Vec::new(), until: after };
    loop {
        let missing = limit - found.members.len();
        let question = Question::Members { segment: segment.to_owned(), after: found.until.take(), limit: missing };
        let answers = shared.sources.ask_all(&question).await?;
        let pages = answers.answers.into_iter().filter_map(|answer| match answer {
            Answer::Members(page) => Some(page),
            _ => None,
        });
        let page = MemberPage::merged(pages, missing);
        found.members.extend(page.members);
        found.until = page.until;
        if found.until.is_none() || found.members.len() >= limit || began.elapsed() > LOOK_FOR {
            return Ok((found, answers.partitions));
        }
    }
}

/// A page as another process answered it.
fn page_in(body: &Value) -> MemberPage {
    let listed = body["members"].as_array().into_iter().flatten();
    let member = |listed: &Value| {
        let since: jiff::Timestamp = listed["since"].as_str()?.parse().ok()?;
        Some((listed["customer_id"].as_str()?.to_owned(), since.as_millisecond()))
    };
    MemberPage { members: listed.filter_map(member).collect(), until: body["next"].as_str().map(str::to_owned) }
}

/// Answers with a problem when no segment has that name.
pub(super) fn must_exist(shared: &Shared, name: &str) -> Result<(), Problem> {
    let catalog = shared.sources.status.catalog();
    if catalog.segment_ids.contains_key(name) {
        return Ok(());
    }
    let mut names = catalog.segments.iter().map(|segment| segment.name.as_str());
    Err(Problem::unknown_segment(name, nearest(name, &mut names)))
}

#[expect(clippy::disallowed_methods, reason = "how long a look takes is bounded")]
fn now() -> Instant {
    Instant::now()
}
