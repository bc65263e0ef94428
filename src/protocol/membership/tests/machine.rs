//! One machine: what it takes, what it ignores, what it answers.

use std::time::Duration;

use bytes::Bytes;

use super::{Village, at, id, machine, seed, sends};
use crate::protocol::membership::message::{Digests, Draft, Kind, Message, News};
use crate::protocol::membership::{
    Config, DATAGRAM_BYTES_MAX, Edition, Matter, Membership, Output, Records, Roster, Standing,
};
use crate::protocol::types::BootGeneration;

fn edition(generation: u64, incarnation: u32) -> Edition {
    Edition::new(BootGeneration::new(generation), incarnation)
}

fn datagram(kind: Kind, sequence: u32, sender: Edition, news: &[News]) -> Bytes {
    let mut draft = Draft::new(kind, sequence, sender, Digests::default());
    for news in news {
        assert!(draft.add(news));
    }
    draft.finish().into()
}

fn suspect(node: u64, edition: Edition, accuser: u64) -> News {
    News { node: id(node), edition, standing: Standing::Suspect, accuser: id(accuser) }
}

fn decoded(machine: &mut Membership) -> Vec<(u64, Message)> {
    let read = |(to, bytes): (_, Bytes)| (Village::number(to), Message::decode(&bytes).expect("our own"));
    sends(machine).into_iter().map(read).collect()
}

#[test]
fn ping_is_answered_with_its_sequence() {
    let mut machine = machine(0, 3, at(0));
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Ping, 77, edition(1, 0), &[]));
    let answers = decoded(&mut machine);
    assert!(answers.iter().any(|(to, message)| *to == 1 && message.kind == Kind::Ack && message.sequence == 77));
}

#[test]
fn accusation_is_refuted_in_the_next_edition() {
    let mut machine = machine(0, 3, at(0));
    let news = [suspect(0, edition(1, 0), 2)];
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Ping, 1, edition(1, 0), &news));
    let ack = decoded(&mut machine).into_iter().find(|(_, message)| message.kind == Kind::Ack).expect("an answer").1;
    assert_eq!(ack.edition, edition(1, 1));
    assert!(ack.news.iter().any(|news| news.node == id(0) && news.standing == Standing::Alive));
    assert_eq!(machine.counters().refutations, 1);
    assert_eq!(machine.counters().health_now, 1);
}

#[test]
fn stale_suspicion_does_not_raise_incarnation() {
    let mut machine = machine(0, 3, at(0));
    for stale in [edition(0, 0), edition(0, u32::MAX)] {
        machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &[suspect(0, stale, 2)]));
    }
    assert_eq!(machine.edition(id(0)), Some(edition(1, 0)));
    assert_eq!(machine.counters().stale_accusations, 2);
    assert_eq!(machine.counters().health_now, 0);
}

#[test]
fn highest_incarnation_is_outbid_by_the_next_generation() {
    let mut machine = machine(0, 3, at(0));
    let news = [suspect(0, edition(1, u32::MAX), 2)];
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &news));
    assert_eq!(machine.edition(id(0)), Some(edition(2, 0)));
}

#[test]
fn gossip_about_and_from_unknown_nodes_is_counted_and_ignored() {
    let mut machine = machine(0, 3, at(0));
    machine.handle_datagram(at(1), id(99), &datagram(Kind::Ping, 1, edition(1, 0), &[]));
    assert_eq!(sends(&mut machine), []);
    let news = [suspect(98, edition(1, 0), 1), suspect(2, edition(9, 9), 97)];
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &news));
    assert_eq!(machine.counters().unknown, 3);
    assert_eq!(machine.standing(id(98)), None);
    assert_eq!(machine.standing(id(2)), Some(Standing::Alive));
    machine.handle_link(at(1), id(99), true);
    machine.handle_heard(at(1), id(99));
    machine.handle_table(at(1), id(99), &Bytes::new());
    assert_eq!(machine.members().count(), 3);
}

#[test]
fn own_id_as_sender_is_ignored() {
    let mut machine = machine(0, 3, at(0));
    machine.handle_datagram(at(1), id(0), &datagram(Kind::Ping, 1, edition(7, 0), &[]));
    assert_eq!(machine.counters().unknown, 1);
    assert_eq!(sends(&mut machine), []);
}

#[test]
fn stale_alive_gets_the_accusation_back() {
    let mut machine = machine(0, 4, at(0));
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &[suspect(2, edition(5, 9), 1)]));
    machine.handle_tick(machine.next_deadline());
    decoded(&mut machine);
    let now = machine.next_deadline();
    machine.handle_datagram(now, id(2), &datagram(Kind::Gossip, 0, edition(5, 3), &[]));
    let back = decoded(&mut machine);
    let told = |news: &News| news.node == id(2) && news.edition == edition(5, 9);
    assert!(back.iter().any(|(to, message)| *to == 2 && message.news.iter().any(told)), "{back:?}");
}

#[test]
fn ping_to_a_suspect_carries_the_suspicion_first() {
    let mut machine = machine(0, 2, at(0));
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &[]));
    // Silence: the first probe fails, the second pings a suspect.
    let mut pings = Vec::new();
    while machine.standing(id(1)) != Some(Standing::Unreachable) {
        let now = machine.next_deadline();
        machine.handle_tick(now);
        pings.extend(decoded(&mut machine).into_iter().filter(|(_, message)| message.kind == Kind::Ping));
    }
    let accusing = |message: &Message| message.news.first().is_some_and(|news| news.standing == Standing::Suspect);
    assert!(!accusing(&pings[0].1));
    assert!(accusing(&pings[1].1), "{:?}", pings[1]);
}

#[test]
fn first_contact_is_not_a_failed_probe() {
    let roster = Roster::new((0..3).map(id));
    let limit = Config::default().link_limit;
    let mut machine = Membership::new(Config::default(), id(0), BootGeneration::new(1), roster, seed(0), at(0));
    while machine.next_deadline() < at(0).after(limit) {
        machine.handle_tick(machine.next_deadline());
    }
    assert_eq!(machine.counters().probes, 0);
    assert!(machine.counters().probes_waiting > 0);
    assert_eq!(machine.standing(id(1)), Some(Standing::Alive));
    // Past its own limit a link that never came up is as good as silence.
    while machine.next_deadline() < at(0).after(limit + Duration::from_secs(60)) {
        machine.handle_tick(machine.next_deadline());
    }
    assert_eq!(machine.standing(id(1)), Some(Standing::Unreachable));
}

#[test]
fn link_that_breaks_under_a_probe_ends_the_probe() {
    let mut machine = machine(0, 2, at(0));
    while machine.counters().probes == 0 {
        machine.handle_tick(machine.next_deadline());
    }
    machine.handle_link(machine.next_deadline(), id(1), false);
    let limit = machine.next_deadline().after(Config::default().link_limit.saturating_sub(Duration::from_secs(1)));
    while machine.next_deadline() < limit {
        machine.handle_tick(machine.next_deadline());
    }
    assert_eq!(machine.counters().probes_failed, 0);
}

#[test]
fn answered_request_replaces_a_probe() {
    let mut machine = machine(0, 2, at(0));
    for _ in 0..100 {
        let now = machine.next_deadline();
        machine.handle_heard(now, id(1));
        machine.handle_tick(now);
    }
    assert_eq!(machine.counters().probes, 0);
    assert!(machine.counters().probes_spared > 5);
    assert_eq!(machine.standing(id(1)), Some(Standing::Alive));
}

#[test]
fn helper_says_no_before_the_timeout_and_relays_an_answer() {
    let mut machine = machine(0, 3, at(0));
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Ask(id(2)), 40, edition(1, 0), &[]));
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Ask(id(2)), 41, edition(1, 0), &[]));
    let pings: Vec<_> = decoded(&mut machine).into_iter().filter(|(to, m)| *to == 2 && m.kind == Kind::Ping).collect();
    assert_eq!(pings.len(), 2);
    machine.handle_datagram(at(2), id(2), &datagram(Kind::Ack, pings[1].1.sequence, edition(1, 0), &[]));
    let relayed = decoded(&mut machine);
    assert!(relayed.iter().any(|(to, m)| *to == 1 && m.kind == Kind::Relay && m.sequence == 41), "{relayed:?}");
    let mut nacks = Vec::new();
    while machine.next_deadline() <= at(401) {
        machine.handle_tick(machine.next_deadline());
        nacks.extend(decoded(&mut machine).into_iter().filter(|(_, message)| message.kind == Kind::Nack));
    }
    assert_eq!(nacks.len(), 1);
    assert_eq!((nacks[0].0, nacks[0].1.sequence), (1, 40));
}

#[test]
fn somebody_elses_answer_does_not_end_a_probe() {
    let mut machine = machine(0, 3, at(0));
    let mut pinged = None;
    while pinged.is_none() {
        machine.handle_tick(machine.next_deadline());
        pinged = decoded(&mut machine).into_iter().find(|(_, message)| message.kind == Kind::Ping);
    }
    let (target, ping) = pinged.expect("a probe began");
    let other = 3 - target;
    machine.handle_datagram(at(1), id(other), &datagram(Kind::Ack, ping.sequence, edition(1, 0), &[]));
    machine.handle_datagram(at(1), id(target), &datagram(Kind::Ack, ping.sequence + 1, edition(1, 0), &[]));
    while machine.counters().probes_failed == 0 && machine.next_deadline() < at(5_000) {
        machine.handle_tick(machine.next_deadline());
    }
    assert_eq!(machine.counters().probes_failed, 1);
}

#[test]
fn differing_digests_are_fetched_at_most_once_an_interval() {
    let mut machine = machine(0, 3, at(0));
    machine.set_digests(1, 1);
    for millis in 0..4_000 {
        machine.handle_datagram(at(millis), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &[]));
    }
    let fetches: Vec<_> = machine.drain().filter(|output| matches!(output, Output::Fetch { .. })).collect();
    let expected = [Matter::Roster, Matter::Layout].map(|matter| Output::Fetch { from: id(1), matter });
    assert_eq!(fetches, expected);
}

#[test]
fn member_with_another_roster_or_layout_is_named_until_it_agrees() {
    let mut machine = machine(0, 3, at(0));
    machine.set_digests(5, 6);
    let say = |roster, layout| {
        let digests = Digests { roster, layout, table: 0 };
        Bytes::from(Draft::new(Kind::Gossip, 0, edition(1, 0), digests).finish())
    };
    machine.handle_datagram(at(1), id(1), &say(5, 6));
    assert_eq!(machine.counters().differing_now, 0);
    machine.handle_datagram(at(2), id(1), &say(5, 7));
    machine.handle_datagram(at(2), id(2), &say(4, 6));
    let named: Vec<_> = machine.differing().collect();
    assert_eq!(named, [(id(1), Records { roster: 5, layout: 7 }), (id(2), Records { roster: 4, layout: 6 })]);
    assert_eq!(machine.counters().differing_now, 2);
    // One comes round; then this node does.
    machine.handle_datagram(at(3), id(2), &say(5, 6));
    assert_eq!(machine.differing().count(), 1);
    machine.set_digests(5, 7);
    assert_eq!(machine.differing().count(), 0);
    // A member that leaves the roster takes its difference along.
    machine.handle_datagram(at(4), id(2), &say(5, 6));
    machine.set_roster(at(5), Roster::new([0, 1].map(id)));
    assert_eq!(machine.counters().differing_now, 0);
}

#[test]
fn comparison_is_answered_only_when_something_differs() {
    let mut machine = machine(0, 3, at(0));
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &[]));
    sends(&mut machine);
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Compare, 0, edition(1, 0), &[]));
    assert_eq!(sends(&mut machine).len(), 1);
    let same = Digests { table: machine.table_digest(), ..Digests::default() };
    let bytes = Draft::new(Kind::Compare, 0, edition(1, 0), same).finish().into();
    machine.handle_datagram(at(1), id(1), &bytes);
    assert_eq!(sends(&mut machine), []);
}

#[test]
fn roster_keeps_what_is_believed_of_those_that_stay() {
    let mut machine = machine(3, 6, at(0));
    machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), &[suspect(5, edition(4, 2), 1)]));
    machine.set_roster(at(2), Roster::new([1, 3, 5, 8].map(id)));
    assert_eq!(machine.standing(id(5)), Some(Standing::Suspect));
    assert_eq!(machine.edition(id(5)), Some(edition(4, 2)));
    assert_eq!(machine.standing(id(0)), None);
    assert_eq!(machine.standing(id(8)), Some(Standing::Alive));
    while machine.standing(id(5)) != Some(Standing::Unreachable) {
        machine.handle_tick(machine.next_deadline());
    }
    // Off the roster it is silent.
    machine.set_roster(machine.next_deadline(), Roster::new([1, 5].map(id)));
    sends(&mut machine);
    for _ in 0..50 {
        machine.handle_tick(machine.next_deadline());
    }
    assert_eq!(sends(&mut machine), []);
}

#[test]
fn table_of_a_member_that_was_cut_off_accuses_nobody() {
    let mut cut_off = machine(1, 10, at(0));
    for other in (0..10).filter(|other| *other != 1) {
        cut_off.handle_link(at(0), id(other), false);
    }
    while cut_off.counters().unreachable_now < 9 {
        cut_off.handle_tick(cut_off.next_deadline());
    }
    let mut machine = machine(0, 10, at(0));
    machine.handle_table(at(1), id(1), &cut_off.table_record());
    assert_eq!(machine.counters().suspected_now + machine.counters().unreachable_now, 0);
    assert_eq!(machine.counters().refutations, 0);
}

#[test]
fn verdict_in_a_fetched_table_begins_as_a_suspicion() {
    let mut other = machine(1, 10, at(0));
    let verdict = News { node: id(4), edition: edition(3, 3), standing: Standing::Unreachable, accuser: id(4) };
    other.handle_datagram(at(1), id(2), &datagram(Kind::Gossip, 0, edition(1, 0), &[verdict]));
    let mut machine = machine(0, 10, at(0));
    machine.handle_table(at(1), id(1), &other.table_record());
    assert_eq!(machine.standing(id(4)), Some(Standing::Suspect));
    let mut ticks = 0;
    while machine.standing(id(4)) == Some(Standing::Suspect) {
        ticks += 1;
        assert!(ticks < 1_000);
        machine.handle_tick(machine.next_deadline());
    }
    assert!(machine.next_deadline() < at(7_000), "the accused had the least time only");
}

#[test]
fn unreachable_member_is_retried_for_ever_with_capped_waits() {
    let mut machine = machine(0, 2, at(0));
    let mut pings = Vec::new();
    while machine.next_deadline() < at(3_600_000) {
        let now = machine.next_deadline();
        machine.handle_tick(now);
        let gone = machine.standing(id(1)) == Some(Standing::Unreachable);
        let sent = decoded(&mut machine);
        if gone && sent.iter().any(|(_, message)| message.kind == Kind::Ping) {
            pings.push(now);
        }
    }
    // Waits of 15 to 30 seconds in an hour.
    assert!((110..250).contains(&pings.len()), "{} pings", pings.len());
    let widest = pings.windows(2).map(|pair| pair[1].since(pair[0])).max().expect("some");
    assert!(widest <= Config::default().retry_max + Duration::from_secs(1));
}

#[test]
fn datagram_full_of_news_stays_within_its_bound() {
    let mut machine = machine(0, 1_000, at(0));
    let news: Vec<_> = (2..900).map(|node| suspect(node, edition(1, 1), 1)).collect();
    for news in news.chunks(20) {
        machine.handle_datagram(at(1), id(1), &datagram(Kind::Gossip, 0, edition(1, 0), news));
    }
    machine.handle_tick(machine.next_deadline());
    let sent = sends(&mut machine);
    let largest = sent.iter().map(|(_, bytes)| bytes.len()).max().expect("gossip");
    assert!((DATAGRAM_BYTES_MAX - 45..=DATAGRAM_BYTES_MAX).contains(&largest), "{largest}");
}
