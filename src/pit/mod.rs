//! The point-in-time join: for each label row, the newest feature row with
//! `label_time − ttl ≤ event_time ≤ label_time`, ties to the later created time, then to the later source row.
