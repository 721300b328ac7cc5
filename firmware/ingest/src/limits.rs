//! The named upper bounds of everything a publisher can make grow.

/// Bounds on connections, sizes, rates and times. Complete and immutable; [`Default`] fits a box at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open sockets, publishing or not. One more is closed as soon as it is accepted.
    pub connections: usize,
    /// Connections of one address that do not publish yet: one that opens sockets and says nothing leaves places for
    /// others. An IPv6 address counts with its whole /64.
    pub waiting_per_address: usize,
    /// Connections that publish at the same time. One that was taken over no longer counts.
    pub publishers: usize,
    /// Wrong keys and unknown applications one address may try in a minute before it is refused unheard.
    /// An IPv6 address counts with its whole /64.
    pub wrong_attempts_per_minute: u32,
    /// Length of one RTMP message while publishing: a keyframe must fit.
    pub message_bytes: u32,
    /// Length of one RTMP message before publishing: only commands are due there.
    pub command_bytes: u32,
    /// What the peer may set as chunk size. A bigger chunk costs no memory here, since chunks are never held;
    /// the protocol itself treats all beyond 16777215 as that (RTMP 1.0, 5.4.1).
    pub chunk_bytes: u32,
    /// Chunk streams of one connection; encoders use two to five.
    pub chunk_streams: usize,
    /// Commands of one connection, from first to last.
    pub commands: u32,
    /// Bytes, handshake included, before publishing begins.
    pub preamble_bytes: u64,
    /// Time before publishing begins.
    pub preamble_ms: u64,
    /// Mean rate of a connection, measured by a bucket that holds `burst_ms` of it.
    pub bits_per_second: u64,
    pub burst_ms: u64,
    /// Time without a byte after which a connection is over.
    pub idle_ms: u64,
    /// Time without a byte after which the peer is asked for a sign of life.
    pub ping_ms: u64,
    /// Time for the peer to take an answer.
    pub write_ms: u64,
    /// Time for the peer to read the last answer before the socket is closed under it.
    pub linger_ms: u64,
    /// Time from a refused request to the answer, so that the answer's time tells nothing about the key.
    pub refusal_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            waiting_per_address: 32,
            publishers: 32,
            wrong_attempts_per_minute: 10,
            message_bytes: 8 << 20,
            command_bytes: 64 << 10,
            chunk_bytes: 0xFF_FFFF,
            chunk_streams: 32,
            commands: 256,
            preamble_bytes: 256 << 10,
            preamble_ms: 10_000,
            bits_per_second: 80_000_000,
            burst_ms: 5_000,
            idle_ms: 15_000,
            ping_ms: 5_000,
            write_ms: 5_000,
            linger_ms: 1_000,
            refusal_ms: 250,
        }
    }
}
