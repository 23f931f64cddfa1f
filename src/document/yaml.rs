//! YAML text → JSON values, with the place of each.
//!
//! Reads the parser's events rather than its tree, because a tree is built before anybody can say that it is too deep
//! or that its aliases unfold into too much. All duplicate keys are told, not only the first.

use std::collections::HashMap;

use saphyr::Scalar;
use saphyr_parser::{Event, Marker, Parser, Tag};
use serde_json::{Map, Number, Value};

use super::{Mistake, Mistakes, Place, Placing, push_segment};
use crate::limits;

/// The values of the one document in `text`, and their places by JSON pointer.
pub(super) fn read(file: &str, text: &str) -> Result<(Value, HashMap<String, Placing>), Mistakes> {
    let mut reader = Reader {
        file,
        mistakes: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        alias_nodes: 0,
        documents: 0,
        root: None,
    };
    if let Err(last) = reader.read(text) {
        reader.mistakes.push(last);
    }
    if !reader.mistakes.is_empty() {
        return Err(Mistakes::from(reader.mistakes));
    }
    let mut places = HashMap::new();
    let value = match reader.root {
        Some(root) if !matches!(root.content, Content::Scalar(Value::Null)) => {
            let key = root.place;
            root.into_value(&mut String::new(), key, &mut places)
        }
        _ => Value::Object(Map::new()),
    };
    Ok((value, places))
}

/// A finished value and where it stands.
#[derive(Clone)]
struct Node {
    place: Place,
    /// This value and all values in it.
    nodes: usize,
    /// Levels of lists and mappings, this one included.
    depth: usize,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone)]
struct Entry {
    key: String,
    key_place: Place,
    value: Node,
}

/// A list or mapping whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
    /// In a mapping, the key whose value comes next.
    key: Option<(String, Place)>,
    /// In a mapping, the keys so far.
    keys: HashMap<String, Place>,
}

struct Reader<'a> {
    file: &'a str,
    mistakes: Vec<Mistake>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    alias_nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl Reader<'_> {
    /// Reads all events; the mistake that ends it is returned, those one can go on after are kept.
    fn read(&mut self, text: &str) -> Result<(), Mistake> {
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                self.mistake(place(*error.marker()), format!("this cannot be read as YAML: {}", error.info()))
            })?;
            self.take(event, place(span.start))?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), Mistake> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                match self.documents {
                    1 => Ok(()),
                    _ => Err(self.mistake(at, "a second document begins here; write one document to a file")),
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_own_tag(tag.as_deref(), at);
                self.begin(at, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_own_tag(tag.as_deref(), at);
                self.begin(at, anchor, Content::Mapping(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_own_tag(tag.as_deref(), at);
                if self.a_key_comes() {
                    self.take_key(text.into_owned(), at);
                    return Ok(());
                }
                let shown = text.to_string();
                let value = Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()).and_then(json);
                if value.is_none() {
                    self.mistakes.push(self.mistake(at, format!("{shown} is not a value that can be used here")));
                }
                let content = Content::Scalar(value.unwrap_or(Value::Null));
                self.place_node(Node { place: at, nodes: 1, depth: 0, content }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.mistake(at, "this alias stands inside of what it refers to"));
                };
                self.spend(node.nodes, at)?;
                self.refuse_deeper(self.open.len() + node.depth, at)?;
                self.place_node(node, 0)
            }
        }
    }

    fn begin(&mut self, at: Place, anchor: usize, content: Content) -> Result<(), Mistake> {
        self.refuse_deeper(self.open.len() + 1, at)?;
        if self.a_key_comes() {
            return Err(self.mistake(at, "a key must be text"));
        }
        self.open.push(Open { place: at, anchor, content, key: None, keys: HashMap::new() });
        Ok(())
    }

    fn a_key_comes(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.content, Content::Mapping(_)) && open.key.is_none())
    }

    fn take_key(&mut self, key: String, at: Place) {
        let Some(open) = self.open.last_mut() else { return };
        let first = open.keys.insert(key.clone(), at);
        open.key = Some((key.clone(), at));
        if let Some(first) = first {
            self.mistakes.push(self.mistake(at, format!("the key {key} stands in line {} already", first.line)));
        }
    }

    fn end(&mut self) -> Result<(), Mistake> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let (nodes, depth, first_key) = match &open.content {
            Content::List(items) => (
                items.iter().map(|item| item.nodes).sum::<usize>(),
                items.iter().map(|item| item.depth).max().unwrap_or(0),
                None,
            ),
            Content::Mapping(entries) => (
                entries.iter().map(|entry| entry.value.nodes + 1).sum(),
                entries.iter().map(|entry| entry.value.depth).max().unwrap_or(0),
                // The parser places a block mapping at its first colon.
                entries.first().map(|entry| entry.key_place),
            ),
            Content::Scalar(_) => (0, 0, None),
        };
        let place = first_key.filter(|key| (key.line, key.column) < (open.place.line, open.place.column));
        let place = place.unwrap_or(open.place);
        let node = Node { place, nodes: nodes + 1, depth: depth + 1, content: open.content };
        self.place_node(node, open.anchor)
    }

    /// Puts a finished value where it belongs.
    fn place_node(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
        if anchor > 0 {
            self.spend(node.nodes, node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Mapping(entries) => match open.key.take() {
                Some((key, key_place)) => entries.push(Entry { key, key_place, value: node }),
                None => return Err(self.mistake(node.place, "a key must be text")),
            },
            Content::Scalar(_) => {}
        }
        Ok(())
    }

    fn refuse_deeper(&self, levels: usize, at: Place) -> Result<(), Mistake> {
        if levels <= limits::DEFINITION_NESTING_MAX {
            return Ok(());
        }
        let max = limits::DEFINITION_NESTING_MAX;
        Err(self.mistake(at, format!("this is nested more than {max} levels deep")))
    }

    fn spend(&mut self, nodes: usize, at: Place) -> Result<(), Mistake> {
        self.alias_nodes += nodes;
        if self.alias_nodes <= limits::DEFINITION_ALIAS_NODES_MAX {
            return Ok(());
        }
        let max = limits::DEFINITION_ALIAS_NODES_MAX;
        Err(self.mistake(at, format!("the anchors and aliases of this file stand for more than {max} values")))
    }

    fn refuse_own_tag(&mut self, tag: Option<&Tag>, at: Place) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.mistakes.push(self.mistake(at, format!("the tag {tag} means nothing here; leave it out")));
        }
    }

    fn mistake(&self, at: Place, text: impl Into<String>) -> Mistake {
        Mistake { file: self.file.to_owned(), line: at.line, column: at.column, text: text.into() }
    }
}

impl Node {
    fn into_value(self, pointer: &mut String, key: Place, places: &mut HashMap<String, Placing>) -> Value {
        places.insert(pointer.clone(), Placing { value: self.place, key });
        let length = pointer.len();
        match self.content {
            Content::Scalar(value) => value,
            Content::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    push_segment(pointer, &index.to_string());
                    let place = item.place;
                    values.push(item.into_value(pointer, place, places));
                    pointer.truncate(length);
                }
                Value::Array(values)
            }
            Content::Mapping(entries) => {
                let mut values = Map::new();
                for entry in entries {
                    push_segment(pointer, &entry.key);
                    let value = entry.value.into_value(pointer, entry.key_place, places);
                    pointer.truncate(length);
                    values.insert(entry.key, value);
                }
                Value::Object(values)
            }
        }
    }
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

/// The JSON of a scalar; none for numbers that JSON does not have.
fn json(scalar: Scalar<'_>) -> Option<Value> {
    Some(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::Bool(value),
        Scalar::Integer(value) => Value::Number(value.into()),
        Scalar::FloatingPoint(value) => Value::Number(Number::from_f64(value.into_inner())?),
        Scalar::String(value) => Value::String(value.into_owned()),
    })
}
