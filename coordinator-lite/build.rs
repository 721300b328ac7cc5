//! Builds the watch page into the binary.

#[path = "../web/embed.rs"]
mod embed;

fn main() {
    embed::embed("../web/dist", &["/watch.html"]);
}
