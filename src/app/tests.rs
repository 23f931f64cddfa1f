//! The hot cache and the guard, as a gateway is put together with them.

use super::*;
use crate::clock::Deadline;
use crate::online::conformance::{lines, plain_view, soon, write};
use crate::online::faulty::{Fault, FaultyStore};

#[tokio::test]
async fn a_view_that_is_not_online_cannot_be_kept() {
    let view = HotView { rows: 1, max_age: std::time::Duration::from_secs(1), absent: true };
    let chosen = config::HotCache { views: BTreeMap::from([("trips".to_owned(), view)]) };
    let store: Arc<dyn OnlineStore> = FaultyStore::new();
    let refused = cache(store, &chosen, &Catalog::empty("taxi"), &mut Metrics::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains("hot_cache names trips, which is not a view"), "{refused}");
}

#[tokio::test]
async fn a_store_behind_a_server_is_guarded_and_counted_and_one_in_this_process_is_not() {
    let mut metrics = Metrics::default();
    let store = FaultyStore::new();
    let embedded = guard(Arc::clone(&store) as Arc<dyn OnlineStore>, None, &mut metrics);
    assert!(!metrics.encode().contains("lockstep_backend"));
    let remote = guard(Arc::clone(&store) as Arc<dyn OnlineStore>, Some(("redis", Parts::One)), &mut metrics);
    write(&*remote, &plain_view("companies"), &lines(&[(Some(1), 1, None, None)])).await;
    store.set(Fault::Fails);
    let fail = async |store: &dyn OnlineStore, deadline: Deadline| {
        store.write(&plain_view("companies"), &lines(&[]), deadline).await.unwrap_err()
    };
    for _ in 0..20 {
        assert!(matches!(fail(&*embedded, soon()).await, online::Error::Store { .. }));
        fail(&*remote, soon()).await;
    }
    assert!(matches!(fail(&*remote, soon()).await, online::Error::Down { store: "redis", .. }));
    assert!(metrics.encode().contains("lockstep_backend_up{backend=\"redis\"} 0"));
}
