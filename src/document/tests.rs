//! What a document reads, and how it tells what is wrong.

use expect_test::{Expect, expect};
use schemars::JsonSchema;
use serde::Deserialize;

use super::suggest::nearest;
use super::*;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its shape is used")]
struct Menu {
    meals: Vec<Meal>,
    #[serde(default)]
    open: Option<bool>,
    #[serde(default)]
    drink: Option<Drink>,
    #[serde(default)]
    heat: Heat,
    #[serde(default)]
    sides: Vec<Side>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its shape is used")]
struct Meal {
    name: String,
    price: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(dead_code, reason = "only its shape is used")]
enum Drink {
    Tea { minutes: i64 },
    Coffee { milk: bool },
    Water {},
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Heat {
    /// Not hot.
    #[default]
    Mild,
    /// Hot.
    Hot,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its shape is used")]
enum Side {
    Name(String),
    Sized { name: String, grams: i64 },
}

fn check(text: &str, expected: Expect) {
    let shape = Shape::new(schema_of::<Menu>("urn:test:menu", "A menu"));
    let answer = Document::parse("menu.yaml", text).and_then(|document| document.read::<Menu>(&shape));
    expected.assert_eq(&match answer {
        Ok(menu) => format!("{menu:?}"),
        Err(mistakes) => mistakes.to_string(),
    });
}

#[test]
fn a_good_document_is_read() {
    check(
        "meals: [{name: soup, price: 3}]\ndrink: {type: tea, minutes: 4}\nsides: [rice, {name: bread, grams: 3}]",
        expect![[
            r#"Menu { meals: [Meal { name: "soup", price: 3 }], open: None, drink: Some(Tea { minutes: 4 }), heat: Mild, sides: [Name("rice"), Sized { name: "bread", grams: 3 }] }"#
        ]],
    );
}

#[test]
fn an_unknown_key_is_told_with_the_key_that_was_meant() {
    check(
        "meals:\n  - name: soup\n    price: 3\n    prise: 4\n",
        expect!["menu.yaml:4:5: meal soup has the unknown key prise; did you mean price?"],
    );
    check(
        "meals: []\nwaiter: Ann\n",
        expect!["menu.yaml:2:1: the file has the unknown key waiter; it may have drink, heat, meals, open, sides"],
    );
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    check(
        "meals:\n  - nam: soup\n  - name: stew\n    price: much\nopen: 1\nheat: hott\n",
        expect![[r#"
        menu.yaml:2:5: meal number 1 has the unknown key nam; did you mean name?
        menu.yaml:2:5: meal number 1 lacks the key name
        menu.yaml:2:5: meal number 1 lacks the key price
        menu.yaml:4:12: price of meal stew must be a whole number, it is the text "much"
        menu.yaml:5:7: open must be true or false, it is the number 1
        menu.yaml:6:7: heat must be one of mild, hot, it is the text "hott"; did you mean hot?"#]],
    );
}

#[test]
fn a_missing_key_is_told_where_the_mapping_begins() {
    check("heat: hot", expect!["menu.yaml:1:1: the file lacks the key meals"]);
    check("meals:\n  - price: 3\n", expect!["menu.yaml:2:5: meal number 1 lacks the key name"]);
}

#[test]
fn a_wrong_type_is_told_in_words() {
    check("meals: soup", expect![[r#"menu.yaml:1:8: meals must be a list, it is the text "soup""#]]);
    check(
        "meals:\n  - {name: 5, price: 1}\n  - {name: true, price: 1.5}\n",
        expect![[r#"
        menu.yaml:2:12: name of meal number 1 must be text, it is the number 5; put it in quotes
        menu.yaml:3:12: name of meal number 2 must be text, it is true; put it in quotes
        menu.yaml:3:25: price of meal number 2 must be a whole number, it is the number 1.5"#]],
    );
    check("- meals", expect!["menu.yaml:1:1: the file must be a mapping, it is a list"]);
    check("meals: []\nopen:\n", expect!["menu.yaml:2:5: open must be true or false, it is empty"]);
    check(
        &format!("meals: {}", "x".repeat(100)),
        expect![[r#"menu.yaml:1:8: meals must be a list, it is the text "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…""#]],
    );
}

#[test]
fn a_wrong_word_is_told_with_the_words_there_are() {
    check(
        "meals: []\nheat: sweet",
        expect![[r#"menu.yaml:2:7: heat must be one of mild, hot, it is the text "sweet""#]],
    );
    check("meals: []\nheat: 3", expect!["menu.yaml:2:7: heat must be one of mild, hot, it is the number 3"]);
}

#[test]
fn of_several_alternatives_the_one_that_is_meant_is_checked() {
    check(
        "meals: []\ndrink: {type: tea, milk: true}",
        expect![[r#"
        menu.yaml:2:8: drink lacks the key minutes
        menu.yaml:2:20: drink has the unknown key milk; it may have minutes, type"#]],
    );
    check(
        "meals: []\ndrink: {type: te, minutes: 1}",
        expect![[
            r#"menu.yaml:2:15: type of drink must be one of tea, coffee, water, it is the text "te"; did you mean tea?"#
        ]],
    );
    check("meals: []\ndrink: {minutes: 1}", expect!["menu.yaml:2:8: drink lacks the key type"]);
    check("meals: []\ndrink: tea", expect![[r#"menu.yaml:2:8: drink must be a mapping, it is the text "tea""#]]);
    check(
        "meals: []\nsides: [3, {name: rice}]",
        expect![[r#"
        menu.yaml:2:9: side number 1 must be text or a mapping, it is the number 3
        menu.yaml:2:12: side rice lacks the key grams"#]],
    );
}

#[test]
fn a_key_that_stands_twice_is_told_each_time() {
    check(
        "meals: []\nheat: hot\nheat: mild\nmeals: []\n",
        expect![[r#"
        menu.yaml:3:1: the key heat stands in line 2 already
        menu.yaml:4:1: the key meals stands in line 1 already"#]],
    );
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    check(
        "meals: [",
        expect!["menu.yaml:2:1: this cannot be read as YAML: while parsing a node, did not find expected node content"],
    );
    check(
        "meals:\n\t- soup",
        expect!["menu.yaml:2:2: this cannot be read as YAML: tabs disallowed within this context (block indentation)"],
    );
    check(
        "meals: *nobody",
        expect!["menu.yaml:1:8: this cannot be read as YAML: while parsing node, found unknown anchor"],
    );
    check(
        "meals: []\n---\nmeals: []\n",
        expect!["menu.yaml:2:1: a second document begins here; write one document to a file"],
    );
    check("meals: !menu []\n", expect!["menu.yaml:1:8: the tag !menu means nothing here; leave it out"]);
    check("? [a]\n: b\n", expect!["menu.yaml:1:3: a key must be text"]);
    check("meals: [{name: a, price: .nan}]", expect!["menu.yaml:1:26: .nan is not a value that can be used here"]);
}

#[test]
fn an_empty_file_is_an_empty_mapping() {
    check("", expect!["menu.yaml:1:1: the file lacks the key meals"]);
    check("# nothing\n", expect!["menu.yaml:1:1: the file lacks the key meals"]);
}

#[test]
fn an_alias_is_what_it_refers_to() {
    check(
        "meals:\n  - &soup {name: soup, price: 3}\n  - *soup\n",
        expect![[
            r#"Menu { meals: [Meal { name: "soup", price: 3 }, Meal { name: "soup", price: 3 }], open: None, drink: None, heat: Mild, sides: [] }"#
        ]],
    );
    check("meals: &all\n  - *all\n", expect!["menu.yaml:2:5: this alias stands inside of what it refers to"]);
}

#[test]
fn a_few_lines_of_aliases_cannot_unfold_into_gigabytes() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", ")));
    }
    check(&bomb, expect!["menu.yaml:5:40: the anchors and aliases of this file stand for more than 100000 values"]);
}

#[test]
fn nesting_is_bounded() {
    check(&"- ".repeat(100_000), expect!["menu.yaml:1:129: this is nested more than 64 levels deep"]);
    check(
        &format!("{}1{}", "[".repeat(80), "]".repeat(80)),
        expect!["menu.yaml:1:65: this is nested more than 64 levels deep"],
    );
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
    check(
        &format!("a: &a {}\nb: {}\n", deep("1"), deep("*a")),
        expect!["menu.yaml:2:44: this is nested more than 64 levels deep"],
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    check(
        &" ".repeat(limits::DEFINITION_FILE_BYTES_MAX + 1),
        expect!["menu.yaml:1:1: the file has 4194305 bytes, at most 4194304 are read; split it"],
    );
}

#[test]
fn of_very_many_mistakes_the_first_are_printed() {
    let text = format!("meals: [{}]", vec!["1"; limits::MISTAKES_SHOWN_MAX + 5].join(", "));
    let shape = Shape::new(schema_of::<Menu>("urn:test:menu", "A menu"));
    let mistakes = Document::parse("menu.yaml", &text).and_then(|document| document.read::<Menu>(&shape)).unwrap_err();
    let printed = mistakes.to_string();
    assert_eq!(printed.lines().count(), limits::MISTAKES_SHOWN_MAX + 1);
    assert!(printed.ends_with("and 5 more mistakes"), "{printed}");
}

#[test]
fn texts_are_replaced_and_refusals_have_their_place() {
    let mut document = Document::parse("menu.yaml", "a: {b: [x, y]}\nc: 1\n").unwrap();
    document.replace_texts(&|text| Ok(text.to_uppercase())).unwrap();
    expect![[r#"{"a":{"b":["X","Y"]},"c":1}"#]].assert_eq(&document.value().to_string());
    let refused = document
        .replace_texts(&|text| if text == "Y" { Err("no Y here".to_owned()) } else { Ok(text.to_owned()) })
        .unwrap_err();
    expect!["menu.yaml:1:12: no Y here"].assert_eq(&refused.to_string());
}

#[test]
fn spans_of_time_are_read_and_written() {
    let check = |text: &str, expected: Expect| {
        expected.assert_eq(&parse_duration(text).map_or_else(|wrong| wrong, duration_text));
    };
    check("30d", expect!["30d"]);
    check("2w", expect!["14d"]);
    check("90m", expect!["90m"]);
    check("3600s", expect!["1h"]);
    check("1500ms", expect!["1500ms"]);
    check("5 m", expect!["5m"]);
    check("0s", expect![[r#""0s" is no time at all; leave the key out to have no bound"#]]);
    check("30", expect![[r#""30" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#]]);
    check("d", expect![[r#""d" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#]]);
    check(
        "1.5h",
        expect![[r#""1.5h" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#]],
    );
    check(
        "-3d",
        expect![[r#""-3d" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#]],
    );
    check("999999999w", expect![[r#""999999999w" is longer than 290 years; leave the key out to have no bound"#]]);
    check(
        "99999999999999999999d",
        expect![[
            r#""99999999999999999999d" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#
        ]],
    );
}

#[test]
fn the_nearest_word_is_suggested_only_if_it_is_near() {
    let known = ["ttl", "online", "source", "features"];
    assert_eq!(nearest("tll", known), Some("ttl"));
    assert_eq!(nearest("featurs", known), Some("features"));
    assert_eq!(nearest("Online", known), Some("online"));
    assert_eq!(nearest("company", known), None);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-:{}\\[\\],&*!|>'\"# \n\ta-c0-9?%~<.]{0,120}") {
        let shape = Shape::new(schema_of::<Menu>("urn:test:menu", "A menu"));
        if let Ok(document) = Document::parse("menu.yaml", &text) {
            let _ = document.read::<Menu>(&shape).map_err(|mistakes| mistakes.to_string());
        }
    }
}
