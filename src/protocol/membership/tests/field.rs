//! Bugs that others met in the field, and the faults that SWIM and Lifeguard were made for.

use std::time::Duration;

use super::{Village, at, id};
use crate::protocol::membership::{Membership, RECORD_BYTES_MAX, Standing};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn calm_cluster_accuses_nobody_and_agrees() {
    let mut village = Village::new(30);
    village.run(60 * SECOND);
    assert!(village.all_well());
    assert_eq!(village.changes, []);
    let digests: Vec<_> = village.machines.values().map(Membership::table_digest).collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:x?}");
}

#[test]
fn dead_member_is_found_by_all_and_found_again_when_it_returns() {
    for members in [2, 3, 10, 40] {
        let mut village = Village::new(members);
        village.run(5 * SECOND);
        village.stop(1);
        village.run(20 * SECOND);
        assert!(village.all_hold(1, Standing::Unreachable), "{members}: {:?}", village.opinions(1));
        village.run(600 * SECOND);
        village.start(1, 2);
        village.run(2 * SECOND);
        assert!(village.all_well(), "{members}: {:?}", village.opinions(1));
    }
}

/// hashicorp/memberlist#311: a node that came back with incarnation 1 stayed dead for those who held dead@100.
#[test]
fn mass_restart_heals_at_once() {
    let mut village = Village::new(20);
    village.run(5 * SECOND);
    // Half of the village is thrown off twenty times, so that the others hold high incarnations of it.
    for _ in 0..20 {
        for me in 0..10 {
            village.cut(me, true);
        }
        village.run(12 * SECOND);
        for me in 0..10 {
            village.cut(me, false);
        }
        village.run(8 * SECOND);
    }
    let raised = village.machines[&15].edition(id(3)).expect("on the roster").incarnation();
    assert!(raised > 5, "{raised}");
    for me in 0..10 {
        village.stop(me);
    }
    village.run(60 * SECOND);
    assert!((0..10).all(|of| village.all_hold(of, Standing::Unreachable)));
    for me in [7, 2, 9, 0, 5, 1, 8, 3, 6, 4] {
        village.start(me, 2);
    }
    village.run(2 * SECOND);
    assert!(village.all_well());
}

/// The same, with a generation that was not persisted: the accusation is sent back, and the node outbids it.
#[test]
fn forgotten_generation_is_outbid() {
    let mut village = Village::new(10);
    village.run(5 * SECOND);
    village.stop(3);
    village.start(3, 9);
    village.run(5 * SECOND);
    village.stop(3);
    village.run(30 * SECOND);
    assert!(village.all_hold(3, Standing::Unreachable));
    village.start(3, 2);
    village.run(3 * SECOND);
    assert!(village.all_well(), "{:?}", village.opinions(3));
}

/// caio/foca#25: two members accuse each other and answer each other's accusations for ever.
#[test]
fn mutual_accusations_end_and_traffic_stays_bounded() {
    let mut village = Village::new(12);
    village.run(5 * SECOND);
    for me in 0..12 {
        village.cut(me, true);
    }
    // Alone, a node doubts itself and takes its time.
    village.run(400 * SECOND);
    for me in 0..12 {
        village.cut(me, false);
    }
    // Everybody holds everybody unreachable.
    assert!((0..12).all(|of| village.all_hold(of, Standing::Unreachable)));
    let before = village.datagrams;
    village.run(40 * SECOND);
    assert!(village.all_well());
    let healing = village.datagrams - before;
    // A ping and an ack, three rounds of gossip to three, retries and comparisons: below 20 a member and second.
    assert!(healing < 12 * 40 * 20, "{healing} datagrams while healing");
    let before = village.datagrams;
    village.run(60 * SECOND);
    let calm = village.datagrams - before;
    assert!(calm < 12 * 60 * 3, "{calm} datagrams in a calm minute");
}

/// quickwit-oss/chitchat#161: every restart left an entry in the digest, until it outgrew its packet.
#[test]
fn ten_thousand_boot_generations_leave_nothing_behind() {
    let mut village = Village::new(3);
    for generation in 2..10_002 {
        village.start(1, generation);
        village.run(Duration::from_millis(20));
    }
    village.run(10 * SECOND);
    let machine = &village.machines[&0];
    assert_eq!(machine.edition(id(1)).expect("on the roster").generation().as_u64(), 10_001);
    assert_eq!(machine.table_record().len(), 5 + 3 * 29);
    assert!(machine.table_record().len() <= RECORD_BYTES_MAX);
    assert!(machine.counters().rumours_now <= 3);
    assert!(village.all_well());
}

#[test]
fn one_way_link_accuses_nobody() {
    let mut village = Village::new(10);
    village.run(5 * SECOND);
    village.closed.insert((2, 5));
    village.run(300 * SECOND);
    assert_eq!(village.changes, []);
    let relayed = village.machines[&2].counters().probes_relayed;
    assert!(relayed > 5, "{relayed} probes were saved by helpers");
    assert_eq!(village.machines[&2].counters().health_now, 0);
}

#[test]
fn deaf_member_does_not_convict_the_others() {
    let mut village = Village::new(20);
    village.run(5 * SECOND);
    // It is heard and hears nothing: it accuses everybody, and everybody refutes.
    for other in (0..20).filter(|other| *other != 4) {
        village.closed.insert((other, 4));
    }
    village.run(120 * SECOND);
    for of in (0..20).filter(|of| *of != 4) {
        let convicted = village
            .changes
            .iter()
            .any(|(me, node, standing)| *me != 4 && *node == of && *standing == Standing::Unreachable);
        assert!(!convicted, "{of} was convicted");
    }
    assert!(village.machines[&4].counters().health_now >= 4);
}

#[test]
fn split_cluster_heals_by_itself_however_long_it_lasted() {
    let mut village = Village::new(16);
    village.run(5 * SECOND);
    for left in 0..8 {
        for right in 8..16 {
            village.closed.insert((left, right));
            village.closed.insert((right, left));
        }
    }
    village.run(3_600 * SECOND);
    assert!((8..16).all(|of| village.machines[&0].standing(id(of)) == Some(Standing::Unreachable)));
    village.closed.clear();
    village.run(60 * SECOND);
    assert!(village.all_well());
    let digests: Vec<_> = village.machines.values().map(Membership::table_digest).collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:x?}");
}

#[test]
fn member_that_was_cut_off_does_not_take_the_others_down_when_it_returns() {
    let mut village = Village::new(20);
    village.run(5 * SECOND);
    village.cut(6, true);
    village.run(180 * SECOND);
    assert!(village.all_hold(6, Standing::Unreachable));
    village.cut(6, false);
    village.changes.clear();
    village.run(60 * SECOND);
    assert!(village.all_well());
    let convicted =
        village.changes.iter().any(|(me, node, standing)| *me != 6 && *node != 6 && *standing == Standing::Unreachable);
    assert!(!convicted, "{:?}", village.changes);
}

#[test]
fn sleeper_blames_itself() {
    let mut village = Village::new(10);
    village.run(5 * SECOND);
    let before = village.now;
    let mut sleeper = village.machines.remove(&3).expect("a member");
    village.run(3 * SECOND);
    // It wakes after an hour with nothing but its timers due.
    let now = before.after(3_600 * SECOND);
    sleeper.handle_tick(now);
    assert_eq!(sleeper.counters().stalls, 1);
    assert_eq!(sleeper.counters().suspected_now + sleeper.counters().unreachable_now, 0);
    assert!(sleeper.next_deadline() >= now);
}

#[test]
fn rumour_that_missed_a_member_is_fetched() {
    let mut village = Village::new(10);
    village.run(20 * SECOND);
    // 9 hears nothing of it: it is cut off from gossip, not long enough to be accused for good.
    village.stop(1);
    village.run(2 * SECOND);
    village.cut(9, true);
    village.run(4 * SECOND);
    village.cut(9, false);
    village.run(30 * SECOND);
    assert!(village.all_hold(1, Standing::Unreachable), "{:?}", village.opinions(1));
    assert!(village.all_hold(9, Standing::Alive));
    assert!(village.now > at(0));
}
