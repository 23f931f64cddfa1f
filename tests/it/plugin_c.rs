//! The C SDK: the vectors of wit/vectors natively and under the sanitizers, every type through a real component, and a
//! transform that gives the same bytes as its twin in Rust.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use expect_test::expect_file;
use lockstep::catalog::{Parameter, Transform};
use lockstep::clock::Deadline;
use lockstep::config::ToolFolders;
use lockstep::toolchain::{self, Folder};
use lockstep::transform::frame::{self, Column};
use lockstep::transform::{Applied, Settings, Transforms};
use serde_json::Value;

use crate::world::{built_plugins, repository};

const FRAME_BYTES_MAX: usize = 8 << 20;

/// A component of one of our C plugins, built with the real compiler.
fn built(plugin: &str) -> Vec<u8> {
    let folder = Folder::open(&repository().join(plugin)).expect("a plugin folder");
    let folders = ToolFolders { cache: PathBuf::new(), cargo_home: PathBuf::new() };
    toolchain::build(&folder, &folders).expect("clang and wasm-ld: apt-get install clang lld")
}

fn apply(stage: &Transforms, transform: &Transform, columns: &[ArrayRef], rows: usize) -> Applied {
    stage.apply(transform, columns, rows, Deadline::after(Duration::from_secs(10))).expect("it computes")
}

/// The program that copies a frame, made by the system's own compiler.
fn copy_program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/copy_frame"));
        let source = repository().join("plugins/sdk/c/tests/copy.c");
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-g"]);
        cc.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]).arg(source).arg("-o").arg(&program);
        let output = cc.output().expect("cc: apt-get install build-essential");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    });
    &PROGRAM
}

/// Reads `frame` and writes it again: what the program printed, and what it wrote if it could read the frame.
fn copied(types: &[&str], frame: &[u8]) -> (String, Option<Vec<u8>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("in"), folder.path().join("out"));
    fs::write(&from, frame).expect("written");
    let mut program = Command::new(copy_program());
    program.arg(&to).args(types).stdin(Stdio::from(fs::File::open(&from).expect("written above")));
    // It is a program that ends at once, it gives no memory back.
    let output = program.env("ASAN_OPTIONS", "detect_leaks=0").output().expect("it runs");
    let (told, code) = (String::from_utf8(output.stdout).expect("UTF-8"), output.status.code());
    match code {
        Some(0) => (told, Some(fs::read(&to).expect("written by it"))),
        Some(1) => (told, None),
        _ => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// A value of the vectors as the program prints it.
fn printed(kind: &str, value: &Value) -> String {
    let float = |value: &Value| match value.as_str() {
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        Some("-0") => -0.0,
        Some(_) => f64::NAN,
        None => value.as_f64().expect("a number"),
    };
    match (kind, value) {
        (_, Value::Null) => " null".to_owned(),
        (kind, Value::Array(items)) => {
            let item = kind.trim_start_matches("list<").trim_end_matches('>').split(',').next().unwrap_or_default();
            items.iter().map(|value| printed(item, value)).collect()
        }
        ("float64", value) => format!(" {:016x}", float(value).to_bits()),
        ("float32", value) => format!(" {:08x}", (float(value) as f32).to_bits()),
        ("bytes", Value::String(hex)) => format!(" x{hex}"),
        ("string", Value::String(text)) => text.bytes().fold(" x".to_owned(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string");
            hex
        }),
        (_, Value::Bool(value)) => format!(" {}", u8::from(*value)),
        (_, value) => format!(" {value}"),
    }
}

struct Vector {
    file: String,
    frame: Vec<u8>,
    rows: usize,
    columns: Vec<(String, Vec<Value>)>,
}

fn vectors() -> Vec<Vector> {
    let folder = repository().join("wit/vectors");
    let text = fs::read_to_string(folder.join("vectors.json")).expect("the vectors");
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let vector = |vector: &Value| {
        let column = |column: &Value| {
            let kind = column["type"].as_str().expect("a type").to_owned();
            (kind, column["values"].as_array().expect("values").clone())
        };
        let file = vector["file"].as_str().expect("a file").to_owned();
        Vector {
            frame: fs::read(folder.join(&file)).expect("a frame"),
            rows: vector["rows"].as_u64().expect("rows") as usize,
            columns: vector["columns"].as_array().expect("columns").iter().map(column).collect(),
            file,
        }
    };
    let vectors: Vec<Vector> = vectors.iter().map(vector).collect();
    assert!(vectors.len() >= 34);
    vectors
}

#[test]
fn every_vector_is_read_and_written_by_c_to_the_byte() {
    for Vector { file, frame, columns, .. } in vectors() {
        let types: Vec<&str> = columns.iter().map(|(kind, _)| kind.as_str()).collect();
        let mut expected = String::new();
        for (position, (kind, values)) in columns.iter().enumerate() {
            for (row, value) in values.iter().enumerate() {
                writeln!(expected, "{position} {row}{}", printed(kind, value)).expect("a string");
            }
        }
        let (told, written) = copied(&types, &frame);
        assert_eq!(told, expected, "{file}");
        assert_eq!(written.as_deref(), Some(frame.as_slice()), "{file}");
    }
}

#[test]
fn a_frame_that_is_cut_short_or_changed_is_refused_by_c_or_read_within_its_bounds() {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector.file == "all-types.frame").expect("all types");
    let types: Vec<&str> = vector.columns.iter().map(|(kind, _)| kind.as_str()).collect();
    for end in (0..vector.frame.len() - 8).step_by(37) {
        assert_eq!(copied(&types, &vector.frame[..end]).1, None, "{end} bytes");
    }
    // A descriptor that says anything is refused or read within bounds: the sanitizers end the program otherwise.
    let head = 16 + 32 * types.len();
    for at in (0..head).step_by(5) {
        let mut frame = vector.frame.clone();
        frame[at] ^= 0xff;
        copied(&types, &frame);
    }
}

#[test]
fn every_type_goes_through_a_component_in_c_and_back() {
    let stage = Transforms::start(Settings::default()).expect("the stage");
    let (digest, signature) = stage.load("mirror", &built("plugins/sdk/c/tests/mirror")).expect("it loads");
    assert_eq!(signature.parameters.len(), 4);
    let transform = stage.bind("mirror", digest, &[], None).expect("its own defaults");
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector.file == "all-types.frame").expect("all types");
    let columns: Vec<Column> =
        signature.features.iter().cloned().map(|field| Column::new(field).expect("a type")).collect();
    let arrays = frame::read(&columns, vector.frame.clone(), vector.rows, None).expect("a vector");
    let applied = apply(&stage, &transform, &arrays, vector.rows);
    assert_eq!(applied.errors, []);
    let mut written = Vec::new();
    frame::write(&columns, applied.rows.columns(), 0..vector.rows, FRAME_BYTES_MAX, &mut written).expect("it fits");
    assert!(written == vector.frame);
}

#[test]
fn a_plugin_in_c_refuses_rows_and_parameters_and_computes_what_is_wanted() {
    let stage = Transforms::start(Settings::default()).expect("the stage");
    let (digest, signature) = stage.load("mirror", &built("plugins/sdk/c/tests/mirror")).expect("it loads");
    let bind = |name: &str, value: Parameter| stage.bind("mirror", digest, &[(name.to_owned(), value)], None);
    let refused = |name: &str, value| bind(name, value).expect_err("refused").to_string();
    assert!(refused("count", Parameter::Int(8)).contains("parameter count of plugin mirror: 8 is more than 7"));
    assert!(refused("yes", Parameter::Bool(false)).contains("it must stay true"));
    assert!(bind("count", Parameter::Int(-1)).is_ok());

    let wanted = ["y_5".to_owned()];
    let transform = stage.bind("mirror", digest, &[], Some(&wanted)).expect("one output");
    let columns: Vec<Column> =
        signature.features.iter().cloned().map(|field| Column::new(field).expect("a type")).collect();
    let empty = vectors().into_iter().find(|vector| vector.file == "all-types.frame").expect("all types");
    let mut arrays = frame::read(&columns, empty.frame, empty.rows, None).expect("a vector");
    arrays[1] = Arc::new(arrow::array::Int32Array::from_iter_values((0..empty.rows as i32).map(|row| row + 12)));
    let applied = apply(&stage, &transform, &arrays, empty.rows);
    assert_eq!(applied.rows.num_columns(), 1);
    let errors: Vec<_> = applied.errors.iter().map(|error| (error.row, error.code, error.message.as_str())).collect();
    assert_eq!(errors, [(1, 1013, "13 of 100%")]);
    assert!(applied.rows.column(0).is_null(1));
}

/// Names in every script: each letter within, before and after a word, beside the letters whose case depends on others.
fn names() -> Vec<String> {
    let letters = ('\0'..='\u{1ffff}').chain('\u{e0000}'..='\u{e01ff}');
    let mut names: Vec<String> = letters.map(|letter| format!("Ab{letter}Σ {letter}Σ{letter}B{letter} Co.")).collect();
    let edges = [
        "",
        " ",
        "2733 - 74600 Benny Jona, Inc.",
        "2733 - 74600",
        "2733 - x Benny",
        "2733 - 74600  inc",
        "12 -  3 x",
        "- 1 - 2 x",
        "1 - 2 - 3 x",
        "co corp inc",
        "ΑΣ",
        "Σ",
        "ΑΣ.",
        "ΑΣ'Α",
        "İstanbul TAXİ",
        "🚕 - 12 Cab",
        "ǅ Ⅷ ⓐ ª",
    ];
    names.extend(edges.map(str::to_owned));
    names
}

#[test]
fn the_taxi_company_in_c_gives_the_bytes_of_the_one_in_rust() {
    let stage = Transforms::start(Settings::default()).expect("the stage");
    let rust = fs::read(built_plugins().join("taxi_company.wasm")).expect("the plugin in Rust");
    let bound = |component: &[u8]| {
        let (digest, signature) = stage.load("taxi_company", component).expect("it loads");
        let buckets = ("buckets".to_owned(), Parameter::Int(997));
        (stage.bind("taxi_company", digest, &[buckets], None).expect("it binds"), signature)
    };
    let ((rust, rust_signature), (c, c_signature)) = (bound(&rust), bound(&built("plugins/taxi/c/taxi_company")));
    assert_eq!(c_signature, rust_signature);
    let names = names();
    for names in names.chunks(8_192) {
        let column: ArrayRef = Arc::new(StringArray::from_iter(names.iter().map(|name| (name != " ").then_some(name))));
        let answer = |transform: &Transform| apply(&stage, transform, &[Arc::clone(&column)], names.len()).rows;
        let (rust, c): (RecordBatch, RecordBatch) = (answer(&rust), answer(&c));
        if rust != c {
            let differs = (0..names.len()).find(|row| rust.slice(*row, 1) != c.slice(*row, 1)).expect("a row");
            panic!("{:?}: {:?} in Rust, {:?} in C", names[differs], rust.slice(differs, 1), c.slice(differs, 1));
        }
    }
}

#[test]
fn the_letters_of_the_c_plugin_are_those_of_rust() {
    // UPDATE_EXPECT=1 writes the file anew, where a newer Rust knows more letters.
    expect_file!["../../plugins/taxi/c/taxi_company/src/unicode.h"].assert_eq(&unicode_header());
}

fn unicode_header() -> String {
    // What Rust keeps to itself shows in where it writes a sigma as the last letter of a word.
    let is_inner_sigma = |rest: &str| format!("A\u{3a3}{rest}").to_lowercase().chars().nth(1) == Some('\u{3c3}');
    let is_cased = |letter: char| is_inner_sigma(&letter.to_string());
    let is_ignorable = |letter: char| !is_cased(letter) && letter != 'A' && is_inner_sigma(&format!("{letter}A"));
    let (major, minor, patch) = char::UNICODE_VERSION;
    let mut header = format!(
        "/* What Rust knows of the letters of Unicode {major}.{minor}.{patch}: written by tests/it/plugin_c.rs. */
#include <stdint.h>

typedef struct {{
    uint32_t first, last;
}} range;

typedef struct {{
    uint32_t first, last, step;
    int32_t difference;
}} shift;
"
    );
    table(&mut header, "Letters and digits of every script.", "range ALPHANUMERIC", ranges(char::is_alphanumeric));
    table(&mut header, "Letters that are upper or lower case.", "range CASED", ranges(is_cased));
    table(&mut header, "What may stand within a word without ending it.", "range CASE_IGNORABLE", ranges(is_ignorable));
    table(
        &mut header,
        "Upper case to lower case: every `step`th letter from the first to the last.",
        "shift LOWER",
        shifts(),
    );
    header
}

fn ranges(has: impl Fn(char) -> bool) -> Vec<String> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for letter in ('\0'..=char::MAX).filter(|letter| has(*letter)).map(u32::from) {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == letter => *last = letter,
            _ => found.push((letter, letter)),
        }
    }
    found.into_iter().map(|(first, last)| format!("{{{first:#x}, {last:#x}}}")).collect()
}

fn shifts() -> Vec<String> {
    let mut found: Vec<(u32, u32, u32, i64)> = Vec::new();
    for letter in '\0'..=char::MAX {
        let mut lower = letter.to_lowercase();
        let (Some(lower), None) = (lower.next(), lower.next()) else { continue };
        let (from, difference) = (u32::from(letter), i64::from(u32::from(lower)) - i64::from(u32::from(letter)));
        match found.last_mut() {
            _ if difference == 0 => {}
            Some((first, last, step, same))
                if *same == difference && (from - *last == *step || (first == last && from - *last == 2)) =>
            {
                (*step, *last) = (from - *last, from);
            }
            _ => found.push((from, from, 1, difference)),
        }
    }
    let shift = |(first, last, step, difference)| format!("{{{first:#x}, {last:#x}, {step}, {difference}}}");
    found.into_iter().map(shift).collect()
}

/// A table of C, in lines of at most 118 letters.
fn table(header: &mut String, doc: &str, what: &str, items: Vec<String>) {
    write!(header, "\n/* {doc} */\nstatic const {what}[] = {{\n").expect("a string");
    let mut line = String::from("   ");
    for item in items {
        if line.len() + item.len() + 2 > 118 {
            writeln!(header, "{line}").expect("a string");
            line = String::from("   ");
        }
        write!(line, " {item},").expect("a string");
    }
    write!(header, "{line}\n}};\n").expect("a string");
}
