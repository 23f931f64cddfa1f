//! Why a plugin cannot be loaded or bound, and how a call of it can fail.

use crate::catalog::Digest;
use crate::error::ErrorKind;

use super::frame::BadFrame;

/// Why a plugin cannot be loaded, or why a call of it failed. A fault is of that call alone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("plugin {plugin} is not a component we can run: {detail}")]
    NotAComponent { plugin: String, detail: String },
    #[error("plugin {plugin} cannot be compiled: {detail}")]
    NotCompiled { plugin: String, detail: String },
    #[error("no process to compile plugin {plugin} in: {detail}")]
    NoCompiler { plugin: String, detail: String },
    #[error("plugin {plugin} has {bytes} bytes, at most {max} are loaded")]
    ComponentTooLarge { plugin: String, bytes: usize, max: usize },
    #[error(
        "plugin {plugin} imports {import}; a transform imports nothing, so that it computes from its columns alone: build it for wasm32-unknown-unknown (not WASI), and take time from the as_of column and constants from parameters"
    )]
    ForbiddenImport { plugin: String, import: String },
    #[error("plugin {plugin} describes itself wrongly: {detail}")]
    BadSignature { plugin: String, detail: String },
    #[error("plugin {plugin} does not stand by its signature: {detail}")]
    LyingSignature { plugin: String, detail: String },
    #[error("plugin {plugin} is not loaded (component {component})")]
    NotLoaded { plugin: String, component: Digest },
    #[error("plugin {plugin} has no parameter {parameter}; it has {has}")]
    UnknownParameter { plugin: String, parameter: String, has: String },
    #[error("parameter {parameter} of plugin {plugin}: {detail}")]
    BadParameter { plugin: String, parameter: String, detail: String },
    #[error("plugin {plugin} has no output {output}; it has {has}")]
    UnknownOutput { plugin: String, output: String, has: String },
    #[error("plugin {plugin} refuses to be bound: {detail}")]
    BindRefused { plugin: String, detail: String },
    #[error("plugin {plugin} got other columns than it reads: {detail}")]
    WrongInput { plugin: String, detail: String },
    #[error("row {row} for plugin {plugin} does not fit into a frame of {max} bytes")]
    RowTooLarge { plugin: String, row: usize, max: usize },
    #[error("the deadline passed before plugin {plugin} was called")]
    Late { plugin: String },
    #[error("all {max} plugin instances are in use")]
    Exhausted { max: u32 },
    #[error("plugin {plugin} {fault}")]
    Fault { plugin: String, fault: Fault },
    #[error("the transform stage cannot start: {0}")]
    Engine(String),
}

/// What a plugin did wrong in a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("trapped: {0}")]
    Trap(String),
    #[error("used up its {limit} units of fuel; it may be in an endless loop")]
    Fuel { limit: u64 },
    #[error("ran past its deadline of {limit_ms} ms")]
    Deadline { limit_ms: u64 },
    #[error("asked for more than {limit_bytes} bytes of memory")]
    Memory { limit_bytes: usize },
    #[error("answered {is} rows for {wanted}")]
    WrongRows { is: u32, wanted: usize },
    #[error("answered column {column} as {is}, its signature says {wanted}")]
    WrongType { column: String, is: &'static str, wanted: &'static str },
    #[error("gave an answer that {0}")]
    BadOutput(String),
    #[error("gave an answer of more than {max} bytes")]
    OutputTooLarge { max: usize },
    /// The plugin itself said that the call failed.
    #[error("failed: {0}")]
    Refused(String),
    #[error("was bound to other columns than before")]
    Rebound,
}

/// The faults by name, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    Trap,
    Fuel,
    Deadline,
    Memory,
    BadOutput,
    Refused,
}

impl FaultKind {
    pub const ALL: [Self; 6] = [Self::Trap, Self::Fuel, Self::Deadline, Self::Memory, Self::BadOutput, Self::Refused];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Fuel => "fuel",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::BadOutput => "bad_output",
            Self::Refused => "refused",
        }
    }
}

impl Fault {
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Trap(_) => FaultKind::Trap,
            Self::Fuel { .. } => FaultKind::Fuel,
            Self::Deadline { .. } => FaultKind::Deadline,
            Self::Memory { .. } => FaultKind::Memory,
            Self::Refused(_) => FaultKind::Refused,
            Self::WrongRows { .. }
            | Self::WrongType { .. }
            | Self::BadOutput(_)
            | Self::OutputTooLarge { .. }
            | Self::Rebound => FaultKind::BadOutput,
        }
    }
}

impl From<BadFrame> for Fault {
    fn from(bad: BadFrame) -> Self {
        match bad {
            BadFrame::Rows { is, wanted } => Self::WrongRows { is, wanted },
            BadFrame::Type { column, is, wanted } => Self::WrongType { column, is, wanted },
            other => Self::BadOutput(other.to_string()),
        }
    }
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAComponent { .. }
            | Self::ForbiddenImport { .. }
            | Self::BadSignature { .. }
            | Self::LyingSignature { .. }
            | Self::UnknownParameter { .. }
            | Self::BadParameter { .. }
            | Self::UnknownOutput { .. }
            | Self::BindRefused { .. }
            | Self::WrongInput { .. } => ErrorKind::Invalid,
            Self::ComponentTooLarge { .. } | Self::RowTooLarge { .. } => ErrorKind::TooLarge,
            Self::NotLoaded { .. } => ErrorKind::NotFound,
            Self::Late { .. } => ErrorKind::Late,
            Self::Exhausted { .. } => ErrorKind::Exhausted,
            Self::Fault { .. } | Self::NotCompiled { .. } => ErrorKind::PluginFault,
            Self::NoCompiler { .. } => ErrorKind::Unavailable,
            Self::Engine(_) => ErrorKind::Internal,
        }
    }
}
