//! Bugs that others met in the field: what their users lost, and the tests that say that ours would not.
//!
//! The rows `1` to `20` are of systems as a whole, `c1` to `c13` of how they keep track of causality. A test is looked
//! for by its name in all of the program's tests (`tests/tidy.rs` compares), so a row cannot promise what is not there.
//!
//! - **1** Riak 2013: last-writer-wins dropped concurrent writes, whatever the quorum. Tests:
//!   `writers_that_race_lose_nothing_unless_their_table_asked_for_last_writer_wins`.
//! - **2** `riak_kv`#679, #1094, #1643: a counter reused after a loss; new writes taken for old. Tests:
//!   `rule_1_a_lost_disk_does_not_repeat_dots`, `restored_backup_does_not_repeat_names`,
//!   `rotten_copy_is_replaced_and_kept_aside_and_its_actor_ends`,
//!   `replica_that_got_a_forgotten_item_back_gives_its_next_write_a_new_name`.
//! - **3** `riak_kv`#1094, a "doomstone": a late hint of a reaped tombstone killed the new value. Tests:
//!   `rule_8_a_late_tombstone_does_not_delete_what_was_created_after_it_was_reaped`,
//!   `rule_8_a_late_frame_does_not_bring_a_reaped_item_back`,
//!   `rule_8_a_hint_that_is_obsolete_at_home_is_settled_there`.
//! - **4** `riak_kv`#847: handoff not retried until a restart; the old hint then overwrote. Tests:
//!   `hint_that_comes_home_late_overwrites_nothing_and_needs_no_restart`.
//! - **5** `riak_core`#349: one partition opened twice. Tests:
//!   `second_open_of_a_directory_is_refused_and_names_the_holder`,
//!   `directory_stays_locked_while_partitions_are_created`.
//! - **6** Cassandra 2013: skewed clocks lost writes; rows torn. Tests:
//!   `wall_clock_decides_nothing_in_a_table_of_siblings`,
//!   `write_after_a_read_wins_in_a_last_writer_wins_table_whatever_the_clocks_say`,
//!   `last_writer_wins_put_over_a_stamp_of_the_far_future_is_refused`, `failed_commit_is_final_for_every_shard`.
//! - **7** Cassandra: a node down for longer than the grace brought deletes back. Tests:
//!   `rule_8_no_time_is_long_enough_to_reap_without_an_owner_that_is_away`.
//! - **8** Scylla (Jepsen 2020): split brain and losses after membership changes. Not yet: membership cannot change.
//! - **9** Scylla #14991: old gossip made a removed node an owner again. Not yet: nobody can be removed; of strangers
//!   see `gossip_about_and_from_unknown_nodes_is_counted_and_ignored`.
//! - **10** Aerospike 3.99 (Jepsen 2018): pauses and skew lost updates; a "failed" write was there. Tests:
//!   `coordinator_that_slept_confirms_nothing_and_drops_nothing`, `rule_7_a_failed_write_says_what_exists`,
//!   `rule_3_a_retry_is_the_same_write`, `sleeper_blames_itself`.
//! - **11** Redis Sentinel 2013: acknowledged writes lost when a leader was replaced. Does not apply: there is no
//!   leader and no failover; any owner coordinates.
//! - **12** NATS 2.12 (Jepsen 2025): acknowledged before fsync; one flipped bit made the others drop data. Tests:
//!   `rule_7_confirmations_wait_for_the_fsync`, `every_acknowledged_write_survives_the_sudden_end_of_all_nodes`,
//!   `rule_5_a_damaged_copy_repairs_nobody`, `rot_of_one_node_is_never_shown_and_is_rebuilt_around_at_its_next_start`.
//! - **13** Garage before 0.10: no read-after-write through a change of layout. Not yet: the layout cannot change.
//! - **14** `RethinkDB` 2.2 (Jepsen 2016): reconfiguration in a partition lost data. Not yet: the layout cannot
//!   change.
//! - **15** memberlist#311: after a mass restart the living stayed dead. Tests: `mass_restart_heals_at_once`,
//!   `forgotten_generation_is_outbid`.
//! - **16** foca#25: two members answered each other's accusations without end. Tests:
//!   `mutual_accusations_end_and_traffic_stays_bounded`.
//! - **17** chitchat#161, quickwit#6653: dead incarnations piled up until the digest burst. Tests:
//!   `ten_thousand_boot_generations_leave_nothing_behind`.
//! - **18** Turso #4899: a crash between log and database, and recovery threw the log away. Tests:
//!   `torn_log_loses_only_its_tail`, `rebuild_that_was_cut_off_goes_on_at_the_next_open`.
//! - **19** CORDS (FAST 2017), eight systems: one damaged block spread by repair. Tests:
//!   `rule_5_a_damaged_copy_repairs_nobody`, `exchange_of_many_damaged_items_ends`,
//!   `rule_5_a_rotten_copy_stays_while_an_owner_cannot_say_what_it_has`,
//!   `damage_is_survived_wherever_in_the_file_it_is`.
//! - **20** fsync (ATC 2020), five systems: a failed fsync was tried again and "succeeded". Tests:
//!   `fsync_error_is_final`, `rule_6_a_failed_commit_confirms_nothing`.
//! - **c1** `riak_kv`#679: a coordinator that lost its disk repeated its names. Tests:
//!   `rule_1_a_lost_disk_does_not_repeat_dots`.
//! - **c2** `riak_kv`#1094, #1040: the "doomstone" of row 3. Tests:
//!   `rule_8_a_late_tombstone_does_not_delete_what_was_created_after_it_was_reaped`.
//! - **c3** `riak_kv`#1643: a replica that got a forgotten item back went on below its own counter. Tests:
//!   `replica_that_got_a_forgotten_item_back_gives_its_next_write_a_new_name`.
//! - **c4** `riak_kv`#1865: two partitions that started in one tick shared an actor. Tests:
//!   `nodes_that_start_at_the_same_moment_draw_different_actors`, `actor_lives_no_longer_than_its_process`,
//!   `same_actor_drawn_twice_is_not_survived`.
//! - **c5** `riak_kv`#1813: tombstones were named anew by each receiver and went round for ever. Tests:
//!   `delete_keeps_its_name_on_every_way_and_comes_to_rest`.
//! - **c6** `riak_kv`#1046, #838: a put that was passed on was coordinated again: a sibling of itself. Tests:
//!   `write_that_is_passed_on_is_named_once`.
//! - **c7** `riak_kv`#1754: a retry after a lost answer doubled the write, or lost it. Tests:
//!   `rule_3_a_retry_is_the_same_write`, `rule_3_a_late_retry_does_not_bring_a_replaced_value_back`,
//!   `rule_3_two_dots_of_one_write_are_shown_once`.
//! - **c8** `riak_kv`#127: a partition that moved away and back went on with a stale counter. Not yet: the layout
//!   cannot change; an actor ends with its process all the same.
//! - **c9** `riak_kv`#1777, #1336, #311, #1850, #330: races of reaping. Tests:
//!   `rule_8_a_write_between_confirmation_and_reaping_stays`, `rule_8_a_round_that_nobody_answered_is_begun_again`,
//!   `rule_8_an_owner_with_an_older_copy_is_brought_up_to_date_first`,
//!   `delete_keeps_its_name_on_every_way_and_comes_to_rest`,
//!   `rule_8_a_deleted_item_is_reaped_with_all_owners_and_its_dots_stay_covered`.
//! - **c10** `riak_kv`#1684: replicas expired at different times, and repair brought it back. Does not apply: nothing
//!   expires.
//! - **c11** Riak, Dynamo 4.4: pruned vectors made old siblings of their own descendants. Tests:
//!   `vector_of_many_actors_is_kept_whole`,
//!   `rule_13_entries_of_ended_actors_are_stripped_with_all_owners_at_once`.
//! - **c12** K2V: identity and counter went back together with a snapshot. Tests:
//!   `restored_backup_does_not_repeat_names`.
//! - **c13** Riak buckets with last-writer-wins: row 1 again. Tests:
//!   `writers_that_race_lose_nothing_unless_their_table_asked_for_last_writer_wins`.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, Disk, address, put_of, table_address, values};
use super::failures::{Place, five, hints, quieten, sloppy};
use crate::protocol::types::{Durability, Strictness, WallTime, WriteId};
use crate::protocol::version::checksum;
use crate::protocol::wire::{FailureCode, Kind, PutRequest, Want};

fn three() -> Cluster {
    Cluster::new(3, 3, Durability::Os)
}

fn none() -> Bytes {
    Bytes::new()
}

/// Turns all wall clocks by so many minutes.
fn turn_clocks(cluster: &mut Cluster, minutes: i64) {
    let millis = i64::try_from(cluster.now.wall.as_millis()).unwrap() + minutes * 60_000;
    cluster.now.wall = WallTime::from_millis(u64::try_from(millis).unwrap());
}

/// Riak 2013 (aphyr 285): 30 to 70 % of the acknowledged writes of racing clients were gone, though every write had
/// asked for all replicas. Here that is a table's own choice.
#[test]
fn writers_that_race_lose_nothing_unless_their_table_asked_for_last_writer_wins() {
    let mut cluster = three();
    let (kept, latest) = (address("k"), table_address("latest", "k"));
    for round in 0..4 {
        let mut asked = Vec::new();
        for at in 0..3_usize {
            let id = 1 + round * 6 + at as u128 * 2;
            for (place, id) in [(&kept, id), (&latest, id + 1)] {
                let put = PutRequest { w: 3, ..put_of(place, id, &format!("v{id}"), &none()) };
                asked.push(cluster.ask_put(at, &put));
            }
        }
        cluster.settle();
        for id in asked {
            assert_eq!(cluster.told_now(id).put().stored.primaries(), 3);
        }
    }
    for at in 0..3 {
        assert_eq!(cluster.get(at, &kept, 3).got().versions.len(), 12, "twelve writers, twelve values");
        assert_eq!(cluster.get(at, &latest, 3).got().versions.len(), 1, "as its table asked");
    }
}

/// `riak_kv`#679 and #1094, and Garage's K2V after a metadata snapshot: the counter went back with the disk, the next
/// write got a name that others had seen, and they dropped the acknowledged write as an old one.
#[test]
fn restored_backup_does_not_repeat_names() {
    for noticed in [true, false] {
        let mut cluster = three();
        let k = address("k");
        cluster.put(0, &put_of(&k, 1, "backed up", &none())).put();
        let backup = cluster.nodes[0].disk.clone();
        let second = cluster.put(0, &put_of(&k, 2, "after the backup", &none())).put();
        cluster.crash(0);
        cluster.nodes[0].disk = backup;
        cluster.boot(0, noticed);
        let third = cluster.put(0, &put_of(&k, 3, "after the restore", &none())).put();
        assert_ne!(second.dot, third.dot);
        let all = values(&cluster.get(1, &k, 2).got());
        assert_eq!(all, ["after the backup", "after the restore", "backed up"], "restore noticed: {noticed}");
    }
}

/// `riak_kv`#1643: a replica lost an item that it had once coordinated, got it back by somebody else's write, and
/// counted on from below what all others had seen: its next acknowledged write was theirs to drop.
#[test]
fn replica_that_got_a_forgotten_item_back_gives_its_next_write_a_new_name() {
    let mut cluster = three();
    let k = address("k");
    let first = cluster.put(0, &put_of(&k, 1, "a", &none())).put();
    cluster.crash(0);
    cluster.nodes[0].disk = Disk::default();
    cluster.boot(0, true);
    cluster.put(1, &put_of(&k, 2, "b", &none())).put();
    assert!(cluster.copy(0, &k).knows(first.dot), "it has its own old write back, and did not ask for it");
    let seen = cluster.get(1, &k, 2).got().token;
    let third = cluster.put(0, &put_of(&k, 3, "c", &seen)).put();
    assert_ne!(first.dot.actor(), third.dot.actor());
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 2).got()), ["c"], "at n{}", at + 1);
    }
}

/// `riak_kv`#847: a fallback that failed once to hand its data off did not try again until it was restarted; months
/// later the old value came home and took the place of what had replaced it.
#[test]
fn hint_that_comes_home_late_overwrites_nothing_and_needs_no_restart() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    let (keeper, home) = (fallbacks[0], owners[2]);
    cluster.crash(home);
    cluster.put(owners[0], &sloppy(&k, 1, "old", &none())).put();
    assert_eq!(cluster.nodes[keeper].disk.hints().len(), 1);
    cluster.lose = Box::new(move |flight| flight.from == keeper && flight.to == home);
    cluster.boot(home, false);
    let seen = cluster.get(owners[0], &k, 2).got().token;
    cluster.put(owners[0], &put_of(&k, 2, "new", &seen)).put();
    for _ in 0..12 {
        cluster.pass(Duration::from_secs(600));
        cluster.settle();
    }
    assert_eq!(hints(&cluster), 1, "hours of failed deliveries lose nothing");
    cluster.lose = Box::new(|_| false);
    for _ in 0..10 {
        cluster.pass(Duration::from_secs(60));
        quieten(&mut cluster);
    }
    assert_eq!(hints(&cluster), 0, "it was tried again, by the process that had failed");
    for at in owners {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), ["new"], "at n{}", at + 1);
    }
}

/// Cassandra 2013 (aphyr 294): whoever's clock was ahead won against later writes, and an acknowledged write with an
/// older stamp vanished.
#[test]
fn wall_clock_decides_nothing_in_a_table_of_siblings() {
    let mut cluster = three();
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "ahead", &none())).put();
    let seen = cluster.get(1, &k, 2).got().token;
    turn_clocks(&mut cluster, -600);
    cluster.put(1, &put_of(&k, 2, "behind", &none())).put();
    assert_eq!(values(&cluster.get(2, &k, 3).got()), ["ahead", "behind"], "nobody had seen the other");
    cluster.put(2, &put_of(&k, 3, "after", &seen)).put();
    assert_eq!(values(&cluster.get(0, &k, 3).got()), ["after", "behind"], "who had seen it replaces it");
}

/// The same where the table asked for one winner: a client that had read a value and wrote another lost, because its
/// node's clock was behind.
#[test]
fn write_after_a_read_wins_in_a_last_writer_wins_table_whatever_the_clocks_say() {
    let mut cluster = three();
    let k = table_address("latest", "k");
    cluster.put(0, &put_of(&k, 1, "old", &none())).put();
    let seen = cluster.get(1, &k, 2).got().token;
    turn_clocks(&mut cluster, -4);
    cluster.put(1, &put_of(&k, 2, "new", &seen)).put();
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), ["new"], "at n{}", at + 1);
    }
}

/// Aerospike 3.99 (Jepsen 2018): a node that was paused for 27 s and went on threw away what others had written
/// meanwhile; and a write that was said to have failed was there.
#[test]
fn coordinator_that_slept_confirms_nothing_and_drops_nothing() {
    let mut cluster = three();
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "old", &none())).put();
    let seen = cluster.get(0, &k, 3).got().token;
    let slept = cluster.ask_put(0, &put_of(&k, 2, "slept", &seen));
    // What it sent is still in its socket when it falls asleep.
    let unsent = std::mem::take(&mut cluster.flights);
    assert!(!unsent.is_empty());
    cluster.lose = Box::new(|flight| flight.to == 0 || flight.from == 0);
    cluster.put(1, &put_of(&k, 3, "awake", &seen)).put();
    assert_eq!(values(&cluster.get(2, &k, 2).got()), ["awake"]);
    cluster.pass(Duration::from_secs(30));
    let failure = cluster.told_now(slept).failed();
    assert_eq!(failure.code, FailureCode::QuorumNotMet);
    assert!(failure.message.contains("may still surface"), "indeterminate, and said so: {failure}");
    cluster.lose = Box::new(|_| false);
    cluster.flights.extend(unsent);
    cluster.settle();
    for at in 0..3 {
        assert_eq!(values(&cluster.get(at, &k, 3).got()), ["awake", "slept"], "at n{}", at + 1);
    }
}

/// `riak_kv`#1865: actors were made of the node's name and the time, two partitions that started in one tick shared
/// one, and their writes took each other's place without end.
#[test]
fn nodes_that_start_at_the_same_moment_draw_different_actors() {
    let mut cluster = three();
    let moment = cluster.now.instant;
    let mut actors = BTreeSet::new();
    let mut id = 0;
    for _ in 0..5 {
        for at in 0..3 {
            cluster.crash(at);
            cluster.boot(at, false);
        }
        for at in 0..3 {
            id += 1;
            let reply = cluster.put(at, &put_of(&address(&format!("k{at}")), id, "v", &none())).put();
            assert!(actors.insert(reply.dot.actor()), "{} was drawn before", reply.dot);
        }
    }
    assert_eq!(cluster.now.instant, moment, "all of it in one tick");
}

/// `riak_kv`#1813: each cluster gave a replicated tombstone a name of its own, so it was news to the other, and both
/// sent it back and forth for ever.
#[test]
fn delete_keeps_its_name_on_every_way_and_comes_to_rest() {
    let Place { mut cluster, k, owners, .. } = five();
    cluster.put(owners[0], &put_of(&k, 1, "v", &none())).put();
    let seen = cluster.get(owners[0], &k, 3).got().token;
    cluster.crash(owners[2]);
    let write_id = WriteId::new(2);
    let delete = PutRequest {
        want: Want::Delete,
        strictness: Strictness::Sloppy,
        checksum: checksum(&k, write_id, true, b""),
        value: none(),
        ..put_of(&k, 2, "", &seen)
    };
    let deleted = cluster.put(owners[0], &delete).put().dot;
    assert_eq!(hints(&cluster), 1, "one copy goes home by a hint");
    cluster.boot(owners[2], false);
    quieten(&mut cluster);
    assert_eq!(hints(&cluster), 0);
    let carried = Rc::new(Cell::new(0));
    let counter = carried.clone();
    cluster.lose = Box::new(move |flight| {
        let tells = matches!(flight.frame.kind(), Some(Kind::Merge | Kind::Hint | Kind::Put));
        counter.set(counter.get() + u32::from(tells));
        false
    });
    for _ in 0..6 {
        quieten(&mut cluster);
    }
    assert_eq!(carried.get(), 0, "nobody has anything to tell anybody");
    for at in owners {
        let copy = cluster.copy(at, &k);
        assert!(copy.versions().iter().all(|version| version.dot == deleted), "at n{}: {copy:?}", at + 1);
        assert!(cluster.get(at, &k, 3).got().versions.is_empty());
    }
}

/// `riak_kv`#1046 and #838: the receiver of a put that was passed on coordinated it once more, and one write of one
/// client stood beside itself as two siblings, which no client could tell apart.
#[test]
fn write_that_is_passed_on_is_named_once() {
    let Place { mut cluster, k, owners, fallbacks } = five();
    let asked = cluster.ask_put(fallbacks[0], &put_of(&k, 1, "v", &none()));
    let passed = cluster.flights.front().cloned().unwrap();
    assert_eq!(passed.frame.kind(), Some(Kind::Put), "it is passed on to an owner");
    // The network doubles it, and a node that has no part in it gets it as well.
    let mut astray = passed.clone();
    astray.to = fallbacks[1];
    cluster.flights.push_back(passed);
    cluster.flights.push_back(astray);
    cluster.settle();
    let reply = cluster.told_now(asked).put();
    for at in owners {
        let dots: Vec<_> = cluster.copy(at, &k).versions().iter().map(|version| version.dot).collect();
        assert_eq!(dots, [reply.dot], "at n{}", at + 1);
    }
    assert_eq!(hints(&cluster), 0, "what was passed on is not passed on again, nor stood in for");
}

/// Riak drops vector entries beyond 50 or older than a day, Dynamo kept about ten: a context that lost an entry no
/// longer covers what its client had read, and replaced values come back as siblings.
#[test]
fn vector_of_many_actors_is_kept_whole() {
    let mut cluster = three();
    let k = address("k");
    cluster.put(0, &put_of(&k, 1, "v1", &none())).put();
    let first = cluster.get(1, &k, 2).got().token;
    for id in 2..=120 {
        cluster.crash(0);
        cluster.boot(0, false);
        let seen = cluster.get(1, &k, 2).got().token;
        cluster.put(0, &put_of(&k, id, &format!("v{id}"), &seen)).put();
    }
    assert_eq!(values(&cluster.get(2, &k, 3).got()), ["v120"]);
    assert!(cluster.copy(2, &k).vector().len() >= 119, "an actor for every life of its node");
    cluster.put(1, &put_of(&k, 200, "from the first context", &first)).put();
    let both = cluster.get(2, &k, 3).got();
    assert_eq!(values(&both), ["from the first context", "v120"]);
    cluster.put(1, &put_of(&k, 201, "all", &both.token)).put();
    assert_eq!(values(&cluster.get(0, &k, 3).got()), ["all"]);
}
