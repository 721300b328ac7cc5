//! The chroot: made by mmdebstrap from the mirrors this machine uses, entered in a mount namespace of its own.
//!
//! Nothing is ever mounted in the machine's own namespace, so nothing has to be unmounted, however we end: with the
//! last process in it the namespace goes, and its mounts with it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::command;

/// The file `cross.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    suite: String,
    native: String,
    pub(super) foreign: String,
    pub(super) target: String,
    emulator: String,
    packages: Vec<String>,
    env: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(super) struct Chroot {
    pub(super) plan: Plan,
    root: PathBuf,
    emulator: String,
}

/// Mounts what a program needs, and runs it inside. `$1` is the chroot, then comes `FROM TO` for each folder, `--`, the
/// working folder, and the program with its arguments. The shell stays, as the first process of the namespace: the
/// kernel shields that one from its own fatal signals, and a crash would look like a hang.
const ENTER: &str = r#"
set -e
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
for node in null zero full random urandom; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
folder=$2; shift 2
chroot "$root" env -i --chdir="$folder" "$@"
"#;

impl Chroot {
    /// The chroot of this plan, made if there is none yet or the plan has changed.
    pub(super) fn ensure(plan_path: &Path, dir: &Path) -> Result<Chroot> {
        let text = std::fs::read_to_string(plan_path)
            .with_context(|| format!("could not read {}", plan_path.display()))?;
        let plan: Plan = toml::from_str(&text)
            .with_context(|| format!("{} is not as it should be", plan_path.display()))?;
        let arch = command::output(command::program("dpkg").arg("--print-architecture"))?;
        ensure!(
            arch.trim() == plan.native,
            "the chroot is for machines of {}, and this is one of {}",
            plan.native,
            arch.trim()
        );
        let root = dir.join(&plan.suite);
        let stamp = dir.join(format!("{}.plan", plan.suite));
        if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&text) {
            make(&plan, &root)?;
            std::fs::write(&stamp, &text).with_context(|| format!("could not write {}", stamp.display()))?;
        }
        let emulator = format!("/usr/bin/{}", plan.emulator);
        std::fs::copy(&emulator, root.join(&emulator[1..])).with_context(|| format!("no {emulator}"))?;
        Ok(Chroot { plan, root, emulator })
    }

    /// Where a path inside lies for us.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// The emulator's path inside.
    pub(super) fn emulator(&self) -> &str {
        &self.emulator
    }

    /// Arguments of `unshare` that run these words inside, with nothing of our environment.
    pub(super) fn unshared(
        &self,
        mounts: &[(&Path, &str)],
        folder: &str,
        env: &[(&str, &str)],
        words: &[&str],
    ) -> Vec<String> {
        let own = self.plan.env.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let env: Vec<(&str, &str)> = own.chain(env.iter().copied()).collect();
        entered(&self.root, mounts, folder, &env, words)
    }
}

/// Arguments of `unshare` that run these words in a chroot, with nothing of our environment.
pub(crate) fn entered(
    root: &Path,
    mounts: &[(&Path, &str)],
    folder: &str,
    env: &[(&str, &str)],
    words: &[&str],
) -> Vec<String> {
    let options = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL"];
    let shell = ["--", "sh", "-c", ENTER, "enter"];
    let mut all: Vec<String> = options.into_iter().chain(shell).map(str::to_owned).collect();
    all.push(root.to_string_lossy().into_owned());
    for (from, to) in mounts {
        all.extend([from.to_string_lossy().into_owned(), (*to).to_owned()]);
    }
    all.extend(["--".to_owned(), folder.to_owned(), "PATH=/usr/bin:/bin:/usr/sbin:/sbin".to_owned()]);
    all.extend(["HOME=/tmp".to_owned(), "LANG=C.UTF-8".to_owned()]);
    all.extend(env.iter().map(|(key, value)| format!("{key}={value}")));
    all.extend(words.iter().map(|word| (*word).to_owned()));
    all
}

fn make(plan: &Plan, root: &Path) -> Result<()> {
    let options = [
        "--variant=apt".to_owned(),
        format!("--architectures={},{}", plan.native, plan.foreign),
        format!("--include={}", plan.packages.join(",")),
    ];
    debian(&plan.suite, root, &options)
}

/// A Debian of this suite in a folder, without recommends, in place of what was there.
pub(crate) fn debian(suite: &str, root: &Path, options: &[String]) -> Result<()> {
    if root.exists() {
        std::fs::remove_dir_all(root).with_context(|| format!("could not remove {}", root.display()))?;
    }
    std::fs::create_dir_all(root).with_context(|| format!("could not make {}", root.display()))?;
    let sources = sources_here(suite, Breadth::Main)?;
    eprintln!("making the chroot {} with mmdebstrap: a few minutes, up to 3 GB", root.display());
    let mut mmdebstrap = command::program("mmdebstrap");
    mmdebstrap.args(["--mode=root", "--aptopt=Apt::Install-Recommends \"false\""]).args(options);
    mmdebstrap.arg(suite).arg(root).arg("-").stdin(Stdio::piped());
    let mut child = mmdebstrap.spawn().context("could not start mmdebstrap")?;
    child
        .stdin
        .take()
        .context("mmdebstrap takes no input")?
        .write_all(sources.as_bytes())
        .context("mmdebstrap takes no input")?;
    let status = child.wait().context("could not wait for mmdebstrap")?;
    ensure!(status.success(), "mmdebstrap ended with {status}");
    Ok(())
}

/// How much of Debian apt is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breadth {
    Main,
    /// Firmware as well that only its makers can build, and what is ported back, which apt takes when it is asked by name.
    Boards,
}

/// apt's lines for the suite, from the mirrors that this machine's apt uses.
pub(crate) fn sources_here(suite: &str, breadth: Breadth) -> Result<String> {
    let mirrors = command::program("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        // Whatever another command of ours told apt.
        .env_remove("APT_CONFIG")
        .stdin(Stdio::null())
        .output()
        .context("could not start apt-get")?;
    sources(suite, breadth, &String::from_utf8_lossy(&mirrors.stdout))
}

fn sources(suite: &str, breadth: Breadth, mirrors: &str) -> Result<String> {
    let is_security = |mirror: &&str| mirror.contains("security");
    let security = mirrors.lines().find(is_security);
    let main = mirrors.lines().find(|mirror| !is_security(mirror));
    let main = main.context("apt knows no mirror: has `apt-get update` been run?")?;
    let parts = if breadth == Breadth::Boards { "main non-free-firmware" } else { "main" };
    let mut text = format!("deb {main} {suite} {parts}\ndeb {main} {suite}-updates {parts}\n");
    if breadth == Breadth::Boards {
        text.push_str(&format!("deb {main} {suite}-backports {parts}\n"));
    }
    if let Some(security) = security {
        text.push_str(&format!("deb {security} {suite}-security {parts}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirrors_of_the_machine_serve_the_suite() {
        let mirrors = "http://mirror.example/debian-security/\nhttp://mirror.example/debian/\nhttp://mirror.example/debian/\n";
        assert_eq!(
            sources("trixie", Breadth::Main, mirrors).unwrap(),
            "deb http://mirror.example/debian/ trixie main\n\
             deb http://mirror.example/debian/ trixie-updates main\n\
             deb http://mirror.example/debian-security/ trixie-security main\n"
        );
        let wide = sources("trixie", Breadth::Boards, mirrors).unwrap();
        assert!(wide.contains("/debian/ trixie-backports main non-free-firmware\n"), "{wide}");
        assert!(sources("trixie", Breadth::Main, "").is_err());
    }

    #[test]
    fn the_plan_of_this_tree_is_well_formed() {
        let text = std::fs::read_to_string(command::root().join("cross.toml")).unwrap();
        let plan: Plan = toml::from_str(&text).unwrap();
        assert!(plan.packages.iter().any(|package| package.ends_with(&format!(":{}", plan.foreign))));
    }
}
