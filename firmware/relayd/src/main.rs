//! relayd
fn main() {}
