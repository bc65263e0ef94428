//! What time brings: probes, rounds of gossip, verdicts, nacks, retries and comparisons.

use super::Membership;
use super::message::Kind;
use super::probe::{Probe, Stage, below};
use super::retry::jittered;
use super::table::{Place, Standing};
use crate::protocol::types::Instant;

/// Members passed over in one search for somebody to probe; the search goes on an interval later.
const SKIPS_MAX: usize = 32;

/// Draws in a search for one random member. In a cluster of three with one dead member all of them fail once in 10^4.
const DRAWS_MAX: usize = 16;

/// Pings to unreachable members in one gossip interval, and accusations sent back between two rounds of gossip: what
/// stays of the traffic when half of a large cluster is gone.
const RETRIES_MAX: usize = 2;
const REMINDERS_MAX: u32 = 8;

impl Membership {
    /// When `handle_tick` is to be called next. A later input may bring it forward.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let probe = self.probe.as_ref().map(|probe| match probe.stage {
            Stage::Direct { until } => until,
            Stage::Indirect { .. } => probe.until,
        });
        let gossip = (!self.rumours.is_empty()).then_some(self.gossip_at);
        let retry = self.retries.deadline().map(|due| due.max(self.retry_at));
        let others = [gossip, self.suspicions.deadline(), self.relays.deadline(), retry];
        let first = probe.unwrap_or(self.probe_at).min(self.compare_at);
        others.into_iter().flatten().fold(first, Instant::min)
    }

    /// Does what is due. Called early, it does nothing; called late, it blames this node and not the others.
    pub fn handle_tick(&mut self, now: Instant) {
        self.forgive_stall(now);
        while let Some(place) = self.suspicions.take_due(now) {
            self.conclude(now, place);
        }
        self.step_probe(now);
        while let Some(relay) = self.relays.take_due(now) {
            self.send(relay.asker, Kind::Nack, relay.asker_sequence);
        }
        self.retry(now);
        if self.compare_at <= now {
            self.compare_at = now.after(jittered(self.config.compare_interval, &mut self.rng));
            if let Some(to) = self.draw(Self::is_near) {
                self.send(to, Kind::Compare, 0);
            }
        }
        if self.gossip_at <= now {
            self.reminders = REMINDERS_MAX;
            if !self.rumours.is_empty() {
                self.gossip_at = now.after(self.config.gossip_interval);
                self.gossip();
            }
        }
    }

    fn retry(&mut self, now: Instant) {
        if self.retry_at > now {
            return;
        }
        for _ in 0..RETRIES_MAX {
            let Some(place) = self.retries.next_due(&self.config, &mut self.rng, now) else { break };
            self.retry_at = now.after(self.config.gossip_interval);
            self.counters.retries += 1;
            let sequence = self.next_sequence();
            self.send(place, Kind::Ping, sequence);
        }
    }

    /// A tick that comes later than an answer may take says that this node slept. Answers lie unread and nobody had
    /// its time to refute, so all of them get the lateness back.
    fn forgive_stall(&mut self, now: Instant) {
        let late = now.since(self.next_deadline());
        if late >= self.config.probe_timeout {
            self.counters.stalls += 1;
            self.health.worsen(1);
            self.suspicions.postpone(late);
            self.probe = None;
            self.probe_at = now;
        }
    }

    /// A suspect's time is over.
    fn conclude(&mut self, now: Instant, place: Place) {
        let (edition, accuser) = (self.table.edition(place), self.here.unwrap_or(place));
        self.find_unreachable(now, place, edition);
        self.spread(now, place, accuser);
    }

    fn step_probe(&mut self, now: Instant) {
        match self.probe.as_ref().map(|probe| (probe.stage, probe.until)) {
            None if self.probe_at <= now => self.begin_probe(now),
            Some((Stage::Direct { until }, _)) if until <= now => self.ask_helpers(),
            Some((Stage::Indirect { asked, nacks }, until)) if until <= now => {
                self.fail_probe(now, asked, nacks);
                self.begin_probe(now);
            }
            None | Some(_) => {}
        }
    }

    fn begin_probe(&mut self, now: Instant) {
        let until = now.after(self.health.stretch(self.config.probe_interval));
        self.probe_at = until;
        let Some(target) = self.here.and_then(|_| self.next_target(now)) else { return };
        self.counters.probes += 1;
        let sequence = self.next_sequence();
        let direct = now.after(self.health.stretch(self.config.probe_timeout));
        self.probe = Some(Probe { target, sequence, stage: Stage::Direct { until: direct }, began: now, until });
        if self.down.contains_key(&target) {
            // No link for longer than one takes: nothing to wait for, but the helpers may have one.
            self.ask_helpers();
        } else {
            self.send(target, Kind::Ping, sequence);
        }
    }

    /// The next member worth a probe. The unreachable are retried at their own pace.
    fn next_target(&mut self, now: Instant) -> Option<Place> {
        for _ in 0..SKIPS_MAX.min(self.table.len()) {
            let place = self.round.next(&mut self.rng)?;
            let standing = self.table.standing(place);
            if self.here == Some(place) || standing == Standing::Unreachable {
                continue;
            }
            let waiting = self.down.get(&place).is_some_and(|since| now.since(*since) < self.config.link_limit);
            if waiting {
                self.counters.probes_waiting += 1;
                continue;
            }
            // A suspect has to be pinged all the same: the ping tells it what to refute.
            let heard = self.heard.get(&place).is_some_and(|at| now.since(*at) < self.config.probe_interval);
            if heard && standing == Standing::Alive {
                self.counters.probes_spared += 1;
                return None;
            }
            return Some(place);
        }
        None
    }

    fn ask_helpers(&mut self) {
        let Some((target, sequence)) = self.probe.as_ref().map(|probe| (probe.target, probe.sequence)) else { return };
        let subject = self.table.id(target);
        let helpers = self.draw_some(self.config.helpers, |machine, place| {
            place != target && machine.table.standing(place) == Standing::Alive && machine.is_near(place)
        });
        for helper in &helpers {
            self.send(*helper, Kind::Ask(subject), sequence);
        }
        let asked = u32::try_from(helpers.len()).unwrap_or(u32::MAX);
        // With nobody to ask, the rest of the interval still belongs to the member: its answer may be on the way.
        if let Some(probe) = &mut self.probe {
            probe.stage = Stage::Indirect { asked, nacks: 0 };
        }
    }

    fn fail_probe(&mut self, now: Instant, asked: u32, nacks: u32) {
        let (Some(probe), Some(here)) = (self.probe.take(), self.here) else { return };
        self.counters.probes_failed += 1;
        // memberlist's rule: helpers that say no are proof that this node hears; their silence is the doubt.
        let missing = if asked == 0 { 1 } else { asked.saturating_sub(nacks) };
        self.counters.nacks_missing += u64::from(asked.saturating_sub(nacks));
        self.health.worsen(missing);
        let edition = self.table.edition(probe.target);
        self.accuse(now, probe.target, edition, here);
    }

    /// The probe was answered in time.
    pub(super) fn succeed(&mut self, now: Instant) {
        if let Some(probe) = self.probe.take() {
            self.counters.probe_times.record_time(now.since(probe.began));
        }
        self.health.mend();
    }

    fn gossip(&mut self) {
        let near = self.draw_some(self.config.gossip_targets, |machine, place| {
            machine.table.standing(place) != Standing::Unreachable && machine.is_near(place)
        });
        // Nobody is there: tell anybody, for rumours that wait until the cut is over would be old accusations.
        let targets = if near.is_empty() { self.draw_some(1, |_, _| true) } else { near };
        for to in targets {
            if self.rumours.is_empty() {
                break;
            }
            if self.table.standing(to) == Standing::Unreachable {
                self.rumours.tell(self.tellings, |_, _| true);
            }
            self.send(to, Kind::Gossip, 0);
        }
    }

    /// Whether a link to the member is up.
    fn is_near(&self, place: Place) -> bool {
        !self.down.contains_key(&place)
    }

    /// A random member other than this node that suits; none when it was not found in a bounded number of draws.
    fn draw(&mut self, suits: impl Fn(&Self, Place) -> bool) -> Option<Place> {
        for _ in 0..DRAWS_MAX {
            if self.table.len() == 0 {
                break;
            }
            let place = Place::new(below(&mut self.rng, self.table.len()));
            if self.here != Some(place) && suits(self, place) {
                return Some(place);
            }
        }
        None
    }

    /// Up to so many different random members that suit.
    fn draw_some(&mut self, count: usize, suits: impl Fn(&Self, Place) -> bool) -> Vec<Place> {
        let mut found = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(place) = self.draw(|machine, place| !found.contains(&place) && suits(machine, place)) else {
                break;
            };
            found.push(place);
        }
        found
    }
}
