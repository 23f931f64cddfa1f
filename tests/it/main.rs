//! The one integration binary: whole gateways over real sockets, the command line, and the rules of the source.

mod command;
mod light;
#[path = "../servers/redis.rs"]
#[expect(dead_code, reason = "shared with the tests of the library, which need more of it")]
mod servers;
#[path = "../servers/s3.rs"]
#[expect(dead_code, reason = "shared with the tests of the library, which need more of it")]
mod s3;
#[path = "../servers/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the library, which need more of it")]
mod postgres_server;
mod places;
#[path = "../servers/registry.rs"]
mod registry;
mod shop;
mod world;

mod arrow_bodies;
mod callers;

mod parity;

mod serve;
mod sync;
mod ingest;
mod train;
mod manifest;
mod aliases;
mod peers;
mod full_disk;
mod online;
mod versions;
mod expectations;
mod statistics;
mod delta;
mod postgres;

mod bad_input;
mod buckets;
mod clients;
mod drain;
mod faults;
mod faulty;
mod feast;
mod hot_cache;
mod limits;
mod unreachable;

mod swap;
mod shadow;
mod split;

mod quickstart;
mod replay;
mod spark;
mod transform_service;
mod taxi_tables;
mod tip_model;
mod minimal;
mod plugin_languages;
mod cli;
mod cli_project;
mod cli_data;
mod plugin_test;

mod plugin_c;
mod plugin_compiling;
mod plugin_new;
mod plugin_places;

mod tidy;
