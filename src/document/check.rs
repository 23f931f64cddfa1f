//! A document against a JSON Schema: every violation, as a sentence with its place.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::{Document, Mistake, did_you_mean, push_segment};

/// Letters of a wrong value that a sentence repeats.
const SHOWN_LETTERS_MAX: usize = 40;

/// What a kind of file looks like.
#[derive(Debug)]
pub struct Shape {
    schema: Value,
    validator: Validator,
}

impl Shape {
    /// # Panics
    /// If `schema` is not a JSON Schema; ours are derived from Rust types.
    pub fn new(schema: Value) -> Self {
        let validator = jsonschema::validator_for(&schema).expect("a derived schema is a JSON Schema");
        Self { schema, validator }
    }

    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Everything in the document that the shape does not allow.
    pub(super) fn check(&self, document: &Document) -> Vec<Mistake> {
        let mut checking = Checking { shape: self, document, mistakes: Vec::new() };
        for error in self.validator.iter_errors(document.value()) {
            checking.tell(&error);
        }
        checking.mistakes
    }

    /// The keys that the mapping refused by `error` may have.
    fn known_keys(&self, error: &ValidationError<'_>) -> Vec<&str> {
        let path = error.schema_path().as_str();
        let mapping = path.strip_suffix("/additionalProperties").and_then(|mapping| self.schema.pointer(mapping));
        let keys = mapping.and_then(|mapping| mapping.get("properties")).and_then(Value::as_object);
        keys.map(|keys| keys.keys().map(String::as_str).collect()).unwrap_or_default()
    }
}

struct Checking<'a> {
    shape: &'a Shape,
    document: &'a Document,
    mistakes: Vec<Mistake>,
}

impl Checking<'_> {
    fn tell(&mut self, error: &ValidationError<'_>) {
        let path = error.instance_path().as_str();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                let known = self.shape.known_keys(error);
                for key in unexpected {
                    self.unknown_key(path, key, &known);
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                self.add(path, format!("{} lacks the key {key}", self.thing(path)));
            }
            Kind::Type { kind } => self.wrong_type(path, &type_names(kind)),
            Kind::Constant { expected_value } => self.not_one_of(path, &[expected_value]),
            Kind::Enum { options } => {
                let options: Vec<&Value> =
                    options.as_array().map(|options| options.iter().collect()).unwrap_or_default();
                self.not_one_of(path, &options);
            }
            Kind::MinItems { .. } | Kind::MinProperties { .. } | Kind::MinLength { .. } => {
                self.add(path, format!("{} must not be empty", self.thing(path)));
            }
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => self.no_alternative(path, context),
            _ => self.add(path, format!("{} is not allowed: {error}", self.thing(path))),
        }
    }

    /// A value that fits none of several alternatives: finds the one that is meant and tells what is wrong with that.
    fn no_alternative(&mut self, path: &str, alternatives: &[Vec<ValidationError<'static>>]) {
        let fixed: Vec<&Value> = alternatives.iter().filter_map(|errors| constant(errors, path)).collect();
        if fixed.len() == alternatives.len() {
            return self.not_one_of(path, &fixed);
        }
        let of_type: Vec<&Vec<_>> = alternatives.iter().filter(|errors| type_error(errors, path).is_none()).collect();
        if of_type.is_empty() {
            let kinds = alternatives.iter().filter_map(|errors| type_error(errors, path));
            return self.wrong_type(path, &kinds.flat_map(type_names).collect::<Vec<_>>());
        }
        // What is left are mappings told apart by a key with a fixed word, such as `type: parquet`.
        let tagged = |errors: &&Vec<_>| !errors.iter().any(|error| tag(error, path).is_some());
        let meant: Vec<&Vec<_>> = of_type.iter().copied().filter(tagged).collect();
        match meant.as_slice() {
            [] => {
                let words: Vec<_> =
                    of_type.iter().flat_map(|errors| errors.iter()).filter_map(|e| tag(e, path)).collect();
                if let Some((key_path, _)) = words.first() {
                    self.not_one_of(key_path, &words.iter().map(|(_, word)| *word).collect::<Vec<_>>());
                }
            }
            [only] => only.iter().for_each(|error| self.tell(error)),
            [first, others @ ..] => {
                let everywhere = |error: &&ValidationError<'_>| {
                    let text = error.to_string();
                    others.iter().all(|errors| errors.iter().any(|other| other.to_string() == text))
                };
                let shared: Vec<_> = first.iter().filter(everywhere).collect();
                let told = if shared.is_empty() { first.iter().collect() } else { shared };
                told.into_iter().for_each(|error| self.tell(error));
            }
        }
    }

    fn unknown_key(&mut self, path: &str, key: &str, known: &[&str]) {
        let meant = did_you_mean(key, known.iter().copied());
        let may_have =
            if meant.is_empty() && !known.is_empty() { format!("; it may have {}", known.join(", ")) } else { meant };
        let mut pointer = path.to_owned();
        push_segment(&mut pointer, key);
        let text = format!("{} has the unknown key {key}{may_have}", self.thing(path));
        self.mistakes.push(self.document.key_mistake(&pointer, text));
    }

    fn wrong_type(&mut self, path: &str, wanted: &[&str]) {
        let value = self.document.value().pointer(path).unwrap_or(&Value::Null);
        let way_out = match value {
            Value::Number(_) | Value::Bool(_) if wanted == ["text"] => "; put it in quotes",
            _ => "",
        };
        // Whoever sees the sentence need not be one who may know a password.
        let is_secret = path.ends_with("password") || path.ends_with("secret_access_key");
        let shown = if is_secret { "something else".to_owned() } else { shown(value) };
        self.add(path, format!("{} must be {}, it is {shown}{way_out}", self.thing(path), one_of(wanted)));
    }

    fn not_one_of(&mut self, path: &str, words: &[&Value]) {
        let value = self.document.value().pointer(path).unwrap_or(&Value::Null);
        let words: Vec<&str> = words.iter().filter_map(|word| word.as_str()).collect();
        let meant = did_you_mean(value.as_str().unwrap_or_default(), words.iter().copied());
        let one_of = if words.len() == 1 { "" } else { "one of " };
        let is = shown(value);
        self.add(path, format!("{} must be {one_of}{}, it is {is}{meant}", self.thing(path), words.join(", ")));
    }

    fn add(&mut self, path: &str, text: String) {
        self.mistakes.push(self.document.mistake(path, text));
    }

    fn thing(&self, pointer: &str) -> String {
        thing(self.document.value(), pointer)
    }
}

/// What stands at `pointer`, in the user's words: `ttl of feature view company_stats`.
fn thing(root: &Value, pointer: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut value = root;
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        match value {
            Value::Array(items) => {
                let position = segment.parse().unwrap_or(0);
                value = items.get(position).unwrap_or(&Value::Null);
                let noun = singular(&words.pop().unwrap_or_default());
                words.push(match value.get("name").unwrap_or(value) {
                    Value::String(name) => format!("{noun} {name}"),
                    _ => format!("{noun} number {}", position + 1),
                });
            }
            _ => {
                value = value.get(&segment).unwrap_or(&Value::Null);
                words.push(segment);
            }
        }
    }
    words.reverse();
    if words.is_empty() { "the file".to_owned() } else { words.join(" of ") }
}

/// `feature_views` → `feature view`.
fn singular(list: &str) -> String {
    let one = match list.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => list.strip_suffix('s').unwrap_or(list).to_owned(),
    };
    one.replace('_', " ")
}

/// `a list`, `text or a mapping`, `a number, text or empty`; each once.
fn one_of(kinds: &[&str]) -> String {
    let mut once: Vec<&str> = Vec::new();
    for kind in kinds {
        let is_covered = *kind == "a whole number" && kinds.contains(&"a number");
        if !is_covered && !once.contains(kind) {
            once.push(kind);
        }
    }
    match once.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => once.join(""),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => format!("the number {value}"),
        Value::String(text) if text.chars().count() > SHOWN_LETTERS_MAX => {
            format!("the text \"{}…\"", text.chars().take(SHOWN_LETTERS_MAX).collect::<String>().escape_debug())
        }
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// The word that the value at `path` itself would have to be.
fn constant<'a>(errors: &'a [ValidationError<'static>], path: &str) -> Option<&'a Value> {
    errors.iter().filter(|error| error.instance_path().as_str() == path).find_map(|error| match error.kind() {
        Kind::Constant { expected_value } => Some(expected_value.as_ref()),
        _ => None,
    })
}

/// The type that the value at `path` itself would have to have.
fn type_error<'a>(errors: &'a [ValidationError<'static>], path: &str) -> Option<&'a TypeKind> {
    errors.iter().filter(|error| error.instance_path().as_str() == path).find_map(|error| match error.kind() {
        Kind::Type { kind } => Some(kind),
        _ => None,
    })
}

/// The key directly under `path` that would have to be a fixed word, and the word.
fn tag<'a>(error: &'a ValidationError<'static>, path: &str) -> Option<(&'a str, &'a Value)> {
    let key = error.instance_path().as_str().strip_prefix(path)?.strip_prefix('/')?;
    match error.kind() {
        Kind::Constant { expected_value } if !key.contains('/') => {
            Some((error.instance_path().as_str(), expected_value))
        }
        _ => None,
    }
}

fn type_names(kind: &TypeKind) -> Vec<&'static str> {
    let name = |name: &str| match name {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "empty",
    };
    match kind {
        TypeKind::Single(only) => vec![name(only.as_str())],
        TypeKind::Multiple(several) => several.iter().map(|one| name(one.as_str())).collect(),
    }
}
