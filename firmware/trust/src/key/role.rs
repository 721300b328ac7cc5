//! The roles that sign. The list is closed: no other crate may add one.

/// A role of an Ed25519 key.
pub trait Role: sealed::Sealed {
    /// As in `Debug` and in the label of fingerprints.
    const NAME: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

/// Signs invites, coordinator certificates and revocations.
#[derive(Clone, Copy, Debug)]
pub struct Root;
/// Signs memberships, maps and times.
#[derive(Clone, Copy, Debug)]
pub struct Coordinator;
/// Signs boxes.
#[derive(Clone, Copy, Debug)]
pub struct Invite;
/// Signs WireGuard keys and requests.
#[derive(Clone, Copy, Debug)]
pub struct Box;
/// Signs what one stream consists of, and links to it.
#[derive(Clone, Copy, Debug)]
pub struct Stream;

macro_rules! roles {
    ($($role:ident $name:literal),*) => {$(
        impl sealed::Sealed for $role {}
        impl Role for $role {
            const NAME: &'static str = $name;
        }
    )*};
}
roles!(Root "RootKey", Coordinator "CoordinatorKey", Invite "InviteKey", Box "BoxKey",
    Stream "StreamKey");
