//! Which nodes own a key: hash -> partition -> N owners (Dynamo 4.2 and 6.2, strategy 3: equal partitions).
//!
//! ```text
//!   key --xxh3--> 64-bit hash --top bits--> partition --layout--> N owners, then fallbacks
//! ```
//!
//! A [`Layout`] is a pure function of roster and parameters ([`plan`]): every receiver computes it again and refuses
//! one that differs, so no node has to be believed about who owns what.

mod hash;
mod layout;
mod plan;
mod preference;
mod roster;

pub use hash::{KeyHash, partition_of};
pub use layout::{Layout, LayoutError, LayoutId, Parameters};
pub use plan::{PlanError, plan};
pub use preference::PreferenceList;
pub use roster::{Member, Roster, RosterError};

#[cfg(test)]
mod tests;
