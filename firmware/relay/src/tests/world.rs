//! A few boxes, each with a store; the ways between them are pipes.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use store::{Live, Producer, Sealer, Store, StoreConfig};
use stream::playlist::Reload;
use stream::{Codec, CutPart, EpochId, EpochRecord, ObjectName, StreamName, Ticks, TrackConfig, Tracks};
use swarm::part::{STRIPES_MAX, StripeCount, Stripes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use trust::{
    Access, BoxCertificate, BoxKey, BoxSecret, Chain, Invite, InviteKind, InviteSecret, Limits, MeshId,
    Revocations, RootSecret, Signed, StreamCertificate, StreamSecret, UnixSeconds,
};
use wire::feed::Hello;

use crate::{
    Carrier, CarrierConfig, Given, House, Judge, Parent, Refused, Report, Share, Shown, Tally, Uplink, Ways,
    greet, write_hello,
};

pub(super) const EPOCH: EpochId = EpochId(0xabc);
const PART: Ticks = Ticks::from_millis(200);
const PARTS: i64 = 5;
const ZERO_UNIX_MS: i64 = 1_800_000_000_000;

/// What a dishonest box does to what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Honest,
    BendsBlocks,
    BendsItems,
    /// Shows a certificate by another box.
    ForeignHello,
}

struct Machine {
    secret: BoxSecret,
    chain: Chain,
    store: Store,
    uplink: Uplink,
    tally: Arc<Tally>,
    hello: watch::Sender<Option<Shown>>,
    deed: Mutex<Deed>,
    dead: watch::Sender<bool>,
    leaving: watch::Sender<bool>,
    /// Stripes that it gives to each child at most.
    room: Mutex<u32>,
    reports: Mutex<Vec<Report>>,
    hellos: Mutex<Option<watch::Receiver<Option<Shown>>>>,
}

#[derive(Clone)]
pub(super) struct World {
    machines: Arc<Vec<Arc<Machine>>>,
    root: Arc<RootSecret>,
    pushed: Arc<Mutex<i64>>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
    scratch: Arc<Scratch>,
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name() -> StreamName {
    "show".parse().unwrap()
}

#[derive(Debug)]
struct Seals(StreamSecret);

impl Sealer for Seals {
    fn seal(&self, item: &[u8]) -> Bytes {
        trust::stream::seal(item, &self.0).into()
    }
}

struct Holder(Arc<Machine>);

impl House for Holder {
    fn leaving(&self) -> watch::Receiver<bool> {
        self.0.leaving.subscribe()
    }

    fn give(&self, name: &StreamName, _child: &BoxKey, share: Share) -> Result<Given, Refused> {
        let live = self.0.store.get(name).ok_or(Refused::NotHere)?;
        let own = self.0.hello.borrow().is_some().then(|| self.0.hello.subscribe());
        let hello = own.or_else(|| self.0.hellos.lock().unwrap().clone()).ok_or(Refused::NotHere)?;
        let Share::Feed { stripes, .. } = share else {
            return Ok(Given { live, stripes: Stripes::NONE, evicts: 0, hello });
        };
        let room = *self.0.room.lock().unwrap();
        let stripes = stripes.first(room);
        if stripes.is_empty() && room == 0 {
            Err(Refused::NoRoom)
        } else {
            Ok(Given { live, stripes, evicts: 0, hello })
        }
    }
}

impl Judge for World {
    fn judge(&self, hello: &Hello, origin: &BoxKey, name: &str) -> Result<StreamCertificate, String> {
        let identity =
            hello.chain.verify(&self.root.public(), &Revocations::new()).map_err(|e| e.to_string())?;
        let certificate =
            hello.certificate.verify(identity.mesh(), identity.key()).map_err(|e| e.to_string())?;
        if identity.key() != origin || &*certificate.stream != name {
            return Err("another box's, or another stream".to_owned());
        }
        Ok(certificate.clone())
    }

    fn unix_ms(&self) -> i64 {
        ZERO_UNIX_MS + *self.pushed.lock().unwrap() * 200
    }
}

/// The ways of the box with this number.
#[derive(Clone)]
struct Pipes {
    world: World,
    own: usize,
}

impl Ways for Pipes {
    type Stream = DuplexStream;

    async fn connect(&self, key: &BoxKey) -> io::Result<DuplexStream> {
        let machines = &self.world.machines;
        let there = machines.iter().find(|there| there.secret.public() == *key);
        let there = Arc::clone(there.ok_or(io::ErrorKind::NotFound)?);
        if *there.dead.borrow() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        sleep(Duration::from_millis(10)).await;
        let (ours, theirs) = duplex(1 << 20);
        let (inner, outer) = duplex(1 << 20);
        let deed = *there.deed.lock().unwrap();
        tokio::spawn(pass(theirs, outer, deed, there.dead.subscribe()));
        let (uplink, tally) = (there.uplink.clone(), Arc::clone(&there.tally));
        let child = machines[self.own].secret.public();
        let house = Arc::new(Holder(there));
        tokio::spawn(async move { greet(inner, child, house, uplink, move |_| Arc::clone(&tally)).await });
        Ok(ours)
    }
}

/// Carries bytes both ways until the box dies; on the way back they may be bent.
async fn pass(child: DuplexStream, parent: DuplexStream, deed: Deed, mut dead: watch::Receiver<bool>) {
    let (mut child_read, mut child_write) = tokio::io::split(child);
    let (mut parent_read, mut parent_write) = tokio::io::split(parent);
    let there = async {
        let _ = tokio::io::copy(&mut child_read, &mut parent_write).await;
        let _ = parent_write.shutdown().await;
        std::future::pending::<()>().await;
    };
    let back = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(len @ 1..) = parent_read.read(&mut bytes).await {
            bend(&mut bytes[..len], deed);
            if child_write.write_all(&bytes[..len]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = dead.wait_for(|dead| *dead) => {}
    }
}

fn bend(bytes: &mut [u8], deed: Deed) {
    match deed {
        Deed::Honest | Deed::ForeignHello => {}
        // The test's media is all sevens and more of them in a row than anything else has.
        Deed::BendsBlocks => {
            if let Some(at) = bytes.windows(64).position(|window| window.iter().all(|byte| *byte == 7)) {
                bytes[at + 40] = 8;
            }
        }
        Deed::BendsItems => {
            if let Some(at) = bytes.windows(4).position(|window| window == b"RBs\x01")
                && let Some(byte) = bytes.get_mut(at + 60)
            {
                *byte ^= 1;
            }
        }
    }
}

impl World {
    pub(super) fn new(boxes: u8) -> Self {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let directory = std::env::temp_dir().join(format!("relay-{:016x}", u64::from_le_bytes(random)));
        let root = RootSecret::from_seed(&[1; 32]);
        let mesh = MeshId::of(&root.public());
        let machines = (0..boxes).map(|nth| {
            let invite_secret = InviteSecret::from_seed(&[nth + 50; 32]);
            let name: trust::Name = format!("box{nth}").parse().unwrap();
            let invite = Invite {
                mesh,
                key: invite_secret.public(),
                name: name.clone(),
                kind: InviteKind::Box,
                limits: Limits::SINGLE,
                issued: UnixSeconds::new(1),
                expires: UnixSeconds::new(1000),
            };
            let secret = BoxSecret::from_seed(&[nth + 100; 32]);
            let certificate = BoxCertificate { mesh, key: secret.public(), name };
            let chain = Chain {
                invite: Signed::sign(invite, &root).unwrap(),
                certificate: Signed::sign(certificate, &invite_secret).unwrap(),
            };
            let store = Store::open(StoreConfig::in_ram(directory.join(nth.to_string()))).unwrap();
            Arc::new(Machine {
                secret,
                chain,
                store,
                uplink: Uplink::default(),
                tally: Arc::default(),
                hello: watch::Sender::new(None),
                deed: Mutex::new(Deed::Honest),
                dead: watch::Sender::new(false),
                leaving: watch::Sender::new(false),
                room: Mutex::new(u32::from(STRIPES_MAX)),
                reports: Mutex::default(),
                hellos: Mutex::default(),
            })
        });
        Self {
            machines: Arc::new(machines.collect()),
            root: Arc::new(root),
            pushed: Arc::default(),
            tasks: Arc::default(),
            scratch: Arc::new(Scratch(directory)),
        }
    }

    pub(super) fn key(&self, at: usize) -> BoxKey {
        self.machines[at].secret.public()
    }

    fn hello(&self, signer: usize, shown: usize) -> Shown {
        let certificate = StreamCertificate {
            mesh: MeshId::of(&self.root.public()),
            stream: "show".into(),
            key: StreamSecret::from_seed(&[9; 32]).public(),
            access: Access::Open,
            issued: UnixSeconds::new(1),
        };
        let signed = Signed::sign(certificate.clone(), &self.machines[signer].secret).unwrap();
        Shown { certificate, hello: write_hello(self.machines[shown].chain.clone(), signed).unwrap() }
    }

    pub(super) fn publish(&self, at: usize) {
        let machine = &self.machines[at];
        let live = machine.store.live("show").unwrap();
        live.seal_with(Arc::new(Seals(StreamSecret::from_seed(&[9; 32]))), 1);
        live.producer(Producer::Present);
        let video = TrackConfig { codec: Codec::H264, record: Bytes::from_static(&[1]), audio: None };
        let record = EpochRecord {
            id: EPOCH,
            tracks: Tracks { video: Some(video), audio: None },
            codecs: "avc1.42c01e".into(),
            resolution: Some((640, 360)),
            frame_rate_milli: Some(30_000),
            part_target: PART,
            zero_unix_ms: ZERO_UNIX_MS,
        };
        live.begin_epoch(record, Bytes::from_static(b"init")).unwrap();
        machine.hello.send_replace(Some(self.hello(at, at)));
    }

    /// Publishes so many parts, one each 200 ms.
    pub(super) async fn push(&self, at: usize, parts: i64) {
        for _ in 0..parts {
            let nth = *self.pushed.lock().unwrap();
            let within = nth % PARTS;
            let cut = CutPart {
                epoch: EPOCH,
                start: Ticks(PART.0 * nth),
                duration: PART,
                independent: within == 0,
                opens_segment: within == 0,
                last: within == PARTS - 1,
            };
            // 100 kB and something that differs: 4 Mbit/s.
            let mut bytes = vec![7; 100_000];
            bytes.extend_from_slice(&nth.to_be_bytes());
            self.live(at).push_part(&cut, bytes.into()).unwrap();
            *self.pushed.lock().unwrap() += 1;
            sleep(Duration::from_millis(200)).await;
        }
    }

    pub(super) fn carry(&self, at: usize, parents: &[usize]) {
        let live = self.machines[at].store.carried(&name()).unwrap();
        let score = |nth: usize| u32::try_from(10 - nth).unwrap();
        let parents: Vec<_> = parents
            .iter()
            .enumerate()
            .map(|(nth, from)| Parent {
                key: self.key(*from),
                score: score(nth),
                round_trip_ms: 20,
                stripes: Stripes::NONE,
                barred: Stripes::NONE,
                heir: Stripes::NONE,
            })
            .collect();
        let (hello, hellos) = watch::channel(None);
        *self.machines[at].hellos.lock().unwrap() = Some(hellos);
        let (reports, mut told) = mpsc::channel(64);
        let config = CarrierConfig {
            name: name(),
            origin: self.key(0),
            live,
            stripes: StripeCount::USUAL,
            tally: Arc::clone(&self.machines[at].tally),
            uplink: self.machines[at].uplink.clone(),
        };
        let ways = Pipes { world: self.clone(), own: at };
        let (list, listed) = watch::channel(parents);
        let machine = Arc::clone(&self.machines[at]);
        let run = Carrier::run(config, ways, Arc::new(self.clone()), listed, hello, reports);
        let task = tokio::spawn(async move {
            let _list = list;
            let hear = async {
                while let Some(report) = told.recv().await {
                    machine.reports.lock().unwrap().push(report);
                }
            };
            tokio::join!(run, hear);
        });
        self.tasks.lock().unwrap().push(task);
    }

    /// It says that it goes, and is gone a little later.
    pub(super) async fn leave(&self, at: usize) {
        self.machines[at].leaving.send_replace(true);
        sleep(Duration::from_millis(700)).await;
        self.kill(at);
    }

    pub(super) fn kill(&self, at: usize) {
        self.machines[at].dead.send_replace(true);
    }

    pub(super) fn corrupt(&mut self, at: usize, deed: Deed) {
        *self.machines[at].deed.lock().unwrap() = deed;
        if deed == Deed::ForeignHello {
            self.machines[at].hello.send_replace(Some(self.hello(at, 0)));
        }
    }

    pub(super) fn live(&self, at: usize) -> Arc<Live> {
        self.machines[at].store.get(&name()).unwrap()
    }

    pub(super) fn parts(&self, at: usize) -> u64 {
        self.machines[at].store.get(&name()).map_or(0, |live| live.stats().parts)
    }

    pub(super) fn tally(&self, at: usize) -> Arc<Tally> {
        Arc::clone(&self.machines[at].tally)
    }

    /// So many stripes to each child.
    pub(super) fn limit(&self, at: usize, stripes: u32) {
        *self.machines[at].room.lock().unwrap() = stripes;
    }

    pub(super) fn uplink(&self, at: usize) -> Uplink {
        self.machines[at].uplink.clone()
    }

    pub(super) fn reports(&self, at: usize) -> Vec<Report> {
        self.machines[at].reports.lock().unwrap().clone()
    }

    pub(super) fn reports_now(&self, at: usize) -> Vec<Report> {
        self.reports(at)
    }

    pub(super) fn bytes(&self, at: usize, msn: u64) -> Option<Bytes> {
        let item = self.live(at).sealed(ObjectName::Part(EPOCH, msn, 0))?;
        match self.live(at).block(&item, 0)? {
            store::Object::Whole { reader, .. } => Some(reader.in_ram()?.concat().into()),
            store::Object::Growing(_) => None,
        }
    }

    pub(super) async fn playlist(&self, at: usize) -> String {
        let deadline = Instant::now() + Duration::from_secs(1);
        let live = self.live(at);
        let text = live.multivariant(deadline).await.unwrap().text;
        let text = String::from_utf8(text.to_vec()).unwrap();
        let name = text.lines().last().unwrap().parse().unwrap();
        let text = live.media_playlist(name, &Reload::default(), deadline).await.unwrap().text;
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// Both boxes say the same of what both have, once nothing is under way.
    pub(super) async fn compare(&self, one: usize, other: usize) {
        sleep(Duration::from_millis(150)).await;
        let (ours, theirs) = (self.playlist(one).await, self.playlist(other).await);
        let tail = |text: &str| text.split_once("#EXT-X-PROGRAM-DATE-TIME").unwrap().1.to_owned();
        assert!(ours.ends_with(&tail(&theirs)), "{ours}\n---\n{theirs}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The tasks hold worlds of their own.
        if Arc::strong_count(&self.scratch) == 1 {
            self.tasks.lock().unwrap().drain(..).for_each(|task| task.abort());
        }
    }
}

/// Waits in virtual time, with a bound.
pub(super) async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("in vain: {what}");
}
