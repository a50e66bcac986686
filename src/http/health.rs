//! For orchestrators and scrapers: is it alive, is it ready, what does it measure. None of these asks for the token.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Shared, now_ms};

/// A worker that has not gone round its loop for this long stands still.
pub(super) const PATIENCE_MS: i64 = 60_000;

/// `GET /healthz`
pub(super) async fn healthz(State(shared): State<Shared>) -> Result<Json<Value>, Problem> {
    let health = shared.sources.status.health(now_ms(), PATIENCE_MS);
    health.map(|()| Json(json!({"status": "ok"}))).map_err(|complaints| Problem::unhealthy(&complaints))
}

/// `GET /readyz`
pub(super) async fn readyz(State(shared): State<Shared>) -> Result<Json<Value>, Problem> {
    let readiness = shared.sources.status.readiness();
    readiness.map(|()| Json(json!({"status": "ready"}))).map_err(|complaints| Problem::not_ready(&complaints))
}

/// `GET /metrics`
pub(super) async fn metrics(State(shared): State<Shared>) -> Result<impl IntoResponse, Problem> {
    let text = shared.sources.telemetry.text().map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}
