//! Every bound that a client, a peer or an operator can meet. Each one appears in the error that names it.

/// Longest table name, bytes.
pub const TABLE_BYTES_MAX: usize = 64;
/// Longest key, bytes. Keys are in every index block and every message; a longer name belongs into the value.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest sort key, bytes.
pub const SORT_KEY_BYTES_MAX: usize = 1024;
/// Largest value that a client may put unless the node is configured otherwise, bytes.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 1024 * 1024;
/// Largest value that any configuration allows, bytes.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most versions that client puts may build up in one item.
pub const VERSIONS_MAX: usize = 64;
/// Most value bytes that client puts may build up in one item.
pub const ITEM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// From here on a put is answered, counted and logged as a warning.
pub const VERSIONS_WARN: usize = 16;
/// From here on a vector is counted and logged as a warning.
pub const VECTOR_ENTRIES_WARN: usize = 64;
/// Vectors up to this many entries are left as they are: stripping one costs every owner a write.
pub const VECTOR_ENTRIES_KEPT: usize = 6;
/// Sanity bound of a vector that a peer or a disk presents. Never reached by rule 13's stripping; a hostile peer only.
pub const VECTOR_ENTRIES_MAX: usize = 4096;
/// Sanity bound of the versions of an item that a peer or a disk presents: merges of siblings may pass `VERSIONS_MAX`.
pub const MERGED_VERSIONS_MAX: usize = 4096;
/// Largest frame, bytes: an item at its limit, merged from several replicas, plus headers. Checked before allocating.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest frame from a client: one value at the hard limit, its address and a context at the vector's bound.
pub const CLIENT_FRAME_BYTES_MAX: usize = VALUE_BYTES_MAX + 128 * 1024;
/// Largest control frame (hello, roster, layout, status), bytes: 65,536 partitions with 5 owners and a roster of
/// 1,000 nodes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest number of replicas of a partition.
pub const REPLICAS_MAX: usize = 7;
/// Largest number of partitions: a partition id is a u16.
pub const PARTITIONS_MAX: usize = 65_536;
/// Largest number of nodes in a roster.
pub const NODES_MAX: usize = 4096;
/// Values above this many bytes travel on the bulk lane, so that they do not delay small requests.
pub const BULK_FRAME_BYTES: usize = 64 * 1024;
/// Longest time that a request may ask for, milliseconds.
pub const BUDGET_MS_MAX: u32 = 60_000;
/// How far ahead of the local wall clock a hybrid timestamp may be before a last-writer-wins put is refused.
pub const HLC_AHEAD_MAX: std::time::Duration = std::time::Duration::from_secs(300);

const _: () = assert!(VALUE_BYTES_MAX_DEFAULT <= VALUE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX < ITEM_BYTES_MAX);
const _: () = assert!(ITEM_BYTES_MAX * 2 < FRAME_BYTES_MAX);
const _: () = assert!(VERSIONS_WARN < VERSIONS_MAX);
const _: () = assert!(VECTOR_ENTRIES_KEPT < VECTOR_ENTRIES_WARN);
const _: () = assert!(VECTOR_ENTRIES_MAX * 16 < 128 * 1024 - KEY_BYTES_MAX - SORT_KEY_BYTES_MAX);
