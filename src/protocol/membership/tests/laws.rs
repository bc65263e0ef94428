//! Laws on random input: nothing that arrives stops the machine, and what is written is read back.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{at, id, machine};
use crate::protocol::membership::message::{Digests, Draft, Kind, Message, News};
use crate::protocol::membership::{DATAGRAM_BYTES_MAX, Edition, Standing};
use crate::protocol::types::BootGeneration;

fn edition() -> impl Strategy<Value = Edition> {
    (any::<u64>(), any::<u32>()).prop_map(|(g, i)| Edition::new(BootGeneration::new(g), i))
}

fn news() -> impl Strategy<Value = News> {
    let standing = prop_oneof![Just(Standing::Alive), Just(Standing::Suspect), Just(Standing::Unreachable)];
    (0_u64..8, edition(), standing, 0_u64..8).prop_map(|(node, edition, standing, accuser)| {
        let accuser = if standing == Standing::Suspect { accuser } else { node };
        News { node: id(node), edition, standing, accuser: id(accuser) }
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Ping),
        Just(Kind::Ack),
        (0_u64..8).prop_map(|node| Kind::Ask(id(node))),
        Just(Kind::Relay),
        Just(Kind::Nack),
        Just(Kind::Gossip),
        Just(Kind::Compare),
    ]
}

proptest! {
    #[test]
    fn datagram_is_read_as_it_was_written(
        kind in kind(), sequence: u32, edition in edition(), digests: (u64, u64, u64), news in vec(news(), 0..40)
    ) {
        let digests = Digests { roster: digests.0, layout: digests.1, table: digests.2 };
        let mut draft = Draft::new(kind, sequence, edition, digests);
        let news: Vec<_> = news.into_iter().take_while(|news| draft.add(news)).collect();
        let bytes = draft.finish();
        prop_assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(Message::decode(&bytes), Some(Message { kind, sequence, edition, digests, news }));
    }

    #[test]
    fn cut_or_prolonged_datagram_is_refused_or_shorter(edition in edition(), news in vec(news(), 1..4), cut: u16) {
        let mut draft = Draft::new(Kind::Ping, 1, edition, Digests::default());
        for news in &news {
            prop_assert!(draft.add(news));
        }
        let bytes = draft.finish();
        let cut = usize::from(cut) % bytes.len();
        if let Some(read) = Message::decode(&bytes[..cut]) {
            prop_assert!(read.news.len() < news.len());
        }
        let mut long = bytes.clone();
        long.resize(DATAGRAM_BYTES_MAX + 1, 0);
        prop_assert_eq!(Message::decode(&long), None);
    }

    #[test]
    fn garbage_neither_stops_the_machine_nor_grows_it(
        inputs in vec((0_u64..8, vec(any::<u8>(), 0..200), 0_u8..4), 1..60),
    ) {
        let mut machine = machine(0, 8, at(0));
        for (from, mut bytes, shape) in inputs {
            // Half of them begin as a datagram does.
            if shape > 1 && bytes.len() > 2 {
                bytes[0] = 1;
                bytes[1] = 1 + bytes[1] % 8;
            }
            let bytes = Bytes::from(bytes);
            let now = machine.next_deadline();
            machine.handle_datagram(now, id(from), &bytes);
            machine.handle_table(now, id(from), &bytes);
            machine.handle_tick(now);
            prop_assert!(machine.drain().count() < 64);
            prop_assert_eq!(machine.members().count(), 8);
        }
    }

    #[test]
    fn news_that_makes_sense_keeps_the_counts_right(
        inputs in vec((1_u64..8, kind(), 0_u32..6, edition(), vec(news(), 0..6)), 1..60)
    ) {
        let mut machine = machine(0, 8, at(0));
        for (from, kind, sequence, edition, news) in inputs {
            let mut draft = Draft::new(kind, sequence, edition, Digests::default());
            for news in &news {
                draft.add(news);
            }
            let before = machine.edition(id(from));
            machine.handle_datagram(machine.next_deadline(), id(from), &draft.finish().into());
            machine.handle_tick(machine.next_deadline());
            // A member's edition never falls, and ours is the newest there is of us.
            prop_assert!(machine.edition(id(from)) >= before);
            prop_assert_eq!(machine.standing(id(0)), Some(Standing::Alive));
            let counted = machine.counters();
            let held = |standing| machine.members().filter(|(_, held)| *held == standing).count() as u64;
            prop_assert_eq!(counted.suspected_now, held(Standing::Suspect));
            prop_assert_eq!(counted.unreachable_now, held(Standing::Unreachable));
            prop_assert!(counted.rumours_now <= 8);
        }
    }
}
