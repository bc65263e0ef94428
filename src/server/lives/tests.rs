//! Tests of `server::lives`.

use super::*;
use crate::protocol::types::Durability;
use crate::storage::{Store, StoreOptions};

const NODE: NodeId = NodeId::new(1);
const DISK: DiskId = DiskId::new(10);

/// A store with nothing in it, for the records.
struct Home {
    store: Store,
    _directory: tempfile::TempDir,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions {
        path: directory.path().to_owned(),
        block_cache_bytes: 1 << 20,
        item_cache_bytes: 1 << 20,
        write_buffer_bytes: 1 << 20,
        durability: Durability::Os,
        interval: Duration::from_millis(100),
        read_threads: 1,
    });
    Home { store: store.unwrap(), _directory: directory }
}

/// A member that remembers, and what it says to a vouch.
struct Member {
    home: Home,
    lives: Lives,
}

fn member() -> Member {
    let home = home();
    let lives = Lives::begin(home.store.meta(), DiskId::new(20), 1).unwrap();
    Member { home, lives }
}

impl Member {
    fn says(&mut self, vouch: Vouch) -> Vouched {
        self.lives.remember(self.home.store.meta(), NODE, &vouch).unwrap()
    }

    fn restart(&mut self) {
        self.lives = Lives::begin(self.home.store.meta(), DiskId::new(20), self.lives.now.process + 1).unwrap();
    }
}

/// A directory, as far as its life goes: it can be copied.
#[derive(Clone, Copy)]
struct Directory {
    disk: DiskId,
    life: Life,
    atoned: u64,
}

impl Directory {
    const NEW: Self = Self { disk: DISK, life: Life { epoch: 0, process: 0, count: 0 }, atoned: 0 };

    /// A process starts on it, as [`Lives::begin`] does.
    fn start(&mut self, process: u64) -> Vouch {
        let before = self.life;
        self.life = Life { epoch: before.epoch + 1, process, count: 0 };
        Vouch { disk: self.disk, before, now: self.life, atoned: self.atoned }
    }

    fn renew(&mut self, vouch: &mut Vouch) {
        self.life.count += 1;
        vouch.now = self.life;
    }

    /// As [`Lives::atone`] does.
    fn atone(&mut self, vouch: &mut Vouch, epoch: u64) {
        self.life.epoch = self.life.epoch.max(epoch + 1);
        self.atoned = self.life.epoch;
        (vouch.now, vouch.atoned) = (self.life, self.atoned);
    }
}

#[test]
fn own_life_begins_above_the_one_before_and_survives_restarts() {
    let home = home();
    let first = Lives::begin(home.store.meta(), DISK, 7).unwrap();
    assert_eq!((first.before, first.now), (Life::default(), Life { epoch: 1, process: 7, count: 0 }));
    let mut second = Lives::begin(home.store.meta(), DISK, 8).unwrap();
    assert_eq!((second.before, second.now.epoch), (first.now, 2));
    second.atone(home.store.meta(), 40).unwrap();
    let third = Lives::begin(home.store.meta(), DISK, 9).unwrap();
    assert_eq!((third.before, third.now.epoch, third.atoned), (second.now, 42, 41));
}

#[test]
fn directory_that_goes_on_is_vouched_for_whatever_the_member_has_missed() {
    let (mut member, mut directory) = (member(), Directory::NEW);
    let mut vouch = directory.start(1);
    assert!(member.says(vouch).continues, "the first that is met");
    assert!(member.says(vouch).continues, "a connection was made again");
    for _ in 0..3 {
        directory.renew(&mut vouch);
    }
    assert!(member.says(vouch).continues);
    // It is renewed without this member, and then starts anew, twice, the second time without it.
    directory.renew(&mut vouch);
    assert!(member.says(directory.start(2)).continues);
    directory.start(3);
    member.restart();
    assert!(member.says(directory.start(4)).continues);
}

#[test]
fn older_copy_is_known_by_whoever_remembers_more() {
    // Taken from an earlier start, and from the same process but before its last renewal.
    for starts_between in [0, 1, 3] {
        let (mut member, mut directory) = (member(), Directory::NEW);
        let mut vouch = directory.start(1);
        let copy = directory;
        directory.renew(&mut vouch);
        assert!(member.says(vouch).continues);
        for start in 0..starts_between {
            assert!(member.says(directory.start(10 + start)).continues);
        }
        let mut restored = copy;
        let vouch = restored.start(50);
        assert!(!member.says(vouch).continues, "{starts_between} starts between");
        // An answer that was lost is given again; nothing was forgotten for it.
        assert!(!member.says(vouch).continues, "{starts_between} starts between");
    }
}

#[test]
fn new_disk_is_told_until_it_has_noted_what_it_lacks() {
    let (mut member, mut directory) = (member(), Directory::NEW);
    member.says(directory.start(1));
    let mut new = Directory { disk: DiskId::new(11), ..Directory::NEW };
    assert!(!member.says(new.start(2)).continues);
    // The process ended before it had noted anything: the next one is told too.
    let mut vouch = new.start(3);
    let told = member.says(vouch);
    assert!(!told.continues);
    new.atone(&mut vouch, told.epoch);
    assert!(member.says(vouch).continues);
    assert!(member.says(new.start(4)).continues);
    // The first disk is put back.
    assert!(!member.says(directory.start(5)).continues);
}

#[test]
fn copy_that_has_atoned_once_is_known_when_it_comes_back_older_again() {
    let (mut member, mut directory) = (member(), Directory::NEW);
    let copy = directory;
    for start in 1..5 {
        assert!(member.says(directory.start(start)).continues);
    }
    let mut restored = copy;
    let mut vouch = restored.start(10);
    let told = member.says(vouch);
    restored.atone(&mut vouch, told.epoch);
    assert!(member.says(vouch).continues);
    let second_copy = restored;
    restored.renew(&mut vouch);
    assert!(member.says(vouch).continues);
    let mut restored = second_copy;
    assert!(!member.says(restored.start(11)).continues);
}

#[test]
fn member_that_was_away_believes_a_disk_that_has_atoned_meanwhile() {
    let (mut here, mut away, mut directory) = (member(), member(), Directory::NEW);
    let copy = directory;
    for start in 1..5 {
        let vouch = directory.start(start);
        assert!(here.says(vouch).continues && away.says(vouch).continues);
    }
    let mut restored = copy;
    let mut vouch = restored.start(10);
    let told = here.says(vouch);
    restored.atone(&mut vouch, told.epoch);
    assert!(here.says(vouch).continues);
    assert!(away.says(vouch).continues, "what it remembers is older than what was noted");
}

#[test]
fn two_processes_on_copies_of_one_directory_are_told_apart() {
    let (mut member, mut directory) = (member(), Directory::NEW);
    assert!(member.says(directory.start(1)).continues);
    let mut clone = directory;
    assert!(member.says(directory.start(2)).continues);
    let vouch = clone.start(3);
    assert!(!member.says(vouch).continues, "both are at epoch {}", vouch.now.epoch);
}
