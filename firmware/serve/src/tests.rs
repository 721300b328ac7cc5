//! The server as its clients see it: real sockets, raw HTTP.

mod access;
mod bounds;
mod flv;
mod harness;
mod links;
mod media;
mod pages;
mod setting_up;
mod tls;
