//! media child
fn main() {}
