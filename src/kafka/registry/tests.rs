//! Against a scripted registry: each path has a list of answers, the last of which it repeats.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

type Script = BTreeMap<&'static str, Vec<(u16, &'static str)>>;

/// Serves a script; counts the requests of each path. The thread ends with the test process.
struct Scripted {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn start(script: &[(&'static str, &[(u16, &'static str)])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut script: Script = script.iter().map(|(path, answers)| (*path, answers.to_vec())).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &mut script, &log);
            }
        });
        Self { url, seen }
    }

    fn count(&self, path: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == path).count()
    }
}

fn answer(mut stream: TcpStream, script: &mut Script, log: &Mutex<Vec<String>>) {
    let mut request = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    while head.last().is_none_or(|line: &String| !line.is_empty()) {
        let mut line = String::new();
        request.read_line(&mut line).unwrap();
        head.push(line.trim_end().to_lowercase());
    }
    let length =
        head.iter().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    request.read_exact(&mut vec![0; length]).unwrap();
    let path = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
    let authorized = head.contains(&"authorization: basic dtpw".to_owned());
    log.lock().unwrap().push(if authorized { format!("u:p@{path}") } else { path.clone() });
    let (status, body) = match script.get_mut(path.as_str()) {
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0],
        None => (404, r#"{"error_code":40403,"message":"Schema not found"}"#),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
    drop(write!(stream, "{head}Connection: close\r\n\r\n{body}"));
}

/// Asks until the answer is there.
fn settled(registry: &Registry, id: u32) -> Lookup {
    for _ in 0..1000 {
        match registry.schema(id) {
            Lookup::Pending => std::thread::sleep(Duration::from_millis(10)),
            answer => return answer,
        }
    }
    panic!("schema {id} is never settled");
}

fn known(schema: &str, references: &[&str]) -> Lookup {
    let references = references.iter().map(|reference| (*reference).to_owned()).collect();
    Lookup::Known(Arc::new(RegisteredSchema { schema: schema.to_owned(), references }))
}

#[test]
fn a_schema_is_fetched_once_with_what_it_refers_to() {
    let server = Scripted::start(&[
        ("/schemas/ids/7", &[(200, r#"{"schema":"A","references":[{"name":"b","subject":"sb","version":2}]}"#)]),
        (
            "/subjects/sb/versions/2",
            &[(200, r#"{"schema":"B","references":[{"name":"c","subject":"sc","version":1}]}"#)],
        ),
        ("/subjects/sc/versions/1", &[(200, r#"{"schema":"C"}"#)]),
    ]);
    let registry = Registry::connect(&server.url, &Stop::default(), |_| {}).unwrap();
    assert_eq!(registry.schema(7), Lookup::Pending);
    assert_eq!(registry.clone().schema(7), Lookup::Pending);
    assert_eq!(settled(&registry, 7), known("A", &["C", "B"]));
    assert_eq!(settled(&registry, 7), known("A", &["C", "B"]));
    assert_eq!(server.count("/schemas/ids/7"), 1);
}

#[test]
fn what_the_registry_does_not_know_is_unknown_and_not_asked_again_at_once() {
    let server = Scripted::start(&[
        ("/schemas/ids/8", &[(200, r#"{"schema":"x","schemaType":"PROTOBUF"}"#)]),
        ("/schemas/ids/9", &[(200, r#"{"schema":"A","references":[{"name":"a","subject":"a","version":1}]}"#)]),
        ("/subjects/a/versions/1", &[(200, r#"{"schema":"A","references":[{"name":"a","subject":"a","version":1}]}"#)]),
    ]);
    let registry = Registry::connect(&server.url, &Stop::default(), |_| {}).unwrap();
    for (id, why) in [(1, "Schema not found"), (8, "PROTOBUF"), (9, "no end")] {
        let answer = settled(&registry, id);
        assert!(matches!(&answer, Lookup::Unknown(said) if said.contains(why)), "{id}: {answer:?}");
        assert_eq!(settled(&registry, id), answer);
        assert_eq!(server.count(&format!("/schemas/ids/{id}")), 1);
    }
}

#[test]
fn an_outage_is_waited_out_and_told() {
    let good = (200, r#"{"schema":"A"}"#);
    let server = Scripted::start(&[("/schemas/ids/7", &[(500, ""), (503, "{}"), (401, ""), good])]);
    let (tell, told) = channel();
    let registry = Registry::connect(&server.url, &Stop::default(), move |outage| tell.send(outage).unwrap()).unwrap();
    assert_eq!(settled(&registry, 7), known("A", &[]));
    let told: Vec<_> = told.try_iter().map(|outage| outage.is_some()).collect();
    assert_eq!(told, [true, true, true, false]);
    assert_eq!(server.count("/schemas/ids/7"), 4);
}

#[test]
fn the_next_address_is_asked_when_one_is_down_and_passwords_are_sent() {
    let server = Scripted::start(&[("/subjects/s/versions", &[(200, r#"{"id":12}"#)])]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = format!("http://{closed}, {}/", server.url.replace("http://", "http://u:p@"));
    let registry = Registry::connect(&urls, &Stop::default(), |_| {}).unwrap();
    assert_eq!(registry.register("s", "\"string\"").unwrap(), 12);
    assert_eq!(server.count("u:p@/subjects/s/versions"), 1);
    assert!(Registry::connect("http://a,,http://b", &Stop::default(), |_| {}).is_err());
}

#[test]
fn refusals_are_told_apart_from_absence() {
    let server = Scripted::start(&[
        ("/subjects/s/versions", &[(409, r#"{"error_code":409,"message":"incompatible"}"#)]),
        ("/subjects/s/versions/latest", &[(200, r#"{"id":3,"schema":"S"}"#)]),
        ("/compatibility/subjects/s/versions/latest", &[(200, r#"{"is_compatible":false}"#)]),
    ]);
    let registry = Registry::connect(&server.url, &Stop::default(), |_| {}).unwrap();
    let refusal = registry.register("s", "S").unwrap_err().to_string();
    assert!(refusal.contains("incompatible"), "{refusal}");
    assert_eq!(registry.latest("s").unwrap(), Some((3, "S".to_owned())));
    assert_eq!(registry.latest("t").unwrap(), None);
    assert!(!registry.is_compatible("s", "S").unwrap());
    assert!(registry.is_compatible("t", "S").unwrap());
}
