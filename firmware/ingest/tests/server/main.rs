//! `ingest::serve` on loopback, against scripted publishers and Debian's ffmpeg.

mod client;
mod ffmpeg;
mod limits;
mod publishing;
mod recorder;
