//! What others bring: datagrams, and the news in them; whole tables.

use bytes::Bytes;

use super::message::{self, Digests, Kind, Message, News};
use super::probe::{Relay, Stage};
use super::table::{Edition, Place, Standing};
use super::{Matter, Membership, Output, Records};
use crate::protocol::types::{Instant, NodeId};

/// A helper says no at this share of the timeout, in hundredths, so that its nack is there before the asker's time is
/// over (Lifeguard, section IV.A).
const NACK_PERCENT: u32 = 80;

impl Membership {
    /// A datagram from a member, as its connection's certificate names it. Nothing in it can stop the machine.
    pub fn handle_datagram(&mut self, now: Instant, from: NodeId, bytes: &Bytes) {
        let Some(sender) = self.table.find(from).filter(|place| self.here.is_some_and(|here| here != *place)) else {
            self.counters.unknown += 1;
            return;
        };
        let Some(message) = Message::decode(bytes) else {
            self.counters.garbage += 1;
            return;
        };
        self.counters.received += 1;
        // Before the answer, which then carries what was refuted here.
        for news in &message.news {
            self.hear(now, news);
        }
        self.hear_sender(now, sender, message.edition, message.kind);
        self.answer(now, sender, &message);
        self.compare(now, sender, message.digests);
    }

    fn answer(&mut self, now: Instant, sender: Place, message: &Message) {
        let sequence = message.sequence;
        match message.kind {
            Kind::Ping => self.send(sender, Kind::Ack, sequence),
            Kind::Ack => {
                if let Some(relay) = self.relays.close(sequence, sender) {
                    self.send(relay.asker, Kind::Relay, relay.asker_sequence);
                } else if self.probe.as_ref().is_some_and(|p| p.sequence == sequence && p.target == sender) {
                    self.succeed(now);
                }
            }
            Kind::Ask(subject) => self.help(now, sender, sequence, subject),
            Kind::Relay => {
                if self.probe.as_ref().is_some_and(|p| p.sequence == sequence && p.target != sender) {
                    self.counters.probes_relayed += 1;
                    self.succeed(now);
                }
            }
            Kind::Nack => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.sequence == sequence)
                    && let Stage::Indirect { asked, nacks } = &mut probe.stage
                {
                    *nacks = nacks.saturating_add(1).min(*asked);
                }
            }
            Kind::Compare if message.digests != self.digests() => self.send(sender, Kind::Gossip, 0),
            Kind::Compare | Kind::Gossip => {}
        }
    }

    /// Pings somebody for somebody else.
    fn help(&mut self, now: Instant, asker: Place, asker_sequence: u32, subject: NodeId) {
        let Some(target) = self.table.find(subject).filter(|place| self.here != Some(*place)) else {
            self.counters.unknown += 1;
            return;
        };
        if self.relays.is_full() {
            self.counters.relays_refused += 1;
            return;
        }
        let sequence = self.next_sequence();
        let nack_at = now.after(self.config.probe_timeout * NACK_PERCENT / 100);
        self.relays.open(sequence, Relay { asker, asker_sequence, target }, nack_at);
        self.send(target, Kind::Ping, sequence);
    }

    /// Every message is news of its sender: it lives, in this edition.
    fn hear_sender(&mut self, now: Instant, sender: Place, edition: Edition, kind: Kind) {
        if edition > self.table.edition(sender) {
            // A first word spreads by itself; that somebody accused is back is worth telling.
            let returns = self.table.standing(sender) != Standing::Alive;
            self.find_alive(sender, edition);
            if returns {
                self.spread(now, sender, sender);
            }
        } else if self.table.standing(sender) != Standing::Alive && kind != Kind::Ping && self.reminders > 0 {
            // It speaks in an edition that was accused, so it has not heard (memberlist#311). A ping's answer tells it
            // anyway.
            self.reminders -= 1;
            self.send(sender, Kind::Gossip, 0);
        }
    }

    fn hear(&mut self, now: Instant, news: &News) {
        let about = self.table.find(news.node);
        let accuser = if news.accuser == news.node { about } else { self.table.find(news.accuser) };
        let (Some(about), Some(accuser)) = (about, accuser) else {
            self.counters.unknown += 1;
            return;
        };
        if self.here == Some(about) {
            self.hear_of_self(now, about, news);
            return;
        }
        match news.standing {
            Standing::Alive if news.edition > self.table.edition(about) => {
                self.find_alive(about, news.edition);
                self.spread(now, about, about);
            }
            Standing::Alive => {}
            Standing::Suspect => self.accuse(now, about, news.edition, accuser),
            Standing::Unreachable => {
                let held = self.table.edition(about);
                let verdict_known = self.table.standing(about) == Standing::Unreachable;
                if news.edition > held || (news.edition == held && !verdict_known) {
                    self.find_unreachable(now, about, news.edition);
                    self.spread(now, about, accuser);
                }
            }
        }
    }

    /// Only the node itself raises its edition, and only above what was really said of its present one.
    fn hear_of_self(&mut self, now: Instant, here: Place, news: &News) {
        match news.standing {
            Standing::Alive if news.edition <= self.edition => {}
            Standing::Suspect | Standing::Unreachable if news.edition < self.edition => {
                self.counters.stale_accusations += 1;
            }
            Standing::Alive | Standing::Suspect | Standing::Unreachable => {
                // Alive in an edition that this node has not reached: it forgot a boot generation, and outbids it.
                self.counters.refutations += 1;
                if news.standing != Standing::Alive {
                    self.health.worsen(1);
                }
                self.edition = news.edition.next();
                self.announce(now, here);
            }
        }
    }

    fn find_alive(&mut self, place: Place, edition: Edition) {
        self.suspicions.end(place);
        self.retries.end(place);
        self.rumours.remove(place);
        self.change(place, edition, Standing::Alive);
    }

    pub(super) fn find_unreachable(&mut self, now: Instant, place: Place, edition: Edition) {
        self.counters.unreachable += 1;
        self.suspicions.end(place);
        self.retries.begin(place, &self.config, &mut self.rng, now);
        self.change(place, edition, Standing::Unreachable);
    }

    /// Somebody, perhaps this node, got no answer from a member in this edition.
    pub(super) fn accuse(&mut self, now: Instant, about: Place, edition: Edition, accuser: Place) {
        let held = self.table.edition(about);
        let fresh = edition > held || (edition == held && self.table.standing(about) == Standing::Alive);
        if fresh {
            self.counters.suspicions += 1;
            self.suspicions.begin(about, accuser, &self.allowance, now);
            self.retries.end(about);
            self.change(about, edition, Standing::Suspect);
            self.spread(now, about, accuser);
        } else if edition == held && self.suspicions.confirm(about, accuser, &self.allowance) {
            self.spread(now, about, accuser);
        }
    }

    /// A member's whole table. Its accusations begin as suspicions here, so that the accused is heard, and none is
    /// taken from one that was itself cut off.
    pub fn handle_table(&mut self, now: Instant, from: NodeId, record: &Bytes) {
        let Some(sender) = self.table.find(from).filter(|place| self.here.is_some_and(|here| here != *place)) else {
            self.counters.unknown += 1;
            return;
        };
        let Some(beliefs) = message::from_record(record) else {
            self.counters.garbage += 1;
            return;
        };
        self.counters.tables_merged += 1;
        let unreachable = beliefs.iter().filter(|(_, _, standing)| *standing == Standing::Unreachable).count();
        let cut_off = unreachable * 2 > beliefs.len();
        for (node, edition, standing) in beliefs {
            let accuser = self.table.id(sender);
            match standing {
                Standing::Alive => self.hear(now, &News { node, edition, standing, accuser }),
                Standing::Suspect | Standing::Unreachable if cut_off => {}
                Standing::Suspect | Standing::Unreachable => {
                    self.hear(now, &News { node, edition, standing: Standing::Suspect, accuser });
                    // The verdict had its confirmations elsewhere; here the accused gets the least time.
                    let about = self.table.find(node).filter(|_| standing == Standing::Unreachable);
                    if let Some(about) = about {
                        self.suspicions.shorten(about, &self.allowance);
                    }
                }
            }
        }
    }

    /// Asks for what differs, not for the same matter again before the last answer can be there.
    fn compare(&mut self, now: Instant, sender: Place, theirs: Digests) {
        let ours = self.digests();
        if (theirs.roster, theirs.layout) != (ours.roster, ours.layout) {
            self.differing.insert(sender, Records { roster: theirs.roster, layout: theirs.layout });
        } else if !self.differing.is_empty() {
            self.differing.remove(&sender);
        }
        if theirs == ours {
            return;
        }
        let since = |machine: &Self, matter| machine.fetched_at.get(&matter).map(|at| now.since(*at));
        for (matter, differs) in
            [(Matter::Roster, theirs.roster != ours.roster), (Matter::Layout, theirs.layout != ours.layout)]
        {
            if differs && since(self, matter).is_none_or(|since| since >= self.config.fetch_interval) {
                self.fetch(now, sender, matter);
            }
        }
        // Tables of different rosters differ, and no fetch of the table would mend that.
        if theirs.roster != ours.roster || theirs.table == ours.table {
            return;
        }
        // A suspicion ends in news of its own.
        let rested = now.since(self.changed_at) >= self.config.quiet && self.table.suspect() == 0;
        let limit = if rested { self.config.fetch_interval } else { self.config.patience };
        // The first difference is that of a node that just began and knows nothing.
        if since(self, Matter::Table).is_none_or(|since| since >= limit) {
            self.fetch(now, sender, Matter::Table);
        }
    }

    fn fetch(&mut self, now: Instant, from: Place, matter: Matter) {
        self.fetched_at.insert(matter, now);
        self.counters.fetches += 1;
        self.outputs.push(Output::Fetch { from: self.table.id(from), matter });
    }
}
