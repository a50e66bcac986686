//! Every command of the documentation is run as it stands there, page after page, against a real broker, registry and engine,
//! and prints what the page shows.
//!
//! A block of commands may say in a comment above it how it is run: `background: URL` (until the URL answers, and on to the end),
//! `until it shows` (again until the output is there), `not run: why`. A block may be a file: `file: NAME`.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set up has failed")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::Value;
use support::{Broker, Registry, Server, clients_home, free_port};
use tempfile::TempDir;

/// In the order in which somebody new reads them: what one page sets up the next ones use.
const PAGES: [&str; 6] = ["getting-started", "publishing", "subscribing", "operating", "security", "comparison"];
/// Why a command is not run; there is no other reason.
const NOT_RUN: [&str; 3] =
    ["./dev setup does it", "the test of the examples does it, from the checkout", "it needs a cluster"];
const TRIES: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);

/// A fenced block of a page.
struct Block {
    line: usize,
    language: String,
    /// What the comment above it says.
    how: String,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut how = String::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            open = !open;
            if open {
                let how = std::mem::take(&mut how);
                blocks.push(Block { line: number + 1, language: language.to_owned(), how, lines: Vec::new() });
            }
        } else if open {
            blocks.last_mut().unwrap().lines.push(line.to_owned());
        } else if let Some(comment) = line.strip_prefix("<!-- ") {
            comment.trim_end_matches(" -->").clone_into(&mut how);
        }
    }
    blocks
}

impl Block {
    /// The commands as a script, and what they print.
    fn script(&self) -> (String, Vec<&str>) {
        let (mut script, mut output) = (String::new(), Vec::new());
        let mut goes_on = false;
        for line in &self.lines {
            let command = line.strip_prefix("$ ").or(goes_on.then_some(line));
            match command {
                Some(command) => {
                    script += command;
                    script.push('\n');
                    goes_on = command.ends_with('\\');
                }
                None => output.push(line.as_str()),
            }
        }
        (script, output)
    }
}

/// Whether these lines are among the output's, in whatever order. `…` stands for anything.
fn shows(output: &str, expected: &[&str]) -> bool {
    let fits = |line: &str, pattern: &str| {
        let mut rest = line;
        let mut parts = pattern.split('…').peekable();
        let is_whole = parts.next().is_some_and(|first| rest.strip_prefix(first).inspect(|left| rest = left).is_some());
        is_whole
            && parts.all(|part| rest.find(part).inspect(|at| rest = &rest[at + part.len()..]).is_some())
            && (pattern.ends_with('…') || rest.trim_end().is_empty())
    };
    expected.iter().all(|pattern| output.lines().any(|line| fits(line, pattern)))
}

/// A checkout as a reader has it, beside servers on other ports than the page says.
struct Reader {
    directory: TempDir,
    /// What the pages say, and what it is here.
    places: Vec<(&'static str, String)>,
    background: Vec<Server>,
}

impl Reader {
    fn new(broker: &Broker, registry: &Registry, proxy: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["schemas", "deploy"] {
            symlink(root.join(name), directory.path().join(name)).unwrap();
        }
        // What the commands that are not run would have put beside the examples.
        let clients = clients_home();
        let examples = directory.path().join("examples");
        for (language, libraries, there) in [
            ("python", None, ""),
            ("java", Some("java"), "libs"),
            ("javascript", Some("javascript/node_modules"), "node_modules"),
        ] {
            fs::create_dir_all(examples.join(language)).unwrap();
            for entry in fs::read_dir(root.join("examples").join(language)).unwrap() {
                let file = entry.unwrap().path();
                if file.is_file() {
                    fs::copy(&file, examples.join(language).join(file.file_name().unwrap())).unwrap();
                }
            }
            if let Some(libraries) = libraries {
                symlink(clients.join(libraries), examples.join(language).join(there)).unwrap();
            }
        }
        let places = vec![
            ("localhost:9092", broker.address()),
            ("http://localhost:8081", registry.url()),
            ("localhost:8082", format!("127.0.0.1:{proxy}")),
            ("localhost:8080", format!("127.0.0.1:{}", free_port())),
        ];
        Self { directory, places, background: Vec::new() }
    }

    fn here(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    fn shell(&self, script: &str) -> Command {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_segue"));
        let path = std::env::var("PATH").unwrap();
        let (_, listen) = self.places.last().unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "bash", "-eu", "-o", "pipefail", "-c", &self.here(script)]);
        command
            .current_dir(self.directory.path())
            .env("PATH", format!("{}:{path}", program.parent().unwrap().display()));
        command.env("PYTHONPATH", clients_home().join("python")).env("SEGUE_HTTP__LISTEN", listen);
        command
    }

    fn run(&mut self, page: &str, block: &Block) {
        let (script, expected) = block.script();
        let place = format!("docs/{page}.md:{}: {script}", block.line);
        if let Some(why) = block.how.strip_prefix("not run: ") {
            assert!(NOT_RUN.contains(&why), "{place}: `{why}` is no reason that is known");
            return;
        }
        if let Some(url) = block.how.strip_prefix("background: ") {
            let command = self.shell(&format!("exec {script}"));
            let mut server =
                Server::start("a command of the documentation", command, &self.directory.path().join("log"));
            let url = self.here(url);
            server.wait_until(|| reqwest::blocking::get(&url).is_ok_and(|answer| answer.status().is_success()));
            self.background.push(server);
            return;
        }
        let tries = if block.how == "until it shows" { TRIES } else { 1 };
        for attempt in 1..=tries {
            let output = self.shell(&format!("exec 2>&1 < /dev/null; {script}")).output().unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{place}ended with {}:\n{told}", output.status);
            if shows(&told, &expected) {
                return;
            }
            assert!(attempt < tries, "{place}printed\n{told}\nand not\n{}", expected.join("\n"));
            std::thread::sleep(PAUSE);
        }
    }
}

/// The call of a REST proxy that the documentation shows: records in binary form, put into a topic by the partitioner that all
/// publishers use. Confluent's and Strimzi's proxies cannot be had as packages.
fn stand_in_for_a_rest_proxy(listener: &TcpListener, broker: &str) {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", broker).set("partitioner", "murmur2_random");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let answer = match take_request(&stream) {
            Ok((topic, records)) => {
                for (key, value) in records {
                    producer
                        .send(BaseRecord::to(&topic).key(&key).payload(&value))
                        .map_err(|(error, _)| error)
                        .unwrap();
                }
                producer.flush(Duration::from_secs(30)).unwrap();
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n{}\n".to_owned()
            }
            Err(why) => format!("HTTP/1.1 422 {why}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        };
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn take_request(stream: &TcpStream) -> Result<(String, Records), String> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    let topic = head[0].strip_prefix("post /topics/").and_then(|rest| rest.split(' ').next()).ok_or("not a topic")?;
    let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if header("content-type:") != Some("application/vnd.kafka.binary.v2+json") {
        return Err("not the binary form".to_owned());
    }
    let mut body = vec![0; header("content-length:").unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let bytes = |record: &Value, field: &str| decode_base64(record[field].as_str().unwrap());
    let records = body["records"].as_array().unwrap();
    Ok((topic.to_owned(), records.iter().map(|record| (bytes(record, "key"), bytes(record, "value"))).collect()))
}

fn decode_base64(text: &str) -> Vec<u8> {
    let mut command = Command::new("base64");
    let mut child =
        command.arg("-d").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn every_command_does_what_the_page_says() {
    let (broker, registry) = (Broker::shared(), Registry::shared());
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reader = Reader::new(broker, registry, proxy.local_addr().unwrap().port());
    let address = broker.address();
    std::thread::spawn(move || stand_in_for_a_rest_proxy(&proxy, &address));
    let mut n_commands = 0;
    for page in PAGES {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{page}.md"))).unwrap();
        for block in blocks(&text) {
            if let Some(name) = block.how.strip_prefix("file: ") {
                let file = reader.directory.path().join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, reader.here(&block.lines.join("\n"))).unwrap();
            } else if block.language == "console" {
                n_commands += 1;
                reader.run(page, &block);
            }
        }
    }
    assert!(n_commands > 20, "only {n_commands} blocks of commands were found");
    for server in &mut reader.background {
        server.signal("TERM");
        assert_eq!(server.ended(), 0, "{}", server.log_end());
    }
}

#[test]
fn every_page_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for page in pages.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())) {
        // The language has a test of its own.
        assert!(page == "language" || PAGES.contains(&page.as_str()), "docs/{page}.md is in no list of pages to run");
    }
}

#[test]
fn output_is_found_where_it_is_and_not_where_it_is_not() {
    let output = "12:00 ada entered vip because\nnothing\n";
    for (expected, found) in [
        (vec!["… ada entered vip…"], true),
        (vec!["… ada entered vip"], false),
        (vec!["nothing"], true),
        (vec!["nothing", "… ada …"], true),
        (vec!["nothing", "… left …"], false),
        (vec![], true),
    ] {
        assert_eq!(shows(output, &expected), found, "{expected:?}");
    }
}
