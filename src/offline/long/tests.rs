//! Long rows that become wide ones.
