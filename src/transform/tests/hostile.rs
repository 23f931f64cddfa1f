//! Guests that nobody would write by accident: every function of the boundary lies, loops, hoards or points into the
//! void. Each ends in an error of a known kind, and the plugin beside it does not notice.
//!
//! They are core modules in WebAssembly text, wrapped here as components: an honest guest that gives `y = x`, with one of
//! its functions replaced. No SDK would let them be written, and no compiler would keep them as they are.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use serde_json::json;
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding};

use super::*;
use crate::catalog::Digest;
use crate::limits::{DESCRIPTOR_STRING_BYTES_MAX, FRAME_BYTES_MAX};
use crate::transform::FaultKind;

/// The bodies of a guest's functions. What they build lies at fixed places: the descriptor at `DESCRIPTOR`, the answer
/// of `bind` at `BOUND`, the answer of `apply` at `APPLIED`; what the host asks room for lies from `ROOM` on.
struct Guest {
    pages: u32,
    realloc: &'static str,
    describe: String,
    bind: String,
    apply: String,
    /// The type of `y`, as a tag of frame/1.
    output: u32,
}

const NAMES: u32 = 256;
const X: u32 = 512;
const Y: u32 = 528;
const DESCRIPTOR: u32 = 1_024;
const BOUND: u32 = 1_152;
const APPLIED: u32 = 1_280;
const ANSWER: u32 = 2_048;
const ROOM: u32 = 4_096;

const FLOAT64: u32 = 4;
const UTF8: u32 = 5;
const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";
const RECURSION: &str = "(call $deeper)";
const HOARD: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
/// Points at the received frame, whatever was done to it.
const ECHO: &str = "(i32.store (i32.const 1284) (local.get 0)) (i32.store (i32.const 1288) (local.get 1))
    (global.set $next (i32.const 4096)) (i32.const 1280)";

impl Default for Guest {
    fn default() -> Self {
        let room = "(global.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
            (global.set $next (i32.add (global.get $at) (local.get 3))) (global.get $at)";
        Self {
            pages: 2,
            realloc: room,
            describe: format!("(i32.const {DESCRIPTOR})"),
            bind: format!("(i32.const {BOUND})"),
            apply: ECHO.to_owned(),
            output: FLOAT64,
        }
    }
}

impl Guest {
    fn component(&self) -> Vec<u8> {
        let Self { pages, realloc, describe, bind, apply, output } = self;
        let field = |name: u32, dtype: u32| words(&[name, 1, dtype | 1 << 8, 0]);
        let (name, version) = (NAMES + 8, NAMES + 16);
        let descriptor = words(&[name, 7, version, 5, 0, 0, X, 1, 0, 0, Y, 1, 0, 0, 1 << 8, 1]);
        let (x, y, bound) = (field(NAMES, FLOAT64), field(NAMES + 1, *output), words(&[0, X, 1, Y, 1]));
        let text = format!(
            r#"(module
                (memory (export "memory") {pages})
                (global $next (mut i32) (i32.const {ROOM}))
                (global $at (mut i32) (i32.const 0))
                (data (i32.const {NAMES}) "xy") (data (i32.const {name}) "hostile") (data (i32.const {version}) "1.0.0")
                (data (i32.const {X}) "{x}") (data (i32.const {Y}) "{y}")
                (data (i32.const {DESCRIPTOR}) "{descriptor}") (data (i32.const {BOUND}) "{bound}")
                (func $deeper (result i32) (i32.add (call $deeper) (i32.const 1)))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "lockstep:transform/transform@0.1.0#describe") (result i32) {describe})
                (func (export "lockstep:transform/transform@0.1.0#bind") (param i32 i32 i32 i32) (result i32) {bind})
                (func (export "lockstep:transform/transform@0.1.0#apply") (param i32 i32) (result i32) {apply}))"#
        );
        wrapped(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
    }

    fn describing(describe: impl Into<String>) -> Self {
        Self { describe: describe.into(), ..Self::default() }
    }

    fn binding(bind: impl Into<String>) -> Self {
        Self { bind: bind.into(), ..Self::default() }
    }

    fn applying(apply: impl Into<String>) -> Self {
        Self { apply: apply.into(), ..Self::default() }
    }

    /// Does something to the frame that it received, and sends it back.
    fn answering(change: &str) -> Self {
        Self::applying(format!("{change} {ECHO}"))
    }

    /// Gives two rows of text from this frame.
    fn saying(offsets: [u32; 3], text: &str) -> Self {
        let descriptor = [UTF8, 0, 0, 0, 64, 2, 48, 12];
        let words: Vec<u32> = [0x3146_534c, 2, 1, 0].into_iter().chain(descriptor).chain(offsets).collect();
        let frame: String = words.iter().zip(0..).map(|(word, place)| store(ANSWER + place * 4, *word)).collect();
        let text = text
            .bytes()
            .zip(0..)
            .map(|(byte, place)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", ANSWER + 64 + place));
        let text: String = text.collect();
        let answer = [store(APPLIED + 4, ANSWER), store(APPLIED + 8, 72)].concat();
        Self { output: UTF8, ..Self::applying(format!("{frame} {text} {answer} (i32.const {APPLIED})")) }
    }
}

fn store(at: u32, word: u32) -> String {
    format!("(i32.store (i32.const {at}) (i32.const {word}))")
}

/// Little-endian words as the text format writes bytes.
fn words(words: &[u32]) -> String {
    words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect()
}

/// A component that says it is a transform; what the world looks like is read from one that is.
fn wrapped(mut module: Vec<u8>) -> Vec<u8> {
    static HONEST: LazyLock<DecodedWasm> = LazyLock::new(|| wit_component::decode(&component("arithmetic")).unwrap());
    let DecodedWasm::Component(resolve, world) = &*HONEST else { panic!("a component") };
    wit_component::embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// A stage with little room, a healthy plugin in it, and how many instances that one has.
struct Beside {
    stage: Transforms,
    healthy: Arc<Transform>,
}

impl Beside {
    fn new() -> Self {
        let stage = stage(Settings { memory_bytes_max: 40 << 20, fuel_per_call: 2_000_000, ..settings() });
        let healthy = bound(&stage, "haversine", &[]);
        Self { stage, healthy }
    }

    fn load(&self, guest: &Guest) -> Result<Digest, Error> {
        self.stage.load("hostile", &guest.component()).map(|(digest, _)| digest)
    }

    fn bind(&self, guest: &Guest) -> Result<Arc<Transform>, Error> {
        self.stage.bind("hostile", self.load(guest).unwrap(), &[], None)
    }

    fn apply(&self, guest: &Guest) -> Result<Applied, Error> {
        let transform = self.bind(guest).unwrap();
        applied(&self.stage, &transform, &[vec![json!(1.5), json!(2.5)]])
    }

    /// The healthy plugin answers, and nothing of the hostile one is left.
    fn check_unharmed(&self, what: &str) {
        let place = vec![json!(41.88), json!(42.0)];
        let columns = [place.clone(), place.clone(), place.clone(), place];
        let answer = applied(&self.stage, &self.healthy, &columns).unwrap();
        assert_eq!(values::cells(answer.rows.column(0)), "0.0, 0.0", "beside {what}");
        assert_eq!(self.stage.instances_alive(), 1, "after {what}");
    }

    /// The error is a fault of this kind, counted once, and its text has these words.
    fn check(&self, what: &str, error: Error, kind: FaultKind, words: &str) {
        let Error::Fault { fault, .. } = &error else { panic!("{what}: {error:?}") };
        assert_eq!(fault.kind(), kind, "{what}: {fault}");
        let text = fault.to_string();
        assert!(text.contains(words), "{what}: {text}");
        assert!(text.len() <= DESCRIPTOR_STRING_BYTES_MAX + 100, "{what}: {} bytes of text", text.len());
        self.check_unharmed(what);
    }
}

#[test]
fn the_honest_guest_that_all_others_are_made_of_is_believed() {
    let beside = Beside::new();
    let answer = beside.apply(&Guest::default()).unwrap();
    assert_eq!(values::cells(answer.rows.column(0)), "1.5, 2.5");
    let answer = beside.apply(&Guest::saying([0, 1, 2], "ab")).unwrap();
    assert_eq!(values::cells(answer.rows.column(0)), "a, b");
}

#[test]
fn whatever_describe_does_ends_in_a_fault() {
    let field_list = |at: u32, count: u32| [store(DESCRIPTOR + 24, at), store(DESCRIPTOR + 28, count)].concat();
    let name = |at: u32, bytes: u32| [store(DESCRIPTOR, at), store(DESCRIPTOR + 4, bytes)].concat();
    let then_answer = |change: String| Guest::describing(format!("{change} (i32.const {DESCRIPTOR})"));
    let large = |change: String| Guest { pages: 320, ..then_answer(change) };
    let cases = [
        ("an endless describe", Guest::describing(ENDLESS), FaultKind::Fuel, "fuel"),
        ("a describe that traps", Guest::describing("(unreachable)"), FaultKind::Trap, "unreachable"),
        ("recursion in describe", Guest::describing(RECURSION), FaultKind::Trap, "stack"),
        ("a hoarding describe", Guest::describing(HOARD), FaultKind::Memory, "bytes of memory"),
        ("a descriptor beyond the memory", Guest::describing("(i32.const 0x7ffffffc)"), FaultKind::Trap, "bounds"),
        ("a descriptor at an odd place", Guest::describing("(i32.const 1025)"), FaultKind::Trap, "align"),
        ("fields beyond the memory", then_answer(field_list(X, 1_000_000)), FaultKind::Trap, "bounds"),
        ("a million fields", large(field_list(65_536, 1_000_000)), FaultKind::BadOutput, "bytes"),
        ("a name of 17 MB", large(name(65_536, 17_000_000)), FaultKind::BadOutput, "bytes"),
        ("a name that is not UTF-8", then_answer(store(NAMES + 8, 0xffff_ffff)), FaultKind::Trap, "utf-8"),
        ("a type that does not exist", then_answer(store(X + 8, 77)), FaultKind::Trap, "discriminant"),
        ("a use of time that does not exist", then_answer(store(DESCRIPTOR + 56, 9)), FaultKind::Trap, "discriminant"),
    ];
    for (what, guest, kind, words) in cases {
        let beside = Beside::new();
        let error = beside.load(&guest).unwrap_err();
        assert_eq!(beside.stage.stats().faults(kind), 1, "{what}: {error}");
        beside.check(what, error, kind, words);
    }
}

#[test]
fn a_descriptor_that_promises_nonsense_is_refused() {
    let cases = [
        ("10,000 nameless fields", 8, [store(DESCRIPTOR + 24, 65_536), store(DESCRIPTOR + 28, 10_000)].concat()),
        ("a name of 5,000 bytes", 2, [store(DESCRIPTOR, ROOM), store(DESCRIPTOR + 4, 5_000)].concat()),
        ("a doc of 5,000 bytes", 2, [store(DESCRIPTOR + 16, ROOM), store(DESCRIPTOR + 20, 5_000)].concat()),
        ("a list of four billion", 2, [store(Y + 8, 9 | 1 << 8), store(Y + 12, u32::MAX)].concat()),
        ("another frame", 2, store(DESCRIPTOR + 60, 2)),
        ("no output", 2, store(DESCRIPTOR + 44, 0)),
    ];
    for (what, pages, change) in cases {
        let beside = Beside::new();
        let guest = Guest { pages, ..Guest::describing(format!("{change} (i32.const {DESCRIPTOR})")) };
        let error = beside.load(&guest).unwrap_err();
        assert!(matches!(&error, Error::BadSignature { .. }), "{what}: {error:?}");
        assert!(error.to_string().len() <= DESCRIPTOR_STRING_BYTES_MAX, "{what}: {error}");
        beside.check_unharmed(what);
    }
}

#[test]
fn whatever_bind_does_ends_in_an_error() {
    let beyond = [store(BOUND + 4, 0x7fff_fff0)].concat();
    let million = [store(BOUND + 4, 65_536), store(BOUND + 8, 1_000_000)].concat();
    let then_answer = |change: &str| Guest::binding(format!("{change} (i32.const {BOUND})"));
    let room = |realloc| Guest { realloc, ..Guest::default() };
    let cases = [
        ("an endless bind", Guest::binding(ENDLESS), FaultKind::Fuel, "fuel"),
        ("recursion in bind", Guest::binding(RECURSION), FaultKind::Trap, "stack"),
        ("columns beyond the memory", then_answer(&beyond), FaultKind::Trap, "bounds"),
        ("a million columns", Guest { pages: 320, ..then_answer(&million) }, FaultKind::BadOutput, "bytes"),
        ("an answer that is neither", then_answer(&store(BOUND, 7)), FaultKind::Trap, "discriminant"),
        ("a trap where room is asked for", room("(unreachable)"), FaultKind::Trap, "unreachable"),
        ("an endless search for room", room(ENDLESS), FaultKind::Fuel, "fuel"),
        ("room beyond the memory", room("(i32.const 0x7ffffff0)"), FaultKind::Trap, "realloc"),
        ("room at an odd place", room("(i32.const 4099)"), FaultKind::Trap, "realloc"),
    ];
    for (what, guest, kind, words) in cases {
        let beside = Beside::new();
        let error = beside.bind(&guest).unwrap_err();
        assert_eq!(beside.stage.stats().faults(kind), 1, "{what}: {error}");
        beside.check(what, error, kind, words);
    }

    // Says no, and does not stop saying it.
    let at_length = [store(BOUND, 1), store(BOUND + 4, 3), store(BOUND + 8, 65_536), store(BOUND + 12, 1_000_000)];
    let beside = Beside::new();
    let guest = Guest {
        pages: 32,
        ..then_answer(&format!(
            "(memory.fill (i32.const 65536) (i32.const 97) (i32.const 1000000)) {}",
            at_length.concat()
        ))
    };
    let error = beside.bind(&guest).unwrap_err();
    let Error::BindRefused { detail, .. } = &error else { panic!("{error:?}") };
    assert_eq!(detail.len(), DESCRIPTOR_STRING_BYTES_MAX);
    beside.check_unharmed("a refusal of a million bytes");
}

#[test]
fn whatever_apply_does_ends_in_a_fault_of_that_call() {
    let answer =
        |change: &[String]| Guest::applying(format!("{ECHO} (drop) {} (i32.const {APPLIED})", change.concat()));
    let errors = |at: u32, count: u32| [store(APPLIED + 12, at), store(APPLIED + 16, count)];
    let row_error = |row: u32, code: u32, at: u32, bytes: u32| {
        let error = [row, code, at, bytes].into_iter().zip(0..).map(|(word, place)| store(ANSWER + place * 4, word));
        answer(&error.chain(errors(ANSWER, 1)).collect::<Vec<_>>())
    };
    let large = |guest: Guest| Guest { pages: 600, ..guest };
    let failed = |at: u32, bytes: u32| {
        answer(&[store(APPLIED, 1), store(APPLIED + 4, 1), store(APPLIED + 8, at), store(APPLIED + 12, bytes)])
    };
    let cases = [
        ("an endless apply", Guest::applying(ENDLESS), FaultKind::Fuel, "fuel"),
        ("recursion in apply", Guest::applying(RECURSION), FaultKind::Trap, "stack"),
        ("a hoarding apply", Guest::applying(HOARD), FaultKind::Memory, "bytes of memory"),
        ("an answer beyond the memory", answer(&[store(APPLIED + 4, 0x7fff_fff0)]), FaultKind::Trap, "bounds"),
        ("an answer at the end of the memory", answer(&[store(APPLIED + 4, 131_040)]), FaultKind::Trap, "bounds"),
        ("an answer that is neither", answer(&[store(APPLIED, 2)]), FaultKind::Trap, "discriminant"),
        ("an output bomb", large(answer(&[store(APPLIED + 8, 30 << 20)])), FaultKind::BadOutput, "bytes"),
        ("a million row errors", large(answer(&errors(65_536, 1_000_000))), FaultKind::BadOutput, "bytes"),
        ("a refusal of a row that is not there", row_error(7, 1_000, 0, 0), FaultKind::BadOutput, "refuses row 7 of 2"),
        ("a refusal with the host's code", row_error(0, 5, 0, 0), FaultKind::BadOutput, "the host's"),
        ("a refusal beyond the memory", row_error(0, 1_000, 0x7fff_fff0, 9), FaultKind::Trap, "bounds"),
        ("a failure of a million bytes", large(failed(65_536, 1_000_000)), FaultKind::Refused, "failed"),
        ("a failure beyond the memory", failed(0x7fff_fff0, 9), FaultKind::Trap, "bounds"),
    ];
    for (what, guest, kind, words) in cases {
        let beside = Beside::new();
        let error = beside.apply(&guest).unwrap_err();
        // An answer that is too large is asked for again in halves, each of which is a fault.
        assert!(beside.stage.stats().faults(kind) >= 1, "{what}: {error}");
        beside.check(what, error, kind, words);
    }
}

#[test]
fn every_lie_in_a_frame_is_found() {
    let word = |at: u32, word: u32| format!("(i32.store offset={at} (local.get 0) (i32.const {word}))");
    let byte = |at: u32, byte: u32| format!("(i32.store8 offset={at} (local.get 0) (i32.const {byte}))");
    let length = |more: i32| format!("(local.set 1 (i32.add (local.get 1) (i32.const {more})))");
    let cases = [
        ("another magic", Guest::answering(&word(0, 0)), "is not a frame"),
        ("more rows", Guest::answering(&word(4, 3)), "answered 3 rows for 2"),
        ("more rows than fit anywhere", Guest::answering(&word(4, u32::MAX)), "answered 4294967295 rows for 2"),
        ("more columns", Guest::answering(&word(8, 2)), "has 2 columns instead of 1"),
        ("flags", Guest::answering(&word(12, 1)), "is not a frame"),
        ("another type", Guest::answering(&byte(16, 2)), "answered column y as int64"),
        ("a type that does not exist", Guest::answering(&byte(16, 200)), "answered column y as a type that"),
        ("a column's flags", Guest::answering(&byte(17, 2)), "damaged in column y"),
        ("a bitmap that is not there", Guest::answering(&byte(17, 1)), "damaged in column y"),
        ("nulls that are not there", Guest::answering(&word(20, 1)), "damaged in column y"),
        ("values over the header", Guest::answering(&word(32, 0)), "damaged in column y"),
        ("values over the descriptors", Guest::answering(&word(32, 24)), "damaged in column y"),
        ("values beyond the frame", Guest::answering(&word(32, 0x7fff_fff8)), "damaged in column y"),
        ("fewer values", Guest::answering(&word(36, 8)), "damaged in column y"),
        ("more values", Guest::answering(&word(36, u32::MAX)), "damaged in column y"),
        ("offsets where none belong", Guest::answering(&word(44, 12)), "damaged in column y"),
        ("a frame cut short", Guest::answering(&length(-8)), "damaged in column y"),
        ("a frame of nothing", Guest::answering("(local.set 1 (i32.const 0))"), "is not a frame"),
        ("a frame with a tail", Guest::answering(&length(8)), "is not a frame"),
        ("offsets that fall", Guest::saying([0, 2, 1], "ab"), "damaged in column y"),
        ("offsets that begin later", Guest::saying([1, 1, 2], "ab"), "damaged in column y"),
        ("offsets below nothing", Guest::saying([0, u32::MAX, 2], "ab"), "damaged in column y"),
        ("offsets beyond the text", Guest::saying([0, 1, 9], "ab"), "damaged in column y"),
        ("a character cut in two", Guest::saying([0, 1, 2], "é"), "not UTF-8"),
    ];
    for (what, guest, words) in cases {
        let beside = Beside::new();
        let error = beside.apply(&guest).unwrap_err();
        assert_eq!(beside.stage.stats().faults(FaultKind::BadOutput), 1, "{what}: {error}");
        beside.check(what, error, FaultKind::BadOutput, words);
    }
    let not_text = Guest {
        apply: Guest::saying([0, 1, 2], "ab").apply.replacen("(i32.const 97)", "(i32.const 255)", 1),
        output: UTF8,
        ..Guest::default()
    };
    let beside = Beside::new();
    let error = beside.apply(&not_text).unwrap_err();
    beside.check("bytes that are no text", error, FaultKind::BadOutput, "not UTF-8");
}

#[test]
fn ten_thousand_faults_leave_nothing_behind() {
    const FAULTS: u64 = 10_000;
    let beside = Beside::new();
    let guests = [Guest::applying("(unreachable)"), Guest::answering("(i32.store (local.get 0) (i32.const 0))")];
    let transforms = guests.map(|guest| beside.bind(&guest).unwrap());
    let columns = [vec![json!(1.5)]];
    for round in 0..FAULTS {
        let transform = &transforms[round as usize % transforms.len()];
        let rows = batch(transform, &columns);
        let error = beside.stage.apply(transform, rows.columns(), 1, soon()).unwrap_err();
        assert!(matches!(error, Error::Fault { .. }), "{error:?}");
    }
    let stats = beside.stage.stats();
    assert_eq!(stats.faults(FaultKind::Trap) + stats.faults(FaultKind::BadOutput), FAULTS);
    assert!(stats.instances_created.load(Ordering::Relaxed) >= FAULTS, "an instance lived on after a fault");
    beside.check_unharmed("ten thousand faults");
}

#[test]
fn an_answer_is_never_larger_than_a_frame() {
    // Between the bound of a frame and that of what a call may hand over.
    let bytes = FRAME_BYTES_MAX + 8;
    let guest = Guest {
        pages: 200,
        ..Guest::applying(format!("{ECHO} (drop) {} (i32.const {APPLIED})", store(APPLIED + 8, bytes as u32)))
    };
    let beside = Beside::new();
    let error = beside.apply(&guest).unwrap_err();
    beside.check("an answer a little too large", error, FaultKind::BadOutput, "more than 8388608 bytes");
}

#[test]
fn a_guest_of_which_no_snapshot_can_be_made_is_bound_for_every_call() {
    let two_pages = 2 << 16;
    let cases = [
        ("segments that are dropped", Guest::answering("(data.drop 0)"), Settings::default().memory_bytes_max),
        ("no room to tell of its memory", Guest::default(), two_pages),
    ];
    for (what, guest, memory_bytes_max) in cases {
        let stage = stage(Settings { reuse: Reuse::Never, snapshots: true, memory_bytes_max, ..settings() });
        let (digest, _) = stage.load("hostile", &guest.component()).unwrap();
        let transform = stage.bind("hostile", digest, &[], None).unwrap();
        assert!(!stage.pools.load()[&transform.digest].has_snapshot(), "{what}");
        let answer = applied(&stage, &transform, &[vec![json!(1.5)]]).unwrap();
        assert_eq!(values::cells(answer.rows.column(0)), "1.5", "{what}");
    }
}
