//! PostgreSQL on real servers.
