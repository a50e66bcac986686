//! What is answered when there is no answer: RFC 9457 problems.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::definition::diagnostic::Diagnostic;

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
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "This address takes another method")
    }

    pub(super) fn unknown_customer(customer_id: &str) -> Self {
        let detail = format!("No record of `{customer_id}` has been read, or they have been erased.");
        Self::new(StatusCode::NOT_FOUND, "unknown-customer", "This customer is unknown").detail(detail)
    }

    pub(super) fn not_erased(customer_id: &str) -> Self {
        let detail = format!("No erasure of `{customer_id}` has been applied.");
        Self::new(StatusCode::NOT_FOUND, "not-erased", "This customer was not erased").detail(detail)
    }

    pub(super) fn held_elsewhere(partitions: &[i32], silent: &[String]) -> Self {
        let silent = if silent.is_empty() { String::new() } else { format!(" ({})", silent.join("; ")) };
        let detail = format!(
            "Nobody could be asked about partitions {partitions:?}{silent}: they are being restored, or change hands. Ask \
             again soon."
        );
        let title = "Whether this customer exists cannot be told now";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "held-elsewhere", title).detail(detail)
    }

    pub(super) fn unknown_segment(segment: &str, nearest: Option<&str>) -> Self {
        let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        Self::new(StatusCode::NOT_FOUND, "unknown-segment", "There is no such segment")
            .detail(format!("`{segment}` is not defined{hint}"))
    }

    pub(super) fn unknown_file(file: &str, nearest: Option<&str>) -> Self {
        let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        Self::new(StatusCode::NOT_FOUND, "unknown-file", "There is no such file of definitions")
            .detail(format!("no file at work is called `{file}`{hint}"))
    }

    pub(super) fn no_segment() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no-segment", "There is no segment to look at")
            .detail("The text defines none: name one with `segment`.")
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

    pub(super) fn broker(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "broker", "The broker does not answer").detail(detail)
    }

    pub(super) fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many requests at a time").detail("Ask again soon.")
    }

    pub(super) fn too_many_streams() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many follow the changes")
            .detail("Close a stream, ask another process, or read the topic of changes itself.")
    }

    pub(super) fn wrong_host() -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", "This name is not ours").detail(
            "Without a token only requests to an IP address, to `localhost` or to the host of `http.advertise` are \
             answered, so that no web page can ask in the name of its visitor.",
        )
    }

    pub(super) fn wrong_definitions(diagnostics: &[Diagnostic]) -> Self {
        let shown: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-definitions", "These definitions are wrong")
            .detail(shown.join("\n\n"))
    }

    /// A body that is not what it should be.
    pub(super) fn rejected(rejection: &JsonRejection) -> Self {
        let detail = rejection.body_text();
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "This is more than is taken").detail(detail)
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Send JSON").detail(detail)
            }
            _ => Self::bad_request(detail),
        }
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
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
