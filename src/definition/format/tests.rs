//! The style, case by case; `tests/format.rs` goes over every definition file there is.

use super::*;

#[track_caller]
fn check(before: &str, expected: &str) {
    let formatted = format("a.yaml", before).unwrap_or_else(|problems| panic!("{before}\n{}", problems[0]));
    assert_eq!(formatted, expected, "\n--- of ---\n{before}");
    assert_eq!(format("a.yaml", &formatted).unwrap(), expected, "twice");
}

#[test]
fn expressions_have_one_style() {
    let cases = [
        ("DID( purchase   OVER 30d )", "did(purchase over 30d)"),
        (
            "count(click where page=\"a  b\")>=2 AND not(did(purchase))",
            "count(click where page = \"a  b\") >= 2 and not (did(purchase))",
        ),
        ("now-last(click)>=7d", "now - last(click) >= 7d"),
        ("sum(purchase.total)* -1<- 5", "sum(purchase.total) * -1 < -5"),
        ("trait . First IN (\"a\",\"b\")", "trait.First in (\"a\", \"b\")"),
        ("trait.x Starts  With \"a\" Or trait.x Is Not Known", "trait.x starts with \"a\" or trait.x is not known"),
        (
            "did((click then click within 1h)without purchase on `on`=channel within 24h)",
            "did((click then click within 1h) without purchase on `on` = channel within 24h)",
        ),
        ("count(click THIS Month)between 1 AND 3", "count(click this month) between 1 and 3"),
        ("did(click since LAST(purchase))", "did(click since last(purchase))"),
        ("segment(\"x\")for 7d", "segment(\"x\") for 7d"),
        ("(((did(click))))", "(((did(click))))"),
    ];
    for (before, after) in cases {
        let file = |expression: &str| format!("segments:\n  - name: a\n    when: {expression}\n");
        check(&file(before), &file(after));
        let quoted = |expression: &str| format!("segments:\n  - {{name: a, when: '{expression}'}}\n");
        check(&quoted(before), &quoted(after));
    }
}

#[test]
fn layout_is_one() {
    check(
        "# About.\r\n\r\n\r\n\r\nsegments:   # all\r\n- {  name: a,when: did(click) }   # one\r\n-   name: b\r\n    when: >-  # long\r\n        did(click)\r\n          and did(purchase)\r\n\r\n\r\n    # why\r\n    carry: [ ]\r\n# tests\r\ntests:\r\n  - name: t\r\n    events:\r\n    - at: 2026-01-01\r\n      type:   click\r\n    expect: [ {at: 2026-01-02,\r\n       in: [a , b]} ]   \r\n# end",
        "# About.\n\nsegments: # all\n  - {name: a, when: did(click)} # one\n  - name: b\n    when: >- # long\n      did(click)\n        and did(purchase)\n\n    # why\n    carry: []\n\n# tests\ntests:\n  - name: t\n    events:\n      - at: 2026-01-01\n        type: click\n    expect: [{at: 2026-01-02, in: [a, b]}]\n# end\n",
    );
    check("", "");
    check("# nothing but this\n\n\n", "# nothing but this\n");
    check("segments:\n", "segments:\n");
    check("# a break of the old kind\rsegments:   []\r", "# a break of the old kind\nsegments: []\n");
    check("segments: []\n", "segments: []\n");
    check(
        "segments:\n  - name: a\n    description: one\n      two\n    when: |\n      DID(click) # first\n      # then\n        or  did(purchase)   # last\n",
        "segments:\n  - name: a\n    description: one two\n    when: |\n      did(click) # first\n      # then\n        or did(purchase) # last\n",
    );
    check(
        "segments:\n  - {name: a, # the name\n     when: did(click)}\n",
        "segments:\n  - name: a # the name\n    when: did(click)\n",
    );
}

#[test]
fn what_has_several_lines_and_is_too_wide_for_one_is_broken() {
    let clause = r#"did(purchase where currency = "E U R" over 30d)"#;
    let one = [clause; 4].join(" or ");
    let several = [clause; 4].join("\n      or ");
    check(
        &format!("segments:\n  - {{name: a, when: '{one}'}}\n"),
        &format!("segments:\n  - {{name: a, when: '{one}'}}\n"),
    );
    check(
        &format!("segments:\n  - {{name: a,\n     when: '{one}'}}\n"),
        &format!("segments:\n  - name: a\n    when: '{one}'\n"),
    );
    check(
        &format!("segments:\n  - name: a\n    when: {several}\n"),
        &format!("segments:\n  - name: a\n    when: {clause} or {clause} or\n      {clause} or {clause}\n"),
    );
}

#[test]
fn what_cannot_be_kept_is_left_alone() {
    for text in [
        "segments:\n  - &a {name:   a, when: did(click)}\n",
        "---\nsegments:   []\n---\ntraits: []\n",
        "segments:\n  - name: !!str   a\n    when: did(click)\n",
    ] {
        assert_eq!(format("a.yaml", text).unwrap(), text);
    }
    let wrong = format("a.yaml", "segments:\n  - {name: a, when: did(click}\n").unwrap_err();
    assert_eq!((wrong[0].file.as_str(), wrong[0].line), ("a.yaml", 2));
}
