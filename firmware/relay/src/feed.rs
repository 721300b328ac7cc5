//! What a child gets: the row's items as they come, and the blocks of its stripes as soon as they are here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{Item, Live, Object};
use stream::EpochId;
use swarm::part::{Blocks, PartId, StripeCount, Stripes};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use trust::BoxKey;
use wire::feed::{ALIVE_EVERY_MS, BlockFrame, BlocksRequest, FeedRequest, Frame, PartName};

use crate::{Given, Shown, Tally, Uplink};

/// A stream that has just begun to be carried has its first item within this.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// How often a child hears that its parent is there, though nothing else is.
const ALIVE_EVERY: Duration = Duration::from_millis(ALIVE_EVERY_MS);
/// Parts of which blocks may still be owed; the oldest is let go when there would be more.
const OWED_MAX: usize = 64;
/// What goes out at once where the line has a limit: a packet or two.
const PIECE_BYTES: usize = 2048;
/// Blocks that are older than this come too late for anybody.
const LATE: Duration = Duration::from_secs(12);

/// The way to one child.
pub(crate) struct Outlet {
    pub(crate) sender: mpsc::Sender<Bytes>,
    pub(crate) child: BoxKey,
    pub(crate) uplink: Uplink,
    pub(crate) tally: Arc<Tally>,
}

/// The child is gone.
struct Gone;

impl Outlet {
    async fn send(&self, frame: &Frame) -> Result<(), Gone> {
        let mut head = Vec::with_capacity(64);
        let rest = frame.write(&mut head);
        self.sender.send(head.into()).await.map_err(|_| Gone)?;
        if rest.is_empty() {
            return Ok(());
        }
        self.sender.send(rest).await.map_err(|_| Gone)
    }

    async fn send_block(&self, part: PartName, index: u16, bytes: Bytes) -> Result<(), Gone> {
        let len = bytes.len();
        let mut head = Vec::with_capacity(64);
        let mut rest = Frame::Block(BlockFrame { part, index, bytes }).write(&mut head);
        self.sender.send(head.into()).await.map_err(|_| Gone)?;
        // At 5 Mbit/s a whole block is 30 ms of queue in the household's line.
        let piece = if self.uplink.rate().is_some() { PIECE_BYTES } else { len };
        while !rest.is_empty() {
            let next = rest.split_to(piece.min(rest.len()));
            tokio::select! {
                () = self.uplink.take(next.len()) => {}
                () = self.sender.closed() => return Err(Gone),
            }
            self.sender.send(next).await.map_err(|_| Gone)?;
        }
        self.tally.with(&self.child, |flow| flow.sent += len as u64);
        Ok(())
    }
}

/// Ends when the child is gone, or the stream.
pub(crate) async fn give_feed(
    given: Given,
    asked: FeedRequest,
    outlet: Outlet,
    leaving: watch::Receiver<bool>,
) {
    let stripes = Stripes(asked.stripes);
    let Some(count) = StripeCount::new(asked.of) else { return };
    outlet.tally.with(&outlet.child, |flow| flow.gives |= stripes.0);
    let (child, tally) = (outlet.child, Arc::clone(&outlet.tally));
    let mut feed =
        Feed { live: given.live, outlet, count, stripes, owed: VecDeque::new(), epoch: None, leaving };
    let _gone = feed.run(given.hello, asked.from).await;
    tally.with(&child, |flow| flow.gives &= !stripes.0);
}

/// A part whose blocks the child has not all got.
struct Owed {
    item: Arc<Item>,
    part: PartId,
    sent: Blocks,
    /// The child knows that it can pull all of it here.
    told: bool,
    since: Instant,
}

struct Feed {
    live: Arc<Live>,
    outlet: Outlet,
    count: StripeCount,
    stripes: Stripes,
    owed: VecDeque<Owed>,
    /// The epoch that the child heard of last.
    epoch: Option<EpochId>,
    leaving: watch::Receiver<bool>,
}

impl Feed {
    async fn run(
        &mut self,
        mut hello: watch::Receiver<Option<Shown>>,
        from: Option<PartName>,
    ) -> Result<(), Gone> {
        let since = Instant::now();
        // A parent that was only just asked itself is none that says nothing.
        self.outlet.send(&Frame::Alive { newest: None }).await?;
        while !matches!(timeout(ALIVE_EVERY, hello.wait_for(Option::is_some)).await, Ok(Ok(_))) {
            if since.elapsed() > FIRST_MAX || hello.has_changed().is_err() {
                return Ok(());
            }
            self.outlet.send(&Frame::Alive { newest: None }).await?;
        }
        let shown = hello.borrow_and_update().clone();
        let Some(mut first) = shown else { return Ok(()) };
        self.outlet.send(&Frame::Hello(first.hello.clone())).await?;
        let mut changes = self.live.watch_row();
        let from = from.map(|from| (from.msn, from.part));
        let Some((epoch, mut place)) = self.begin(&mut changes, from).await? else { return Ok(()) };
        self.send_item(&epoch).await?;
        loop {
            changes.mark_unchanged();
            if hello.has_changed().unwrap_or(false) {
                let shown = hello.borrow_and_update().clone();
                if let Some(shown) = shown.filter(|shown| *shown != first) {
                    self.outlet.send(&Frame::Hello(shown.hello.clone())).await?;
                    first = shown;
                }
            }
            let (items, behind) = self.live.walk(place);
            place = behind;
            for item in items {
                self.send_item(&item).await?;
                self.pay().await?;
            }
            self.pay().await?;
            self.wait(&mut changes).await?;
        }
    }

    /// Waits for the first item of a stream that has just begun to be carried.
    async fn begin(
        &self,
        changes: &mut watch::Receiver<()>,
        from: Option<(u64, u32)>,
    ) -> Result<Option<(Arc<Item>, store::Place)>, Gone> {
        let since = Instant::now();
        loop {
            if let Some(start) = self.live.row_start(from) {
                return Ok(Some(start));
            }
            match timeout(ALIVE_EVERY, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(None),
                Err(_) if since.elapsed() > FIRST_MAX => return Ok(None),
                Err(_) => self.outlet.send(&Frame::Alive { newest: None }).await?,
            }
        }
    }

    async fn wait(&mut self, changes: &mut watch::Receiver<()>) -> Result<(), Gone> {
        tokio::select! {
            // Whoever said so is gone without a word otherwise, which ends the feed as well.
            Ok(()) = self.leaving.changed() => self.outlet.send(&Frame::Leaving).await,
            changed = timeout(ALIVE_EVERY, changes.changed()) => match changed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(Gone),
                Err(_) => {
                    let newest = self.live.newest_part().and_then(|item| item.part().map(|part| PartName {
                        epoch: part.header.epoch,
                        msn: part.header.msn,
                        part: part.header.part,
                    }));
                    self.outlet.send(&Frame::Alive { newest }).await
                }
            },
            () = self.outlet.sender.closed() => Err(Gone),
        }
    }

    async fn send_item(&mut self, item: &Arc<Item>) -> Result<(), Gone> {
        if let Some(epoch) = item.epoch() {
            let id = epoch.record.id;
            if self.epoch.replace(id) == Some(id) {
                return Ok(());
            }
            self.outlet.send(&Frame::Seal(item.sealed.clone())).await?;
            let bytes = item.init.clone().unwrap_or_default();
            return self.outlet.send(&Frame::Init { epoch: id, bytes }).await;
        }
        self.outlet.send(&Frame::Seal(item.sealed.clone())).await?;
        if let Some(part) = item.part() {
            if self.owed.len() == OWED_MAX {
                self.owed.pop_front();
            }
            let header = &part.header;
            let id = PartId { msn: header.msn, part: header.part, epoch: header.epoch };
            let sent = Blocks::room(u16::try_from(part.blocks.len()).unwrap_or(u16::MAX));
            let owed = Owed { item: Arc::clone(item), part: id, sent, told: false, since: Instant::now() };
            self.owed.push_back(owed);
        }
        Ok(())
    }

    /// Sends what is here of what is owed.
    async fn pay(&mut self) -> Result<(), Gone> {
        for nth in 0..self.owed.len() {
            let Some(mut owed) = self.owed.pop_front() else { break };
            let _ = nth;
            let paid = pay(&self.live, &self.outlet, self.count, self.stripes, &mut owed).await?;
            if !paid {
                self.owed.push_back(owed);
            }
        }
        Ok(())
    }
}

/// True when nothing more is to be sent of the part.
async fn pay(
    live: &Live,
    outlet: &Outlet,
    count: StripeCount,
    stripes: Stripes,
    owed: &mut Owed,
) -> Result<bool, Gone> {
    let Some(seal) = owed.item.part() else { return Ok(true) };
    if owed.item.is_gap() || owed.since.elapsed() > LATE {
        return Ok(true);
    }
    let name = PartName { epoch: owed.part.epoch, msn: owed.part.msn, part: owed.part.part };
    // Asked before the blocks are looked at: one that comes between is sent the next time.
    let whole = owed.item.is_whole();
    let mut rest = 0;
    for index in 0..u16::try_from(seal.blocks.len()).unwrap_or(u16::MAX) {
        if !stripes.contains(count.of(owed.part, index)) || owed.sent.contains(index) {
            continue;
        }
        let Some(bytes) = read(live, &owed.item, index).await else {
            rest += 1;
            continue;
        };
        outlet.send_block(name, index, bytes).await?;
        owed.sent.insert(index);
    }
    if whole && !owed.told {
        owed.told = true;
        outlet.send(&Frame::Have { part: name, stripes: count.all().0 }).await?;
    }
    Ok(whole && (rest == 0 || owed.since.elapsed() > LATE))
}

async fn read(live: &Live, item: &Item, index: u16) -> Option<Bytes> {
    match live.block(item, usize::from(index))? {
        Object::Whole { mut reader, .. } => match reader.in_ram() {
            Some(pieces) => pieces.into_iter().next(),
            None => reader.next().await.ok().flatten(),
        },
        Object::Growing(_) => None,
    }
}

/// The blocks that are here, of those asked for.
pub(crate) async fn give_blocks(given: Given, item: Arc<Item>, asked: BlocksRequest, outlet: Outlet) {
    for index in asked.blocks {
        let Some(bytes) = read(&given.live, &item, index).await else { continue };
        if outlet.send_block(asked.part, index, bytes).await.is_err() {
            return;
        }
    }
}
