//! Who may ask: whoever has the token, where there is one.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use crate::config::Secret;

use super::problem::Problem;

/// The token's digest. Digests are compared, so that how long it takes says nothing about the token.
#[derive(Clone)]
pub(super) struct Token(Option<[u8; 32]>);

impl Token {
    pub(super) fn new(token: &Secret) -> Self {
        Self(token.is_set().then(|| digest(token.reveal().as_bytes())))
    }

    fn lets_in(&self, authorization: Option<&[u8]>) -> bool {
        let Some(expected) = self.0 else { return true };
        let sent = authorization.and_then(|value| {
            let (scheme, token) = value.split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
        });
        sent.is_some_and(|sent| digest(sent) == expected)
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Lets a request through that has the token.
pub(super) async fn guard(State(token): State<Token>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
    if token.lets_in(authorization) { next.run(request).await } else { Problem::unauthorized().into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Token::new(&Secret::new("s3cret"));
        let cases: [(Option<&[u8]>, bool); 7] = [
            (Some(b"Bearer s3cret"), true),
            (Some(b"bearer s3cret "), true),
            (Some(b"Bearer s3cre"), false),
            (Some(b"Bearer"), false),
            (Some(b"Basic s3cret"), false),
            (Some(b"\xff"), false),
            (None, false),
        ];
        for (authorization, expected) in cases {
            assert_eq!(token.lets_in(authorization), expected, "{authorization:?}");
        }
        assert!(Token::new(&Secret::default()).lets_in(None), "no token is asked for where none is set");
    }
}
