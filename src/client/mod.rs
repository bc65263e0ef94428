//! The async Rust client.
//!
//! ```no_run
//! use quorate::client::{Client, ClientOptions};
//! use quorate::pki::Credentials;
//! use quorate::protocol::types::Address;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // `quorate dev` leaves these files and addresses in ./.quorate/client.toml.
//! let credentials = Credentials::load("client.crt".as_ref(), "client.key".as_ref(), "ca.crt".as_ref())?;
//! let client = Client::connect(ClientOptions::new(vec!["127.0.0.1:7400".parse()?], credentials)).await?;
//!
//! let cart = Address::new("carts".into(), "alice".into(), "".into())?;
//! client.put(cart.clone(), "bread").send().await?;
//!
//! // Read, change, write: the context says what the new value replaces.
//! let read = client.get(cart.clone()).r(2).strict().send().await?;
//! let merged: Vec<u8> = read.values.iter().flat_map(|value| value.bytes.to_vec()).chain(*b", milk").collect();
//! let written = client.put(cart.clone(), merged).context(&read.context).w(2).send().await?;
//! println!("stored on {} nodes as {}", written.stored.copies.len(), written.dot);
//!
//! client.delete(cart).context(&written.context).send().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does for you
//!
//! It learns roster and layout from the first node that answers, sends each request to an owner of its key, straight to
//! the port of the shard that has the partition, and learns the layout anew when a node says that it is behind. Frames
//! of many requests share packets; a request costs no task and no channel. It makes and checks the end-to-end
//! checksums. It retries what may be retried, at another owner and with the same write id, until the request's timeout
//! is over. A node that sends nothing at all, not even acknowledgements, is passed over after 150 ms; and when no owner
//! can be reached, any other node is asked, which passes the request on or stands in.
//!
//! ```text
//!   Get, Put --> errand --pick--> map: partition -> owners -> node -> line --frame--> shard
//!                   ^                                                   |
//!                   +------------------- answer to its place <----------+
//! ```
//!
//! # What you have to know
//!
//! - A read may have several values: siblings, written concurrently. Merge them as your data wants it, and write the
//!   result with the read's context. A table can be made last-writer-wins instead.
//! - [`ClientError::Unanswered`] and a refusal with `QuorumNotMet` do not mean that a write has not happened. Send it
//!   again with the same write id ([`Put::write_id`]); it is the same write then, and never doubles.
//! - [`Context`] is a token for one item. Keep it next to the value that it came with.
//!
//! | module | noun |
//! |---|---|
//! | `handle` | the client itself, the view and its refreshing |
//! | `request` | Get and Put, put together step by step |
//! | `errand`, `attempts` | one request's way through attempts, and those in flight |
//! | `map` | view, layout and nodes; whom to ask |
//! | `node`, `line`, `call` | a node's ports; a link; the requests on it |
//! | `hearing` | whether packets come on a line at all |
//! | `scan` | listing addresses |
//! | [`inspect`] | what each node itself holds of an item |
//! | `control` | administration of one node |

mod attempts;
mod call;
mod control;
mod dialer;
mod errand;
mod error;
mod handle;
mod hearing;
pub mod inspect;
mod line;
mod map;
mod node;
mod options;
mod request;
mod scan;
mod versions;

pub use control::Control;
pub use error::ClientError;
pub use handle::Client;
pub use options::{CONNECT_TIMEOUT, ClientOptions, Quorums, REQUEST_TIMEOUT, Timeouts};
pub use request::{Get, Put};
pub use scan::Scan;
pub use versions::{Context, Value, Versions, Written};

#[cfg(test)]
pub(crate) mod tests;
