//! Two processes of one node at once: its disk was cloned, and both copies run.
//!
//! Both have one certificate, one node id and one disk id; only the boot generation differs. The twin runs on an
//! address of its own, so peers, who dial the roster's address, never dial it; it dials them, and clients may come to
//! it. A peer lets in one process of a node only, whichever came first (`server::members`):
//!
//! ```text
//!   n2  ----- connected ----->  n1        n2' --x refused--> n1
//!   n2  --x (cut, resting) --x  n3        n2' -- let in ---> n3      n2 is refused there when it comes back
//! ```
//!
//! So a quorum may hold a copy on either disk under one name. Whichever process ends, what only its disk held is gone:
//! it counts as a damaged owner, and is inflicted where one more may be. What must hold wherever who was let in: no dot
//! has two values, siblings are exact, what W *other* owners confirmed is kept and read, and all converge once one is
//! gone.
//!
//! *Caveats.* What must hold without the twin, and cannot with it: a copy under the shared name is on one of two disks,
//! so it says nothing about the answers of the other. For items of such a node the checkers count the other owners'
//! copies only, and expect neither monotonic reads nor few siblings.

use super::Event;
use super::nemesis::Undo;
use super::network::Route;
use super::node::Node;
use super::world::World;

const MS: u64 = 1_000_000;

impl World {
    /// The place of the twin: behind all nodes, while there is one.
    pub(super) fn twin_place(&self) -> u16 {
        self.options.nodes
    }

    /// Which node a process is: a twin is the one whose disk it has.
    pub(super) fn identity(&self, number: u16) -> u16 {
        self.twin_of.filter(|_| number == self.twin_place()).unwrap_or(number)
    }

    /// Clones a node's disk, and starts a second process on the copy.
    pub(super) fn begin_twin(&mut self, of: u16, lasts: u64) {
        if self.twin_of.is_some() || !self.may_damage(of) {
            return;
        }
        let place = self.twin_place();
        let keep = self.nemesis.chance(500_000);
        self.log(|| format!("n{} is the second process of n{}, on a copy of its disk", place + 1, of + 1));
        let original = &mut self.nodes[usize::from(of)];
        original.damaged = true;
        original.split = true;
        let (view, image, unverified) = (original.view.clone(), original.disk.committed_image(), original.unverified);
        let shards = u16::try_from(original.seats.len()).expect("at most 4 shards");
        let mut twin = Node::new(view, shards, &mut self.nemesis, self.options.nemesis.wall_ms_max);
        drop(twin.disk.replace(image));
        twin.unverified = unverified;
        twin.damaged = true;
        twin.split = true;
        twin.rotten = original.rotten;
        twin.life = self.twin_lives;
        self.nodes.push(twin);
        self.twin_of = Some(of);
        self.tally.twins += 1;
        self.oracle.items.iter_mut().filter(|item| item.owners.contains(&of)).for_each(|item| item.modifiers = None);
        self.start(place);
        self.heap.push(self.now + lasts, Event::Undo(Undo::Twin { keep }));
    }

    /// One of the two processes ends for good. With `keep` it is the original: the node goes on with the copy.
    pub(super) fn end_twin(&mut self, keep: bool) {
        let Some(of) = self.twin_of else { return };
        let place = self.twin_place();
        self.stop(place, "one process of the node is enough");
        let twin = self.nodes.pop().expect("the twin is the last of the nodes while there is one");
        self.twin_lives = twin.life + 1;
        self.twin_of = None;
        if !keep {
            return;
        }
        self.stop(of, "its second process takes its place");
        let original = &mut self.nodes[usize::from(of)];
        drop(original.disk.replace(twin.disk.committed_image()));
        original.unverified |= twin.unverified;
        original.rotten |= twin.rotten;
        self.heap.push(self.now + MS, Event::Start { node: of });
    }

    /// Whether a peer lets a process in, as `server::members` decides: not while another one of its node is connected.
    pub(super) fn lets_in(&mut self, route: Route) -> bool {
        let Some(of) = self.twin_of else { return true };
        let Route { asker, answerer, .. } = route;
        let place = self.twin_place();
        let other = match asker {
            _ if asker == place => of,
            _ if asker == of => place,
            _ => return true,
        };
        // A node's own certificate from outside is always refused.
        let connected = Route::both(other, answerer).into_iter().any(|route| self.network.link(route).alive);
        let refused = self.identity(asker) == answerer || connected;
        let count = if refused { &mut self.tally.twins_refused } else { &mut self.tally.twins_let_in };
        *count += u64::from(asker == place);
        if refused {
            let after = self.network.delay(100 * MS, 500 * MS);
            self.heap.push(self.now + after, Event::LinkTry { route });
        }
        !refused
    }

    /// Where a client's request for a node arrives: at either process, when there are two.
    pub(super) fn door(&mut self, node: u16) -> u16 {
        match self.twin_of {
            Some(of) if of == node && self.crowd.draw.chance(400_000) => self.twin_place(),
            _ => node,
        }
    }

    /// Whether a copy under the name of one of the item's owners may be on either of two disks.
    pub(super) fn has_split_owner(&self, item: usize) -> bool {
        self.oracle.items[item].owners.iter().any(|owner| self.nodes[usize::from(*owner)].split)
    }
}
