//! The JSON Schema of a file, from the Rust type that it is read into.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema of `T` (JSON Schema 2020-12), with an identifier and a title for editors.
pub fn schema_of<T: JsonSchema>(id: &str, title: &str) -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    refuse_null(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("$id".to_owned(), Value::String(id.to_owned()));
        root.insert("title".to_owned(), Value::String(title.to_owned()));
    }
    schema
}

/// Takes null out of everything optional. A key without a value is a line that someone forgot to finish; reading it as
/// the default would hide that.
fn refuse_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        Value::Object(entries) => {
            if let Some(Value::Array(types)) = entries.get("type")
                && let [only, Value::String(null)] = types.as_slice()
                && null == "null"
            {
                let only = only.clone();
                entries.insert("type".to_owned(), only);
            }
            if let Some(Value::Array(alternatives)) = entries.get("anyOf")
                && let [only, null] = alternatives.as_slice()
                && null.get("type").is_some_and(|name| name == "null")
                && let Value::Object(only) = only.clone()
            {
                entries.remove("anyOf");
                entries.extend(only);
            }
            if entries.get("default").is_some_and(Value::is_null) {
                entries.remove("default");
            }
            entries.values_mut().for_each(refuse_null);
        }
        _ => {}
    }
}
