//! `relayd qr TEXT`: a QR code for the screen of a box, to be read by a phone's camera.
//!
//! Half blocks, two modules to a character: every console has them. It draws, and nothing else.

use anyhow::{Context as _, Result};
use clap::Parser;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    text: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    print!("{}", code(&args.text)?);
    Ok(())
}

/// Dark on light, whatever the console's colours are.
fn code(text: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).context("drawing the QR code")?;
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let lines = drawn.lines().map(|line| format!("\u{1b}[1;37;40m{line}\u{1b}[0m\n"));
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_takes_seventeen_rows() {
        // Version 2 has 25 modules (ISO/IEC 18004), and 4 of margin on each side.
        let code = super::code("http://192.168.178.123").unwrap();
        assert_eq!(code.lines().count(), 17);
        assert!(code.lines().all(|line| line.starts_with("\u{1b}[1;37;40m")), "{code}");
    }
}
