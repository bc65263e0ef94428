//! The nemesis: breaks something from time to time, and mends it later.
//!
//! What costs data is bounded by what the program promises: of each partition's owners at most
//! `Options::damaged_owners_max` may lose what they held. Everything else may happen to everybody at once.

use super::Event;
use super::network::Route;
use super::node::SeatId;
use super::options::Fault;
use super::world::{Phase, World};
use crate::protocol::shard::{Room, Space};
use crate::protocol::types::Durability;

/// How a fault is mended.
#[derive(Debug, Clone)]
pub(super) enum Undo {
    /// These directions are cut no longer.
    Cuts(Vec<(u16, u16)>),
    Clog(u16, u16),
    Slow(u16),
    ReadErrors(u16),
    DiskFull(u16),
    SlowDisk(u16),
    /// One of two processes of a node ends; with `keep` the one that was there first.
    Twin {
        keep: bool,
    },
}

const MS: u64 = 1_000_000;

impl World {
    /// Breaks one thing, and comes again.
    pub(super) fn strike(&mut self) {
        if self.phase != Phase::Load {
            return;
        }
        let options = &self.options.nemesis;
        let (every, duration) = (options.every_ms, options.duration_ms_max);
        if options.kinds.is_empty() {
            return;
        }
        self.check_hint_stocks();
        let kind = self.nemesis.pick(&self.options.nemesis.kinds);
        let number = u16::try_from(self.nemesis.below(u64::from(self.options.nodes))).expect("at most 50");
        let lasts = self.nemesis.between(1, duration) * MS;
        self.inflict(kind, number, lasts);
        let next = self.nemesis.between(1, every * 2) * MS;
        self.heap.push(self.now + next, Event::Strike);
    }

    fn inflict(&mut self, kind: Fault, number: u16, lasts: u64) {
        let at = usize::from(number);
        let other = u16::try_from(self.nemesis.below(u64::from(self.options.nodes))).expect("at most 50");
        self.log(|| format!("nemesis: {kind:?} at n{} (n{}) for {} ms", number + 1, other + 1, lasts / MS));
        match kind {
            Fault::Partition => self.partition(lasts),
            Fault::OneWayCut if other != number => self.cut_for(vec![(number, other)], lasts),
            Fault::Clog if other != number => {
                let by = self.nemesis.between(1, 2_000) * MS;
                self.network.clog(number, other, by);
                self.undo(lasts, Undo::Clog(number, other));
            }
            Fault::Reset if other != number => {
                // One of the two, or both.
                let which = self.nemesis.between(1, 3);
                for (bit, route) in [1, 2].into_iter().zip(Route::both(number, other)) {
                    if which & bit > 0 {
                        self.break_link(route, MS);
                    }
                }
            }
            Fault::OneWayCut | Fault::Clog | Fault::Reset => {}
            Fault::Crash => {
                if self.cleanly.chance(500_000) {
                    self.leave_trees(number);
                }
                self.stop(number, "killed");
                self.heap.push(self.now + lasts, Event::Start { node: number });
            }
            Fault::PowerLoss => self.lose_power(number, lasts),
            Fault::PowerLossOfAll => (0..self.options.nodes).for_each(|number| self.lose_power(number, lasts)),
            Fault::Pause => self.nodes[at].paused_until = self.now + lasts,
            Fault::Slow => {
                self.nodes[at].slowness = self.nemesis.between(2, 200);
                self.undo(lasts, Undo::Slow(number));
            }
            Fault::LoseDisk => {
                self.change_disk(number, lasts, |disk| drop(disk.replace(super::disk::Image::default())));
            }
            Fault::RestoreBackup => {
                if self.nodes[at].disk.backup.is_none() {
                    let image = self.nodes[at].disk.image();
                    self.nodes[at].disk.backup = Some(image);
                    return;
                }
                self.change_disk(number, lasts, |disk| {
                    let backup = disk.backup.take().unwrap_or_default();
                    drop(disk.replace(backup));
                });
            }
            Fault::CloneDisk => self.change_disk(number, lasts, |disk| {
                let copy = disk.shelf.take().unwrap_or_else(|| disk.image());
                disk.shelf = Some(disk.replace(copy));
            }),
            Fault::Twin => self.begin_twin(number, lasts),
            Fault::HeaderRot => {
                if self.may_damage(number) {
                    let rotten = self.nodes[at].disk.rot_header(&mut self.disks);
                    self.nodes[at].damaged |= rotten;
                    self.nodes[at].rotten |= rotten;
                }
            }
            Fault::BitRot => {
                if self.may_damage(number) {
                    let broken = self.options.mutation;
                    let rotten = self.nodes[at].disk.rot(&mut self.disks, broken);
                    self.nodes[at].damaged |= rotten.is_some();
                    self.nodes[at].rotten |= rotten.is_some();
                }
            }
            Fault::ReadErrors => {
                self.nodes[at].disk.read_errors = self.nemesis.pick(&[10_000, 200_000, 1_000_000]);
                self.undo(lasts, Undo::ReadErrors(number));
            }
            Fault::SyncError => {
                let costs_data = self.options.durability != Durability::Sync;
                if !costs_data || self.may_damage(number) {
                    self.nodes[at].disk.fail_sync = true;
                    self.nodes[at].damaged |= costs_data;
                    self.nodes[at].unverified |= costs_data;
                }
            }
            // Half of them are noticed in time, as the server's watch would: then nothing large is taken in.
            Fault::DiskFull => {
                match lasts / MS % 2 {
                    0 => self.set_room(number, Room::Emergency),
                    _ => self.nodes[at].disk.full = true,
                }
                self.undo(lasts, Undo::DiskFull(number));
            }
            Fault::SlowDisk => {
                self.nodes[at].disk.slowness = self.nemesis.between(2, 100);
                self.undo(lasts, Undo::SlowDisk(number));
            }
            Fault::WallJump => {
                let most = self.options.nemesis.wall_ms_max;
                let by = i64::try_from(self.nemesis.between(0, most)).unwrap_or_default();
                self.nodes[at].wall_offset_ms = by - i64::try_from(most / 2).unwrap_or_default();
            }
        }
    }

    fn undo(&mut self, after: u64, undo: Undo) {
        self.heap.push(self.now + after, Event::Undo(undo));
    }

    /// Mends what was broken for a time.
    pub(super) fn mend(&mut self, undo: Undo) {
        match undo {
            Undo::Cuts(cuts) => cuts.into_iter().for_each(|(from, to)| self.cut(from, to, false)),
            Undo::Clog(from, to) => self.network.clog(from, to, 0),
            Undo::Slow(number) => self.nodes[usize::from(number)].slowness = 1,
            Undo::ReadErrors(number) => self.nodes[usize::from(number)].disk.read_errors = 0,
            Undo::DiskFull(number) => {
                self.nodes[usize::from(number)].disk.full = false;
                self.set_room(number, Room::Plenty);
            }
            Undo::Twin { keep } => self.end_twin(keep),
            Undo::SlowDisk(number) => self.nodes[usize::from(number)].disk.slowness = 1,
        }
    }

    fn set_room(&mut self, number: u16, room: Room) {
        let seats = &mut self.nodes[usize::from(number)].seats;
        for shard in seats.iter_mut().filter_map(|seat| seat.shard.as_mut()) {
            shard.set_room(room, Space { free: 0, reserve: 1 });
        }
    }

    fn partition(&mut self, lasts: u64) {
        let sides: Vec<bool> = (0..self.options.nodes).map(|_| self.nemesis.chance(500_000)).collect();
        let mut cuts = Vec::new();
        for (from, side) in (0_u16..).zip(&sides) {
            let others = (0_u16..).zip(&sides).filter(|(_, other)| *other != side);
            cuts.extend(others.map(|(to, _)| (from, to)));
        }
        self.cut_for(cuts, lasts);
    }

    fn cut_for(&mut self, cuts: Vec<(u16, u16)>, lasts: u64) {
        for (from, to) in &cuts {
            self.cut(*from, *to, true);
        }
        self.undo(lasts, Undo::Cuts(cuts));
    }

    /// Whether a node may lose what it holds without costing more owners of a partition than the promise allows.
    pub(super) fn may_damage(&self, number: u16) -> bool {
        let node = &self.nodes[usize::from(number)];
        if node.damaged {
            return true;
        }
        let most = usize::from(self.options.damaged_owners_max());
        let layout = &node.view.layout;
        layout.owned_by(node.view.me).all(|partition| {
            let owners = layout.owner_indices(partition).iter();
            owners.filter(|owner| self.nodes[usize::from(**owner)].damaged).count() < most
        })
    }

    /// Takes a node down and hands its disk over to be changed; it comes back unverified, as the server would.
    fn change_disk(&mut self, number: u16, lasts: u64, change: impl FnOnce(&mut super::disk::Disk)) {
        if !self.may_damage(number) {
            return;
        }
        self.stop(number, "its disk is changed");
        let node = &mut self.nodes[usize::from(number)];
        node.damaged = true;
        node.unverified = true;
        change(&mut node.disk);
        self.heap.push(self.now + lasts, Event::Start { node: number });
    }

    /// A machine loses its power. Without `sync` it comes back unverified.
    fn lose_power(&mut self, number: u16, lasts: u64) {
        if self.options.durability != Durability::Sync {
            if !self.may_damage(number) {
                return;
            }
            let node = &mut self.nodes[usize::from(number)];
            node.damaged = true;
            node.unverified = true;
        }
        self.stop(number, "power loss");
        self.power_lost(number);
        self.heap.push(self.now + lasts, Event::Start { node: number });
    }

    /// What a disk holds after its machine lost its power.
    pub(super) fn power_lost(&mut self, number: u16) {
        let disk = &mut self.nodes[usize::from(number)].disk;
        let survive = self.disks.index(disk.pending() + 1);
        disk.lose_power(survive);
    }

    /// Mends everything.
    pub(super) fn heal(&mut self) {
        self.log(|| "all faults are mended".to_owned());
        self.network.calm();
        self.end_twin(false);
        for number in 0..self.options.nodes {
            let now = self.now;
            let node = &mut self.nodes[usize::from(number)];
            let clocks = node.clocks(now);
            for seat in &mut node.seats {
                if let Some(shard) = &mut seat.shard {
                    shard.verify(clocks);
                }
            }
            node.paused_until = node.paused_until.min(now);
            node.slowness = 1;
            node.disk.slowness = 1;
            node.disk.full = false;
            node.seats.iter_mut().filter_map(|seat| seat.shard.as_mut()).for_each(|shard| {
                shard.set_room(Room::Plenty, Space::default());
            });
            node.disk.read_errors = 0;
            node.disk.fail_sync = false;
            self.heap.push(self.now + MS, Event::Start { node: number });
            for shard in 0..self.nodes[usize::from(number)].seats.len() {
                self.wake(SeatId { node: number, shard: u16::try_from(shard).expect("at most 4 shards") });
            }
            self.try_links_of(number);
        }
    }

    /// The power of all nodes goes at once, and comes back.
    pub(super) fn lose_all_power(&mut self) {
        self.log(|| "the power of all nodes goes".to_owned());
        for number in 0..self.options.nodes {
            self.lose_power(number, MS);
        }
    }
}
