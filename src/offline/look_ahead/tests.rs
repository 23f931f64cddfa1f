//! True alarms and false ones.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, TimeUnit};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use super::*;

/// What is found in a query over `rides` (company, fare, t, made) and `ticks` (company, price, at: a number).
async fn found(query: &str) -> Vec<String> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let rides = vec![
        column("company", DataType::Utf8),
        column("fare", DataType::Float64),
        column("t", time.clone()),
        column("made", time),
    ];
    let ticks =
        vec![column("company", DataType::Utf8), column("price", DataType::Float64), column("at", DataType::Int64)];
    let context = SessionContext::new();
    for (name, fields) in [("rides", rides), ("ticks", ticks)] {
        let schema = Arc::new(Schema::new(fields));
        let empty = vec![vec![RecordBatch::new_empty(Arc::clone(&schema))]];
        context.register_table(name, Arc::new(MemTable::try_new(schema, empty).unwrap())).unwrap();
    }
    let frame = context.sql(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let event_times = BTreeSet::from(["t".to_owned(), "at".to_owned()]);
    look_ahead(frame.logical_plan(), &event_times).unwrap()
}

#[tokio::test]
async fn windows_that_reach_beyond_the_row_are_found() {
    let windows = [
        "sum(fare) over (partition by company order by t rows between 3 preceding and unbounded following)",
        "avg(fare) over (partition by company order by t rows between current row and 2 following)",
        "avg(fare) over (partition by company order by t range between unbounded preceding and interval '1 hour' following)",
        "max(fare) over (partition by company)",
        "count(*) over ()",
        "lead(fare) over (partition by company order by t)",
        "lead(fare, 3) over (partition by company order by t)",
        "lag(fare, -1) over (partition by company order by t)",
        "lag(fare) over (partition by company order by t desc)",
        "first_value(fare) over (partition by company order by t desc)",
        "last_value(fare) over (partition by company order by t rows between unbounded preceding and unbounded following)",
        "avg(fare) over (partition by company order by t desc rows between 2 preceding and current row)",
        "row_number() over (partition by company order by t desc)",
        "percent_rank() over (partition by company order by t)",
        "ntile(4) over (order by t)",
        "sum(fare) over (partition by date_trunc('day', t))",
    ];
    for window in windows {
        let found = found(&format!("select company, t, {window} as x from rides")).await;
        assert_eq!(found.len(), 1, "{window}: {found:?}");
    }
    let numbers = "select company, at, sum(price) over (partition by company order by at desc) as x from ticks";
    assert_eq!(found(numbers).await.len(), 1, "a time may be a number");
}

#[tokio::test]
async fn the_sentence_has_the_text_of_the_window() {
    let found = found(
        "with w as (select t, sum(fare) over (order by t rows between 1 preceding and 1 following) as s from rides)
         select t, s + 1 as s from w",
    )
    .await;
    expect_test::expect![[r#"
        [
            "sum(rides.fare) ORDER BY [rides.t ASC NULLS LAST] ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING: its frame reaches beyond the row; end it at the current row",
        ]
    "#]]
    .assert_debug_eq(&found);
}

#[tokio::test]
async fn windows_that_end_at_the_row_are_let_be() {
    let windows = [
        "avg(fare) over (partition by company order by t)",
        "avg(fare) over (partition by company order by t rows between 10 preceding and current row)",
        "avg(fare) over (partition by company order by t rows between 10 preceding and 1 preceding)",
        "avg(fare) over (partition by company order by t range between interval '7 days' preceding and current row)",
        "avg(fare) over (partition by company order by t rows between 10 preceding and 0 following)",
        "lag(fare) over (partition by company order by t)",
        "lead(fare) over (partition by company order by t desc)",
        "avg(fare) over (partition by company order by t desc rows between current row and unbounded following)",
        "row_number() over (partition by company order by t)",
        "rank() over (partition by company order by fare desc)",
        "first_value(fare) over (partition by company order by t)",
        "row_number() over (partition by company, t order by made desc)",
        "max(fare) over (partition by company, t)",
    ];
    for window in windows {
        let found = found(&format!("select company, t, {window} as x from rides")).await;
        assert!(found.is_empty(), "{window}: {found:?}");
    }
}

#[tokio::test]
async fn aggregates_of_all_times_that_are_joined_back_are_found() {
    let queries = [
        "select r.t, r.fare / a.mean as x from rides r
         join (select company, avg(fare) as mean from rides group by company) a on r.company = a.company",
        "with last as (select company, max(t) as t from rides group by company)
         select r.* from rides r join last l on r.company = l.company and r.t = l.t",
        "select t, fare - (select avg(fare) from rides) as x from rides",
        "select r.t, r.fare / a.mean as x from rides r cross join (select avg(fare) as mean from rides) a",
        "select k.at, k.price - a.mean as x from ticks k
         left join (select company, avg(price) as mean from ticks group by company) a using (company)",
    ];
    for query in queries {
        assert!(!found(query).await.is_empty(), "{query}");
    }
}

#[tokio::test]
async fn aggregates_by_time_and_of_earlier_rows_are_let_be() {
    let queries = [
        "select company, date_trunc('day', t) + interval '1 day' as t, avg(fare) as x from rides group by 1, 2",
        "select r.t, d.x from rides r join
         (select company, date_trunc('day', t) as day, avg(fare) as x from rides group by 1, 2) d
         on r.company = d.company and date_trunc('day', r.t) - interval '1 day' = d.day",
        "select t, fare - (select avg(e.fare) from rides e where e.company = r.company and e.t <= r.t) as x from rides r",
        "select company, max(t) as t, avg(fare) as x from rides group by company",
        "select a.t, a.fare, b.fare as other from rides a join rides b on a.company = b.company and b.t < a.t",
        "select r.t, a.mean from rides r join
         (select company, avg(fare) as mean from rides where t < timestamp '2016-01-01' group by company) a
         using (company) where r.t >= timestamp '2016-01-01'",
    ];
    for query in queries {
        let found = found(query).await;
        assert!(found.is_empty(), "{query}: {found:?}");
    }
}
