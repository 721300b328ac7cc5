//! The root file system: Debian by mmdebstrap from what is locked, and the box laid over it.
//!
//! Debian alone is kept as an archive and made anew only when the lock or the recipe changes. Nothing is ever mounted in
//! this machine's own namespace.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::lock::Locked;
use super::pool::Pool;
use super::recipe::{Board, Partitions, Recipe};
use super::step::Step;
use crate::deb::Arch;
use crate::{command, cross};

/// Where the packages lie while they are installed.
const PACKAGES: &str = "/mnt";

/// Files of the slot that firmware has to find elsewhere.
pub(super) const SLOT: &str = "slot";

/// What a build leaves behind that says when and where it was, or is of no use on a read-only root.
const LEFT: &str = "
    rm -rf dev/* run/* tmp/* var/cache/* var/log/* var/lib/apt/lists/* var/lib/systemd/* var/lib/dbus var/tmp/*
    rm -f etc/machine-id etc/hostname etc/resolv.conf etc/*- etc/.pwd.lock etc/apt/sources.list etc/apt/apt.conf.d/*mmdebstrap*
    rm -f etc/dpkg/dpkg.cfg.d/*mmdebstrap* var/lib/dpkg/*-old var/lib/dpkg/lock* var/lib/dpkg/triggers/Lock
    rm -f initrd.img initrd.img.old vmlinuz vmlinuz.old
    mkdir -p data var/lib/relaybox var/lib/relaybox-clock
";

/// Debian as it is locked.
pub(super) struct Debian<'a> {
    pub(super) name: &'a str,
    pub(super) arch: Arch,
    pub(super) recipe: &'a Recipe,
    pub(super) packages: &'a [Locked],
    pub(super) hooks: &'a [String],
}

impl Debian<'_> {
    /// In an archive.
    pub(super) fn pack(&self, dir: &Path, pool: &Pool) -> Result<PathBuf> {
        let Debian { name, arch, recipe, packages, hooks } = *self;
        let archive = dir.join(format!("{name}.tar"));
        let mut inputs: Vec<String> = packages.iter().map(|package| package.sha256.clone()).collect();
        inputs.extend(recipe.without.iter().chain(&recipe.within).chain(hooks).cloned());
        inputs.push(super::step::tree(&command::root().join("image/initramfs"))?);
        let Some(step) = Step::due(&archive, &inputs.join("\n"))? else { return Ok(archive) };
        eprintln!("{name}: {} Debian packages of {}, with mmdebstrap", packages.len(), arch.name());
        let repository = dir.join(format!("{name}.repository"));
        pool.repository(packages, &repository)?;
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        let mut mmdebstrap = command::program("mmdebstrap");
        mmdebstrap.args(["--mode=root", "--variant=apt", "--format=tar", "--quiet"]);
        mmdebstrap.arg(format!("--architectures={}", arch.name()));
        mmdebstrap.arg("--aptopt=Apt::Install-Recommends \"false\"");
        mmdebstrap.args(recipe.without.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
        mmdebstrap.args(recipe.within.iter().map(|path| format!("--dpkgopt=path-include={path}")));
        mmdebstrap.arg(format!("--include={}", names.join(","))).args(hooks);
        // Whatever is new in it has the time of the newest file of a package, wherever and whenever it is made.
        mmdebstrap.env("SOURCE_DATE_EPOCH", newest(packages, pool)?.to_string()).env("INITRD", "No");
        mmdebstrap.env("TMPDIR", dir).arg(&recipe.suite).arg(&archive);
        mmdebstrap.arg(format!("deb [trusted=yes] copy:{} ./", repository.display()));
        command::run_as(&format!("mmdebstrap {} {}", recipe.suite, archive.display()), &mut mmdebstrap)?;
        fs::remove_dir_all(&repository).with_context(|| format!("clearing {}", repository.display()))?;
        step.done()?;
        Ok(archive)
    }
}

/// Seconds since 1970 at which the youngest of these packages was made: `ar` keeps it (ar(5)).
fn newest(packages: &[Locked], pool: &Pool) -> Result<u64> {
    let mut newest = 0;
    for package in packages {
        let path = pool.path(package);
        let mut head = [0; 36];
        let file = fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        std::io::Read::read_exact(&mut &file, &mut head)
            .with_context(|| format!("reading {}", path.display()))?;
        // The magic is 8 bytes, a name 16; the time is 12.
        let time = String::from_utf8_lossy(&head[24..]).trim().parse::<u64>();
        newest = newest.max(time.with_context(|| format!("{} is no package", path.display()))?);
    }
    Ok(newest)
}

/// Hooks for Debian of a box: a small initrd, with what boards are started from.
pub(super) fn hooks() -> Vec<String> {
    let from = command::root().join("image/initramfs");
    vec![
        format!("--essential-hook=sync-in {} /", from.display()),
        "--customize-hook=chroot \"$1\" sh -c 'mkinitramfs -o /boot/initrd.img $(ls /usr/lib/modules)'"
            .to_owned(),
        "--customize-hook=chroot \"$1\" sh -c 'ln -s vmlinuz-$(ls /usr/lib/modules) /boot/vmlinuz'"
            .to_owned(),
        "--customize-hook=rm -f \"$1\"/boot/System.map-* \"$1\"/boot/initrd.img-*".to_owned(),
    ]
}

pub(super) struct Box<'a> {
    pub(super) board: &'a Board,
    pub(super) recipe: &'a Recipe,
    pub(super) partitions: &'a Partitions,
    pub(super) version: &'a str,
    /// Seconds since 1970, of everything that is made here.
    pub(super) epoch: u64,
}

impl Box<'_> {
    /// Lays the box over Debian, and packs all of it.
    pub(super) fn lay_out(&self, debian: &Path, packages: &[PathBuf], dir: &Path) -> Result<PathBuf> {
        let archive = dir.join("root.tar");
        let root = dir.join("root");
        let Some(step) = Step::due(&archive, &self.inputs(debian, packages)?)? else { return Ok(archive) };
        eprintln!("{}: the box over Debian", self.board.id);
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("clearing {}", root.display()))?;
        }
        fs::create_dir(&root).with_context(|| format!("making {}", root.display()))?;
        let mut unpack = command::program("tar");
        unpack.args(["--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file"]);
        command::output(unpack.arg(debian).arg("--directory").arg(&root))?;
        over(&command::root().join("image/root"), &root)?;
        self.install(packages, &root, dir)?;
        self.write(&root)?;
        device_trees(&root)?;
        command::output(command::program("sh").args(["-ec", LEFT]).current_dir(&root))?;
        fs::write(root.join("etc/machine-id"), "").context("writing etc/machine-id")?;
        fs::write(root.join("etc/hostname"), "relaybox\n").context("writing etc/hostname")?;
        symlink("../run/systemd/resolve/stub-resolv.conf", root.join("etc/resolv.conf"))
            .context("writing etc/resolv.conf")?;
        self.hand_out(&root, &dir.join(SLOT))?;
        self.pack(&root, &archive)?;
        fs::remove_dir_all(&root).with_context(|| format!("clearing {}", root.display()))?;
        step.done()?;
        Ok(archive)
    }

    fn inputs(&self, debian: &Path, packages: &[PathBuf]) -> Result<String> {
        let mut inputs = vec![Step::stamp(debian)?, self.version.to_owned(), self.epoch.to_string()];
        inputs.push(format!("{:?} {:?}", self.recipe.enabled, self.recipe.masked));
        inputs.push(super::step::tree(&self.board.folder())?);
        inputs.push(self.partitions.script());
        for package in packages {
            inputs.push(super::mirror::hash(package)?);
        }
        inputs.push(super::step::tree(&command::root().join("image"))?);
        Ok(inputs.join("\n"))
    }

    fn install(&self, packages: &[PathBuf], root: &Path, dir: &Path) -> Result<()> {
        let folder = dir.join("packages");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("clearing {}", folder.display()))?;
        }
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut words = ["dpkg", "--force-confold", "--install"].map(str::to_owned).to_vec();
        for package in packages {
            let name = package.file_name().context("a package has a name")?.to_string_lossy().into_owned();
            fs::copy(package, folder.join(&name))
                .with_context(|| format!("copying {}", package.display()))?;
            words.push(format!("{PACKAGES}/{name}"));
        }
        let inside = |words: &[&str]| {
            let mounts = [(folder.as_path(), PACKAGES)];
            let time = self.epoch.to_string();
            let env = [("DEBIAN_FRONTEND", "noninteractive"), ("SOURCE_DATE_EPOCH", time.as_str())];
            command::output(command::program("unshare").args(cross::entered(root, &mounts, "/", &env, words)))
        };
        inside(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        let with = |verb: &'static str, units: &[String]| -> Result<()> {
            let units = units.iter().map(String::as_str);
            inside(&["systemctl", verb].into_iter().chain(units).collect::<Vec<_>>()).map(drop)
        };
        with("enable", &self.recipe.enabled)?;
        with("mask", &self.recipe.masked)
    }

    /// What is known only now: ids of partitions, consoles, the version.
    fn write(&self, root: &Path) -> Result<()> {
        for (from, to) in [("fstab", "etc/fstab"), ("slot.cfg", "boot/grub.cfg")] {
            let from = command::root().join("image").join(from);
            let text = fs::read_to_string(&from).with_context(|| format!("reading {}", from.display()))?;
            let filled = self.board.fill(self.partitions, &text);
            let filled = filled.with_context(|| format!("filling in {}", from.display()))?;
            fs::write(root.join(to), filled).with_context(|| format!("writing {to}"))?;
        }
        let release = root.join("usr/lib/os-release");
        let text = fs::read_to_string(&release).context("Debian has no os-release")?;
        let ours = format!("IMAGE_ID=relaybox-{}\nIMAGE_VERSION={}\n", self.board.id, self.version);
        fs::write(release, text + &ours).context("writing os-release")
    }

    /// What of the slot lies on the loader's partition as well, since firmware reads nothing else.
    fn hand_out(&self, root: &Path, to: &Path) -> Result<()> {
        if to.exists() {
            fs::remove_dir_all(to).with_context(|| format!("clearing {}", to.display()))?;
        }
        for files in self.board.boot.files.iter().filter(|files| files.package.is_none()) {
            let folder = to.join(&files.from);
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            for name in &files.names {
                let from = root.join(&files.from).join(name);
                fs::copy(&from, folder.join(name)).with_context(|| format!("copying {}", from.display()))?;
            }
        }
        Ok(())
    }

    /// In one order, with the times of packages and none after the epoch.
    fn pack(&self, root: &Path, archive: &Path) -> Result<()> {
        let mut tar = command::program("tar");
        tar.args(["--create", "--sort=name", "--numeric-owner", "--format=posix"]);
        tar.args(["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]);
        tar.args(["--xattrs", "--xattrs-include=*", "--clamp-mtime"]).arg(format!("--mtime=@{}", self.epoch));
        command::output(tar.arg("--file").arg(archive).arg("--directory").arg(root).arg(".")).map(drop)
    }
}

/// Gives the loader one name for the folder of the kernel's device trees, which kernels keep in different places. There is
/// none on a board whose firmware knows its own devices.
fn device_trees(root: &Path) -> Result<()> {
    for (folder, inner) in [("usr/lib", "broadcom"), ("usr/lib/modules", "dtb/broadcom")] {
        for entry in fs::read_dir(root.join(folder)).with_context(|| format!("reading {folder}"))? {
            let entry = entry.with_context(|| format!("reading {folder}"))?;
            if entry.path().join(inner).is_dir() {
                let to = format!("../{folder}/{}/{inner}", entry.file_name().to_string_lossy());
                return symlink(to, root.join("boot/dtb")).context("a name for the device trees");
            }
        }
    }
    Ok(())
}

/// Copies our own files, which everybody may read, and run where they can be run.
fn over(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(|| format!("looking at {}", source.display()))?;
        let mode = if kind.is_dir() {
            if !target.is_dir() {
                fs::create_dir(&target).with_context(|| format!("making {}", target.display()))?;
            }
            over(&source, &target)?;
            continue;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
            let meta = source.metadata().with_context(|| format!("looking at {}", source.display()))?;
            if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 }
        };
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))
            .with_context(|| format!("setting the rights of {}", target.display()))?;
    }
    Ok(())
}
