//! Segments: their sizes and flows, and their members.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::definition::diagnostic::nearest;
use crate::worker::query::{Answer, Question};

use super::problem::Problem;
use super::{Shared, api, now_ms};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// What `members` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/segments`
pub(super) async fn list(State(shared): State<Shared>) -> Json<Value> {
    let catalog = shared.sources.status.catalog();
    let telemetry = &shared.sources.telemetry;
    let members: HashMap<String, i64> = telemetry.members_by_segment().into_iter().collect();
    let flows = shared.flows.last_hour(telemetry.changes_by_segment(), now_ms());
    let segments: Vec<Value> = catalog
        .segments
        .iter()
        .map(|segment| {
            let purpose = segment.purpose.and_then(|id| catalog.purposes.get(id.index()));
            let flow = flows.get(&segment.name).copied().unwrap_or_default();
            json!({
                "name": segment.name,
                "description": segment.description,
                "when": segment.when_text,
                "until": segment.until_text,
                "purpose": purpose.map(|purpose| &purpose.name),
                "group": segment.group,
                "definition": segment.definition,
                "state": "active",
                "members": members.get(&segment.name).copied().unwrap_or_default(),
                "entered_last_hour": flow.entered,
                "left_last_hour": flow.left,
            })
        })
        .collect();
    Json(json!({
        "definitions": format!("{:016x}", catalog.hash),
        "complete": shared.sources.status.owns_all(),
        "segments": segments,
    }))
}

/// `GET /v1/segments/{name}/members?after=&limit=`
pub(super) async fn members(
    State(shared): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(segment) = name.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let Query(page) = page.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    must_exist(&shared, &segment)?;
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` must be between 1 and {PAGE_MAX}")));
    }
    let question = Question::Members { segment: segment.clone(), after: page.after, limit };
    let answers = shared.sources.ask_all(&question).await?;
    let mut members: Vec<(String, i64)> = answers
        .into_iter()
        .flat_map(|answer| if let Answer::Members(members) = answer { members } else { Vec::new() })
        .collect();
    members.sort();
    members.truncate(limit);
    let next = members.last().filter(|_| members.len() == limit).map(|(customer_id, _)| customer_id.clone());
    let members: Vec<Value> = members
        .iter()
        .map(|(customer_id, since)| json!({"customer_id": customer_id, "since": api::instant(*since)}))
        .collect();
    Ok(Json(json!({
        "segment": segment,
        "complete": shared.sources.status.owns_all(),
        "members": members,
        "next": next,
    })))
}

/// Answers with a problem when no segment has that name.
pub(super) fn must_exist(shared: &Shared, name: &str) -> Result<(), Problem> {
    let catalog = shared.sources.status.catalog();
    let mut names = catalog.segments.iter().map(|segment| segment.name.as_str());
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    Err(Problem::unknown_segment(name, nearest(name, &mut names)))
}
