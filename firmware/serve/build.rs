//! Builds the box's pages into the binary.

#[path = "../../web/embed.rs"]
mod embed;

fn main() {
    embed::embed("../../web/dist", &["/index.html", "/player.html", "/studio.html"]);
}
