//! Every bound of the gateway, with its unit and the reason for it. Nothing else in the code invents a limit.

mod callers;
mod changing;
mod shipping;

use std::time::Duration;

pub use self::callers::*;
pub use self::changing::*;
pub use self::shipping::*;

// What one request may ask.

/// Rows in one serving request. 4,096 rows × 200 features × 8 B ≈ 6.5 MB: fits one frame to a plugin.
pub const SERVE_ROWS_MAX: usize = 4_096;
/// Features in one serving request, a service included. More is a training set.
pub const SERVE_FEATURES_MAX: usize = 2_000;
/// Plans kept of one applied version; a question beyond that is planned each time it is asked.
pub const PLANS_KEPT_MAX: usize = 1_024;
/// Rows whose derived features are computed on the async thread itself. 512 rows × 20 columns take a plugin about 50 µs,
/// less than moving them to another thread and back would.
pub const DERIVE_INLINE_ROWS_MAX: usize = 512;
/// How far ahead of our clock a pushed event time may be: what honest clocks differ by. A row from ahead hides the
/// present from serving until it is true.
pub const EVENT_TIME_AHEAD_MAX: Duration = Duration::from_secs(60);
/// Time one serving request may take when the caller names no deadline.
pub const SERVE_DEADLINE: Duration = Duration::from_secs(5);
/// The part of a request's time that is kept for what comes after reading when it may be answered in part: one in so
/// many.
pub const PARTIAL_ANSWER_PART: u32 = 8;
/// Time one write (push, write-to-online-store) may take.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// Times that the delete of a feature starts over because a newer row came in between. A row that is written more often
/// than this within one delete is not deleted from by hand.
pub const DELETE_ATTEMPTS_MAX: usize = 5;
/// Time in which an online store says how it is.
pub const HEALTH_DEADLINE: Duration = Duration::from_secs(5);
/// Time in which an online store says what it holds: many rows are read for it.
pub const STATISTICS_DEADLINE: Duration = Duration::from_secs(60);
/// Time one write of a sync batch may take.
pub const SYNC_WRITE_DEADLINE: Duration = Duration::from_secs(300);
/// Views whose histories are joined to labels at the same time.
pub const JOINS_AT_ONCE: usize = 4;
/// Time one training set may take.
pub const TRAIN_DEADLINE: Duration = Duration::from_secs(3_600);
/// Time each side of a parity check may take, and how many differing cells it shows.
pub const PARITY_DEADLINE: Duration = Duration::from_secs(120);
pub const PARITY_CELLS_SHOWN_MAX: usize = 20;
/// How long one look for new events waits before it looks again whether it should stop.
pub const EVENTS_WAIT: Duration = Duration::from_secs(1);
/// Rows of one push.
pub const PUSH_ROWS_MAX: usize = 65_536;
/// Rows of one training request over a wire; larger ones go through files.
pub const TRAIN_ROWS_MAX: usize = 10_000_000;
/// Rows of a training set that are computed and handed on at once; eight frames to a plugin, a few megabytes.
pub const TRAIN_BATCH_ROWS: usize = 65_536;
/// Rows that sync writes to the online store in one call: large enough that one durable commit is shared by many rows.
pub const SYNC_BATCH_ROWS: usize = 65_536;
/// Bytes of the rows of one such call; rows that are long come in fewer.
pub const SYNC_BATCH_BYTES: usize = 32 << 20;
/// Such calls at once: while the store writes one, the derived views of the next are computed and its rows encoded.
pub const SYNC_WRITES_AT_ONCE: usize = 3;
/// Batches of a scan that are decoded ahead of the one that is looked at.
pub const SYNC_BATCHES_AHEAD: usize = 4;
/// Memory for the rows that one run of sync keeps, one for each key; beyond it they are put aside on disk.
pub const SYNC_MEMORY_BYTES: usize = 512 << 20;
/// The least that a project may configure: a few batches of a scan, below which files become many and small.
pub const SYNC_MEMORY_BYTES_MIN: usize = 16 << 20;
/// Time after which a run of sync makes durable what it has done. A shorter run writes nothing down, and what is lost of
/// a longer one when it is killed is done again in about this time.
pub const SYNC_CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// Parts into which keys are cut when they are put aside. They are written from memory, as many at once as it has
/// room for, so that the rows of all keys may be this many times the memory of a run.
pub const SYNC_PARTITIONS: usize = 128;
/// Files of a source that sync reads as one: a run that goes on after an interruption looks again at half of it on
/// average, and a source of many small files is not opened once for each.
pub const SYNC_SLICE_BYTES: u64 = 256 << 20;
/// Runs that are listed at once.
pub const SYNC_RUNS_SHOWN_MAX: u32 = 1_000;
/// Between two looks for views whose schedule says that they should be synced.
pub const SCHEDULE_TICK: Duration = Duration::from_secs(1);
/// Schedules that one gateway runs at once. Each takes [`SYNC_MEMORY_BYTES`].
pub const SCHEDULED_SYNCS_AT_ONCE: usize = 2;
/// How long a gateway has the schedule of a view unless it says that it still does, which it does three times as often.
/// Longer than honest clocks differ.
pub const SCHEDULE_LEASE: Duration = Duration::from_secs(60);
/// Pause before a scheduled sync that failed is tried again: the first, and what it doubles to. It is never longer than
/// the schedule itself.
pub const SCHEDULE_RETRY_PAUSE: Duration = Duration::from_secs(5);
pub const SCHEDULE_RETRY_PAUSE_MAX: Duration = Duration::from_secs(600);
/// One part in so many of its span by which a view's schedule is shifted, so that views of one span do not all begin at
/// once; and the most that it is shifted.
pub const SCHEDULE_JITTER_SHARE: u64 = 10;
pub const SCHEDULE_JITTER_MAX: Duration = Duration::from_secs(300);
/// Between two looks at the registry for how far views are synced, by whomever, for the metrics.
pub const FRESHNESS_LOOK_EVERY: Duration = Duration::from_secs(15);
/// Rows of one batch of a copy of online rows into an offline table, about.
pub const SNAPSHOT_GROUP_ROWS: u64 = 500_000;
/// Rows of one page of a scan of the online store.
pub const ONLINE_SCAN_ROWS: usize = 4_096;
/// Time for one such page.
pub const ONLINE_SCAN_DEADLINE: Duration = Duration::from_secs(60);

// Offline data.

/// Rows in one batch of a scan.
pub const SCAN_BATCH_ROWS: usize = 8_192;
/// The most that a scan that sorts keeps free of its memory, to merge what it has put aside.
pub const SCAN_MERGE_BYTES_MAX: usize = 10 << 20;
/// Bytes of what a scan has put aside that are read back at once.
pub const SCAN_SPILL_READ_BYTES: usize = 128 << 10;
/// Memory that one write to a Delta table may take to merge and to compact.
pub const DELTA_WRITE_MEMORY_BYTES_MAX: usize = 1 << 30;
/// Sql sources that read each other, one behind the other.
pub const SQL_SOURCE_DEPTH_MAX: usize = 32;
/// Times that a commit to a Delta table is tried when others are faster, and the wait after the first; it doubles up to
/// 64-fold. Every loss is somebody else's commit, so this many in a row take more writers than a log can serve.
pub const DELTA_ATTEMPTS_MAX: u32 = 24;
pub const DELTA_RETRY_WAIT: Duration = Duration::from_millis(5);
/// Files of an older version of a Delta table that are looked for at the same time.
pub const DELTA_FILE_CHECKS_AT_ONCE: usize = 32;
/// Groups of files of a Delta table that are written together at the same time; each takes about its files' size.
pub const DELTA_COMPACTIONS_AT_ONCE: usize = 2;
/// Bytes of a file of a Delta table that is written whole: large enough that a table of any size has few files, small
/// enough that several readers share the work.
pub const DELTA_FILE_BYTES: u64 = 256 << 20;
/// Time for which freed memory stays with the process, so that the next one who needs some does not fetch it anew.
pub const FREED_MEMORY_KEPT: Duration = Duration::from_secs(30);
/// Feature columns that a point-in-time join keeps of one view before it copies out the rows that labels still want.
pub const PIT_KEPT_BYTES: usize = 256 << 20;
/// Footers of Parquet files that a gateway keeps: those of some thousand files with 50 columns.
pub const PARQUET_FOOTERS_BYTES_MAX: usize = 64 << 20;
/// Bytes at the end of a file that are read at first: nearly every footer fits, so that one request is enough.
pub const PARQUET_FOOTER_BYTES_READ: usize = 64 << 10;
/// Footers of one table that are read at once.
pub const FOOTERS_READ_AT_ONCE: usize = 16;
/// Keys that are told to the Parquet reader one by one; of more, the smallest and the largest. Each one is looked up in
/// the statistics of each row group.
pub const PRUNED_KEYS_MAX: usize = 100;
/// Hashes of local files that are remembered, each about 200 bytes.
pub const FILE_HASHES_KEPT_MAX: usize = 100_000;
/// Rows of one row group: small enough to be skipped with profit, large enough to compress well.
pub const PARQUET_ROW_GROUP_ROWS: usize = 128 << 10;
/// Partitions that one written batch may have rows for. Each one is a file.
pub const PARTITIONS_PER_BATCH_MAX: usize = 1_000;
/// Files of less than this are small; compaction makes of them files of about this size.
pub const COMPACTED_FILE_BYTES: u64 = 128 << 20;
/// Bytes of a file that an upsert rewrites. It is made in memory.
pub const REWRITTEN_FILE_BYTES_MAX: u64 = 1 << 30;
/// Times that a change of files starts over because another one came in between, and that a table is looked at because
/// files went meanwhile.
pub const TABLE_CHANGES_MAX: usize = 5;
pub const TABLE_LOOKS_MAX: usize = 5;
/// How long files are kept that a write may still be about to count in.
pub const UNCOMMITTED_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Time to connect to an object store, and for one request to it where the project does not say: a row group of
/// 128 MiB comes within 30 s at 5 MiB/s.
pub const OBJECT_STORE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub const OBJECT_STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a project may configure.
pub const OBJECT_STORE_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Times that a failed request to an object store is made again.
pub const OBJECT_STORE_RETRIES: usize = 3;

/// Rows of a row group of a Parquet file that we write, and of a stretch that the manifest of a training set has a hash
/// for: large enough that columns compress well, small enough that a difference is found close by.
pub const ROW_GROUP_ROWS: usize = 131_072;
/// Bytes of a manifest.
pub const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// Memory of one point-in-time join where the project does not say: 2 million labels of 5 views with 10 numbers each fit
/// without a file.
pub const PIT_MEMORY_BYTES: usize = 1 << 30;
/// The least memory that a project may give a join: labels come in batches of a few megabytes, and every part of a join
/// that spills has a buffer.
pub const PIT_MEMORY_BYTES_MIN: usize = 16 << 20;
/// Bytes that one join may put aside on disk where the project does not say.
pub const PIT_SPILL_BYTES_MAX: u64 = 200 << 30;
/// Memory of each join that spills, where nothing bounds the memory of all.
pub const PIT_ROOM_BYTES: usize = 64 << 20;
/// Parts into which a join that spills cuts labels and rows: as many files are open for each of the two, of the 1,024 that
/// a process usually may have.
pub const PIT_PARTS_MAX: usize = 32;
/// Bytes of a batch that is put aside, and of the buffer in front of its file; there are as many of both as parts.
pub const PIT_SPILL_BATCH_BYTES: usize = 128 << 10;
pub const PIT_SPILL_BUFFER_BYTES: usize = 64 << 10;
/// Labels whose keys a history is searched for; with more of them, most files and row groups have rows of some.
pub const PIT_KEYS_SEARCHED_MAX: usize = 1_000;
/// What a value of text, or of a list, is taken to be long before it is known.
pub const PIT_TEXT_BYTES_GUESSED: usize = 32;
/// Connections of one gateway to one PostgreSQL database, where the project does not say, and at most. Every table that
/// is being read takes one; PostgreSQL serves 100 in all where nobody changed it.
pub const POSTGRES_CONNECTIONS: u32 = 16;
pub const POSTGRES_CONNECTIONS_MAX: u32 = 64;
/// Time for a connection to PostgreSQL to be made, login included, and for one to become free.
pub const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub const POSTGRES_CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Time for one statement. Reading a table is one statement, and a training set may take an hour.
pub const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_secs(3_600);
pub const POSTGRES_STATEMENT_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Silence after which a connection to PostgreSQL is tested, and time after which one that acknowledges nothing is given
/// up, so that a server that vanished is noticed.
pub const POSTGRES_KEEPALIVE: Duration = Duration::from_secs(30);
pub const POSTGRES_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes of values after which a batch of a PostgreSQL table ends, however few rows it has.
pub const POSTGRES_BATCH_BYTES: usize = 16 << 20;
/// Bytes of rows that are sent to PostgreSQL in one piece: about 50 µs of encoding between two waits.
pub const POSTGRES_SEND_BYTES: usize = 64 << 10;
/// Bytes of the values of one condition that is sent to PostgreSQL: about 100,000 keys. A longer one is checked here.
pub const POSTGRES_CONDITION_BYTES_MAX: usize = 2 << 20;
/// Attempts of one write to PostgreSQL that lost its connection or a race with another writer.
pub const POSTGRES_WRITE_ATTEMPTS_MAX: u32 = 3;

// Plugins (docs/plugins.md).

/// Rows in one frame to a plugin.
pub const FRAME_ROWS_MAX: usize = 8_192;
/// Bytes of one frame, either way.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// Bytes of fixed width that batches are cut to: what a plugin touches for such a frame is put back by writing when its
/// instance ends, so that batches on fresh instances take little more than half as long as in frames of 3 MiB.
pub const FRAME_BYTES_GOAL: usize = 128 << 10;
/// Columns of one frame.
pub const FRAME_COLUMNS_MAX: usize = 1_024;
/// Row errors kept of one call; the rest are counted.
pub const ROW_ERRORS_MAX: usize = 64;
/// Bytes of a row error's message.
pub const ROW_ERROR_MESSAGE_BYTES_MAX: usize = 256;
/// Bytes of any string a plugin says of itself.
pub const DESCRIPTOR_STRING_BYTES_MAX: usize = 4 << 10;
/// Bytes of a component.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// Linear memory of one plugin instance.
pub const PLUGIN_MEMORY_BYTES_MAX: usize = 64 << 20;
/// Fuel of one call: a constant part and a part for each row, so that the verdict is the same on every node.
pub const PLUGIN_FUEL_PER_CALL: u64 = 50_000_000;
pub const PLUGIN_FUEL_PER_ROW: u64 = 1_000_000;
/// Wall-clock time of one call in a batch flow; a request's own deadline is usually shorter.
pub const PLUGIN_CALL_TIME_MAX: Duration = Duration::from_secs(2);
/// Calls after which a warm instance is replaced.
pub const PLUGIN_CALLS_PER_INSTANCE_MAX: u32 = 10_000;
/// Instances alive at once, over all plugins.
pub const PLUGIN_INSTANCES_MAX: u32 = 256;
/// Elements of one table of a plugin; Python's need about 6,000, JavaScript's 8,000.
pub const PLUGIN_TABLE_ELEMENTS_MAX: usize = 20_000;
/// Memory that a warm instance may gain before it is replaced: a frame each way and what is computed from them.
pub const PLUGIN_MEMORY_GROWTH_BYTES_MAX: usize = 32 << 20;
/// A plugin that starts with no more memory than this gets a fresh instance for each call.
pub const PLUGIN_FRESH_MEMORY_BYTES_MAX: usize = 2 << 20;
/// Bytes of all parameters of one transform: room for a look-up table, not for a model.
pub const PLUGIN_PARAMETER_BYTES_MAX: usize = 1 << 20;
/// One in so many calls of warm instances is run again on a fresh one, to see whether the plugin remembers.
pub const PLUGIN_COMPARE_ONE_IN: u32 = 10_000;

// The wires (docs/operations.md).

/// Connections at once, on each listener.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Time for a client to send its request's head.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers of one request.
pub const HEADERS_MAX: usize = 100;
/// Bytes of all headers of one request.
pub const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Streams at once on one HTTP/2 connection.
pub const HTTP2_STREAMS_MAX: u32 = 128;
/// Streams that a client may reset before they are accepted.
pub const HTTP2_PENDING_RESET_STREAMS_MAX: usize = 20;
/// Streams that we reset on a client's errors before the connection is closed.
pub const HTTP2_LOCAL_ERROR_RESET_STREAMS_MAX: usize = 256;
/// Silence after which an HTTP/2 connection is pinged, and how long the answer may take.
pub const HTTP2_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
pub const HTTP2_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of a JSON body.
pub const JSON_BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of a JSON body that is decoded on the async thread itself: about 0.2 ms, less than a move to another thread
/// and back costs under load.
pub const JSON_INLINE_BYTES_MAX: usize = 64 << 10;
/// Cells of an answer that is encoded on the async thread itself, for the same reason.
pub const ENCODE_INLINE_CELLS_MAX: usize = 8_192;
/// Bytes of one Flight message. gRPC's own default of 4 MiB breaks ordinary frames.
pub const FLIGHT_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes of all messages of one Flight upload.
pub const FLIGHT_STREAM_BYTES_MAX: usize = 1 << 30;
/// Time between two messages of a Flight upload.
pub const FLIGHT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Batches of one `DoExchange` that are being answered at once; the next one waits in the client's window.
pub const EXCHANGE_IN_FLIGHT_MAX: usize = 4;
/// Bytes that one Arrow IPC message may claim, uncompressed.
pub const ARROW_MESSAGE_BYTES_MAX: u64 = 64 << 20;
/// Nesting, columns and dictionaries of an Arrow schema from outside.
pub const ARROW_NESTING_MAX: usize = 32;
pub const ARROW_COLUMNS_MAX: usize = 4_096;
pub const ARROW_DICTIONARIES_MAX: usize = 1_000;
/// Bytes of the header of one Arrow IPC message: 4,096 columns with what pandas says of them are about 2 MiB.
pub const ARROW_HEADER_BYTES_MAX: usize = 4 << 20;
/// Bytes of all names and metadata of one Arrow schema; flatbuffers may share one long text between many columns.
pub const ARROW_SCHEMA_TEXT_BYTES_MAX: usize = 4 << 20;
/// Bytes of one message of an answer to a Flight client; a longer answer is cut into several batches.
pub const FLIGHT_ANSWER_BYTES: usize = 8 << 20;
/// Bytes of an answer from which on it is encoded beside the threads that wait for sockets.
pub const FLIGHT_ENCODE_INLINE_BYTES_MAX: usize = 1 << 20;
/// Time beyond which no caller's own deadline reaches.
pub const CALLER_DEADLINE_MAX: Duration = Duration::from_secs(3_600);
/// Bytes of all label frames that are being uploaded or wait to be fetched.
pub const UPLOADS_BYTES_MAX: u64 = 2 << 30;
/// Training sets uploaded and not yet fetched, and how long they are kept.
pub const UPLOADS_MAX: usize = 64;
pub const UPLOAD_KEPT: Duration = Duration::from_secs(300);
/// Time that running requests get to end after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

// Stores.

/// Bytes of one stored row. Rows are read into memory whole, thousands at a time.
pub const STORED_ROW_BYTES_MAX: usize = 16 << 20;
/// Bytes of all rows that one question finds in one view. Half of what Arrow can count within a column.
pub const STORED_READ_BYTES_MAX: usize = 1 << 30;
/// Keys that the embedded store looks up on the caller's thread: about 0.5 ms from the page cache, which is where a
/// thread of its own begins to pay.
pub const EMBEDDED_INLINE_KEYS_MAX: usize = 256;
/// Rows of one view that statistics look into: a share of 1 in 100 is then known to within 0.2 in 100.
pub const STATISTICS_ROWS_MAX: u64 = 10_000;
/// Memory in which the embedded store keeps pages.
pub const EMBEDDED_CACHE_BYTES: usize = 256 << 20;
/// Time for a connection to Redis to be made, login included.
pub const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for Redis to answer what was sent at once. A server that is silent for longer is taken for gone, and the
/// connection is replaced; the largest answers that requests may ask for come within a fraction of it.
pub const REDIS_RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest of either that a project may configure.
pub const REDIS_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Connections of one gateway to one node. More than cores do not help, and Redis serves 10,000 in all.
pub const REDIS_CONNECTIONS_MAX: u32 = 128;
/// Bytes of the prefix of all keys, which every stored row pays for.
pub const REDIS_PREFIX_BYTES_MAX: usize = 64;
/// Bytes of a file with a password.
pub const PASSWORD_FILE_BYTES_MAX: usize = 4 << 10;
/// Bytes of commands sent to one node before their answers are awaited, so that a large write neither holds up the
/// reads behind it for long nor looks like a server that is silent.
pub const REDIS_ROUND_BYTES: usize = 1 << 20;
/// Rows, and bytes after which no more rows join, of one call of a script in Redis: a few milliseconds in which the
/// server answers no one else.
pub const REDIS_SCRIPT_ROWS: usize = 512;
pub const REDIS_SCRIPT_BYTES: usize = 256 << 10;
/// Requests that wait to be written to one connection to Redis.
pub const REDIS_QUEUE_MAX: usize = 1_024;
/// Times that one command is sent on to another node, or sent again after its connection broke.
pub const REDIS_SENT_AGAIN_MAX: u32 = 8;
/// Keys that one SCAN looks at: about 0.2 ms in which Redis answers nobody else.
pub const REDIS_SCAN_COUNT: usize = 1_000;
/// Between two looks whether the connections that hear of changes are still those of all primaries.
pub const REDIS_WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Time to open the online store: to connect, and to see that it is ours.
pub const ONLINE_OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Nodes of a cluster that are asked at once where the slots are; the first answer is enough.
pub const REDIS_NODES_ASKED_AT_ONCE: usize = 3;
/// Pause after a failed attempt to connect or to find the servers, or before a command for a key on the move is sent
/// again: the first, and what it doubles to. Requests that need the connection fail at once within it.
pub const REDIS_RECONNECT_PAUSE: Duration = Duration::from_millis(20);
pub const REDIS_RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Bytes of a kept row that count as one of `rows` of the hot cache; a longer one counts as several. 100,000 rows are
/// 400 MiB at most.
pub const HOT_CACHE_ROW_BYTES: usize = 4 << 10;
/// Rows of a view that the hot cache keeps, and how long, where the project does not say.
pub const HOT_CACHE_ROWS: u64 = 100_000;
pub const HOT_CACHE_AGE: Duration = Duration::from_secs(1);
/// The most rows that the hot cache may keep of one view: 4 GiB with the longest rows.
pub const HOT_CACHE_ROWS_MAX: u64 = 1 << 20;
/// The longest time that a row may be kept where nothing tells of changes. Who can wait longer does not need this.
pub const HOT_CACHE_AGE_MAX: Duration = Duration::from_secs(60);
/// Locks of the hot cache for each view. A change of one key keeps out rows of the same lock that are being read just
/// then: with 10,000 changes a second and reads of 1 ms, one row in a hundred.
pub const HOT_CACHE_STRIPES: usize = 1_024;
/// Rows of one write whose keys are forgotten one by one, twice 1 ms; for a larger one the view is forgotten.
pub const HOT_CACHE_WRITE_KEYS_MAX: usize = 4_096;
/// Calls of one backend at once: enough to keep one Redis busy from one gateway, and few enough that a backend that
/// stands still holds on to no more than this.
pub const BACKEND_CALLS_MAX: usize = 512;
/// Calls that wait for one of these; the next one is refused.
pub const BACKEND_QUEUE_MAX: usize = 1_024;
/// Time that one attempt may take: a part for each call, within which a backend that is well has answered many times
/// over, and a part for each key or row, so that a large batch is not taken for a hang.
pub const BACKEND_READ_TIME: Duration = Duration::from_millis(500);
pub const BACKEND_READ_TIME_PER_KEY: Duration = Duration::from_micros(250);
pub const BACKEND_WRITE_TIME: Duration = Duration::from_secs(1);
pub const BACKEND_WRITE_TIME_PER_ROW: Duration = Duration::from_millis(1);
/// An attempt that was given less than one part in so many of that time and is late says nothing of the backend: its
/// caller was in a hurry.
pub const BACKEND_HURRY_SHARE: u32 = 10;
/// Attempts of one call, the first one included, and the time without which another one is not worth it.
pub const BACKEND_ATTEMPTS_MAX: u32 = 2;
pub const BACKEND_RETRY_TIME_MIN: Duration = Duration::from_millis(5);
/// Second attempts: this share of the calls and this many a second, so that a backend that fails every call gets a
/// fifth more of them and not twice as many.
pub const BACKEND_RETRIES_PERCENT: u64 = 20;
pub const BACKEND_RETRIES_PER_SECOND: u64 = 10;
/// Failures in a row at which calls to a backend stop.
pub const BREAKER_FAILURES_IN_A_ROW: u32 = 5;
/// Or this share of the calls of the last second, if there were so many: a backend that fails every other call.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(1);
pub const BREAKER_FAILURES_PERCENT: u64 = 50;
pub const BREAKER_WINDOW_CALLS_MIN: u64 = 20;
/// While calls are stopped, one goes through in this time, to see whether the backend is back.
pub const BREAKER_PROBE_EVERY: Duration = Duration::from_secs(1);
/// Pages of keys of one server whose rows are copied to another layout at once: while one is written the next ones are
/// read, and no more than these are in memory.
pub const REDIS_COPY_PAGES: usize = 3;
/// Servers of a cluster that are copied from at once.
pub const REDIS_COPY_SERVERS: usize = 4;
/// Rows of one view that a copy reads at once; fewer where rows are long, so that they take about so many bytes. The
/// first time it reads few, because it does not know yet how long they are.
pub const REDIS_COPY_ROWS_MAX: usize = 4_096;
pub const REDIS_COPY_ROWS_FIRST: usize = 128;
pub const REDIS_COPY_BYTES: usize = 8 << 20;
/// Time for each step of a copy: a page of keys, or the rows of one.
pub const REDIS_COPY_DEADLINE: Duration = Duration::from_secs(60);
/// Times that a copy looks again at servers that were restarted, or whose slots moved, since it was there.
pub const REDIS_COPY_ROUNDS_MAX: usize = 16;
/// Parts into which the keys of the packed layout are cut, each with watermarks of its own. Enough to spread over the
/// nodes of a large cluster; few enough that asking all of them for their progress takes one round trip of 20 kB. Keys
/// are made of it, so it can never change.
pub const REDIS_BUCKETS: usize = 256;
/// Rows and bytes of one script call. Redis answers no one else meanwhile: about 1 ms.
pub const REDIS_CALL_ROWS_MAX: usize = 500;
pub const REDIS_CALL_BYTES: usize = 1 << 20;
/// Script calls, and bytes of them, that are prepared and sent before the next ones.
pub const REDIS_CALLS_AT_ONCE: usize = 256;
pub const REDIS_WINDOW_BYTES: usize = 8 << 20;
/// Rows that are encoded for Redis on the async thread itself: about 0.5 ms for rows of 50 features.
pub const REDIS_INLINE_ROWS_MAX: usize = 512;
/// How long a tombstone in Redis keeps older rows away where rows expire: late rows come within days.
pub const REDIS_TOMBSTONES_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The longest time after which a row in Redis expires, 100 years; Redis counts up to 2^63 ms since 1970.
pub const REDIS_EXPIRY_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3_600);
/// Time to wait for another process that is writing to the registry; a write there takes milliseconds.
pub const REGISTRY_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to the registry. It is asked at `apply`, at start and around a sync, never by a request.
pub const REGISTRY_CONNECTIONS_MAX: u32 = 4;
/// Runs of sync that the registry remembers of each view.
pub const SYNC_RUNS_KEPT: u32 = 1_000;

// Statistics and expectations.

/// Numbers of a column of which statistics keep every one, 512 KiB; beyond, quantiles are estimated.
pub const STATISTICS_EXACT_VALUES: usize = 65_536;
/// Numbers on each rung of that estimate above the lowest: ranks are then within 0.5 % after 10⁹ rows, and mostly ten
/// times nearer.
pub const STATISTICS_RUNG_VALUES: usize = 4_096;
/// Values of a column that are counted by themselves; of more, the frequent ones are found.
pub const STATISTICS_COUNTED_VALUES: usize = 1_024;
/// Frequent values, bins of a histogram, and characters of a long value that are shown.
pub const STATISTICS_TOP_VALUES: usize = 10;
pub const STATISTICS_BINS: usize = 20;
pub const STATISTICS_TEXT_CHARACTERS: usize = 128;
/// Columns of one question for statistics; each takes up to 2 MiB, so all of them half a GiB.
pub const STATISTICS_COLUMNS_MAX: usize = 256;
/// Questions for statistics of a history that one gateway answers at once: each keeps a processor busy for as long as
/// it takes to read the history.
pub const STATISTICS_AT_ONCE: usize = 2;
/// Time for one such question over HTTP or Flight.
pub const HISTORY_STATISTICS_DEADLINE: Duration = Duration::from_secs(600);
/// Expectations of one feature view.
pub const EXPECTATIONS_MAX: usize = 1_000;
/// Values of one `in_set`.
pub const EXPECTATION_SET_MAX: usize = 10_000;
/// Rows that an expectation shows as examples of what it found.
pub const EXPECTATION_EXAMPLES: usize = 3;
/// Values that `unique` can tell apart in one run, 75 MiB of hashes; of more, it says that it cannot know.
pub const UNIQUE_VALUES_MAX: usize = 4_000_000;
/// Rows of one file of quarantined rows.
pub const QUARANTINE_BATCH_ROWS: usize = 65_536;

// Definitions.

/// Bytes of one definition file.
pub const DEFINITION_FILE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a name of an entity, view, feature or service.
pub const NAME_BYTES_MAX: usize = 128;

/// Deprecated things that one answer names. At most some 600 bytes each: together they fit the headers that every client
/// takes.
pub const NOTICES_MAX: usize = 12;
/// Nesting of one definition file. Ours need 5; a bound keeps a hostile file from using up the stack.
pub const DEFINITION_NESTING_MAX: usize = 64;
/// Values that all anchors and aliases of one definition file may stand for together, so that a few lines cannot
/// unfold into gigabytes.
pub const DEFINITION_ALIAS_NODES_MAX: usize = 100_000;
/// Definition files of one project.
pub const DEFINITION_FILES_MAX: usize = 1_000;
/// Mistakes that are printed; the rest are counted.
pub const MISTAKES_SHOWN_MAX: usize = 100;
/// Derived views that read one another in a chain.
pub const DERIVED_DEPTH_MAX: usize = 32;
/// The longest deadline that a project may configure for a serving request.
pub const SERVE_DEADLINE_MAX: Duration = Duration::from_secs(60);
