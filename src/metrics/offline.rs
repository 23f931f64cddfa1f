//! What scans of the offline store read and did not have to, printed whenever somebody looks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use crate::offline::{Read, Reads};

#[derive(Debug)]
pub(super) struct OfflineReads(pub Arc<Reads>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

impl Collector for OfflineReads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts: Vec<(SourceLabel, Read)> =
            self.0.counts().into_iter().map(|(source, read)| (SourceLabel { source }, read)).collect();
        let counters: [(&str, &str, fn(&Read) -> u64); 6] = [
            ("offline_files_read", "Files that scans opened", |read| read.files_read),
            ("offline_files_pruned", "Files in which no asked row could be", |read| read.files_pruned),
            ("offline_row_groups_read", "Row groups that scans read", |read| read.row_groups_read),
            ("offline_row_groups_pruned", "Row groups in which no asked row could be", |read| read.row_groups_pruned),
            ("offline_pages_pruned", "Pages in which no asked row could be", |read| read.pages_pruned),
            ("offline_bytes_read", "Bytes that scans read of files", |read| read.bytes_read),
        ];
        for (name, help, value) in counters {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, read) in &counts {
                ConstCounter::new(value(read)).encode(family.encode_family(label)?)?;
            }
        }
        Ok(())
    }
}
