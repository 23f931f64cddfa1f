//! Times from the first year to the last that every store holds.

use super::*;

/// 0001-01-01, around the epoch, within a millisecond, and the last microsecond of the year 9999.
const TIMES: [i64; 7] = [-62_135_596_800_000_000, -1_000_001, -1, 0, 1, 1_000_999, 253_402_300_799_999_999];

pub(super) async fn times_are_exact_from_the_first_to_the_last(subject: &Subject) {
    let source = Source { created_time: None, ..files(subject, "ages") };
    for (x, time) in (0..).zip(TIMES) {
        // Each in a part of its own, which is left out by what is known of it.
        let columns: Vec<(&str, ArrayRef)> =
            vec![("x", Arc::new(Int64Array::from(vec![x]))), ("t", Arc::new(timestamps(vec![Some(time)])))];
        (subject.put)(&source, batch(columns));
    }
    let ask = async |from: Option<i64>, until: Option<i64>| {
        let wanted = Scan { from, until, ..scan(&[("x", Scalar::Int64)]) };
        in_order(subject, integers(subject, &source, &wanted).await)
    };
    let all = (0..TIMES.len() as i64).collect::<Vec<_>>();
    for (x, time) in (0..).zip(TIMES) {
        let (before, after) = all.split_at(x);
        assert_eq!(ask(Some(time), Some(time)).await, after[..1], "at {time}");
        assert_eq!(ask(None, Some(time - 1)).await, before, "before {time}");
        assert_eq!(ask(Some(time + 1), None).await, after[1..], "after {time}");
    }
    let rows = read(subject, &source, &scan(&[])).await.expect("the scan works");
    let mut times = rows.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    times.sort_unstable();
    assert_eq!(times, TIMES);
}
