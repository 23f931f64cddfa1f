//! What can be seen of a component without running it.

use wasmparser::{Parser, Payload};

use crate::limits::PLUGIN_FRESH_MEMORY_BYTES_MAX;

const PAGE_BYTES: u64 = 64 << 10;

/// The parts of a component, in bytes, and what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anatomy {
    pub code_bytes: usize,
    pub data_bytes: usize,
    /// Everything that nobody runs: names, debug information, producers.
    pub custom_bytes: usize,
    /// The largest of its memories before anything runs.
    pub memory_bytes: u64,
}

impl Anatomy {
    /// Reads a component; nothing if the bytes are none.
    pub fn of(component: &[u8]) -> Option<Self> {
        let mut anatomy = Self::default();
        for payload in Parser::new(0).parse_all(component) {
            match payload.ok()? {
                Payload::CodeSectionStart { size, .. } => anatomy.code_bytes += size as usize,
                Payload::DataSection(data) => anatomy.data_bytes += data.range().len(),
                Payload::CustomSection(custom) => anatomy.custom_bytes += custom.range().len(),
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        let bytes = memory.ok()?.initial.saturating_mul(PAGE_BYTES);
                        anatomy.memory_bytes = anatomy.memory_bytes.max(bytes);
                    }
                }
                _ => {}
            }
        }
        Some(anatomy)
    }

    /// Whether the gateway uses an instance for more than one call: making one costs more the more memory it has.
    pub fn is_kept_warm(&self) -> bool {
        self.memory_bytes > PLUGIN_FRESH_MEMORY_BYTES_MAX as u64
    }
}
