//! What a source reads: which other sources its query names, and in which order all of them must be made.

use std::collections::BTreeMap;

use datafusion::common::TableReference;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast;

use super::Error;
use crate::catalog::{Source, SourceKind};
use crate::limits::SQL_SOURCE_DEPTH_MAX;

/// `source` and every source that it reads, directly or through others; each stands behind what it reads, so `source`
/// itself is the last. The order in which sources were defined plays no part.
pub(super) fn reading_order(source: &Source, sources: &BTreeMap<String, Source>) -> Result<Vec<Source>, Error> {
    let mut order = Vec::new();
    visit(source, sources, &mut Vec::new(), &mut order)?;
    Ok(order)
}

fn visit(
    source: &Source,
    sources: &BTreeMap<String, Source>,
    path: &mut Vec<String>,
    order: &mut Vec<Source>,
) -> Result<(), Error> {
    if order.iter().any(|known| known.name == source.name) {
        return Ok(());
    }
    let wrong = |detail: String| Error::Query { source_name: source.name.clone(), detail };
    if let SourceKind::Sql { query } = &source.kind {
        if let Some(start) = path.iter().position(|name| *name == source.name) {
            return Err(wrong(format!("it reads itself: {} → {}", path[start..].join(" → "), source.name)));
        }
        if path.len() >= SQL_SOURCE_DEPTH_MAX {
            return Err(wrong(format!("more than {SQL_SOURCE_DEPTH_MAX} sql sources read each other")));
        }
        path.push(source.name.clone());
        for name in tables_of(query).map_err(wrong)? {
            // A query that names its own source reads itself, whatever else is defined under that name.
            let read = if name == source.name { Some(source) } else { sources.get(&name) };
            let read = read.ok_or_else(|| wrong(unknown(&name, sources)))?;
            if let SourceKind::Long(long) = &read.kind {
                let text = format!("source {name} has columns only when features are asked for; read {}", long.source);
                return Err(wrong(text));
            }
            visit(read, sources, path, order)?;
        }
        path.pop();
    }
    if let SourceKind::Long(long) = &source.kind {
        let read = sources.get(&long.source).ok_or_else(|| wrong(unknown(&long.source, sources)))?;
        if matches!(read.kind, SourceKind::Long(_)) {
            return Err(wrong(format!("its rows are those of {}, which are made of long rows already", read.name)));
        }
        visit(read, sources, path, order)?;
    }
    order.push(source.clone());
    Ok(())
}

fn unknown(name: &str, sources: &BTreeMap<String, Source>) -> String {
    let defined: Vec<&str> = sources.keys().map(String::as_str).collect();
    format!("there is no source {name}; defined are {}", defined.join(", "))
}

/// The tables that a query names. Anything but one plain query is refused here, before it is planned.
fn tables_of(query: &str) -> Result<Vec<String>, String> {
    let mut statements = DFParser::parse_sql(query).map_err(|error| error.strip_backtrace())?;
    let statement = match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => statement,
        _ => return Err("it must be one statement".to_owned()),
    };
    match &statement {
        Statement::Statement(inner) if matches!(inner.as_ref(), ast::Statement::Query(_)) => {}
        _ => return Err("it must be a query (SELECT … or WITH … SELECT …)".to_owned()),
    }
    let (tables, _) = resolve_table_references(&statement, true).map_err(|error| error.strip_backtrace())?;
    let bare = |table: TableReference| match table.schema() {
        None => Ok(table.table().to_owned()),
        Some(_) => Err(format!("{table} is not the name of a source")),
    };
    tables.into_iter().map(bare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Stored;

    fn sources(queries: &[(&str, &str)]) -> BTreeMap<String, Source> {
        let parquet = |path: &str| SourceKind::Stored(Stored::parquet(path));
        let sql = |query: &str| SourceKind::Sql { query: query.to_owned() };
        let source = |(name, query): &(&str, &str)| Source {
            name: (*name).to_owned(),
            kind: if query.contains(' ') { sql(query) } else { parquet(query) },
            event_time: "t".to_owned(),
            created_time: None,
            description: String::new(),
        };
        queries.iter().map(|query| (query.0.to_owned(), source(query))).collect()
    }

    fn order(queries: &[(&str, &str)], of: &str) -> Result<Vec<String>, String> {
        let sources = sources(queries);
        match reading_order(&sources[of], &sources) {
            Ok(order) => Ok(order.into_iter().map(|source| source.name).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_source_stands_behind_what_it_reads() {
        let queries = [
            ("a", "SELECT * FROM b JOIN d USING (k)"),
            ("b", "SELECT * FROM d"),
            ("c", "c.parquet"),
            ("d", "d.parquet"),
        ];
        assert_eq!(order(&queries, "a"), Ok(vec!["d".to_owned(), "b".to_owned(), "a".to_owned()]));
        assert_eq!(order(&queries, "c"), Ok(vec!["c".to_owned()]));
    }

    #[test]
    fn the_name_of_a_common_table_expression_is_not_a_source() {
        let queries = [("a", "WITH x AS (SELECT * FROM d) SELECT * FROM x"), ("d", "d.parquet")];
        assert_eq!(order(&queries, "a"), Ok(vec!["d".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn a_circle_of_sources_is_refused() {
        let queries = [("a", "SELECT * FROM b"), ("b", "SELECT * FROM a")];
        assert_eq!(order(&queries, "a"), Err("the query of source a is wrong: it reads itself: a → b → a".to_owned()));
    }

    #[test]
    fn a_source_that_nobody_defined_is_named() {
        let queries = [("a", "SELECT * FROM nothing")];
        let error = "the query of source a is wrong: there is no source nothing; defined are a";
        assert_eq!(order(&queries, "a"), Err(error.to_owned()));
    }

    #[test]
    fn anything_but_one_query_is_refused() {
        let statements = [
            "DROP TABLE d",
            "SELECT 1; SELECT 2",
            "COPY d TO 'x.parquet'",
            "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/etc'",
            "EXPLAIN SELECT 1",
            "SELECT * FROM '/etc/x.parquet'",
            "SELECT * FROM other.place",
            "INSERT INTO d VALUES (1)",
            "SELEC 1",
        ];
        for statement in statements {
            assert!(order(&[("a", statement), ("d", "d.parquet")], "a").is_err(), "{statement}");
        }
    }
}
