//! What sql sources see of the order of rows: in their own, and in their windows.

use super::*;

pub(super) async fn a_sql_source_keeps_the_order_of_its_query(subject: &Subject) {
    let base = files(subject, "sorted_base");
    (subject.put)(&base, rows((0..20_000).map(|x| (Some(x), (x * 7_919) % 20_000))));
    let sorted = query("sorted", "SELECT k, x, t FROM sorted_base ORDER BY x DESC");
    define(subject, &[&sorted, &base]);
    let wanted = Scan { from: Some(1), ..scan(&[("x", Scalar::Int64)]) };
    assert_eq!(integers(subject, &sorted, &wanted).await, (1..20_000).rev().collect::<Vec<_>>());
}

pub(super) async fn a_window_sees_the_rows_before_the_range_and_none_after(subject: &Subject) {
    let base = files(subject, "window_base");
    let values = [1, 10, 100, 1_000, 10_000, 100_000];
    (subject.put)(&base, rows(values.into_iter().zip(0..).map(|(x, time)| (Some(time), x * 3))));
    let window = "SELECT t, sum(x) OVER (PARTITION BY k ORDER BY t ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS x \
                  FROM window_base";
    let window = query("windowed", window);
    define(subject, &[&window, &base]);
    let wanted = Scan { from: Some(2), until: Some(3), ..scan(&[("x", Scalar::Int64)]) };
    assert_eq!(integers(subject, &window, &wanted).await, [333, 3_330]);
}

pub(super) async fn a_window_takes_rows_of_equal_order_keys_in_source_order(subject: &Subject) {
    let base = files(subject, "tied_base");
    (subject.put)(&base, rows((0..30_000).map(|x| (Some(x % 10), x))));
    let window = query(
        "tied",
        "SELECT x * 100000 + row_number() OVER (PARTITION BY k ORDER BY t) AS x, t, c AS d FROM tied_base",
    );
    define(subject, &[&window, &base]);
    let first = integers(subject, &window, &scan(&[("x", Scalar::Int64)])).await;
    let wide = integers(subject, &window, &scan(&[("x", Scalar::Int64), ("d", Scalar::Timestamp)])).await;
    assert_eq!(first.len(), 30_000);
    assert_eq!(wide, first, "whatever else is read");
    if subject.ordered() {
        let of_key = |key: i64| {
            let times = (0..10).flat_map(move |time| (0..30_000).filter(move |x| x % 3 == key && x % 10 == time));
            times.zip(1..).map(|(x, number)| x * 100_000 + number)
        };
        assert_eq!(first, (0..3).flat_map(of_key).collect::<Vec<_>>());
    }
}
