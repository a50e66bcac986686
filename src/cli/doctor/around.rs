//! What the doctor looks at around Kafka: definitions, the registry, and the machine.

use std::net::TcpListener;
use std::path::Path;

use crate::config::{Config, free_memory_bytes};
use crate::definition;
use crate::kafka::Stop;
use crate::kafka::registry::Registry;
use crate::worker::disk::Disk;

use super::super::set::schemas_of;
use super::{Finding, bytes_text};

/// Less room than this is soon none.
const LITTLE_ROOM_BYTES: u64 = 2 << 30;
/// Files that a store may hold open, and sockets and the like besides.
const FILES_OF_A_STORE: u64 = 500;
const OTHER_FILES: u64 = 500;
/// What the process needs besides the stores: customers in memory, librdkafka's queues.
const OTHER_MEMORY_BYTES: u64 = 1 << 30;

pub(super) fn definitions(config: &Config) -> Finding {
    const CHECK: &str = "definitions";
    let schemas = match schemas_of(config) {
        Ok(schemas) => schemas,
        Err(error) => return Finding::bad(CHECK, error.to_string(), "correct the schema"),
    };
    let directory = &config.application.definitions;
    match definition::load(directory, schemas.schemas(), config.application.timezone.0.clone()) {
        Ok(loaded) => {
            Finding::good(CHECK, format!("{} segments in {}", loaded.catalog.segments.len(), directory.display()))
        }
        Err(problems) => {
            let found = format!("{} problems in {}", problems.len(), directory.display());
            Finding::bad(CHECK, found, format!("segue check {} says which", directory.display()))
        }
    }
}

pub(super) fn registry(config: &Config) -> Finding {
    const CHECK: &str = "registry";
    let url = config.schemas.registry.0.as_str();
    if url.is_empty() {
        return Finding::good(CHECK, "none is configured; events in its wire format would be refused");
    }
    let stop = Stop::default();
    let answer = Registry::connect(url, &stop, |_| {}).and_then(|registry| registry.ping());
    stop.request();
    match answer {
        Ok(()) => Finding::good(CHECK, "it answers"),
        Err(error) => Finding::bad(CHECK, error.to_string(), "is it running, and does `schemas.registry` name it?"),
    }
}

pub(super) fn machine(config: &Config) -> Vec<Finding> {
    vec![directory(&config.application.data_dir), disk(config), memory(config), files(), port(config)]
}

fn directory(path: &Path) -> Finding {
    const CHECK: &str = "data_dir";
    let probe = path.join(format!(".segue-doctor-{}", std::process::id()));
    let existed = path.is_dir();
    let tried = std::fs::create_dir_all(path).and_then(|()| std::fs::write(&probe, b"")).and_then(|()| {
        std::fs::remove_file(&probe)?;
        // Nothing is changed: what was not there is not there again, unless it is in use by now.
        if existed { Ok(()) } else { std::fs::remove_dir(path) }
    });
    match tried {
        Ok(()) => Finding::good(CHECK, format!("{} can be written", path.display())),
        Err(error) => {
            let found = format!("{} cannot be written: {error}", path.display());
            Finding::bad(CHECK, found, "give it to the user that runs segue, or set `application.data_dir`")
        }
    }
}

fn disk(config: &Config) -> Finding {
    const CHECK: &str = "disk";
    match Disk::of(&config.application.data_dir) {
        Err(error) => Finding::doubtful(CHECK, error.to_string(), "look at the disk of `application.data_dir`"),
        Ok(disk) => {
            let found = format!("{} of {} left", bytes_text(disk.free_bytes), bytes_text(disk.size_bytes));
            if disk.free_bytes < LITTLE_ROOM_BYTES {
                return Finding::doubtful(CHECK, found, "the stores need about twice the size of the changelog");
            }
            Finding::good(CHECK, found)
        }
    }
}

fn memory(config: &Config) -> Finding {
    const CHECK: &str = "memory";
    let wanted = u64::try_from(config.store.memory_bytes).unwrap_or(u64::MAX).saturating_add(OTHER_MEMORY_BYTES);
    let free = free_memory_bytes().and_then(|bytes| u64::try_from(bytes).ok());
    let Some(limit) = free else { return Finding::untold(CHECK, "the system does not tell") };
    let found = format!(
        "{} to be had; {} for the stores and {} besides are wanted",
        bytes_text(limit),
        bytes_text(wanted - OTHER_MEMORY_BYTES),
        bytes_text(OTHER_MEMORY_BYTES)
    );
    if limit < wanted {
        return Finding::doubtful(CHECK, found, "raise the limit, or lower `store.memory`");
    }
    Finding::good(CHECK, found)
}

fn files() -> Finding {
    const CHECK: &str = "open files";
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let stores = limit.map(|limit| limit.saturating_sub(OTHER_FILES) / FILES_OF_A_STORE);
    match (limit, stores) {
        (Some(limit), Some(stores)) if stores < 8 => {
            let found = format!("{limit} are allowed, enough for {stores} partitions on this process");
            Finding::doubtful(CHECK, found, "raise it: LimitNOFILE=65536, or `ulimit -n 65536`")
        }
        (Some(limit), Some(stores)) => {
            Finding::good(CHECK, format!("{limit} are allowed, enough for {stores} partitions"))
        }
        _ => Finding::good(CHECK, "as many as there can be"),
    }
}

fn port(config: &Config) -> Finding {
    const CHECK: &str = "http";
    let address = config.http.listen;
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(CHECK, format!("{address} is free")),
        Err(error) => {
            let advice = "is segue running already? Else set `http.listen` to a free address";
            Finding::doubtful(CHECK, format!("{address}: {error}"), advice)
        }
    }
}
