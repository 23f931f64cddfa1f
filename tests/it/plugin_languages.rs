//! Plugins in Python, JavaScript and C, built from source by their own tools and run in the gateway's stage: the taxi
//! transforms give the bytes of the Rust ones, and what a transform cannot have is refused with advice.
//!
//! A component takes some ten seconds to build and as many to compile. Both are kept in the cache folder, by a hash of
//! everything that they are made of, so that only the first run waits.

mod built;
mod examined;
mod templates;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int32Type};
use lockstep::catalog::{Field, Parameter, Transform};
use lockstep::clock::Deadline;
use lockstep::limits::FRAME_BYTES_MAX;
use lockstep::toolchain::Language::{self, C, Js, Python};
use lockstep::transform::frame::{self, Column};
use lockstep::transform::{Applied, Error, Settings, Transforms};

use self::built::{built, compiled, in_rust};

const INTERPRETED: [Language; 2] = [Python, Js];

fn stage(compare_one_in: u32) -> Transforms {
    let cache = Some(compiled());
    // Many rows of an interpreter take their time on a machine that does other things too.
    let call_time_max = Duration::from_secs(60);
    Transforms::start(Settings { cache, instances_max: 8, compare_one_in, call_time_max, ..Settings::default() })
        .unwrap()
}

fn bound(stage: &Transforms, plugin: &str, component: &[u8], parameters: &[(String, Parameter)]) -> Arc<Transform> {
    let (digest, _) = stage.load(plugin, component).unwrap();
    stage.bind(plugin, digest, parameters, None).unwrap()
}

fn apply(stage: &Transforms, transform: &Transform, columns: &[ArrayRef]) -> Result<Applied, Error> {
    stage.apply(transform, columns, columns[0].len(), Deadline::after(Duration::from_secs(120)))
}

fn columns_of(fields: impl Iterator<Item = Field>) -> Vec<Column> {
    fields.map(|field| Column::new(field).unwrap()).collect()
}

fn inputs_of(transform: &Transform, as_of: bool) -> Vec<Column> {
    let signature = &transform.signature;
    let as_of = as_of.then(|| Field::new("as_of", "timestamp".parse().unwrap()));
    columns_of(as_of.into_iter().chain(signature.features.iter().chain(&signature.request).cloned()))
}

/// The canonical bytes of rows, which are equal where all values are.
fn bytes_of(columns: &[Column], rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(columns, rows.columns(), 0..rows.num_rows(), FRAME_BYTES_MAX, &mut bytes).unwrap();
    bytes
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn transforms_answer_the_goldens_of_rust_byte_for_byte_in_every_language() {
    let stage = stage(1);
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote", "arithmetic"] {
        let folder = in_repository("plugins/goldens").join(plugin);
        let (asked, answered) = (std::fs::read(folder.join("in.frame")), std::fs::read(folder.join("out.frame")));
        let (asked, answered) = (asked.unwrap(), answered.unwrap());
        let rows = u32::from_le_bytes(asked[4..8].try_into().unwrap()) as usize;
        let rust = bound(&stage, plugin, &in_rust(plugin), &[]);
        for language in [Python, Js, C] {
            let transform = bound(&stage, plugin, &built(language, plugin), &[]);
            assert_eq!(transform.signature, rust.signature, "{plugin} in {language}");
            let columns = inputs_of(&transform, plugin == "taxi_recency");
            let inputs = frame::read(&columns, asked.clone(), rows, None).unwrap();
            let answer = apply(&stage, &transform, &inputs).unwrap();
            let outputs = columns_of(transform.outputs.iter().cloned());
            assert!(bytes_of(&outputs, &answer.rows) == answered, "{plugin} in {language} answers otherwise");
        }
    }
    let stats = stage.stats();
    assert_eq!(stats.impure.load(Ordering::Relaxed), 0);
    assert!(stats.compared.load(Ordering::Relaxed) >= 8, "a warm instance answers as a fresh one does");
}

/// Letters on which the languages are known to disagree: three capitals that Unicode 17 brought, which Python 3.14 does
/// not know, and the sigma that is another letter at the end of a word, except for JavaScript's engine without `Intl`.
const DISPUTED: [char; 4] = ['\u{a7ce}', '\u{a7d2}', '\u{a7d4}', '\u{3a3}'];

/// Rows that cover what a transform of the example can be asked, by column.
fn many_rows(plugin: &str) -> Vec<ArrayRef> {
    match plugin {
        "taxi_company" => {
            let all = (0..=0xffff_u32).filter_map(char::from_u32).filter(|letter| !DISPUTED.contains(letter));
            let around = |letter: char| format!("{letter}1 - 23 A{letter}b \u{3a3}{letter} INC{letter}");
            vec![Arc::new(all.map(around).map(Some).collect::<StringArray>())]
        }
        "taxi_recency" => {
            let times = [i64::MIN, -1, 0, 1, 604_800_000_000, 604_800_000_001, 9_007_199_254_740_993, i64::MAX];
            let pairs: Vec<(i64, i64)> = times.iter().flat_map(|a| times.iter().map(|b| (*a, *b))).collect();
            let column =
                |times: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) };
            vec![column(pairs.iter().map(|pair| pair.0).collect()), column(pairs.iter().map(|pair| pair.1).collect())]
        }
        _ => {
            let numbers = [0.0, -0.0, 0.1, 3.3, 1e300, -7.7, 5e-324, f64::INFINITY, f64::NAN];
            let payments =
                ["Credit Card", "\u{2003}cReDiT cArD\t\u{85}", "credit\u{a0}card", "\u{feff}credit card", ""];
            let rows = 26 * 9 * 9;
            let number =
                |row: usize, step: usize| (!row.is_multiple_of(11)).then(|| numbers[row / step % numbers.len()]);
            vec![
                Arc::new((0..rows).map(|row| number(row, 1)).collect::<Float64Array>()),
                Arc::new((0..rows).map(|row| number(row + 3, 9)).collect::<Float64Array>()),
                Arc::new((0..rows).map(|row| (row % 7 > 0).then(|| (row % 26) as i32 - 1)).collect::<Int32Array>()),
                Arc::new((0..rows).map(|row| Some(payments[row % payments.len()])).collect::<StringArray>()),
                Arc::new((0..rows).map(|row| number(row + 5, 4)).collect::<Float64Array>()),
            ]
        }
    }
}

#[test]
fn the_taxi_transforms_agree_with_rust_on_letters_of_all_scripts_times_at_the_bounds_and_odd_numbers() {
    let stage = stage(0);
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote"] {
        let inputs = many_rows(plugin);
        let rust = bound(&stage, plugin, &in_rust(plugin), &[]);
        let wanted = apply(&stage, &rust, &inputs).unwrap();
        for language in [Python, Js, C] {
            let transform = bound(&stage, plugin, &built(language, plugin), &[]);
            let answer = apply(&stage, &transform, &inputs).unwrap();
            assert_eq!(answer.error_count, wanted.error_count, "{plugin} in {language}");
            assert_eq!(answer.errors, wanted.errors, "{plugin} in {language}");
            for (place, (is, said)) in answer.rows.columns().iter().zip(wanted.rows.columns()).enumerate() {
                // The sine and the cosine of C are its own; docs/plugin-languages.md says that their last digit may differ.
                if (plugin, language) == ("taxi_quote", C) && matches!(place, 1 | 2) {
                    let (is, said) = (is.as_primitive::<Float64Type>(), said.as_primitive::<Float64Type>());
                    assert!(is.iter().zip(said).all(|(is, said)| match (is, said) {
                        (Some(is), Some(said)) => (is - said).abs() <= f64::EPSILON,
                        (is, said) => is == said,
                    }));
                    continue;
                }
                check_equal(&format!("{plugin} in {language}"), is, said, &inputs[0]);
            }
        }
    }
}

/// Equal values, bits of floats included; the first difference is told with the row's first input.
fn check_equal(what: &str, is: &ArrayRef, said: &ArrayRef, input: &ArrayRef) {
    if is.to_data() == said.to_data() {
        return;
    }
    let row = (0..is.len()).find(|row| is.slice(*row, 1).to_data() != said.slice(*row, 1).to_data());
    let Some(row) = row else { panic!("{what}: other arrays of the same values") };
    let at = |array: &ArrayRef| format!("{:?}", array.slice(row, 1));
    panic!("{what}: of {} comes {}, and in Rust {}", at(input), at(is), at(said));
}

#[test]
fn parameters_are_checked_in_the_words_of_the_plugin() {
    let stage = stage(0);
    for language in INTERPRETED {
        let (digest, _) = stage.load("taxi_company", &built(language, "taxi_company")).unwrap();
        let bind = |buckets: i64, outputs: Option<&[String]>| {
            let parameters = [("buckets".to_owned(), Parameter::Int(buckets))];
            stage.bind("taxi_company", digest, &parameters, outputs).map_err(|error| error.to_string())
        };
        let said = bind(0, None).unwrap_err();
        assert_eq!(said, "parameter buckets of plugin taxi_company: 0 is not between 1 and 2147483647", "{language}");
        let one = bind(1, Some(&["company_bucket".to_owned()])).unwrap();
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("Flash Cab"), None]));
        let answer = apply(&stage, &one, &[names]).unwrap().rows;
        assert_eq!(answer.num_columns(), 1, "{language}");
        assert_eq!(answer.column(0).as_primitive::<Int32Type>(), &Int32Array::from(vec![Some(0), None]), "{language}");
    }
}

/// What the plugin `impure` answers to these requests.
fn asked(stage: &Transforms, language: Language, requests: &[&str]) -> Result<Applied, Error> {
    let transform = bound(stage, "impure", &built(language, "impure"), &[]);
    let requests: ArrayRef = Arc::new(StringArray::from(requests.to_vec()));
    apply(stage, &transform, &[requests])
}

fn check_advice(language: Language, advice: &[(&str, &str)]) {
    let stage = stage(1);
    let requests: Vec<&str> = advice.iter().map(|(request, _)| *request).collect();
    let answer = asked(&stage, language, &requests).unwrap();
    let answers = answer.rows.column(0).as_string::<i32>();
    for (row, (request, said)) in advice.iter().enumerate() {
        assert_eq!(answers.value(row), *said, "{request} in {language}");
    }
    // A fresh instance is told the same.
    assert_eq!(stage.stats().compared.load(Ordering::Relaxed), 1);
    assert_eq!(stage.stats().impure.load(Ordering::Relaxed), 0);
}

#[test]
fn a_python_transform_that_asks_for_what_it_cannot_have_is_told_what_to_do_instead() {
    const CLOCK: &str = "a transform has no clock: take the argument `as_of: AsOf` and read the time of the row there";
    const CHANCE: &str = "a transform has no random numbers: hash a column instead, or seed a random.Random with one";
    const OUTPUT: &str =
        "a transform prints nowhere: return it as an output, or raise Refuse(code, message) for the row";
    const FILES: &str =
        "a transform has no files: read it at the top of the module, so that it becomes a part of the component";
    const HASH: &str = "the hash() of a text is another one after each build: take zlib.crc32 or hashlib";
    const ENVIRONMENT: &str = "Impure: a transform has no environment: take an argument of the type Parameter";
    let impure = |name: &str, advice: &str| format!("Impure: {name}: {advice}");
    let said = [
        ("clock", impure("time.time", CLOCK)),
        ("monotonic", impure("time.monotonic", CLOCK)),
        ("local time", impure("time.localtime without a time", CLOCK)),
        ("now", impure("datetime.now", CLOCK)),
        ("today", impure("date.today", CLOCK)),
        ("random", impure("random.random", CHANCE)),
        ("generator", impure("random.Random without a seed", CHANCE)),
        ("urandom", impure("os.urandom", CHANCE)),
        ("uuid", impure("os.urandom", CHANCE)),
        ("hash", impure("hash", HASH)),
        ("hash of a pair", impure("hash", HASH)),
        ("print", format!("Impure: {OUTPUT}")),
        ("error stream", format!("Impure: {OUTPUT}")),
        (
            "warning",
            "Impure: UserWarning: an old thing (a warning has nowhere to go: do what it says, or filter it)".to_owned(),
        ),
        ("environment", ENVIRONMENT.to_owned()),
        ("getenv", ENVIRONMENT.to_owned()),
        ("file", impure("open", FILES)),
        ("folder", impure("os.listdir", FILES)),
        (
            "late import",
            "ImportError: a transform imports nothing while it runs: import html at the top of the module".to_owned(),
        ),
        ("hash of a number", "True".to_owned()),
        ("seeded", "0.32383276483316237".to_owned()),
        ("given time", "1970".to_owned()),
        ("parsed time", "2016-12-31T00:00:00".to_owned()),
        ("same class", "True".to_owned()),
        ("baked", "a word from a file".to_owned()),
    ];
    let said: Vec<(&str, &str)> = said.iter().map(|(request, said)| (*request, said.as_str())).collect();
    check_advice(Python, &said);
}

#[test]
fn a_javascript_transform_that_asks_for_what_it_cannot_have_is_told_what_to_do_instead() {
    const CLOCK: &str = "a transform has no clock: declare time: \"as-of\" and read the input as_of of the row";
    const CHANCE: &str = "a transform has no random numbers: hash a column instead";
    let impure = |name: &str, advice: &str| format!("Impure: {name}: {advice}");
    let said = [
        ("clock", impure("Date.now", CLOCK)),
        ("now", impure("new Date()", CLOCK)),
        ("date text", impure("Date()", CLOCK)),
        ("constructor_", impure("new Date()", CLOCK)),
        ("performance", impure("performance.now", CLOCK)),
        ("random", impure("Math.random", CHANCE)),
        ("uuid", impure("crypto.randomUUID", CHANCE)),
        (
            "print",
            impure(
                "console.log",
                "a transform prints nowhere: return it as an output, or throw new Refuse(code, message) for the row",
            ),
        ),
        (
            "fetch",
            impure(
                "fetch",
                "a transform has no network: take what it needs as a feature, a request field or a parameter",
            ),
        ),
        ("timer", impure("setTimeout", "a transform has no timers: it computes its rows and returns them")),
        ("collected", impure("WeakRef", "a transform cannot ask what was collected: two runs would differ")),
        ("given time", "1970-01-01T00:00:00.000Z".to_owned()),
        ("same class", "true".to_owned()),
    ];
    let said: Vec<(&str, &str)> = said.iter().map(|(request, said)| (*request, said.as_str())).collect();
    check_advice(Js, &said);
}

#[test]
fn a_refused_row_is_null_and_an_error_of_the_code_fails_the_call_with_its_place() {
    let stage = stage(0);
    let failures = [
        (Python, "ZeroDivisionError: division by zero (impure.py, line "),
        (Js, "RangeError: BigInt division by zero (impure.js, line "),
    ];
    for (language, failure) in failures {
        let answer = asked(&stage, language, &["as it is", "refuse"]).unwrap();
        let error = &answer.errors[0];
        assert_eq!((error.row, error.code, error.message.as_str()), (1, 1_234, "not today"), "{language}");
        let answers = answer.rows.column(0).as_string::<i32>();
        assert_eq!((answers.value(0), answers.is_null(1)), ("as it is", true), "{language}");

        let said = asked(&stage, language, &["as it is", "divide"]).unwrap_err().to_string();
        assert!(said.starts_with(&format!("plugin impure failed: row 1: {failure}")), "{said}");
        // The next call has another instance.
        assert!(asked(&stage, language, &["as it is"]).is_ok(), "{language}");
    }
}

#[test]
fn an_instance_that_keeps_what_it_answered_is_replaced_before_its_memory_is_full() {
    const CALLS: usize = 80;
    let stage = stage(0);
    for language in INTERPRETED {
        let text = "x".repeat(10_000);
        let requests: Vec<&str> = vec![text.as_str(); 100];
        for call in 0..CALLS {
            let answer =
                asked(&stage, language, &requests).unwrap_or_else(|error| panic!("{language} {call}: {error}"));
            assert_eq!(answer.rows.column(1).as_string::<i32>().value(99), text);
        }
    }
    let recycled = stage.stats().instances_recycled.load(Ordering::Relaxed);
    assert!(recycled > 0, "{CALLS} answers of 2 MB each in an instance that leaks them");
    assert!((recycled as usize) < CALLS, "most calls are answered by an instance that was there");
}

#[test]
fn the_vectors_are_read_and_written_natively_by_the_python_sdk() {
    let arguments = ["-m", "unittest", "discover", "--start-directory", "tests"];
    succeeds(Command::new("python3").args(arguments).current_dir(in_repository("plugins/sdk/python")));
}

#[test]
fn the_vectors_are_read_and_written_natively_by_the_javascript_sdk() {
    succeeds(Command::new("node").args(["--test", "tests/"]).current_dir(in_repository("plugins/sdk/js")));
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&said));
}
