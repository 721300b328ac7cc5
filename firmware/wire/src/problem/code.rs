//! All codes, in one table: name, status (RFC 9110 section 15), title, and what to do. Refuses to lose a name: one
//! that was given out is never used for anything else.

use core::fmt;
use core::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($code:ident $name:literal $status:literal $title:literal $what_to_do:literal;)*) => {
        /// What kind of problem it is. In JSON its name; a name that is not known is read as [`Code::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $code,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }
            /// Of the HTTP response. Problems that only a box finds, without a response, have one as well.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$code => $status,)* }
            }
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title,)* }
            }
            #[must_use]
            pub const fn what_to_do(self) -> &'static str {
                match self { $(Self::$code => $what_to_do,)* }
            }
        }
    };
}

codes! {
    InviteUsed "invite-used" 409
        "The invite has been used"
        "Ask whoever runs the mesh for another invite: each one lets in one box. If you never used it, say so, since \
         somebody else did.";
    InviteExpired "invite-expired" 410
        "The invite has expired"
        "Ask whoever runs the mesh for another invite.";
    InviteMistyped "invite-mistyped" 400
        "The invite is mistyped or cut off"
        "Copy the whole line again, from RELAYBOX to its end, or scan the QR code.";
    InviteForeign "invite-foreign" 403
        "The invite is for another mesh"
        "Use an invite of this mesh. To move the box to the other mesh, leave this one first: relayd leave --yes.";
    InviteForged "invite-forged" 403
        "The invite was not made by this mesh"
        "Do not use it. Ask whoever runs the mesh for an invite, over a channel that you trust.";
    InviteRevoked "invite-revoked" 403
        "The invite has been revoked"
        "Ask whoever runs the mesh why, and for another invite.";
    WrongPin "wrong-pin" 403
        "The server is not the coordinator that the invite names"
        "Check the network: somebody may stand between. If the coordinator got another TLS key, ask for another invite.";
    WrongRoot "wrong-root" 403
        "The coordinator does not belong to the mesh that the invite names"
        "Do not go on. Ask whoever runs the mesh which coordinator is the right one.";
    CoordinatorRefused "coordinator-refused" 403
        "The coordinator's key is expired or revoked"
        "Whoever runs the mesh certifies the coordinator again: coordinator-lite certify. Streams go on meanwhile.";
    TwoCoordinators "two-coordinators" 409
        "Two coordinators claim the same mesh"
        "Stop the one that should not run. If both came from one backup, keep the one with the newer database.";
    ClockOff "clock-off" 400
        "The clocks of box and coordinator are too far apart"
        "The box sets its clock from the coordinator and tries again. If this stays, check the coordinator's clock.";
    NameTaken "name-taken" 409
        "Another box has this name"
        "Join again with another name: relayd join INVITE --name NAME. It begins with the name in the invite.";
    NameRefused "name-refused" 403
        "The invite does not grant this name"
        "Use the name in the invite, or that name with a dash and more behind it.";
    KeyTaken "key-taken" 409
        "Another box has this WireGuard key"
        "Make another key: remove mesh/wireguard.key from the box's data directory, and join again.";
    StreamTaken "stream-taken" 409
        "Another box owns a stream of this name"
        "Choose another name for the stream, or ask whoever runs the mesh to free this one.";
    StreamUnknown "stream-unknown" 404
        "No box of this mesh publishes a stream of this name"
        "Check the name: capitals count. A stream is known from the moment on at which a box publishes under its name.";
    BoxRevoked "box-revoked" 403
        "The box has been revoked"
        "Ask whoever runs the mesh why. To come back, forget this membership (relayd leave --yes), and join with \
         another invite.";
    BoxUnknown "box-unknown" 404
        "No box of this name or key is a member"
        "Check the name. If it is this box, forget this membership (relayd leave --yes), and join with another invite.";
    BoxRefused "box-refused" 403
        "What the box shows does not make it a member"
        "Forget this membership (relayd leave --yes), and join with another invite.";
    MembershipLapsed "membership-lapsed" 403
        "The membership ended"
        "The box was away from the coordinator for more than 44 days: forget this membership (relayd leave --yes), and join \
         with another invite.";
    AddressSpaceFull "address-space-full" 507
        "No address is left"
        "Whoever runs the mesh finds out which boxes are gone: coordinator-lite box list.";
    DatabaseLocked "database-locked" 503
        "The coordinator's database is locked"
        "Nothing was lost; try again. If this stays, find who else has the file open: coordinator-lite doctor.";
    DiskFull "disk-full" 507
        "The coordinator's disk is full"
        "Nothing was lost. Whoever runs the mesh makes room, and then it goes on by itself.";
    DatabaseCorrupt "database-corrupt" 500
        "The coordinator's database is damaged"
        "Whoever runs the mesh restores the last backup: coordinator-lite restore. Boxes keep what they know.";
    DatabaseReadOnly "database-read-only" 503
        "The coordinator can't write to its database"
        "Nothing was lost. Whoever runs the mesh gives the data directory back to the service's user: coordinator-lite \
         doctor.";
    DatabaseNewer "database-newer" 500
        "The coordinator's database was made by newer software"
        "Whoever runs the mesh updates coordinator-lite, or restores the copy that was made before the update.";
    RequestForged "request-forged" 401
        "The request is not signed by the box that it names"
        "Restart the box. If this stays, its identity is damaged: forget it (relayd leave --yes), and join with another \
         invite.";
    RequestReplayed "request-replayed" 409
        "The request was made before"
        "Nothing to do: it has been answered once. If this repeats, something between box and coordinator repeats it.";
    TryAgain "try-again" 503
        "The coordinator can't answer now"
        "The box tries again by itself.";
    TooManyRequests "too-many-requests" 429
        "Too many requests"
        "The box waits and tries again by itself.";
    TooLarge "too-large" 413
        "The request is too large"
        "Update both the box and the coordinator; if this stays, report it.";
    Malformed "malformed" 400
        "The request can't be read"
        "Update both the box and the coordinator; if this stays, report it.";
    UnknownVersion "unknown-version" 400
        "It was made by newer software"
        "Update the software that shows this.";
    StaleMap "stale-map" 409
        "The map is older than the one that is known"
        "The box asks for a whole map by itself. If this stays after a restore, restart the coordinator.";
    NotFound "not-found" 404
        "There is nothing at this address"
        "Check the address; the coordinator may be older than the box.";
    MethodNotAllowed "method-not-allowed" 405
        "This method has no meaning here"
        "Use one of the methods that the field Allow names.";
    Unauthorized "unauthorized" 401
        "Only the operator may see this"
        "Open it on the coordinator's own machine, or send the operator's token: it is in the data directory.";
    Forbidden "forbidden" 403
        "This box may not do that"
        "Do it from the box that owns it, or ask whoever runs the mesh.";
    Internal "internal" 500
        "The coordinator failed"
        "Try again; if this stays, report it with the coordinator's log.";
    Other "other" 500
        "A problem that this software does not know"
        "Read the detail, and update the software that shows this.";
}

/// The name is none of a code's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a problem")]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;
    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name).ok_or(UnknownCode)
    }
}
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}
impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(ByName)
    }
}

struct ByName;

impl Visitor<'_> for ByName {
    type Value = Code;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a problem")
    }
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Code, E> {
        Ok(name.parse().unwrap_or(Code::Other))
    }
}
