//! Entities and their join keys.

use super::Building;
use super::names::Names;
use crate::catalog::definitions::Placed;
use crate::catalog::file::EntityFile;
use crate::catalog::{DType, Definitions, Entity, Field};

pub(super) fn build(definitions: &Definitions, building: &mut Building) {
    let mut names = Names::default();
    for placed in definitions.entities() {
        let file = placed.item;
        let before = building.mistakes.len();
        names.claim("entity", &file.name, &placed, "/name", &mut building.mistakes);
        let join_keys = join_keys(&placed, building);
        if building.mistakes.len() > before {
            building.broken_entities.insert(file.name.clone());
            continue;
        }
        let entity = Entity { name: file.name.clone(), join_keys, description: file.description.clone() };
        building.catalog.entities.insert(file.name.clone(), entity);
    }
}

fn join_keys(placed: &Placed<'_, EntityFile>, building: &mut Building) -> Vec<Field> {
    let entity = &placed.item.name;
    let mut names = Names::default();
    let mut join_keys = Vec::new();
    for (index, key) in placed.item.join_keys.iter().enumerate() {
        let name_path = format!("/join_keys/{index}/name");
        let noun = format!("join key {} of entity {entity}", key.name);
        names.claim_column("join key", &key.name, placed, &name_path, &mut building.mistakes);
        let wrong = match key.dtype.parse::<DType>() {
            Ok(dtype) if dtype.can_be_join_key() => {
                join_keys.push(Field::new(&key.name, dtype));
                continue;
            }
            Ok(dtype) => format!(
                "{noun} is {dtype}, which cannot identify anything: two values that should be equal may not be; \
                 use bool, int32, int64, string, bytes, timestamp or date"
            ),
            Err(wrong) => format!("{noun}: {wrong}"),
        };
        building.mistakes.push(placed.mistake(&format!("/join_keys/{index}/type"), wrong));
    }
    join_keys
}
