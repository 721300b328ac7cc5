//! What a child gets: the row's items as they come, and the blocks of its stripes as soon as they are here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use store::{Item, Live, Object};
use stream::EpochId;
use stream::seal::BLOCK_BYTES;
use swarm::part::{StripeCount, Stripes};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use trust::BoxKey;
use wire::feed::{ALIVE_EVERY_MS, BlockFrame, BlocksRequest, FeedRequest, Frame, PartName};

use crate::turns::{Class, Turn};
use crate::{Given, Shown, Tally, Uplink};
use debts::Debts;

mod debts;

/// Pieces that wait for the connection.
pub(crate) const WAITING_MAX: usize = 32;
/// A stream that has just begun to be carried has its first item within this.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// How often a child hears that its parent is there, though nothing else is.
const ALIVE_EVERY: Duration = Duration::from_millis(ALIVE_EVERY_MS);
/// What goes out at once where the line has a limit: four packets' content of 1348 bytes, with what HTTP puts around it.
/// Each piece is acknowledged, if not twice: pieces of two packets took 10 to 17 % of what came of a box's own line.
const PIECE_BYTES: usize = 4 * 1348 - 8;
/// Items up to so far behind the newest one are what watching goes on with; a second, where parts have 200 ms.
const NEW_ITEMS: u64 = 5;
/// Pieces of a block, with its head and some items that come between.
const BLOCK_PIECES: usize = 16;
const _: () = assert!(BLOCK_BYTES / PIECE_BYTES + 2 < BLOCK_PIECES && BLOCK_PIECES < WAITING_MAX);

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
        // All that a child hears first would be a queue by itself.
        self.uplink.pace(head.len() + rest.len()).await;
        self.sender.send(head.into()).await.map_err(|_| Gone)?;
        if rest.is_empty() {
            return Ok(());
        }
        self.sender.send(rest).await.map_err(|_| Gone)
    }

    /// Waits until the child's connection takes a whole block and it is this one's turn: what is begun then goes on to
    /// its end, and until then something else can be said.
    fn turn(
        &self,
        class: Class,
        wanted: Instant,
    ) -> impl Future<Output = Result<Turn, Gone>> + Send + 'static {
        let (sender, uplink) = (self.sender.clone(), self.uplink.clone());
        async move {
            drop(sender.reserve_many(BLOCK_PIECES).await.map_err(|_| Gone)?);
            tokio::select! {
                turn = uplink.turn(class, wanted) => Ok(turn),
                () = sender.closed() => Err(Gone),
            }
        }
    }

    async fn send_block(&self, block: Block, turn: Turn) -> Result<(), Gone> {
        let Block { part, index, bytes, .. } = block;
        let mut head = BytesMut::with_capacity(PIECE_BYTES);
        let mut rest = {
            let mut named = Vec::with_capacity(64);
            let rest = Frame::Block(BlockFrame { part, index, bytes }).write(&mut named);
            head.extend_from_slice(&named);
            rest
        };
        // What names the block needs no packet of its own.
        head.extend_from_slice(&rest.split_to(rest.len().min(PIECE_BYTES - head.len())));
        // At 5 Mbit/s a whole block is 30 ms of queue in the household's line.
        let piece = if self.uplink.rate().is_some() { PIECE_BYTES } else { BLOCK_BYTES };
        let mut next = head.freeze();
        while !next.is_empty() {
            tokio::select! {
                () = self.uplink.take(next.len()) => {}
                () = self.sender.closed() => return Err(Gone),
            }
            let sent = next.len() as u64;
            self.sender.send(next).await.map_err(|_| Gone)?;
            // One that goes away in the middle of a block took the line all the same.
            self.tally.with(&self.child, |flow| flow.sent += sent);
            next = rest.split_to(piece.min(rest.len()));
        }
        drop(turn);
        Ok(())
    }
}

type Turning = Pin<Box<dyn Future<Output = Result<Turn, Gone>> + Send>>;

/// What goes out next.
pub(super) struct Block {
    part: PartName,
    index: u16,
    class: Class,
    /// Since when it could have gone out.
    ready: Instant,
    bytes: Bytes,
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
    let debts = Debts::new(count, stripes);
    let mut feed = Feed { live: given.live, outlet, debts, epoch: None, leaving };
    let _gone = feed.run(given.hello, asked.from).await;
}

struct Feed {
    live: Arc<Live>,
    outlet: Outlet,
    debts: Debts,
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
        let mut next: Option<(Block, Turning)> = None;
        loop {
            changes.mark_unchanged();
            if hello.has_changed().unwrap_or(false) {
                let shown = hello.borrow_and_update().clone();
                if let Some(shown) = shown.filter(|shown| *shown != first) {
                    self.outlet.send(&Frame::Hello(shown.hello.clone())).await?;
                    first = shown;
                }
            }
            // Headers first: by them a child knows that its parent lives, and what it can ask of others.
            let (items, behind) = self.live.walk(place);
            place = behind;
            for item in items {
                self.send_item(&item).await?;
            }
            // A newcomer's past waits for what is new to all.
            if next.as_ref().is_some_and(|(block, _)| block.class == Class::Start)
                && let Some((block, _)) = next.take()
            {
                self.debts.put_back(&block);
            }
            for part in self.debts.whole() {
                let stripes = self.debts.all().0;
                self.outlet.send(&Frame::Have { part, stripes }).await?;
            }
            if next.is_none()
                && let Some((block, wanted)) = self.debts.next(&self.live, &self.outlet.uplink).await
            {
                let turn = Box::pin(self.outlet.turn(block.class, wanted));
                next = Some((block, turn));
            }
            let turn = self.wait(&mut changes, next.as_mut().map(|(_, turn)| turn)).await?;
            if let Some(turn) = turn
                && let Some((block, _)) = next.take()
            {
                self.outlet.send_block(block, turn).await?;
            }
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

    /// For something new, or for the turn of the next block.
    async fn wait(
        &mut self,
        changes: &mut watch::Receiver<()>,
        turn: Option<&mut Turning>,
    ) -> Result<Option<Turn>, Gone> {
        let turn = async {
            match turn {
                Some(turn) => turn.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Whoever said so is gone without a word otherwise, which ends the feed as well.
            Ok(()) = self.leaving.changed() => self.outlet.send(&Frame::Leaving).await?,
            () = self.outlet.sender.closed() => return Err(Gone),
            changed = changes.changed() => changed.map_err(|_| Gone)?,
            turn = turn => return turn.map(Some),
            () = sleep(ALIVE_EVERY) => {
                let newest = self.live.newest_part().and_then(|item| item.part().map(|part| PartName {
                    epoch: part.header.epoch,
                    msn: part.header.msn,
                    part: part.header.part,
                }));
                self.outlet.send(&Frame::Alive { newest }).await?;
            }
        }
        Ok(None)
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
        let newest = self.live.newest_part().map_or(0, |newest| newest.stamp().serial);
        let is_old = newest.saturating_sub(item.stamp().serial) > NEW_ITEMS;
        self.debts.owe(item, if is_old { Class::Start } else { Class::Feed });
        Ok(())
    }
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
        let wanted = outlet.uplink.pulled_by(outlet.child);
        let Ok(turn) = outlet.turn(Class::Pull, wanted).await else { return };
        let block = Block { part: asked.part, index, class: Class::Pull, ready: Instant::now(), bytes };
        if outlet.send_block(block, turn).await.is_err() {
            return;
        }
    }
}
