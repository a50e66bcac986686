//! A client of the schema registry (Confluent's interface): schemas by id for decoding, and registering ours.
//!
//! Decoding never waits for the registry: [`Registry::schema`] answers from memory, and a thread of its own fetches what is
//! not there, one request for an id however many ask. An outage is not the record's fault: while it lasts the answer is
//! [`Lookup::Pending`], and the thread tries again with growing pauses. Only the registry's own "there is no such schema"
//! is [`Lookup::Unknown`].

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::watchdog::now;
use super::{KafkaError, Stop, patiently};

/// How long an unknown id is believed to be unknown.
const BELIEVED: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);
const CONTENT: &str = "application/vnd.schemaregistry.v1+json";
/// What may follow a version: what every reader, old or new, can read, because topics keep their history.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";
/// References of references: deeper is a mistake or an attack.
const DEEPEST: usize = 16;

/// A schema and those it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// The schema, as registered.
    pub schema: String,
    /// The schemas it refers to by name, each after those that it refers to itself.
    pub references: Vec<String>,
}

/// What is known about a schema id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The schema.
    Known(Arc<RegisteredSchema>),
    /// The registry has no Avro schema under this id, and says why.
    Unknown(Arc<str>),
    /// It is being asked for, or the registry is away; ask again later.
    Pending,
}

/// A connection to the registry. Clones share what they know.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    wanted: Sender<u32>,
}

struct Shared {
    /// In the order given; the first that answers is asked.
    urls: Vec<String>,
    client: Client,
    known: Mutex<HashMap<u32, State>>,
    on_outage: Box<dyn Fn(Option<String>) + Send + Sync>,
    stop: Stop,
}

enum State {
    Fetching,
    Known(Arc<RegisteredSchema>),
    Unknown(Arc<str>, Instant),
}

/// What the registry says to a question it understood.
enum Answer {
    Yes(Value),
    No(String),
}

#[derive(Deserialize)]
struct SchemaBody {
    schema: String,
    #[serde(default, rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

impl Registry {
    /// Prepares to ask; `urls` are separated by commas and may carry `user:password@`. Does not connect yet. `on_outage` is told
    /// why the registry does not answer, while it does not, and `None` when it answers.
    ///
    /// # Errors
    /// When an address is none, or no HTTP client can be made.
    pub fn connect(
        urls: &str,
        stop: &Stop,
        on_outage: impl Fn(Option<String>) + Send + Sync + 'static,
    ) -> Result<Self, KafkaError> {
        let urls: Vec<_> = urls.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        for url in &urls {
            reqwest::Url::parse(url).map_err(|error| KafkaError::Settings(format!("schemas.registry: {error}")))?;
        }
        let client = Client::builder().timeout(TIMEOUT).connect_timeout(TIMEOUT / 2).build();
        let client = client.map_err(|error| KafkaError::Settings(format!("schemas.registry: {error}")))?;
        let (wanted, inbox) = channel();
        let on_outage = Box::new(on_outage);
        let shared = Arc::new(Shared { urls, client, known: Mutex::default(), on_outage, stop: stop.clone() });
        let fetcher = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || fetcher.serve(&inbox))
            .map_err(|error| KafkaError::Settings(format!("cannot start a thread: {error}")))?;
        Ok(Self { shared, wanted })
    }

    /// The same, where `urls` may be empty because there is no registry.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn if_any(
        urls: &str,
        stop: &Stop,
        on_outage: impl Fn(Option<String>) + Send + Sync + 'static,
    ) -> Result<Option<Self>, KafkaError> {
        if urls.is_empty() { Ok(None) } else { Self::connect(urls, stop, on_outage).map(Some) }
    }

    /// What is known about an id, without waiting.
    pub fn schema(&self, id: u32) -> Lookup {
        let mut known = self.shared.known();
        match known.get(&id) {
            Some(State::Known(schema)) => return Lookup::Known(Arc::clone(schema)),
            Some(State::Unknown(why, since)) if now() < *since + BELIEVED => return Lookup::Unknown(Arc::clone(why)),
            Some(State::Fetching) => return Lookup::Pending,
            Some(State::Unknown(..)) | None => {}
        }
        known.insert(id, State::Fetching);
        // The thread ends only when nobody can ask any more.
        let _ = self.wanted.send(id);
        Lookup::Pending
    }

    /// Registers a schema under a subject, unless it is there already; gives its id, which is known from then on. Waits out an
    /// outage.
    ///
    /// # Errors
    /// When the registry refuses, for one because it is not compatible, or when `stop` is requested.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32, KafkaError> {
        let path = format!("/subjects/{subject}/versions");
        let body = json!({ "schema": schema, "schemaType": "AVRO" });
        match self.shared.insist(|| self.shared.ask(|client, url| client.post(format!("{url}{path}")).json(&body)))? {
            Answer::Yes(answer) => {
                let id = identity(&answer).ok_or_else(|| odd(&path))?;
                let registered = RegisteredSchema { schema: schema.to_owned(), references: Vec::new() };
                self.shared.known().insert(id, State::Known(Arc::new(registered)));
                Ok(id)
            }
            Answer::No(why) => Err(refused(&format!("registering {subject}"), why)),
        }
    }

    /// Lets a subject have only versions that old and new readers can read of old and new writers, unless the site has
    /// given it a rule of its own. Waits out an outage.
    ///
    /// # Errors
    /// When the registry refuses, or when `stop` is requested.
    pub fn keep_compatible(&self, subject: &str) -> Result<(), KafkaError> {
        let path = format!("/config/{subject}");
        let rule = |answer: &Value| answer.get("compatibilityLevel").and_then(Value::as_str).map(str::to_owned);
        let answer = self.shared.insist(|| self.shared.ask(|client, url| client.get(format!("{url}{path}"))))?;
        match answer {
            // Some registries answer so when there is no rule.
            Answer::Yes(answer) if rule(&answer).is_some_and(|rule| rule != "NONE") => return Ok(()),
            Answer::Yes(_) | Answer::No(_) => {}
        }
        let body = json!({ "compatibility": COMPATIBILITY });
        match self.shared.insist(|| self.shared.ask(|client, url| client.put(format!("{url}{path}")).json(&body)))? {
            Answer::Yes(_) => Ok(()),
            Answer::No(why) => Err(refused(&format!("setting the compatibility of {subject}"), why)),
        }
    }

    /// Whether the registry answers, asked once.
    ///
    /// # Errors
    /// Why not.
    pub fn ping(&self) -> Result<(), KafkaError> {
        match self.shared.ask(|client, url| client.get(format!("{url}/subjects")))? {
            Answer::Yes(_) => Ok(()),
            Answer::No(why) => Err(refused("schema registry", why)),
        }
    }

    /// The newest schema of a subject and its id; `None` when there is none. Waits out an outage.
    ///
    /// # Errors
    /// When the registry answers what cannot be understood, or when `stop` is requested.
    pub fn latest(&self, subject: &str) -> Result<Option<(u32, String)>, KafkaError> {
        let path = format!("/subjects/{subject}/versions/latest");
        match self.shared.insist(|| self.shared.ask(|client, url| client.get(format!("{url}{path}"))))? {
            Answer::Yes(answer) => {
                let schema = answer.get("schema").and_then(Value::as_str).map(str::to_owned);
                identity(&answer).zip(schema).map(Some).ok_or_else(|| odd(&path))
            }
            Answer::No(_) => Ok(None),
        }
    }

    /// Whether a schema may follow the newest of a subject by the registry's rules. Waits out an outage.
    ///
    /// # Errors
    /// When `stop` is requested.
    pub fn is_compatible(&self, subject: &str, schema: &str) -> Result<bool, KafkaError> {
        let path = format!("/compatibility/subjects/{subject}/versions/latest");
        let body = json!({ "schema": schema, "schemaType": "AVRO" });
        match self.shared.insist(|| self.shared.ask(|client, url| client.post(format!("{url}{path}")).json(&body)))? {
            Answer::Yes(answer) => Ok(answer.get("is_compatible").and_then(Value::as_bool).unwrap_or(false)),
            // There is nothing to be compatible with.
            Answer::No(_) => Ok(true),
        }
    }
}

impl Shared {
    /// The thread: fetches wanted ids one after the other until nobody can ask any more.
    fn serve(&self, wanted: &Receiver<u32>) {
        for id in wanted {
            let state = match self.insist(|| self.fetch(id)) {
                Ok(Ok(schema)) => State::Known(Arc::new(schema)),
                Ok(Err(why)) => State::Unknown(why.into(), now()),
                Err(KafkaError::Stopped) => return,
                Err(error) => State::Unknown(error.to_string().into(), now()),
            };
            self.known().insert(id, state);
        }
    }

    /// The schema of an id with all it refers to, or why there is none.
    fn fetch(&self, id: u32) -> Result<Result<RegisteredSchema, String>, KafkaError> {
        let body = match self.body(&format!("/schemas/ids/{id}"))? {
            Ok(body) => body,
            Err(why) => return Ok(Err(why)),
        };
        let mut references = Vec::new();
        if let Err(why) = self.collect(&body.references, &mut references, &mut Vec::new())? {
            return Ok(Err(why));
        }
        Ok(Ok(RegisteredSchema { schema: body.schema, references }))
    }

    fn collect(
        &self,
        wanted: &[Reference],
        found: &mut Vec<String>,
        path: &mut Vec<(String, i64)>,
    ) -> Result<Result<(), String>, KafkaError> {
        for Reference { subject, version } in wanted {
            let name = (subject.clone(), *version);
            if path.len() >= DEEPEST || path.contains(&name) {
                return Ok(Err(format!("its references through {subject} have no end")));
            }
            let body = match self.body(&format!("/subjects/{subject}/versions/{version}"))? {
                Ok(body) => body,
                Err(why) => return Ok(Err(format!("its reference {subject} version {version}: {why}"))),
            };
            path.push(name);
            if let Err(why) = self.collect(&body.references, found, path)? {
                return Ok(Err(why));
            }
            path.pop();
            if !found.contains(&body.schema) {
                found.push(body.schema);
            }
        }
        Ok(Ok(()))
    }

    fn body(&self, path: &str) -> Result<Result<SchemaBody, String>, KafkaError> {
        match self.ask(|client, url| client.get(format!("{url}{path}")))? {
            Answer::No(why) => Ok(Err(why)),
            Answer::Yes(answer) => {
                let body: SchemaBody = serde_json::from_value(answer).map_err(|_| odd(path))?;
                match body.schema_type.as_deref() {
                    None | Some("AVRO") => Ok(Ok(body)),
                    Some(other) => Ok(Err(format!("it is a {other} schema"))),
                }
            }
        }
    }

    /// Asks each address until one answers. "No such thing" and "not allowed" are answers; failures of the server are not.
    fn ask(&self, request: impl Fn(&Client, &str) -> RequestBuilder) -> Result<Answer, KafkaError> {
        let mut failures = Vec::new();
        for url in &self.urls {
            match request(&self.client, url).header("Accept", CONTENT).send() {
                Err(error) => failures.push(error.without_url().to_string()),
                Ok(response) if is_outage(response.status()) => failures.push(response.status().to_string()),
                Ok(response) => {
                    let status = response.status();
                    let body: Value = response.json().unwrap_or_default();
                    if status.is_success() {
                        return Ok(Answer::Yes(body));
                    }
                    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
                    return Ok(Answer::No(format!("{status} {message}").trim_end().to_owned()));
                }
            }
        }
        Err(KafkaError::Unavailable { what: "schema registry".to_owned(), message: failures.join("; ") })
    }

    /// Does something until the registry is there to answer, and tells of the outage meanwhile.
    fn insist<T>(&self, attempt: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let result = patiently(&self.stop, attempt, |error| {
            tracing::warn!(%error, "the schema registry does not answer");
            (self.on_outage)(Some(error.to_string()));
        });
        (self.on_outage)(None);
        result
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, State>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wrong password is an outage, too: it says nothing about the schema, and must not cost a record.
fn is_outage(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::REQUEST_TIMEOUT
        )
}

fn identity(answer: &Value) -> Option<u32> {
    answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok())
}

fn odd(path: &str) -> KafkaError {
    refused(path, "the schema registry's answer cannot be understood".to_owned())
}

fn refused(what: &str, message: String) -> KafkaError {
    KafkaError::Refused { what: what.to_owned(), message }
}

#[cfg(test)]
mod tests;
