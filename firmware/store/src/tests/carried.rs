//! A stream that goes from one store to another: the same playlists, the same bytes, gaps where nothing came.

use stream::playlist::Reload;
use stream::seal::{BLOCK_BYTES, Seal};

use super::*;
use crate::{BlockTaken, Item, ItemTaken, Place, Sealer};

/// Puts a mark where a signature would be; nobody here checks one.
#[derive(Debug)]
struct Wax;

impl Sealer for Wax {
    fn seal(&self, item: &[u8]) -> Bytes {
        [item, b"wax"].concat().into()
    }
}

struct Pair {
    origin: Arc<Live>,
    relay: Arc<Live>,
    place: Place,
    _stores: (Store, Store, Scratch),
}

fn pair() -> Pair {
    let scratch = Scratch::new("carried");
    let (ours, theirs) = (open(&scratch, |_| {}), open(&scratch, |_| {}));
    let origin = ours.live("show").unwrap();
    let relay = theirs.carried(&"show".parse().unwrap()).unwrap();
    origin.seal_with(Arc::new(Wax), 1000);
    publish(&origin);
    relay.producer(Producer::Present);
    let (_, place) = origin.row_start(None).unwrap();
    let place = origin.walk(place).1;
    let pair = Pair { origin, relay, place, _stores: (ours, theirs, scratch) };
    let (epoch, _) = pair.origin.row_start(None).unwrap();
    pair.take(&epoch);
    pair
}

impl Pair {
    fn take(&self, item: &Item) -> Option<Arc<Item>> {
        let item =
            item.sealed.strip_suffix(b"wax").map(|bytes| (Seal::decode(bytes).unwrap(), item)).unwrap();
        match self.relay.take_item(item.0, item.1.sealed.clone(), item.1.init.clone()) {
            ItemTaken::Fresh(item) | ItemTaken::Known(item) => Some(item),
            ItemTaken::Old => None,
        }
    }

    /// What is new at the origin.
    fn news(&mut self) -> Vec<Arc<Item>> {
        let (items, place) = self.origin.walk(self.place);
        self.place = place;
        items
    }

    fn give(&self, theirs: &Item, ours: &Item, index: usize) -> BlockTaken {
        let block = match self.origin.block(ours, index).unwrap() {
            Object::Whole { reader, .. } => reader.in_ram().unwrap().concat(),
            Object::Growing(_) => panic!("a block grows"),
        };
        assert!(theirs.part().unwrap().is_block(index, &block));
        self.relay.take_block(theirs, index, block.into())
    }

    fn give_all(&self, theirs: &Item, ours: &Item) {
        for index in 0..3 {
            self.give(theirs, ours, index);
        }
    }

    async fn text(live: &Live, name: Option<PlaylistName>) -> Bytes {
        let deadline = Instant::now() + Duration::from_secs(1);
        match name {
            None => live.multivariant(deadline).await.unwrap().text,
            Some(name) => live.media_playlist(name, &Reload::default(), deadline).await.unwrap().text,
        }
    }

    async fn compare(&self) {
        for name in [None, Some(PLAYLIST)] {
            assert_eq!(Self::text(&self.origin, name).await, Self::text(&self.relay, name).await);
        }
    }
}

/// Bytes that differ from block to block.
fn content(nth: i64) -> Bytes {
    (0..BLOCK_BYTES * 2 + 100).map(|at| (at as i64 / 1000 + nth) as u8).collect::<Vec<_>>().into()
}

#[tokio::test(start_paused = true)]
async fn blocks_in_any_order_make_the_same_playlists_and_parts() {
    let mut pair = pair();
    for nth in 0..12 {
        push_bytes(&pair.origin, nth, content(nth));
        for ours in pair.news() {
            let theirs = pair.take(&ours).unwrap();
            assert_eq!(pair.give(&theirs, &ours, 2), BlockTaken::Fresh);
            assert_eq!(pair.give(&theirs, &ours, 0), BlockTaken::Fresh);
            assert_eq!(pair.give(&theirs, &ours, 0), BlockTaken::Again);
            assert!(!theirs.is_whole());
            // What has come can be passed on before the part is whole.
            assert!(pair.relay.block(&theirs, 2).is_some());
            assert!(pair.relay.block(&theirs, 1).is_none());
            assert_eq!(pair.give(&theirs, &ours, 1), BlockTaken::Last);
            assert!(theirs.is_whole());
            assert!(pair.relay.block(&theirs, 1).is_some());
        }
        if nth >= PARTS {
            pair.compare().await;
        }
    }
    let name = ObjectName::Part(EPOCH, 1, 3);
    let Ok(Object::Whole { reader, .. }) = pair.relay.object(name, Instant::now()).await else { panic!() };
    assert_eq!(reader.in_ram().unwrap().concat(), content(8));
    assert_eq!(pair.relay.sealed(name).unwrap().sealed, pair.origin.sealed(name).unwrap().sealed);
    pair.origin.abandon_segment();
    pair.origin.end();
    for ours in pair.news() {
        pair.take(&ours);
    }
    pair.compare().await;
}

#[tokio::test(start_paused = true)]
async fn parts_wait_for_those_before_them() {
    let mut pair = pair();
    for nth in 0..3 {
        push_bytes(&pair.origin, nth, content(nth));
    }
    let items = pair.news();
    // The last one first: its item comes before the others', from another parent.
    let theirs: Vec<_> = items.iter().rev().map(|ours| (pair.take(ours).unwrap(), ours)).collect();
    for (theirs, ours) in &theirs[..2] {
        pair.give_all(theirs, ours);
    }
    assert_eq!(pair.relay.stats().parts, 0);
    let (first, ours) = &theirs[2];
    pair.give_all(first, ours);
    assert_eq!(pair.relay.stats().parts, 3);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_is_a_gap() {
    let mut pair = pair();
    for nth in 0..6 {
        push_bytes(&pair.origin, nth, content(nth));
    }
    for (nth, ours) in pair.news().iter().enumerate() {
        let theirs = pair.take(ours).unwrap();
        if nth == 2 {
            pair.give(&theirs, ours, 0);
            pair.relay.give_up(&theirs);
            assert_eq!(pair.give(&theirs, ours, 1), BlockTaken::Again);
        } else {
            pair.give_all(&theirs, ours);
        }
    }
    assert_eq!((pair.relay.gaps(), pair.relay.stats().parts), (1, 5));
    let ours = Pair::text(&pair.origin, Some(PLAYLIST)).await;
    let theirs = Pair::text(&pair.relay, Some(PLAYLIST)).await;
    let theirs = String::from_utf8_lossy(&theirs).into_owned();
    assert_eq!(theirs.replace(",GAP=YES", ""), String::from_utf8_lossy(&ours));
    assert!(matches!(
        pair.relay.object(ObjectName::Part(EPOCH, 0, 2), Instant::now()).await,
        Err(ObjectError::NotFound)
    ));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_never_came_is_jumped_over() {
    let mut pair = pair();
    for nth in 0..2 * PARTS {
        push_bytes(&pair.origin, nth, content(nth));
    }
    let items = pair.news();
    // The first segment's last part is never heard of.
    for (nth, ours) in items.iter().enumerate().filter(|(nth, _)| *nth as i64 != PARTS - 1) {
        if nth + 1 == items.len() {
            advance(Duration::from_secs(2)).await;
        }
        let theirs = pair.take(ours).unwrap();
        pair.give_all(&theirs, ours);
    }
    assert_eq!(pair.relay.stats().parts, 9);
    assert!(pair.take(&items[PARTS as usize - 1]).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_child_begins_where_a_viewer_can() {
    let pair = pair();
    for nth in 0..2 * PARTS + 2 {
        push_bytes(&pair.origin, nth, content(nth));
    }
    let first = |from| {
        let (epoch, place) = pair.origin.row_start(from).unwrap();
        assert_eq!(epoch.epoch().unwrap().record.id, EPOCH);
        pair.origin.walk(place).0[0].name().unwrap()
    };
    // Two parts of the third segment are too few.
    assert_eq!(first(None), ObjectName::Part(EPOCH, 1, 0));
    assert_eq!(first(Some((2, 1))), ObjectName::Part(EPOCH, 2, 1));
    assert_eq!(first(Some((1, 99))), ObjectName::Part(EPOCH, 2, 0));
    // What is yet to come is waited for, and nothing old is given instead.
    let (_, place) = pair.origin.row_start(Some((2, 2))).unwrap();
    assert!(pair.origin.walk(place).0.is_empty());
    push_bytes(&pair.origin, 2 * PARTS + 2, content(0));
    assert_eq!(first(None), ObjectName::Part(EPOCH, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn who_asks_before_anything_has_come_waits_for_it() {
    let mut pair = pair();
    let asked = |name| {
        let relay = Arc::clone(&pair.relay);
        tokio::spawn(async move { relay.object(name, Instant::now() + Duration::from_secs(10)).await })
    };
    let crowd: Vec<_> = (0..500).map(|_| asked(ObjectName::Part(EPOCH, 0, 2))).collect();
    let never = asked(ObjectName::Part(EPOCH, 7, 0));
    advance(Duration::from_secs(4)).await;
    for nth in 0..4 {
        push_bytes(&pair.origin, nth, content(nth));
    }
    let items: Vec<_> = pair.news().iter().map(|ours| (pair.take(ours).unwrap(), Arc::clone(ours))).collect();
    // More than the time in which something else has to be heard of.
    advance(Duration::from_millis(1500)).await;
    for (theirs, ours) in &items {
        pair.give_all(theirs, ours);
        // Everybody looks after each part.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(crowd[0].is_finished(), ours.name() >= Some(ObjectName::Part(EPOCH, 0, 2)));
    }
    for one in crowd {
        let Ok(Object::Whole { reader, .. }) = one.await.unwrap() else { panic!("it has come") };
        assert_eq!(reader.in_ram().unwrap().concat(), content(2));
    }
    assert!(
        matches!(never.await.unwrap(), Err(ObjectError::NotFound)),
        "now it is known where the stream is"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_box_has_heard_of_sooner_is_waited_for_a_moment() {
    let mut pair = pair();
    push_bytes(&pair.origin, 0, content(0));
    let items = pair.news();
    let theirs = pair.take(&items[0]).unwrap();
    pair.give_all(&theirs, &items[0]);
    let ask = |name| {
        let relay = Arc::clone(&pair.relay);
        async move {
            let began = Instant::now();
            let found = relay.object(name, began + Duration::from_secs(10)).await;
            (found.map(drop), began.elapsed())
        }
    };
    let second = Duration::from_secs(1);
    for ahead in [ObjectName::Part(EPOCH, 0, 3), ObjectName::Part(EPOCH, 1, 0), ObjectName::Segment(EPOCH, 1)]
    {
        assert_eq!(ask(ahead).await, (Err(ObjectError::NotFound), second), "{ahead}");
    }
    for strange in [ObjectName::Part(EPOCH, 2, 0), ObjectName::Init(EpochId(9))] {
        assert_eq!(ask(strange).await, (Err(ObjectError::NotFound), Duration::ZERO), "{strange}");
    }
    let (coming, ours) = (tokio::spawn(ask(ObjectName::Part(EPOCH, 0, 3))), &pair.origin);
    (1..4).for_each(|nth| push_bytes(ours, nth, content(nth)));
    advance(second / 2).await;
    for ours in pair.news() {
        let theirs = pair.take(&ours).unwrap();
        pair.give_all(&theirs, &ours);
    }
    assert_eq!(coming.await.unwrap().0, Ok(()));
}
