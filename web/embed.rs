//! Turns web/dist into a table of files inside a binary: what `cargo xtask web` built is what is served. A module of the build
//! scripts of those who serve pages. Refuses to build without the pages.
//!
//! RELAYBOX_WEB_DIST names another directory to take.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

const DIRECTORY_VARIABLE: &str = "RELAYBOX_WEB_DIST";

/// Writes `files.rs` with those of the pages that are named, and all assets. `dist` is seen from the package's directory.
pub(crate) fn embed(dist: &str, pages: &[&str]) {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={DIRECTORY_VARIABLE}");
    match table(dist, pages) {
        Ok(text) => {
            let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("files.rs");
            fs::write(&out, text).expect("cargo's output directory can be written");
        }
        Err(why) => println!("cargo::error={why}: run `cargo xtask web`"),
    }
}

/// The Rust source of the table, sorted by path.
fn table(dist: &str, pages: &[&str]) -> Result<String, String> {
    let root = match env::var_os(DIRECTORY_VARIABLE) {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(dist),
    };
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, "", &mut files)
        .map_err(|error| format!("the pages are not built ({}: {error})", root.display()))?;
    if let Some(missing) = pages.iter().find(|page| !files.iter().any(|(path, _)| path == *page)) {
        return Err(format!("the pages are not built ({}{missing} is missing)", root.display()));
    }
    files.retain(|(path, _)| !path.ends_with(".html") || pages.contains(&path.as_str()));
    files.sort();
    let mut text = String::from("static FILES: &[File] = &[\n");
    for (path, file) in files {
        let file = file.canonicalize().map_err(|error| format!("{}: {error}", file.display()))?;
        let content = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&content);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let content_type = content_type(&path);
        let _ = writeln!(
            text,
            "File {{ path: {path:?}, content_type: {content_type:?}, etag: {etag:?}, content: include_bytes!({file:?}) }},"
        );
    }
    text.push_str("];\n");
    Ok(text)
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{prefix}/{}", name.to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else if !path.ends_with(".map") {
            files.push((path, entry.path()));
        }
    }
    Ok(())
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
