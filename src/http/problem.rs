//! What is answered when there is no answer: RFC 9457 problems.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A problem, in the form of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &'static str) -> Self {
        Self { kind: format!("urn:segue:problem:{kind}"), title, status: status.as_u16(), detail: None }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn no_such_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-page", "There is nothing at this address")
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "This address can only be read (GET)")
    }

    pub(super) fn unknown_customer(customer_id: &str) -> Self {
        let detail = format!("No record of `{customer_id}` has been read, or they have been erased.");
        Self::new(StatusCode::NOT_FOUND, "unknown-customer", "This customer is unknown").detail(detail)
    }

    pub(super) fn held_elsewhere() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "held-elsewhere", "This customer is not held here")
            .detail("Other processes hold, or are restoring, some of the partitions: ask them, or again later.")
    }

    pub(super) fn unknown_segment(segment: &str, nearest: Option<&str>) -> Self {
        let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        Self::new(StatusCode::NOT_FOUND, "unknown-segment", "There is no such segment")
            .detail(format!("`{segment}` is not defined{hint}"))
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "This request cannot be understood").detail(detail)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "This needs the token")
            .detail("Send it as `Authorization: Bearer TOKEN`; it is the setting `http.token`.")
    }

    pub(super) fn unhealthy(complaints: &[String]) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "A worker makes no progress")
            .detail(complaints.join("; "))
    }

    pub(super) fn not_ready(complaints: &[String]) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready yet").detail(complaints.join("; "))
    }

    pub(super) fn no_answer() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-answer", "A worker did not answer")
            .detail("It may be restoring, waiting for the broker, or ending: see /readyz.")
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "too-slow", "This took too long")
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something failed in here").detail(detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
