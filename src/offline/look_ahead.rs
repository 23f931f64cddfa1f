//! Queries that look into the future of their own rows, as far as that can be seen in their plan.
//!
//! A row of a source says what was known at its event time. A query that takes what came later into a row gives training
//! what serving will never have. Three shapes of that are found: a window whose frame, function or order reaches beyond
//! the row; an aggregate over all times that is joined back to rows; and the same as a subquery that is one value.
//!
//! A warning and not an error: whether a window over one day, or an order by something that is no time, looks ahead is
//! known to the author alone. What is not found: a condition on time that lets later rows in (`a.t > b.t`).

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Aggregate, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFunctionDefinition};
use datafusion::prelude::Expr;

/// Functions whose value depends on how many rows there are in the whole window, whatever its frame.
const OF_THE_WHOLE_WINDOW: [&str; 3] = ["percent_rank", "cume_dist", "ntile"];
/// Functions that number rows in the order of the window, whatever its frame.
const NUMBERING: [&str; 3] = ["row_number", "rank", "dense_rank"];

/// What in `plan` looks ahead, each as a sentence that begins with the text of it. Columns of the names in `event_times`
/// are times, as all columns are that have the type of one.
pub(super) fn look_ahead(plan: &LogicalPlan, event_times: &BTreeSet<String>) -> Result<Vec<String>, DataFusionError> {
    let mut found = Vec::new();
    let looking = Looking { event_times };
    plan.apply_with_subqueries(|node| {
        looking.node(node, &mut found)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut once = BTreeSet::new();
    found.retain(|sentence: &String| once.insert(sentence.clone()));
    Ok(found)
}

struct Looking<'a> {
    event_times: &'a BTreeSet<String>,
}

impl Looking<'_> {
    fn node(&self, node: &LogicalPlan, found: &mut Vec<String>) -> Result<(), DataFusionError> {
        if let LogicalPlan::Window(window) = node {
            for expr in &window.window_expr {
                if let Expr::WindowFunction(function) = expr.clone().unalias()
                    && let Some(why) = self.window(&function, &window.input)
                {
                    found.push(format!("{function}: {why}", function = Expr::WindowFunction(function)));
                }
            }
        }
        if let LogicalPlan::Join(join) = node {
            for side in [&join.left, &join.right] {
                if let Some(aggregate) = self.aggregate_of_all_times(side) {
                    found.push(format!(
                        "{}: it is made of all rows, later ones too, and joined to each of them; group by time, or use a \
                         window that ends at the row",
                        shown(aggregate)
                    ));
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarSubquery(subquery) = expr
                    && let Some(aggregate) = self.aggregate_of_all_times(&subquery.subquery)
                {
                    found.push(format!(
                        "the subquery with {}: it is made of all rows, later ones too; compare their time with the row's",
                        shown(aggregate)
                    ));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(())
    }

    /// Why the window looks ahead.
    fn window(&self, function: &WindowFunction, input: &LogicalPlan) -> Option<&'static str> {
        let WindowFunctionParams { args, partition_by, order_by, window_frame, .. } = &function.params;
        // Rows of one moment know of each other.
        let is_moment = |expr: &Expr| matches!(expr, Expr::Column(_)) && self.is_time(expr, input);
        if partition_by.iter().any(is_moment) {
            return None;
        }
        let name = function.fun.name().to_lowercase();
        // In a descending order of time what precedes is the future.
        let first = order_by.first();
        let is_backwards = first.is_some_and(|first| !first.asc && self.is_time(&first.expr, input));
        let is_own = matches!(function.fun, WindowFunctionDefinition::WindowUDF(_));
        if is_own && (name == "lead" || name == "lag") {
            return shift_looks_ahead(&name, args.get(1), is_backwards)
                .then_some("it takes a value of a later row; use lag, or order by time ascending");
        }
        if is_own && OF_THE_WHOLE_WINDOW.contains(&name.as_str()) {
            return Some("it depends on how many rows there are in all, later ones too");
        }
        if is_own && NUMBERING.contains(&name.as_str()) {
            return is_backwards
                .then_some("it counts from the last row, so it depends on how many later ones there are");
        }
        match is_backwards {
            true => reaches(&window_frame.start_bound, true)
                .then_some("in a descending order what precedes is later; order by time ascending"),
            false if first.is_none() && reaches(&window_frame.end_bound, false) => {
                Some("without an order it is made of all rows, later ones too; order by time")
            }
            false => reaches(&window_frame.end_bound, false)
                .then_some("its frame reaches beyond the row; end it at the current row"),
        }
    }

    /// An aggregate at the top of `plan` that takes rows of all times into one.
    fn aggregate_of_all_times<'p>(&self, plan: &'p LogicalPlan) -> Option<&'p Aggregate> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => {
                let groups_by_time = aggregate.group_expr.iter().any(|expr| self.is_time(expr, &aggregate.input));
                let aggregates = !aggregate.aggr_expr.is_empty();
                (aggregates
                    && !groups_by_time
                    && self.has_time(&aggregate.input)
                    && !self.compares_time(&aggregate.input))
                .then_some(aggregate)
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_) => self.aggregate_of_all_times(plan.inputs().first()?),
            _ => None,
        }
    }

    /// Whether an expression is made of a time.
    fn is_time(&self, expr: &Expr, input: &LogicalPlan) -> bool {
        expr.column_refs().into_iter().any(|column| {
            self.event_times.contains(&column.name)
                || Expr::Column(column.clone()).get_type(input.schema().as_ref()).is_ok_and(|dtype| is_time(&dtype))
        })
    }

    fn has_time(&self, plan: &LogicalPlan) -> bool {
        let fields = plan.schema().fields().iter();
        fields.into_iter().any(|field| is_time(field.data_type()) || self.event_times.contains(field.name()))
    }

    /// Whether some condition under `plan` is about a time: then its author has thought of it.
    fn compares_time(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::Filter(filter) if self.is_time(&filter.predicate, &filter.input) => true,
            _ => plan.inputs().into_iter().any(|input| self.compares_time(input)),
        }
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

/// Whether `lead` or `lag` takes a later row. Without a number it is one row; a negative one turns it around.
fn shift_looks_ahead(name: &str, offset: Option<&Expr>, is_backwards: bool) -> bool {
    let offset = match offset {
        None => 1,
        Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(offset))) => offset,
            _ => 1,
        },
        // `-1` is a minus and a one until it is simplified.
        Some(Expr::Negative(_)) => -1,
        Some(_) => 1,
    };
    let later = if name == "lead" { offset } else { -offset };
    if is_backwards { later < 0 } else { later > 0 }
}

/// Whether a frame that ends (or, backwards, begins) there goes beyond the row.
fn reaches(bound: &WindowFrameBound, backwards: bool) -> bool {
    let distance = match (bound, backwards) {
        (WindowFrameBound::Following(distance), false) | (WindowFrameBound::Preceding(distance), true) => distance,
        _ => return false,
    };
    let zero = ScalarValue::new_zero(&distance.data_type());
    distance.is_null() || !zero.is_ok_and(|zero| zero == *distance)
}

fn shown(aggregate: &Aggregate) -> String {
    let list = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match aggregate.group_expr.as_slice() {
        [] => list(&aggregate.aggr_expr),
        groups => format!("{} grouped by {}", list(&aggregate.aggr_expr), list(groups)),
    }
}

#[cfg(test)]
mod tests;
