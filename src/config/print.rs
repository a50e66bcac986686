//! A configuration as the YAML it could have been read from.

use std::fmt::Write as _;

use super::setting::Written;

/// A page of YAML under way.
#[derive(Default)]
pub(super) struct Page {
    text: String,
    section: &'static str,
}

impl Page {
    pub(super) fn line(&mut self, section: &'static str, key: &str, value: &Written) {
        if self.section != section {
            self.section = section;
            self.push(format_args!("{section}:"));
        }
        match value {
            Written::Text(text) => self.push(format_args!("  {key}: {}", scalar(text))),
            Written::Map(map) if map.is_empty() => self.push(format_args!("  {key}: {{}}")),
            Written::Map(map) => {
                self.push(format_args!("  {key}:"));
                for (name, value) in map {
                    self.push(format_args!("    {}: {}", scalar(name), scalar(value)));
                }
            }
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn push(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Bare where that cannot be misread, quoted otherwise.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if starts_well && !word && text.chars().all(plain) {
        return text.to_owned();
    }
    // JSON text is YAML text.
    serde_json::Value::from(text).to_string()
}
