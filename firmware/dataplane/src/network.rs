//! The interface as the host sees it: its MTU, addresses and routes, by rtnetlink.
//!
//! Whoever has no right to change an interface may still use one that was set up beforehand: then what can't be
//! changed is said once, and left. Default routes are never touched, since what the tunnel itself sends would go into
//! the tunnel.

use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_core::Nla as _;
use rtnetlink::packet_route::link::{InfoData, InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use rustix::io::Errno;
use tokio::runtime::Runtime;

use crate::allowed::Prefix;

/// Packets that may wait in the interface: more than one large packet's worth of pieces.
const QUEUE_PACKETS: u32 = 1000;

/// Why the interface could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("cannot talk to the kernel's routing")]
    Netlink(#[source] io::Error),
    #[error("there is no interface {0:?}")]
    NoInterface(String),
    #[error("cannot ask the kernel about the interface")]
    Look(#[source] Box<rtnetlink::Error>),
    #[error("cannot set {what} of the interface")]
    Set { what: String, source: Box<rtnetlink::Error> },
}

/// An interface, and what was done to it.
#[derive(Debug)]
pub struct Network {
    runtime: Runtime,
    handle: rtnetlink::Handle,
    index: u32,
    addresses: Vec<(IpAddr, u8)>,
    routes: Vec<Prefix>,
    may_change: bool,
}

/// What there is under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Absent,
    /// `None`: only who may change the network may open it.
    Tun {
        owner: Option<u32>,
    },
    Other,
}

/// `IFLA_TUN_OWNER` of linux/if_link.h.
const TUN_OWNER: u16 = 1;

/// Looks what there is under a name, and leaves it as it is.
pub(crate) fn standing(name: &str) -> Result<Standing, NetworkError> {
    let found = runtime()?.block_on(async { Ok(find(name).await?.1) })?;
    Ok(found.map_or(Standing::Absent, |link| standing_of(&link)))
}

fn standing_of(link: &LinkMessage) -> Standing {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let (mut is_tun, mut owner) = (false, None);
    for info in infos.flatten() {
        match info {
            LinkInfo::Kind(kind) => is_tun = *kind == InfoKind::Tun,
            LinkInfo::Data(InfoData::Tun(told)) => {
                let mut id = [0; 4];
                if let Some(told) = told.iter().find(|nla| nla.kind() == TUN_OWNER && nla.value_len() == 4) {
                    told.emit_value(&mut id);
                    owner = Some(u32::from_ne_bytes(id));
                }
            }
            _ => {}
        }
    }
    if is_tun { Standing::Tun { owner } } else { Standing::Other }
}

fn runtime() -> Result<Runtime, NetworkError> {
    tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(NetworkError::Netlink)
}

/// To be called on a runtime, which keeps the connection.
async fn find(name: &str) -> Result<(rtnetlink::Handle, Option<LinkMessage>), NetworkError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(NetworkError::Netlink)?;
    tokio::spawn(connection);
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    match links.try_next().await {
        Ok(link) => Ok((handle, link)),
        Err(error) if errno(&error) == Some(Errno::NODEV) => Ok((handle, None)),
        Err(error) => Err(NetworkError::Look(Box::new(error))),
    }
}

fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(Errno::from_raw_os_error(-message.raw_code())),
        _ => None,
    }
}

impl Network {
    /// Finds the interface.
    ///
    /// # Errors
    /// When there is none of that name, or no netlink.
    pub fn open(name: &str) -> Result<Network, NetworkError> {
        let runtime = runtime()?;
        let (handle, link) = runtime.block_on(find(name))?;
        let index = link.ok_or_else(|| NetworkError::NoInterface(name.to_owned()))?.header.index;
        Ok(Network { runtime, handle, index, addresses: Vec::new(), routes: Vec::new(), may_change: true })
    }

    /// Sets MTU and addresses, and brings the interface up.
    ///
    /// # Errors
    /// When the kernel refuses for another reason than a missing right.
    pub fn bring_up(&mut self, mtu: u16, addresses: &[(IpAddr, u8)]) -> Result<(), NetworkError> {
        let link = LinkUnspec::new_with_index(self.index).mtu(mtu.into()).txqueuelen(QUEUE_PACKETS).build();
        let done = self.runtime.block_on(self.handle.link().set(link).execute());
        self.judge(done, || format!("MTU {mtu}"))?;
        for (address, bits) in addresses {
            let request = self.handle.address().add(self.index, *address, *bits);
            let done = self.runtime.block_on(request.execute());
            if self.judge(done, || format!("address {address}/{bits}"))? {
                self.addresses.push((*address, *bits));
            }
        }
        let link = LinkUnspec::new_with_index(self.index).up().build();
        let done = self.runtime.block_on(self.handle.link().set(link).execute());
        self.judge(done, || "the state `up`".to_owned())?;
        Ok(())
    }

    /// Sends these networks into the interface.
    ///
    /// # Errors
    /// When the kernel refuses for another reason than a missing right.
    pub fn add_routes(&mut self, prefixes: impl IntoIterator<Item = Prefix>) -> Result<(), NetworkError> {
        for prefix in prefixes {
            if prefix.bits() == 0 {
                tracing::warn!(%prefix, "the default route is left as it is: what to send there is for the host to say");
                continue;
            }
            let done = self.runtime.block_on(self.handle.route().add(self.route(prefix)).execute());
            if self.judge(done, || format!("route {prefix}"))? {
                self.routes.push(prefix);
            }
        }
        Ok(())
    }

    /// Takes back what was done. An interface that was made by this process goes with its file anyway.
    pub fn take_down(mut self) {
        // Where there is nobody left to listen, an error is of no use.
        for prefix in std::mem::take(&mut self.routes) {
            let _ = self.runtime.block_on(self.handle.route().del(self.route(prefix)).execute());
        }
        let ours = std::mem::take(&mut self.addresses);
        self.remove_addresses(|address, bits| ours.contains(&(address, bits)));
    }

    /// Takes away what an earlier use of the interface left: each address of which this says that it is stale. Those
    /// that the kernel gives every link stay.
    pub fn remove_stale(&self, is_stale: impl Fn(IpAddr) -> bool) {
        let is_links_own = |address: IpAddr| match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        self.remove_addresses(|address, _| is_stale(address) && !is_links_own(address));
    }

    fn remove_addresses(&self, goes: impl Fn(IpAddr, u8) -> bool) {
        use rtnetlink::packet_route::address::AddressAttribute;
        self.runtime.block_on(async {
            let mut found = self.handle.address().get().set_link_index_filter(self.index).execute();
            while let Ok(Some(message)) = found.try_next().await {
                let bits = message.header.prefix_len;
                let is_one = |attribute: &AddressAttribute| {
                    matches!(attribute, AddressAttribute::Address(at) if goes(*at, bits))
                };
                if message.attributes.iter().any(is_one) {
                    let _ = self.handle.address().del(message).execute().await;
                }
            }
        });
    }

    fn route(&self, prefix: Prefix) -> rtnetlink::packet_route::route::RouteMessage {
        match prefix.address() {
            IpAddr::V4(address) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix(address, prefix.bits())
                .output_interface(self.index)
                .scope(RouteScope::Link)
                .build(),
            IpAddr::V6(address) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .destination_prefix(address, prefix.bits())
                .output_interface(self.index)
                .build(),
        }
    }

    /// Whether it was done. What is there already is as good, but not ours to take down.
    fn judge(
        &mut self,
        done: Result<(), rtnetlink::Error>,
        what: impl Fn() -> String,
    ) -> Result<bool, NetworkError> {
        let Err(error) = done else { return Ok(true) };
        match errno(&error) {
            Some(Errno::EXIST) => Ok(false),
            Some(Errno::PERM | Errno::ACCESS) => {
                if std::mem::replace(&mut self.may_change, false) {
                    tracing::warn!("not allowed to set the interface up: it is used as it was made");
                }
                Ok(false)
            }
            _ => Err(NetworkError::Set { what: what(), source: Box::new(error) }),
        }
    }
}
