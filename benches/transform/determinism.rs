//! What determinism costs: the same guests on engines that leave some of it out, which no gateway does.

use std::fs;

use ::lockstep::catalog::Parameter;
use ::lockstep::transform::Reuse;
use ::lockstep::transform::probe::Guest;
use arrow::array::RecordBatch;
use serde_json::json;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

use self::lockstep::transform::types::{Binding, Scalar};
use super::{Kernel, ROUNDS, Stage, kernels, seconds_a_call};
use crate::Result;
use crate::measure::Spread;
use crate::report::{Table, root};

wasmtime::component::bindgen!({ path: "wit/transform.wit", world: "transform-plugin" });

const ROWS: usize = 200;

/// What an engine does beside computing.
#[derive(Clone, Copy)]
struct Kept {
    name: &'static str,
    fuel: bool,
    epochs: bool,
    nans: bool,
}

const ENGINES: [Kept; 5] = [
    Kept { name: "as in the gateway", fuel: true, epochs: true, nans: true },
    Kept { name: "NaNs as they come", fuel: true, epochs: true, nans: false },
    Kept { name: "no fuel", fuel: false, epochs: true, nans: true },
    Kept { name: "no epochs", fuel: true, epochs: false, nans: true },
    Kept { name: "none of them", fuel: false, epochs: false, nans: false },
];

pub fn run() -> Result<()> {
    let mut table = Table::new("determinism", &["plugin", "engine", "µs a call", "against native"]);
    let stage = Stage::start(Reuse::Always)?;
    for kernel in kernels() {
        let component = fs::read(root().join(format!("plugins/built/{}.wasm", kernel.plugin)))?;
        let input = RecordBatch::try_from_iter_with_nullable(
            (kernel.columns)(ROWS).into_iter().map(|(name, column)| (name, column, true)),
        )?;
        let (digest, _) = stage.transforms.load(kernel.plugin, &component)?;
        let transform = stage.transforms.bind(kernel.plugin, digest, &kernel.parameters, None)?;
        let outputs: Vec<String> = transform.outputs.iter().map(|output| output.name.clone()).collect();
        let (frame, _) = Guest::fresh(&stage.transforms, &transform)?.frames(input.columns(), ROWS).remove(0);
        let mut guests = Vec::new();
        for kept in ENGINES {
            guests.push(Bound::new(kept, &component, &kernel, outputs.clone())?);
        }

        let (mut seconds, mut native) = (ENGINES.map(|_| Vec::new()), Vec::new());
        for _ in 0..ROUNDS {
            for (guest, rounds) in guests.iter_mut().zip(&mut seconds) {
                rounds.push(seconds_a_call(|| guest.apply(&frame))?);
            }
            native.push(seconds_a_call(|| {
                std::hint::black_box((kernel.native)(&input));
                Ok(())
            })?);
        }
        for (kept, rounds) in ENGINES.iter().zip(seconds) {
            let against = Spread::of(rounds.iter().zip(&native).map(|(own, native)| own / native));
            let own = Spread::of(rounds);
            let row = vec![
                kernel.plugin.to_owned(),
                kept.name.to_owned(),
                format!("{:.2}", own.times(1e6)),
                format!("{against:.2}"),
            ];
            let result = json!({
                "plugin": kernel.plugin, "engine": kept.name, "rows": ROWS, "seconds": own, "against_native": against,
            });
            table.push(row, result)?;
        }
    }
    table.note(format!(
        "{ROWS} rows a call, frame to frame, a warm instance, on one thread; {ROUNDS} rounds, all engines and the native twin in turn; \
         median (smallest–largest). The twin makes Arrow columns, the guests make frames."
    ));
    table.publish()
}

/// A guest on an engine of its own.
struct Bound {
    store: Store<()>,
    guest: TransformPlugin,
}

impl Bound {
    fn new(kept: Kept, component: &[u8], kernel: &Kernel, outputs: Vec<String>) -> Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(kept.fuel).epoch_interruption(kept.epochs).cranelift_nan_canonicalization(kept.nans);
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        if kept.fuel {
            store.set_fuel(u64::MAX / 2)?;
        }
        // Nobody counts them here.
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(usize::MAX);
        let component = Component::new(&engine, component)?;
        let guest = TransformPlugin::instantiate(&mut store, &component, &Linker::new(&engine))?;
        let scalar = |parameter: &Parameter| match parameter {
            Parameter::Int(value) => Ok(Scalar::Int64(*value)),
            _ => Err("a kernel has a parameter that is no integer"),
        };
        let mut params = Vec::new();
        for (name, value) in &kernel.parameters {
            params.push((name.clone(), scalar(value)?));
        }
        let bound = guest.lockstep_transform_transform().call_bind(&mut store, &Binding { params, outputs })?;
        bound.map_err(|error| format!("{error:?}"))?;
        Ok(Self { store, guest })
    }

    fn apply(&mut self, frame: &[u8]) -> Result<()> {
        let answer = self.guest.lockstep_transform_transform().call_apply(&mut self.store, frame)?;
        std::hint::black_box(answer.map_err(|error| format!("{error:?}"))?);
        Ok(())
    }
}
