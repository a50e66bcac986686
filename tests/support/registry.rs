//! A real schema registry (Apicurio, through its Confluent-compatible interface), empty at each start.

use std::sync::OnceLock;

use tempfile::TempDir;

use super::process::{Server, free_port, home, java};

/// A running registry.
pub struct Registry {
    port: u16,
    server: Server,
    _directory: TempDir,
}

impl Registry {
    /// Starts a registry of the caller's own.
    pub fn start() -> Self {
        let home = home("SEGUE_REGISTRY_HOME", "registry");
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = java(directory.path());
        command.arg("-jar").arg(home.join("registry.jar"));
        command.env("QUARKUS_HTTP_HOST", "127.0.0.1").env("QUARKUS_HTTP_PORT", port.to_string());
        let mut registry = Self {
            port,
            server: Server::start("the schema registry", command, &directory.path().join("log")),
            _directory: directory,
        };
        let subjects = format!("{}/subjects", registry.url());
        registry
            .server
            .wait_until(|| reqwest::blocking::get(&subjects).is_ok_and(|answer| answer.status().is_success()));
        registry
    }

    /// The one registry of this test binary: use subjects of your own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Registry> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// What to configure as `schemas.registry`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    /// Registers a schema under a subject; gives its id.
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        let answer: serde_json::Value = reqwest::blocking::Client::new()
            .post(format!("{}/subjects/{subject}/versions", self.url()))
            .json(&serde_json::json!({ "schema": schema }))
            .send()
            .and_then(reqwest::blocking::Response::error_for_status)
            .unwrap_or_else(|error| panic!("the registry refused a schema for {subject}: {error}"))
            .json()
            .unwrap();
        answer["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("the registry answers with an id")
    }

    /// Kills it, as an outage.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Halts it: it accepts connections and answers nothing.
    pub fn stop(&self) {
        self.server.signal("STOP");
    }

    /// Lets it go on after `stop`.
    pub fn cont(&self) {
        self.server.signal("CONT");
    }
}
