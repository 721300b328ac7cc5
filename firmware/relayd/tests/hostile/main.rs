//! The failure cases that every relay meets, each published as bytes to a real box; verdicts come from outside code.

mod cases;
mod laboratory;
mod programme;
mod verdict;
