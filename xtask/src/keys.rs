//! `cargo xtask keys`: the keys that updates of images are signed with, made by OpenSSL on a machine without a network.
//!
//! A root, whose certificate is the keyring that images carry, and a signer, which the root vouches for and which signs
//! bundles. Each key is locked with a passphrase. It overwrites nothing, sends nothing, and signs no update.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::apt::{Consent, Purpose};
use crate::{apt, command};

/// A box is switched on years after its image was made, and has no clock before it has a network: 30 years.
const ROOT_DAYS: u32 = 10_950;
/// A signer that is lost is of use to nobody after that.
const SIGNER_DAYS_MAX: u32 = 1_100;

/// What the certificates say of themselves (x509v3_config(5)). RAUC is told to ask for `codeSigning`.
const EXTENSIONS: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = @NAME@
[root]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[signer]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, codeSigning
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Read the passphrases of all keys from this file, and ask for none
    #[arg(long, global = true, value_name = "FILE")]
    passphrase: Option<PathBuf>,
    /// Install missing Debian packages without a question
    #[arg(long, global = true)]
    yes: bool,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// The root: `root.key`, to be kept offline, and `keyring.pem`, which images carry
    Root {
        /// A folder that does not exist yet
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// How the root is called in its certificate
        #[arg(long, default_value = "Relaybox updates")]
        name: String,
    },
    /// A signer, vouched for by the root: `signer.key` and `signer.pem`, which sign updates
    Signer {
        /// The folder of the root
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// A folder that does not exist yet
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Who signs
        #[arg(long)]
        name: String,
        /// For how long
        #[arg(long, default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=i64::from(SIGNER_DAYS_MAX)))]
        days: u32,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    apt::require(&[Purpose::Keys], Consent::from_yes(args.yes))?;
    let lock = args.passphrase.as_ref().map(|path| format!("file:{}", path.display()));
    let smith = Smith { lock };
    match &args.what {
        What::Root { dir, name } => smith.root(dir, name),
        What::Signer { root, dir, name, days } => smith.signer(root, dir, name, *days),
    }
}

struct Smith {
    /// Where OpenSSL has the passphrases from; none: it asks.
    lock: Option<String>,
}

impl Smith {
    fn root(&self, dir: &Path, name: &str) -> Result<()> {
        fresh(dir)?;
        settings(dir, name)?;
        self.key(dir, "root.key")?;
        let days = ROOT_DAYS.to_string();
        let words =
            ["req", "-x509", "-new", "-sha256", "-key", "root.key", "-days", &days, "-config", "settings"];
        self.openssl(
            dir,
            &[&words[..], &["-extensions", "root", "-out", "keyring.pem"]].concat(),
            "-passin",
        )?;
        cleared(dir, &["settings"])?;
        println!("The root of updates: {}", fingerprint(dir, "keyring.pem")?);
        println!(
            "  {}  keep it offline, twice; who has it and its passphrase rules all boxes",
            dir.join("root.key").display()
        );
        println!("  {}  what images carry, for everybody to see", dir.join("keyring.pem").display());
        Ok(())
    }

    fn signer(&self, root: &Path, dir: &Path, name: &str, days: u32) -> Result<()> {
        let root = root.canonicalize().with_context(|| format!("there is no root in {}", root.display()))?;
        let (authority, authority_key) = (path(&root, "keyring.pem")?, path(&root, "root.key")?);
        fresh(dir)?;
        settings(dir, name)?;
        self.key(dir, "signer.key")?;
        let words =
            ["req", "-new", "-sha256", "-key", "signer.key", "-config", "settings", "-out", "request"];
        self.openssl(dir, &words, "-passin")?;
        let days = days.to_string();
        let words =
            ["x509", "-req", "-in", "request", "-sha256", "-days", &days, "-CA", &authority, "-CAkey"];
        let more = [&authority_key, "-extfile", "settings", "-extensions", "signer", "-out", "signer.pem"];
        self.openssl(dir, &[&words[..], &more].concat(), "-passin")?;
        cleared(dir, &["settings", "request"])?;
        let mut verify = command::program("openssl");
        verify.args(["verify", "-x509_strict", "-CAfile", &authority, "signer.pem"]).current_dir(dir);
        command::output(&mut verify).context("the root does not vouch for what was made")?;
        println!("A signer, {name}, for {days} days: {}", fingerprint(dir, "signer.pem")?);
        Ok(())
    }

    /// A curve that every OpenSSL of a box knows.
    fn key(&self, dir: &Path, name: &str) -> Result<()> {
        let words = [
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-aes-256-cbc",
            "-out",
            name,
        ];
        self.openssl(dir, &words, "-pass")
    }

    /// It asks for passphrases on the terminal itself.
    fn openssl(&self, dir: &Path, words: &[&str], takes_lock_by: &str) -> Result<()> {
        let mut openssl = command::program("openssl");
        openssl.args(words).current_dir(dir).stdin(Stdio::null());
        if let Some(lock) = &self.lock {
            openssl.args([takes_lock_by, lock]);
        }
        let status = openssl.status().context("starting openssl")?;
        ensure!(status.success(), "openssl {} ended with {status}", words[0]);
        Ok(())
    }
}

/// For its owner alone; one that is there is left as it is.
fn fresh(dir: &Path) -> Result<()> {
    ensure!(!dir.exists(), "{} is there: keys are never overwritten", dir.display());
    DirBuilder::new().mode(0o700).create(dir).with_context(|| format!("making {}", dir.display()))
}

fn settings(dir: &Path, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_.".contains(c);
    ensure!(
        (1..=64).contains(&name.len()) && name.chars().all(plain),
        "{name:?} is no name: letters, digits, dashes"
    );
    fs::write(dir.join("settings"), EXTENSIONS.replace("@NAME@", name)).context("writing OpenSSL's settings")
}

fn cleared(dir: &Path, names: &[&str]) -> Result<()> {
    names
        .iter()
        .try_for_each(|name| fs::remove_file(dir.join(name)).with_context(|| format!("removing {name}")))
}

fn path(dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(name);
    ensure!(path.is_file(), "there is no {}", path.display());
    Ok(path.to_string_lossy().into_owned())
}

fn fingerprint(dir: &Path, certificate: &str) -> Result<String> {
    let mut ask = command::program("openssl");
    ask.args(["x509", "-noout", "-fingerprint", "-sha256", "-in", certificate]).current_dir(dir);
    Ok(command::output(&mut ask)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        dir: PathBuf,
        smith: Smith,
    }

    impl Bench {
        fn new(name: &str) -> Bench {
            let dir = std::env::temp_dir().join(format!("xtask-keys-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("lock"), "correct horse\n").unwrap();
            let lock = Some(format!("file:{}", dir.join("lock").display()));
            Bench { dir, smith: Smith { lock } }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.dir.join(name)
        }

        fn openssl(&self, words: &str) -> Result<String> {
            let mut openssl = command::program("openssl");
            command::output(openssl.args(words.split(' ')).current_dir(&self.dir))
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }

    #[test]
    fn what_the_signer_signs_holds_by_its_keyring_alone() {
        let bench = Bench::new("chain");
        for root in ["root", "other"] {
            bench.smith.root(&bench.at(root), "Tests").unwrap();
        }
        bench.smith.signer(&bench.at("root"), &bench.at("signer"), "tester", 30).unwrap();
        let said = bench.openssl("x509 -noout -text -in signer/signer.pem").unwrap();
        assert!(
            said.contains("Code Signing") && said.contains("CA:FALSE") && said.contains("CN = tester"),
            "{said}"
        );
        let said = bench.openssl("x509 -noout -text -in root/keyring.pem").unwrap();
        assert!(said.contains("CA:TRUE, pathlen:0"), "{said}");
        fs::write(bench.at("update"), "an update").unwrap();
        let key = "-signer signer/signer.pem -inkey signer/signer.key -passin file:lock";
        bench.openssl(&format!("cms -sign -binary -in update -outform DER -out seal {key}")).unwrap();
        let verify =
            "cms -verify -binary -purpose any -inform DER -in seal -content update -out said -CAfile";
        bench.openssl(&format!("{verify} root/keyring.pem")).unwrap();
        assert!(bench.openssl(&format!("{verify} other/keyring.pem")).is_err(), "a stranger's root");
        fs::write(bench.at("update"), "another").unwrap();
        assert!(bench.openssl(&format!("{verify} root/keyring.pem")).is_err(), "another update");
    }

    #[test]
    fn keys_are_locked_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt as _;
        let bench = Bench::new("locked");
        bench.smith.root(&bench.at("root"), "Tests").unwrap();
        let key = fs::read_to_string(bench.at("root/root.key")).unwrap();
        assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
        assert_eq!(fs::metadata(bench.at("root")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(bench.at("root/root.key")).unwrap().permissions().mode() & 0o077, 0);
        assert!(
            bench
                .smith
                .root(&bench.at("root"), "Tests")
                .unwrap_err()
                .to_string()
                .contains("never overwritten")
        );
        assert_eq!(fs::read_to_string(bench.at("root/root.key")).unwrap(), key);
        assert_eq!(fs::read_dir(bench.at("root")).unwrap().count(), 2);
        assert!(bench.smith.root(&bench.at("new"), "a\n[x]").is_err(), "a name that is settings");
        assert!(bench.smith.signer(&bench.at("nowhere"), &bench.at("s"), "tester", 30).is_err());
    }
}
