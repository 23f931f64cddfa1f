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
    dishes: Vec<Dish>,
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
struct Dish {
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
        "dishes: [{name: soup, price: 3}]\ndrink: {type: tea, minutes: 4}\nsides: [rice, {name: bread, grams: 3}]",
        expect![""],
    );
}

#[test]
fn an_unknown_key_is_told_with_the_key_that_was_meant() {
    check("dishes:\n  - name: soup\n    price: 3\n    prise: 4\n", expect![""]);
    check("dishes: []\nwaiter: Ann\n", expect![""]);
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    check("dishes:\n  - nam: soup\n  - name: stew\n    price: much\nopen: 1\nheat: hott\n", expect![""]);
}

#[test]
fn a_missing_key_is_told_where_the_mapping_begins() {
    check("heat: hot", expect![""]);
    check("dishes:\n  - price: 3\n", expect![""]);
}

#[test]
fn a_wrong_type_is_told_in_words() {
    check("dishes: soup", expect![""]);
    check("dishes:\n  - {name: 5, price: 1}\n  - {name: true, price: 1.5}\n", expect![""]);
    check("- dishes", expect![""]);
    check("dishes: []\nopen:\n", expect![""]);
    check(&format!("dishes: {}", "x".repeat(100)), expect![""]);
}

#[test]
fn a_wrong_word_is_told_with_the_words_there_are() {
    check("dishes: []\nheat: sweet", expect![""]);
    check("dishes: []\nheat: 3", expect![""]);
}

#[test]
fn of_several_alternatives_the_one_that_is_meant_is_checked() {
    check("dishes: []\ndrink: {type: tea, milk: true}", expect![""]);
    check("dishes: []\ndrink: {type: te, minutes: 1}", expect![""]);
    check("dishes: []\ndrink: {minutes: 1}", expect![""]);
    check("dishes: []\ndrink: tea", expect![""]);
    check("dishes: []\nsides: [3, {name: rice}]", expect![""]);
}

#[test]
fn a_key_that_stands_twice_is_told_each_time() {
    check("dishes: []\nheat: hot\nheat: mild\ndishes: []\n", expect![""]);
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    check("dishes: [", expect![""]);
    check("dishes:\n\t- soup", expect![""]);
    check("dishes: *nobody", expect![""]);
    check("dishes: []\n---\ndishes: []\n", expect![""]);
    check("dishes: !menu []\n", expect![""]);
    check("? [a]\n: b\n", expect![""]);
    check("dishes: [{name: a, price: .nan}]", expect![""]);
}

#[test]
fn an_empty_file_is_an_empty_mapping() {
    check("", expect![""]);
    check("# nothing\n", expect![""]);
}

#[test]
fn an_alias_is_what_it_refers_to() {
    check("dishes:\n  - &soup {name: soup, price: 3}\n  - *soup\n", expect![""]);
    check("dishes: &all\n  - *all\n", expect![""]);
}

#[test]
fn a_few_lines_of_aliases_cannot_unfold_into_gigabytes() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", ")));
    }
    check(&bomb, expect![""]);
}

#[test]
fn nesting_is_bounded() {
    check(&"- ".repeat(100_000), expect![""]);
    check(&format!("{}1{}", "[".repeat(80), "]".repeat(80)), expect![""]);
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
    check(&format!("a: &a {}\nb: {}\n", deep("1"), deep("*a")), expect![""]);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    check(&" ".repeat(limits::DEFINITION_FILE_BYTES_MAX + 1), expect![""]);
}

#[test]
fn of_very_many_mistakes_the_first_are_printed() {
    let text = format!("dishes: [{}]", vec!["1"; limits::MISTAKES_SHOWN_MAX + 5].join(", "));
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
    expect![""].assert_eq(&refused.to_string());
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
    check("0s", expect![""]);
    check("30", expect![""]);
    check("d", expect![""]);
    check("1.5h", expect![""]);
    check("-3d", expect![""]);
    check("999999999w", expect![""]);
    check("99999999999999999999d", expect![""]);
}

#[test]
fn the_nearest_word_is_suggested_only_if_it_is_near() {
    let known = ["ttl", "online", "source", "features"];
    assert_eq!(nearest("tll", known), Some("ttl"));
    assert_eq!(nearest("featurs", known), Some("features"));
    assert_eq!(nearest("Online", known), Some("online"));
    assert_eq!(nearest("company", known), None);
}
