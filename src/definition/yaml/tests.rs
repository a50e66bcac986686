//! Every way YAML has to write a text leads back to where each word of it is written.

use super::{Node, NodeKind, parse};

/// The scalars of a file, keys too, in order.
fn scalars(node: &Node) -> Vec<&Node> {
    match &node.kind {
        NodeKind::Scalar(_) => vec![node],
        NodeKind::Sequence(items) => items.iter().flat_map(scalars).collect(),
        NodeKind::Mapping(entries) => {
            entries.iter().flat_map(|(key, value)| scalars(key).into_iter().chain(scalars(value))).collect()
        }
    }
}

/// Checks that each word of the last scalar is found where the file has it.
#[track_caller]
fn check(text: &str, words: &[&str]) {
    let documents = parse(text).unwrap();
    let all: Vec<&Node> = documents.iter().flat_map(scalars).collect();
    let node = all.last().unwrap();
    let scalar = node.as_scalar().unwrap();
    let mut from = 0;
    for word in words {
        let start =
            from + scalar.value[from..].find(word).unwrap_or_else(|| panic!("{word} is not in {:?}", scalar.value));
        let range = scalar.locate(text, &node.range, &(start..start + word.len()));
        assert_eq!(&text[range.clone()], *word, "{word} in {:?} of {text:?}", scalar.value);
        from = start + word.len();
    }
}

#[test]
fn plain_texts_on_one_line_and_folded_over_several() {
    check("a: did(x) and  did(y)\n", &["did(x)", "and", "did(y)"]);
    check("a: did(x)\n   and did(y)\n\n   or z\n", &["did(x)", "and", "did(y)", "or", "z"]);
    check("- {k: did(x),  when: did(y) }\n", &["did(y)"]);
}

#[test]
fn quoted_texts_with_escapes_and_line_breaks() {
    check("a: 'it''s did(x)'\n", &["s did(x)"]);
    check("a: \"x = \\\"y\\\" and did(z)\"\n", &["y", "and", "did(z)"]);
    check("a: \"one \\\n     two\n   three\\u0020four\"\n", &["one", "two", "three", "four"]);
    check("a: \"\\x41\\U00000042c\"\n", &["c"]);
}

#[test]
fn blocks_keep_or_fold_their_lines() {
    check("a: |\n  did(x)\n    and did(y)\n\n  or z\n", &["did(x)", "and did(y)", "or z"]);
    check("a: >-  # a comment\n  did(x)\n  and did(y)\n\n  or z\n", &["did(x)", "and", "did(y)", "or", "z"]);
    check("a: |2\n    did(x)\n   y\n", &["did(x)", "y"]);
    check("a: >\n  did(x)\n  and did(y)\nb: 1\n", &["1"]);
}

#[test]
fn characters_of_several_bytes_and_other_line_ends() {
    check("ä: größe → did(x)\n", &["größe", "→", "did(x)"]);
    check("a: |\r\n  did(x)\r\n  and did(y)\r\n", &["did(x)", "and", "did(y)"]);
    check("a: did(x)\r\n  and did(y)\r\n", &["did(x)", "and", "did(y)"]);
}

#[test]
fn hostile_files_are_refused() {
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"- ".repeat(100_000)).is_err());
    assert!(parse("a: &a [*a]\n").is_err());
    let levels = (1..30).map(|level| format!("- &a{level} [*a{0}, *a{0}]", level - 1));
    let bomb: Vec<String> = std::iter::once("- &a0 [x]".to_owned()).chain(levels).collect();
    assert!(parse(&bomb.join("\n")).is_err());
}

proptest::proptest! {
    /// Whatever is in a file, it is read or refused, and every place lies in it.
    #[test]
    fn no_file_makes_the_reader_panic(text in "([\\-:?,\\[\\]{}#&*!|>'\"%@` \n\t\r]|a|é|[0-9]|- |: |\n  |\\\\x|<<|\\.\\.\\.|---\n){0,60}") {
        if let Ok(documents) = parse(&text) {
            for node in documents.iter().flat_map(scalars) {
                proptest::prop_assert!(text.get(node.range.clone()).is_some());
                let scalar = node.as_scalar().unwrap();
                for (start, character) in scalar.value.char_indices() {
                    let range = scalar.locate(&text, &node.range, &(start..start + character.len_utf8()));
                    proptest::prop_assert!(text.get(range).is_some());
                }
            }
        }
    }
}
