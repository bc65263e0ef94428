//! One unit of an import, carried to the cluster.

use super::Existing;
use super::source::Unit;
use crate::client::{Client, ClientError, Context};

/// Versions by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stored {
    /// Written now.
    pub(super) written: u64,
    /// The item was there, and `--existing skip`.
    pub(super) skipped: u64,
    /// An earlier run had written them.
    pub(super) already: u64,
}

impl Stored {
    pub(super) const fn add(&mut self, other: Self) {
        self.written += other.written;
        self.skipped += other.skipped;
        self.already += other.already;
    }
}

/// Stores a unit. Whatever happened in an earlier run, and however often this one is repeated, each version of the unit
/// is there once: those that are there are known by their write ids.
pub(super) async fn store(client: &Client, existing: Existing, unit: Unit) -> Result<Stored, ClientError> {
    let mut done = Stored::default();
    let context = match existing {
        // A write with the id of one that happened is that write, says the cluster; nothing has to be read.
        Existing::Add => Context::none(),
        Existing::Replace | Existing::Skip => {
            let read = client.get(unit.address().clone()).send().await?;
            let is_ours = |id| read.values.iter().any(|value| value.write_id == id);
            done.already = unit.versions.iter().filter(|(id, _)| is_ours(*id)).count() as u64;
            if done.already == 0 && existing == Existing::Skip && !read.is_absent() {
                done.skipped = unit.versions.len() as u64;
                return Ok(done);
            }
            if done.already > 0 {
                // The rest goes beside those that are there, not in their place.
                return put_all(client, unit.clone(), &Context::none(), done, is_ours).await;
            }
            read.context
        }
    };
    // Siblings all have the same context, so none replaces the other.
    put_all(client, unit, &context, done, |_| false).await
}

async fn put_all(
    client: &Client,
    unit: Unit,
    context: &Context,
    mut done: Stored,
    is_there: impl Fn(crate::protocol::types::WriteId) -> bool,
) -> Result<Stored, ClientError> {
    let address = unit.address().clone();
    for (id, value) in unit.versions.into_iter().filter(|(id, _)| !is_there(*id)) {
        client.put(address.clone(), value).context(context).write_id(id).send().await?;
        done.written += 1;
    }
    Ok(done)
}
