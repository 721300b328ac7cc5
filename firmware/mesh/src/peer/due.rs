//! What falls due with a peer: calls while there is no session; then probes, news, and trying again for a better path.

use core::time::Duration;

use super::{
    ACTIVE, AGAIN_LATER, AGAIN_SOON, Around, Commands, HEADERS, KEEP_ACTIVE, KEEP_IDLE, Peer, Phase,
    RELAY_AFTER, RELAYS_MAX, padded,
};
use crate::dice::Dice;
use crate::message::{Message, News, ProbeId};
use crate::pair::{Carries, Pair};
use crate::path::Path;
use crate::width::Width;
use crate::{Command, INNER_MTU, schedule};

/// After so long on a relay, hope is small.
const SOON: Duration = Duration::from_secs(180);
/// A call goes out over all paths again when a session was silent for so long.
const SILENT: Duration = Duration::from_secs(12);
/// Between tries to tell the news, at first and later: until they are answered, since a full line may lose many.
const NEWS_EVERY: Duration = Duration::from_millis(700);
const NEWS_SLOWLY: Duration = Duration::from_secs(5);

impl Peer {
    /// When something is due.
    pub(crate) fn next(&self) -> Duration {
        let mut next = match self.phase {
            Phase::Calling { next, .. } => next,
            Phase::Talking { .. } => self.keep_at.min(self.again_at),
        };
        if let Phase::Talking { since } = self.phase {
            if !self.relays_tried {
                next = next.min(since + RELAY_AFTER);
            }
            for (path, pair) in &self.pairs {
                let in_use = self.current == Some(*path);
                for at in [pair.next(), pair.patience_ends(in_use)].into_iter().flatten() {
                    next = next.min(at);
                }
            }
            if let (Some(at), Some(_)) = (self.news_at, self.current) {
                next = next.min(at);
            }
            let measured = self.current.filter(|path| self.measured == Some(*path));
            let pair = measured.and_then(|path| self.widened(path));
            let active_until = self.active.map(|at| at + ACTIVE);
            if let Some(at) = pair.and_then(|pair| pair.width.next(active_until)) {
                next = next.min(at);
            }
        }
        next
    }

    pub(crate) fn handle_timeout(
        &mut self,
        around: &Around<'_>,
        dice: &mut Dice,
        open: bool,
        commands: &mut Commands,
    ) {
        match self.phase {
            Phase::Calling { made, next } if next <= around.now => {
                self.call(made, around, commands);
                let wait = dice.jittered(schedule::after_call(made));
                self.phase = Phase::Calling { made: made.saturating_add(1), next: around.now + wait };
            }
            Phase::Calling { .. } => {}
            Phase::Talking { since } => self.talk(since, around, dice, open, commands),
        }
    }

    /// The one that calls first sends its initiation everywhere; the other one only opens its router, and calls too
    /// when nothing comes.
    pub(super) fn call(&self, made: u8, around: &Around<'_>, commands: &mut Commands) {
        let mut paths = self.candidates(around);
        if !self.hints.calls_first && made < schedule::CALLS_SOON / 2 {
            let punches = paths.iter().filter_map(Path::endpoint);
            commands.extend(punches.map(|to| Command::Punch { to }));
            return;
        }
        if around.tls {
            paths.push(Path::Tls);
        }
        paths.extend(
            around
                .relays
                .iter()
                .filter(|relay| **relay != self.id)
                .take(RELAYS_MAX)
                .map(|relay| Path::Box(*relay)),
        );
        if !paths.is_empty() {
            commands.push_back(Command::Initiate { peer: self.id, paths });
        }
    }

    fn talk(
        &mut self,
        since: Duration,
        around: &Around<'_>,
        dice: &mut Dice,
        open: bool,
        commands: &mut Commands,
    ) {
        let now = around.now;
        for (path, pair) in &mut self.pairs {
            pair.handle_timeout(self.current == Some(*path), now);
        }
        self.choose(around);
        self.keep(around, commands);
        let well = self.is_well();
        if !self.relays_tried && now >= since + RELAY_AFTER {
            self.relays_tried = true;
            if !well {
                self.try_relays(around, true);
            }
        }
        if !well {
            if now >= self.again_at {
                let pace = if now.saturating_sub(since) < SOON { AGAIN_SOON } else { AGAIN_LATER };
                self.again_at = now + dice.jittered(pace);
                self.try_all(around, false);
                self.try_relays(around, false);
            }
        } else if now >= self.again_at {
            self.again_at = now + AGAIN_LATER;
        }
        self.probe(around, dice, open, commands);
        self.measure(around, dice, commands);
        self.tidy(around);
    }

    /// The pair of a path whose width is looked at: TLS cuts packets of any length.
    fn widened(&self, path: Path) -> Option<&Pair> {
        self.pairs.get(&path).filter(|pair| path != Path::Tls && pair.carries() == Carries::Full)
    }

    /// Finds out how long packets may be on the path in use.
    fn measure(&mut self, around: &Around<'_>, dice: &mut Dice, commands: &mut Commands) {
        let (active, now) = (self.is_active(around.now), around.now);
        let Some(path) = self.current.filter(|path| self.widened(*path).is_some()) else {
            self.measured = None;
            return;
        };
        let is_new = self.measured.replace(path) != Some(path);
        let Some(pair) = self.pairs.get_mut(&path) else { return };
        if is_new {
            // Packets of others go by paths of their own.
            pair.width = Width::new(path.is_direct(), now);
        }
        pair.width.handle_timeout(active, now);
        if pair.width.take_swallows() {
            return self.handle_swallowed(path, around);
        }
        let round_trip = pair.round_trip().unwrap_or_default();
        let id = ProbeId(dice.number());
        if let Some(len) = pair.width.poll_probe(id, round_trip, now) {
            let payload = padded(Message::Probe { id, news: None }, usize::from(len) - HEADERS);
            // The shortest may be cut on their way, as those are that they stand for.
            let whole = len > INNER_MTU;
            commands.push_back(Command::Message { peer: self.id, path, payload, whole });
        }
    }

    /// The path in use swallows packets that every path has to carry: others are tried at once.
    fn handle_swallowed(&mut self, path: Path, around: &Around<'_>) {
        self.pair(path).narrow();
        self.again_at = around.now + AGAIN_SOON;
        if let Phase::Talking { since } = &mut self.phase {
            *since = around.now;
        }
        self.relays_tried = true;
        self.try_all(around, true);
        self.try_relays(around, true);
        self.choose(around);
    }

    /// Probes over the path in use, so that its loss shows and routers remember it.
    fn keep(&mut self, around: &Around<'_>, commands: &mut Commands) {
        let now = around.now;
        if now < self.keep_at {
            return;
        }
        let active = self.is_active(now);
        self.keep_at = now + if active { KEEP_ACTIVE } else { KEEP_IDLE };
        match self.current {
            Some(path) => {
                let pair = self.pair(path);
                pair.keep(now);
                if active {
                    pair.width.confirm();
                }
            }
            None => {
                self.keep_at = now + KEEP_ACTIVE;
                self.try_all(around, false);
                self.call(u8::MAX, around, commands);
                return;
            }
        }
        if self.heard.is_none_or(|heard| now.saturating_sub(heard) >= SILENT + KEEP_IDLE) {
            // The session may be one that the peer does not have any more.
            self.call(u8::MAX, around, commands);
        }
    }

    fn probe(&mut self, around: &Around<'_>, dice: &mut Dice, open: bool, commands: &mut Commands) {
        for (path, pair) in &mut self.pairs {
            let id = ProbeId(dice.number());
            let Some(full) = pair.poll_probe(id, around.now) else { continue };
            let len = if full { usize::from(INNER_MTU) - HEADERS } else { 0 };
            let payload = padded(Message::Probe { id, news: None }, len);
            commands.push_back(Command::Message { peer: self.id, path: *path, payload, whole: false });
        }
        if let (Some(path), Some(at)) = (self.current, self.news_at)
            && at <= around.now
        {
            let id = ProbeId(dice.number());
            self.news_id = Some(id);
            let wait = if self.news_left > 0 { NEWS_EVERY } else { NEWS_SLOWLY };
            self.news_left = self.news_left.saturating_sub(1);
            self.news_at = Some(around.now + wait);
            let news = News { nat: around.own.nat(), endpoints: around.own.list(), sockets_open: open };
            let payload = Message::Probe { id, news: Some(news) }.encode();
            commands.push_back(Command::Message { peer: self.id, path, payload, whole: false });
        }
    }
}
