//! Who may ask: whoever has the token, where there is one.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use crate::config::Secret;

use super::problem::Problem;

/// Before the digest of a token, where the configuration holds only that.
const HASHED: &str = "sha256:";

/// The token's digest. Digests are compared, so that how long it takes says nothing about the token.
#[derive(Clone)]
pub(super) struct Token(Option<[u8; 32]>);

impl Token {
    pub(super) fn new(token: &Secret) -> Self {
        let given = token.reveal();
        let digest = || given.strip_prefix(HASHED).and_then(bytes).unwrap_or_else(|| digest(given.as_bytes()));
        Self(token.is_set().then(digest))
    }

    /// Whether a token is asked for.
    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    fn lets_in(&self, authorization: Option<&[u8]>) -> bool {
        let Some(expected) = self.0 else { return true };
        let sent = authorization.and_then(|value| {
            let (scheme, token) = value.split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
        });
        sent.is_some_and(|sent| is_same(&digest(sent), &expected))
    }
}

/// In a time that does not depend on where they differ.
fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

/// The bytes that 64 hexadecimal digits stand for.
fn bytes(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
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
        let hashed = "sha256:d45f2c0c2ea3ef3a2bfbd6b1dff3b0b1a0bd4b1c1a7d3b0a4f3f1c0c2ea3ef3a";
        assert!(!Token::new(&Secret::new(hashed)).lets_in(Some(b"Bearer s3cret")), "another token's digest");
        let hashed = "sha256:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
        let hashed = Token::new(&Secret::new(hashed));
        assert!(hashed.lets_in(Some(b"Bearer s3cret")) && !hashed.lets_in(Some(b"Bearer sha256:")));
        assert!(Token::new(&Secret::default()).lets_in(None), "no token is asked for where none is set");
    }
}
