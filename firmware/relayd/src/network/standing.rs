//! How the box's peers are reached, for `relayd status` and `relayd doctor`: said over a socket of the data directory
//! to whoever may open it, one JSON text for each connection. Takes no orders.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use trust::{Name, Ula, UnixSeconds};
use wire::heartbeat::PathKind;

const SOCKET: &str = "status.sock";
const PATIENCE: Duration = Duration::from_secs(5);
/// 256 peers, each with a line of reason.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The box in its network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// What time it is by the coordinator, where it said so.
    #[serde(default)]
    pub(crate) now: Option<UnixSeconds>,
    pub(crate) interface: String,
    /// Whether it was there before, and is nothing of ours.
    #[serde(default)]
    pub(crate) external: bool,
    pub(crate) port: u16,
    /// What the box's own router does.
    pub(crate) router: mesh::Nat,
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Whether the coordinator's relay is connected.
    pub(crate) relay: bool,
    pub(crate) peers: Vec<PeerStanding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerStanding {
    pub(crate) name: Name,
    pub(crate) address: Ula,
    pub(crate) kind: PathKind,
    /// The path, in words.
    pub(crate) path: String,
    pub(crate) endpoint: Option<SocketAddr>,
    /// What the peer says of its router.
    pub(crate) router: mesh::Nat,
    /// Why it is not direct, in words.
    pub(crate) why_not: Option<String>,
    pub(crate) round_trip_ms: Option<u32>,
    /// The longest packet that goes by the path, where that is found out.
    #[serde(default)]
    pub(crate) packet_bytes_max: Option<u16>,
    pub(crate) handshake_age_s: Option<u32>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

fn socket(dir: &Path) -> PathBuf {
    dir.join(SOCKET)
}

/// Answers for as long as the box runs.
pub(crate) async fn answer(dir: PathBuf, standing: watch::Receiver<Standing>) -> Result<()> {
    let path = socket(&dir);
    // Left by a run that was killed.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(|| format!("opening {}", path.display()))?;
    loop {
        let (mut stream, _) = listener.accept().await.context("waiting for a question")?;
        let text = serde_json::to_vec(&*standing.borrow()).context("writing down how the box stands")?;
        // Whoever asked and does not read loses the answer.
        let _ = timeout(PATIENCE, stream.write_all(&text)).await;
    }
}

/// Asks the daemon that runs on this data directory; none when it does not run.
pub(crate) async fn ask(dir: &Path) -> Result<Option<Standing>> {
    let Ok(stream) = UnixStream::connect(socket(dir)).await else { return Ok(None) };
    let mut text = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .context("the daemon does not answer")?
        .context("reading the answer")?;
    serde_json::from_slice(&text).map(Some).context("the daemon answers what this version can't read")
}
