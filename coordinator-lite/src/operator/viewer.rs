//! `invite --viewer`: a phone or laptop with the ordinary WireGuard app watches through one box. Makes the viewer's key,
//! has the root say that it may come in, and prints a wg-quick configuration. The private key is in the printed text
//! alone; the box learns the public one by the root's word, which the service only carries.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Error, Result, bail, ensure};
use data_encoding::BASE64;
use trust::viewer::ViewerPrefix;
use trust::{
    Endpoint, MeshId, MeshPrefix, Name, Revocations, Signed, UnixSeconds, Viewer, Viewers, WireGuardKey,
};
use zeroize::Zeroizing;

use super::Root;
use crate::clock;
use crate::span::Span;
use crate::store::{BoxRow, Database, StoreError};

/// 90 days.
const EXPIRES: Span = Span(std::time::Duration::from_secs(90 * 86_400));
/// Fits into every path that the mesh takes.
const MTU: u16 = 1280;
/// Routers forget a silent UDP flow after 30 s and more (RFC 4787 section 4.3 asks for two minutes).
const KEEPALIVE_S: u16 = 25;

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// For a phone or laptop with the ordinary WireGuard app, which watches and does nothing else.
    #[arg(long, requires = "gateway", conflicts_with_all = ["streams", "boxes", "url"])]
    pub(super) viewer: bool,
    /// The box through which the viewer comes in.
    #[arg(long, value_name = "BOX", requires = "viewer")]
    gateway: Option<Name>,
    /// Where the viewer finds that box, if not where the box itself says: a port that leads to it.
    #[arg(long, value_name = "ADDR:PORT", requires = "viewer")]
    endpoint: Option<SocketAddr>,
    /// IPv4 addresses for viewers: a private network that neither the box nor the viewer has around it.
    #[arg(long, value_name = "NET/BITS", requires = "viewer")]
    prefix: Option<ViewerPrefix>,
}

/// What the printed text is about.
pub(super) struct Printed {
    /// The configuration, which holds a private key.
    pub(super) conf: Zeroizing<String>,
    pub(super) gateway: Name,
    pub(super) endpoint: Endpoint,
    pub(super) expires: UnixSeconds,
}

/// Signs, keeps, and only then shows.
pub(super) fn make(
    root: &Root,
    database: &mut Database,
    name: &Name,
    expires: Option<Span>,
    options: &Options,
) -> Result<Printed> {
    let now = clock::now();
    let gateway = gateway(database, root, options)?;
    let endpoint = match options.endpoint {
        Some(given) => Endpoint::new(given).context("--endpoint")?,
        None => reachable(&gateway)?,
    };
    ensure!(
        !database.boxes()?.iter().any(|row| row.name() == name),
        "a box is called {name}: choose another --name, so that each can be revoked by itself"
    );
    let private = private_key()?;
    let public = x25519_dalek::x25519(*private, x25519_dalek::X25519_BASEPOINT_BYTES);
    let mesh = MeshId::of(&root.secret.public());
    let wanted = Wanted {
        mesh,
        name,
        key: WireGuardKey::from_bytes(public).context("the viewer's key")?,
        gateway: &gateway,
        prefix: options.prefix.unwrap_or_else(|| ViewerPrefix::of(&mesh)),
        now,
        expires: now.plus(expires.unwrap_or(EXPIRES).0),
    };
    let revocations = database.revocations(&root.secret.public())?;
    let signed = database.add_viewer(now, |known| {
        let viewer = wanted.viewer(known, &revocations)?;
        Signed::sign(viewer, &root.secret).context("signing the viewer").map_err(Refused)
    });
    let signed = signed.map_err(|Refused(error)| error)?;
    let (viewer, gateway_name) = (signed.claims(), gateway.name().clone());
    let conf = conf(viewer, &gateway, endpoint, &private)?;
    Ok(Printed { conf, gateway: gateway_name, endpoint, expires: viewer.expires })
}

/// So that a transaction can end with words.
struct Refused(Error);

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

struct Wanted<'a> {
    mesh: MeshId,
    name: &'a Name,
    key: WireGuardKey,
    gateway: &'a BoxRow,
    prefix: ViewerPrefix,
    now: UnixSeconds,
    expires: UnixSeconds,
}

impl Wanted<'_> {
    /// Under the first number whose addresses nobody has. Those of revoked viewers wait for their end, since a box may
    /// not have heard of it yet.
    fn viewer(&self, known: &[Signed<Viewer>], revocations: &Revocations) -> Result<Viewer, Refused> {
        let known: Vec<&Viewer> = known.iter().map(Signed::claims).collect();
        let held = || known.iter().filter(|viewer| viewer.holds(revocations, self.now));
        let check = || -> Result<Viewer> {
            ensure!(
                !held().any(|viewer| viewer.name == *self.name),
                "a viewer is called {}: choose another --name, or revoke that one first",
                self.name
            );
            ensure!(
                held().filter(|viewer| viewer.gateway == *self.gateway.key()).count() < Viewers::MAX,
                "{} has {} viewers, as many as a box takes in: choose another --gateway, or revoke some",
                self.gateway.name(),
                Viewers::MAX
            );
            let prefix = MeshPrefix::of(&self.mesh);
            let free = (0..self.prefix.capacity()).find_map(|n| {
                let (address, address_v4) = (prefix.nth(n.into()), self.prefix.nth(n)?);
                let taken = |viewer: &&Viewer| viewer.address == address || viewer.address_v4 == address_v4;
                (!known.iter().any(taken)).then_some((address, address_v4))
            });
            let (address, address_v4) = free
                .with_context(|| format!("{} has no address left: choose a larger --prefix", self.prefix))?;
            Ok(Viewer {
                mesh: self.mesh,
                name: self.name.clone(),
                key: self.key,
                gateway: *self.gateway.key(),
                address,
                address_v4,
                gateway_v4: self.prefix.gateway(),
                issued: self.now,
                expires: self.expires,
            })
        };
        check().map_err(Refused)
    }
}

fn gateway(database: &Database, root: &Root, options: &Options) -> Result<BoxRow> {
    let name = options.gateway.as_ref().context("--viewer needs --gateway BOX")?;
    let revocations = database.revocations(&root.secret.public())?;
    let row = database.boxes()?.into_iter().find(|row| row.name() == name);
    let row = row.with_context(|| format!("no box is called {name}: coordinator-lite box list shows all"))?;
    let revoked =
        revocations.revokes_box(row.key()) || revocations.revokes_invite(&row.entry.chain.invite.id());
    ensure!(!revoked, "{name} is revoked: choose another --gateway");
    Ok(row)
}

/// The first that the whole world reaches. The app can't punch through a router, so it has to be a port that is open.
fn reachable(gateway: &BoxRow) -> Result<Endpoint> {
    let endpoints = &gateway.entry.endpoints;
    match endpoints.iter().find(|endpoint| is_global(endpoint)).or(endpoints.first()) {
        Some(endpoint) => Ok(*endpoint),
        None => bail!(
            "{} has told of no address yet: say where the viewer finds it with --endpoint ADDR:PORT",
            gateway.name()
        ),
    }
}

/// Not of a home's or a carrier's own network (RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 section 2.5).
fn is_global(endpoint: &Endpoint) -> bool {
    match endpoint.address().ip() {
        std::net::IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            !(ip.is_private() || shared || ip.is_link_local() || ip.is_loopback())
        }
        std::net::IpAddr::V6(ip) => !(ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback()),
    }
}

/// Clamped, as other programs write it down (RFC 7748 section 5).
fn private_key() -> Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new(clock::random::<32>()?);
    key[0] &= 0xf8;
    key[31] = key[31] & 0x7f | 0x40;
    Ok(key)
}

fn conf(viewer: &Viewer, gateway: &BoxRow, at: Endpoint, private: &[u8; 32]) -> Result<Zeroizing<String>> {
    let key = gateway.entry.wireguard.last().context("the box has no WireGuard key")?.claims().key;
    let inside = gateway.entry.membership.claims().address;
    // Large enough from the start, so that no copy of the key is left behind.
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let private = Zeroizing::new(BASE64.encode(private));
    write!(
        text,
        "# {}: watches through {}, until {}\n[Interface]\nPrivateKey = {}\nAddress = {}/32, {}/128\nMTU = {MTU}\n\n\
         [Peer]\n# {}\nPublicKey = {key}\nAllowedIPs = {}/32, {inside}/128\nEndpoint = {at}\n\
         PersistentKeepalive = {KEEPALIVE_S}\n",
        viewer.name,
        gateway.name(),
        viewer.expires,
        private.as_str(),
        viewer.address_v4,
        viewer.address,
        gateway.name(),
        viewer.gateway_v4,
    )
    .context("writing the configuration")?;
    Ok(text)
}
