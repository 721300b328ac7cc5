//! Which code each refusal of trust has, so that all who refuse say the same. Refuses to guess: every variant is named.

use trust::clock::ClockError;
use trust::map::MapError;
use trust::roster::RosterError;
use trust::{ChainError, CoordinatorError, DecodeError, PeerError, TicketError, VerifyError};

use super::Code;
use crate::enrol::{AnswerError, EnrolError};
use crate::request::RequestError;

impl From<&TicketError> for Code {
    fn from(error: &TicketError) -> Code {
        match error {
            TicketError::NotAnInvite
            | TicketError::Truncated { .. }
            | TicketError::Mistyped(_)
            | TicketError::TooLong => Code::InviteMistyped,
            TicketError::OtherVersion { .. } => Code::UnknownVersion,
            TicketError::Content(error) => match Code::from(error) {
                Code::UnknownVersion => Code::UnknownVersion,
                _ => Code::InviteForged,
            },
            TicketError::Forged(_) | TicketError::OtherSecret => Code::InviteForged,
            TicketError::Expired { .. } => Code::InviteExpired,
            TicketError::Foreign { .. } => Code::InviteForeign,
        }
    }
}

impl From<&DecodeError> for Code {
    fn from(error: &DecodeError) -> Code {
        match error {
            DecodeError::OtherVersion { .. } => Code::UnknownVersion,
            DecodeError::TooLong { .. } => Code::TooLarge,
            DecodeError::TooShort
            | DecodeError::OtherKind { .. }
            | DecodeError::Malformed
            | DecodeError::Trailing
            | DecodeError::NotCanonical
            | DecodeError::OutOfBounds(_) => Code::Malformed,
        }
    }
}

impl From<&ChainError> for Code {
    fn from(error: &ChainError) -> Code {
        match error {
            ChainError::Invite(VerifyError::Foreign { .. })
            | ChainError::Certificate(VerifyError::Foreign { .. }) => Code::InviteForeign,
            ChainError::Invite(VerifyError::Forged) => Code::InviteForged,
            ChainError::Certificate(VerifyError::Forged) => Code::BoxRefused,
            ChainError::InviteRevoked { .. } => Code::InviteRevoked,
            ChainError::InviteExpired { .. } => Code::InviteExpired,
            ChainError::BoxRevoked => Code::BoxRevoked,
            ChainError::Name { .. } => Code::NameRefused,
        }
    }
}

impl From<&CoordinatorError> for Code {
    fn from(error: &CoordinatorError) -> Code {
        match error {
            CoordinatorError::Certificate(_) => Code::WrongRoot,
            CoordinatorError::NotYet { .. } => Code::ClockOff,
            CoordinatorError::Expired { .. } | CoordinatorError::Revoked => Code::CoordinatorRefused,
            CoordinatorError::Back { .. } => Code::TwoCoordinators,
        }
    }
}

impl From<&PeerError> for Code {
    fn from(error: &PeerError) -> Code {
        match error {
            PeerError::Coordinator(error) => Code::from(error),
            PeerError::Chain(error) => Code::from(error),
            PeerError::Lapsed { .. } => Code::MembershipLapsed,
            PeerError::Early { .. } => Code::ClockOff,
            PeerError::Roster(RosterError::UsedUp(_)) => Code::InviteUsed,
            PeerError::Membership(_)
            | PeerError::OtherBox
            | PeerError::OtherInvite
            | PeerError::AddressOutside { .. }
            | PeerError::NoKey
            | PeerError::Binding(_)
            | PeerError::Rotation(_)
            | PeerError::Roster(RosterError::OtherInvite { .. } | RosterError::Full)
            | PeerError::AddressTaken { .. }
            | PeerError::KeyTaken => Code::BoxRefused,
        }
    }
}

impl From<&EnrolError> for Code {
    fn from(error: &EnrolError) -> Code {
        match error {
            EnrolError::Chain(error) => Code::from(error),
            EnrolError::Binding(_) => Code::BoxRefused,
        }
    }
}

impl From<&AnswerError> for Code {
    fn from(error: &AnswerError) -> Code {
        match error {
            AnswerError::Coordinator(error) => Code::from(error),
            AnswerError::Chain(error) => Code::from(error),
            AnswerError::Membership(_) => Code::WrongRoot,
            AnswerError::Map(error) => Code::from(error),
            AnswerError::Judged(error) => Code::from(error),
        }
    }
}

impl From<&MapError> for Code {
    fn from(error: &MapError) -> Code {
        match error {
            MapError::Signer(_) => Code::WrongRoot,
            MapError::Fork => Code::TwoCoordinators,
            MapError::OtherRecipient
            | MapError::Back { .. }
            | MapError::Gap { .. }
            | MapError::NotThere
            | MapError::TooMany
            | MapError::Diverged
            | MapError::DeltasFull => Code::StaleMap,
        }
    }
}

impl From<&RequestError> for Code {
    fn from(error: &RequestError) -> Code {
        match error {
            RequestError::OtherRequest | RequestError::Signature(_) => Code::RequestForged,
            RequestError::ClockOff { .. } => Code::ClockOff,
            RequestError::BeforeStart => Code::TryAgain,
            RequestError::Replayed => Code::RequestReplayed,
            RequestError::TooMany => Code::TooManyRequests,
        }
    }
}

impl From<&ClockError> for Code {
    fn from(error: &ClockError) -> Code {
        match error {
            ClockError::Coordinator(error) => Code::from(error),
            ClockError::Answer(_) | ClockError::OtherNonce => Code::WrongRoot,
            ClockError::TooSlow(_) => Code::TryAgain,
            ClockError::BelowFloor { .. } | ClockError::Back { .. } => Code::ClockOff,
        }
    }
}
