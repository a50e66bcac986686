//! How a key's value is read from text and shown again: one implementation for each kind of value.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::engine::catalog::TimeZone;

use super::{LogFormat, OutputFormat, Properties, Secret, Url};

/// A value in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// One text.
    Text(String),
    /// Texts by name.
    Map(BTreeMap<String, String>),
}

/// What a key holds.
pub(super) trait Setting {
    /// Reads a text; says what is wrong with it otherwise.
    fn set(&mut self, text: &str) -> Result<(), String>;

    /// Its value in the form it is read in, masked if secret.
    fn show(&self) -> Written;

    /// The map to write into, for a key that is one.
    fn as_map(&mut self) -> Option<&mut BTreeMap<String, String>> {
        None
    }

    /// How an environment variable's name spells a name in the map.
    fn name_from_environment(&self, name: &str) -> String {
        name.to_ascii_lowercase()
    }
}

impl Setting for String {
    fn set(&mut self, text: &str) -> Result<(), String> {
        text.clone_into(self);
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(self.clone())
    }
}

impl Setting for PathBuf {
    fn set(&mut self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Err("expected a directory".into());
        }
        *self = Self::from(text);
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(self.display().to_string())
    }
}

impl Setting for usize {
    fn set(&mut self, text: &str) -> Result<(), String> {
        let number = text.parse().ok().filter(|number| *number > 0);
        *self = number.ok_or_else(|| format!("expected a whole number of 1 or more, found `{text}`"))?;
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(self.to_string())
    }
}

impl Setting for Secret {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = Self::new(text);
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(format!("{self:?}"))
    }
}

impl Setting for SocketAddr {
    fn set(&mut self, text: &str) -> Result<(), String> {
        // `localhost` is what people write; a name that needs a resolver is not an address to listen on.
        let numeric =
            text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
        *self = numeric
            .parse()
            .map_err(|_| format!("expected an address and a port such as `127.0.0.1:8080`, found `{text}`"))?;
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(self.to_string())
    }
}

impl Setting for TimeZone {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.0 = time_zone(text)?.0;
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(self.0.iana_name().unwrap_or("UTC").to_owned())
    }
}

impl Setting for Url {
    fn set(&mut self, text: &str) -> Result<(), String> {
        if !(text.is_empty() || text.starts_with("http://") || text.starts_with("https://")) {
            return Err("expected an address that starts with `http://` or `https://`".into());
        }
        text.clone_into(&mut self.0);
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(self.shown())
    }
}

impl Url {
    /// The address with what stands before `@`, and what is asked for after `?`, masked.
    pub(super) fn shown(&self) -> String {
        masked(&self.0)
    }
}

fn masked(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(host_end);
    let host = authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, host)| format!("***@{host}"));
    let path = path.split_once('?').map_or_else(|| path.to_owned(), |(path, _)| format!("{path}?***"));
    format!("{scheme}://{host}{path}")
}

impl Setting for Properties {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.0.set(text)
    }

    fn show(&self) -> Written {
        Written::Map(self.shown())
    }

    fn as_map(&mut self) -> Option<&mut BTreeMap<String, String>> {
        Some(&mut self.0)
    }

    fn name_from_environment(&self, name: &str) -> String {
        name.to_ascii_lowercase().replace('_', ".")
    }
}

impl Properties {
    /// The properties with passwords, keys, tokens and commands that may hold one masked.
    pub(super) fn shown(&self) -> BTreeMap<String, String> {
        const WORDS: [&str; 8] =
            ["password", "passphrase", "secret", "token", "pem", "jaas", "oauthbearer.config", "kinit.cmd"];
        let shown = |(name, value): (&String, &String)| {
            let is_secret = WORDS.iter().any(|word| name.contains(word))
                && ![".location", ".url"].iter().any(|end| name.ends_with(end));
            (name.clone(), if is_secret && !value.is_empty() { "***".into() } else { masked(value) })
        };
        self.0.iter().map(shown).collect()
    }
}

impl Setting for BTreeMap<String, String> {
    fn set(&mut self, _: &str) -> Result<(), String> {
        Err("expected `name: value` pairs".into())
    }

    fn show(&self) -> Written {
        Written::Map(self.clone())
    }

    fn as_map(&mut self) -> Option<&mut Self> {
        Some(self)
    }
}

/// A choice between words.
macro_rules! choice {
    ($name:ident, $($word:literal => $variant:ident),+) => {
        impl Setting for $name {
            fn set(&mut self, text: &str) -> Result<(), String> {
                *self = match text {
                    $($word => Self::$variant,)+
                    _ => return Err(format!("expected {}, found `{text}`", [$(concat!("`", $word, "`")),+].join(" or "))),
                };
                Ok(())
            }

            fn show(&self) -> Written {
                Written::Text(match self { $(Self::$variant => $word),+ }.to_owned())
            }
        }
    };
}

choice!(OutputFormat, "avro" => Avro, "json" => Json);
choice!(LogFormat, "auto" => Auto, "human" => Human, "json" => Json);

/// A length of time in the form of definitions, and `ms`.
pub(super) struct Milliseconds<'a>(pub(super) &'a mut i64);

impl Setting for Milliseconds<'_> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self.0 = duration_ms(text)?;
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(show_duration(*self.0))
    }
}

/// A length of time, or `never`.
pub(super) struct OrNever<'a>(pub(super) &'a mut Option<i64>);

impl Setting for OrNever<'_> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self.0 = if text == "never" { None } else { Some(duration_ms(text)?) };
        Ok(())
    }

    fn show(&self) -> Written {
        Written::Text(self.0.map_or_else(|| "never".to_owned(), show_duration))
    }
}

/// An amount of memory: `512MiB`.
pub(super) struct Bytes<'a>(pub(super) &'a mut usize);

const BYTE_UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Setting for Bytes<'_> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        let bytes = BYTE_UNITS.iter().find_map(|(unit, bytes)| {
            let count: usize = text.strip_suffix(unit)?.trim().parse().ok()?;
            count.checked_mul(*bytes)
        });
        *self.0 = bytes.ok_or_else(|| format!("expected an amount such as `512MiB` or `2GiB`, found `{text}`"))?;
        Ok(())
    }

    fn show(&self) -> Written {
        let (unit, bytes) = BYTE_UNITS.into_iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes)).unwrap_or(("B", 1));
        Written::Text(format!("{}{unit}", *self.0 / bytes))
    }
}

const TIME_UNITS: [(&str, i64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a length of time, milliseconds: `100ms`, `90s`, `1h30m`, `30d`.
///
/// # Errors
/// What was expected, in words.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("expected a length of time such as `100ms`, `90s`, `1h30m` or `30d`, found `{text}`");
    // Nothing needs no unit.
    let mut rest = if text == "0" { "0s" } else { text };
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, unit_ms) = TIME_UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit_ms)).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Reads a time zone by its IANA name.
///
/// # Errors
/// What was expected, in words.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    jiff::tz::TimeZone::get(name)
        .map(TimeZone)
        .map_err(|_| format!("expected a time zone such as `UTC` or `Europe/Paris`, found `{name}`"))
}

/// The shortest form that [`duration_ms`] reads back.
fn show_duration(duration_ms: i64) -> String {
    let mut text = String::new();
    let mut rest = duration_ms;
    for (unit, unit_ms) in TIME_UNITS {
        if rest >= unit_ms && (rest % unit_ms == 0 || rest > unit_ms) {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{unit}", rest / unit_ms);
            rest %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
