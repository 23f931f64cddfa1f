//! What is done to tables as a whole.

use super::*;

pub(super) async fn how_a_scan_would_read_can_be_said(subject: &Subject) {
    let source = files(subject, "explained");
    (subject.put)(&source, rows([(Some(1), 1)]));
    let wanted = Scan { from: Some(1), ..scan(&[("x", Scalar::Int64)]) };
    let plan = subject.store.explain(&source, &wanted).await.expect("a plan");
    // Files are filtered here; the other stores have a scan of their own.
    let reads = if subject.ordered() { ["FilterExec", "DataSourceExec"] } else { ["Exec", "Scan"] };
    assert!(reads.iter().any(|read| plan.contains(read)), "{plan}");
    let error = subject.store.explain(&source, &scan(&[("y", Scalar::Int64)])).await.expect_err("there is no y");
    assert!(matches!(error, Error::NoColumn { .. }), "{error}");
}

pub(super) async fn maintenance_leaves_the_rows_as_they_are(subject: &Subject) {
    let source = files(subject, "maintained");
    for x in [3, 1, 2] {
        subject.store.append(&source, &x.to_string(), &rows([(Some(x), x)])).await.expect("the rows are stored");
    }
    // A Delta table keeps its files for a week at least; a database has no old files.
    let keep = if subject.ordered() { Duration::ZERO } else { Duration::from_secs(30 * 86_400) };
    let all = [Maintenance::Compact, Maintenance::Vacuum { keep }, Maintenance::Compact];
    for what in &all[..if subject.keeps_past { 3 } else { 1 }] {
        let done = subject.store.maintain(&source, *what).await.expect("it can be done");
        assert!(done.files_after <= done.files_before, "{done:?}");
        let mut found = integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await;
        if !subject.ordered() {
            found.sort_unstable();
        }
        assert_eq!(found, if subject.ordered() { [3, 1, 2] } else { [1, 2, 3] });
    }
    let error = subject.store.maintain(&query("asked", "SELECT 1 AS x"), Maintenance::Compact).await;
    assert!(matches!(error, Err(Error::NotWritable { .. })), "{error:?}");
}
