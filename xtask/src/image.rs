//! `cargo xtask image BOARD`: the image that is written to a card, from Debian as it is locked and this tree's packages.
//!
//! What it is made of is data in `image/` and `board/`. Every step is done again only when what it is made of changed. It
//! refuses to make an image of anything that is not locked, or one that is above its budget.

mod bmap;
mod carve;
mod disk;
mod foreign;
mod imager;
mod loader;
mod lock;
mod mirror;
mod pool;
mod recipe;
mod root;
mod sbom;
mod step;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::apt::{Consent, Purpose};
use crate::build::Profile;
use crate::deb::{self, Arch};
use crate::{apt, command};
use disk::Tools;
use lock::{Lock, Locked};
use mirror::{Mirror, NotServed};
use pool::Pool;
use recipe::Recipe;
pub(crate) use recipe::{Board, Partitions, Qemu, Role};
use step::Step;
pub(crate) use table::{entries, read as old_table};

/// What a friend downloads, at most.
const IMAGE_BYTES_MAX: u64 = 250_000_000;

/// The set of programs that make images, and the machine that they run on.
const TOOLS: &str = "tools";
const TOOLS_ARCH: Arch = Arch::Amd64;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// One of the folders in board/
    board: String,
    /// Only take the newest versions of Debian's packages into image/packages.lock
    #[arg(long)]
    relock: bool,
    /// Take this package of the daemon, and build none
    #[arg(long, value_name = "FILE")]
    relayd: Option<PathBuf>,
    /// Work here, and not in target/image/BOARD
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Where the image will be found, for Raspberry Pi Imager: a folder's address. This machine's own without a word
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Make it once more from nothing, in another folder, and fail unless both are the same bit for bit
    #[arg(long)]
    twice: bool,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pack {
    /// What is handed out.
    Whole,
    /// Only the disk, for a test.
    Disk,
}

/// Which versions of Debian's packages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// Those of the lock, or none.
    Locked,
    /// Those of the lock while they are served, and then today's: for a test of what makes images, which must not fail
    /// because Debian mended something. Nobody hands out what comes of it.
    Served,
}

/// What came out.
pub(crate) struct Made {
    /// As it is on a card, not packed.
    pub(crate) disk: PathBuf,
    pub(crate) packed: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let board = Board::read(&args.board)?;
    if args.relock {
        return relock(&board, &Recipe::read()?);
    }
    let (relayd, work) = (args.relayd.as_deref(), args.work.as_deref());
    let made = make(&board, relayd, work, Pack::Whole, Versions::Locked, Consent::from_yes(args.yes))?;
    tell_imager(&board, args.url.as_deref(), &made)?;
    println!("{}", made.packed.display());
    if args.twice { again(&board, relayd, &made, Consent::from_yes(args.yes)) } else { Ok(()) }
}

/// Writes the manifest beside the image, for a board that Raspberry Pi Imager knows.
fn tell_imager(board: &Board, url: Option<&str>, Made { disk, packed }: &Made) -> Result<()> {
    let mut git = command::program("git");
    git.env("TZ", "UTC").args(["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%d"]);
    let day = command::output(&mut git)?;
    let name = packed.file_name().context("the image has a name")?.to_string_lossy();
    let url = match url {
        Some(folder) => format!("{}/{name}", folder.trim_end_matches('/')),
        None => format!("file://{}", packed.display()),
    };
    let release = imager::Release { board, version: env!("CARGO_PKG_VERSION"), day: day.trim(), url: &url };
    let Some(text) = imager::of(&release, disk, packed)? else { return Ok(()) };
    let path = disk.with_extension("rpi-imager-manifest");
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// What is the same whoever makes it can be checked by anybody.
fn again(board: &Board, relayd: Option<&Path>, first: &Made, consent: Consent) -> Result<()> {
    let work = shelf().join(format!("{}.again", board.id));
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("clearing {}", work.display()))?;
    }
    let second = make(board, relayd, Some(&work), Pack::Whole, Versions::Locked, consent)?;
    for (one, other) in [(&first.disk, &second.disk), (&first.packed, &second.packed)] {
        let (one_hash, other_hash) = (mirror::hash(one)?, mirror::hash(other)?);
        ensure!(
            one_hash == other_hash,
            "two builds differ: {} and {} (cmp says where)",
            one.display(),
            other.display()
        );
        println!("the same twice: {one_hash}  {}", one.file_name().unwrap_or_default().to_string_lossy());
    }
    fs::remove_dir_all(&work).with_context(|| format!("clearing {}", work.display()))
}

fn shelf() -> PathBuf {
    command::target().join("image")
}

/// Asks the mirror what there is today, and writes it down.
fn relock(board: &Board, recipe: &Recipe) -> Result<()> {
    let mut lock = Lock::read()?;
    let said = renew(&mut lock, board, recipe)?;
    lock.write()?;
    said.iter().for_each(|line| println!("{line}"));
    println!("image/packages.lock: {} changes", said.len());
    Ok(())
}

/// Takes what the mirror has today into the lock. Says what changed, a line for each package.
fn renew(lock: &mut Lock, board: &Board, recipe: &Recipe) -> Result<Vec<String>> {
    let arch = board.arch.name();
    let mirror = Mirror::open(&shelf().join("mirror").join(arch), &recipe.suite, arch)?;
    let names = |parts: [&[String]; 2]| parts.concat();
    let mut said = lock.replace(&board.id, mirror.resolve(&names([&recipe.packages, &board.packages]))?);
    said.extend(lock.replace(&carved_set(board), mirror.look_up(&board.carved_packages(recipe))?));
    let tools = TOOLS_ARCH.name();
    let mirror = if mirror.arch() == tools {
        mirror
    } else {
        Mirror::open(&shelf().join("mirror").join(tools), &recipe.suite, tools)?
    };
    said.extend(lock.replace(TOOLS, mirror.resolve(&recipe.tools)?));
    Ok(said)
}

fn carved_set(board: &Board) -> String {
    format!("{}/carved", board.id)
}

/// Makes the image, or finds that it is there.
pub(crate) fn make(
    board: &Board,
    relayd: Option<&Path>,
    work: Option<&Path>,
    pack: Pack,
    versions: Versions,
    consent: Consent,
) -> Result<Made> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "an image's files belong to many users: run this one with sudo"
    );
    ensure!(deb::native()? == TOOLS_ARCH, "images are made on machines of {}", TOOLS_ARCH.name());
    apt::require(&[Purpose::Deb, Purpose::Machine], consent)?;
    foreign::ensure(board.arch, consent)?;
    let began = Instant::now();
    let version = env!("CARGO_PKG_VERSION");
    let relayd = match relayd {
        Some(relayd) => relayd.to_owned(),
        None => packed(board.arch, version, consent)?,
    };
    let work = work.map_or_else(|| shelf().join(&board.id), Path::to_owned);
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let work = work.canonicalize().with_context(|| format!("finding {}", work.display()))?;
    let order = Order { board, recipe: Recipe::read()?, partitions: Partitions::read()?, version, work };
    let pool = Pool::open(&shelf().join("pool"))?;
    let lock = order.stock(&pool, versions)?;
    let made = order.carry_out(&lock, &pool, &relayd, pack)?;
    if pack == Pack::Disk {
        return Ok(made);
    }
    let bytes = made.packed.metadata().context("looking at the image")?.len();
    ensure!(bytes <= IMAGE_BYTES_MAX, "the image has {bytes} bytes, more than {IMAGE_BYTES_MAX}");
    let (megabytes, tenth) = (bytes / 1_000_000, bytes / 100_000 % 10);
    eprintln!("{}: {megabytes}.{tenth} MB after {} s", board.id, began.elapsed().as_secs());
    Ok(made)
}

fn packed(arch: Arch, version: &str, consent: Consent) -> Result<PathBuf> {
    let made = if arch == deb::native()? {
        deb::shipped(arch, version.to_owned(), Profile::Dist, consent)?
    } else {
        deb::crossed(arch, version.to_owned(), consent)?
    };
    let relayd = made.into_iter().find(|path| path.to_string_lossy().contains("/relayd_"));
    relayd.context("no package of the daemon was made")
}

/// What of a lock is this board's.
struct Sets<'lock> {
    installed: &'lock [Locked],
    carved: &'lock [Locked],
    tools: &'lock [Locked],
}

struct Order<'a> {
    board: &'a Board,
    recipe: Recipe,
    partitions: Partitions,
    version: &'a str,
    work: PathBuf,
}

impl Order<'_> {
    /// Fetches what is missing. Says which versions are taken.
    fn stock(&self, pool: &Pool, versions: Versions) -> Result<Lock> {
        let mut lock = Lock::read()?;
        match self.fill(pool, &lock) {
            Err(error) if versions == Versions::Served && error.is::<NotServed>() => {
                eprintln!("{error:#}");
                for line in renew(&mut lock, self.board, &self.recipe)? {
                    eprintln!("for this test alone: {line}");
                }
                self.fill(pool, &lock)?;
            }
            filled => filled?,
        }
        Ok(lock)
    }

    fn fill(&self, pool: &Pool, lock: &Lock) -> Result<()> {
        let Sets { installed, carved, tools } = self.sets(lock)?;
        for (arch, packages) in [(self.board.arch, installed), (self.board.arch, carved), (TOOLS_ARCH, tools)]
        {
            let arch = arch.name();
            pool.fill(packages, || {
                Mirror::open(&shelf().join("mirror").join(arch), &self.recipe.suite, arch)
            })?;
        }
        Ok(())
    }

    fn sets<'lock>(&self, lock: &'lock Lock) -> Result<Sets<'lock>> {
        let id = &self.board.id;
        Ok(Sets {
            installed: lock.set(id, id)?,
            carved: lock.set(&carved_set(self.board), id)?,
            tools: lock.set(TOOLS, id)?,
        })
    }

    fn carry_out(&self, lock: &Lock, pool: &Pool, relayd: &Path, pack: Pack) -> Result<Made> {
        let id = &self.board.id;
        let Sets { installed, carved, tools } = self.sets(lock)?;
        let epoch = epoch()?;
        let debian = root::Debian {
            name: "debian",
            arch: self.board.arch,
            recipe: &self.recipe,
            packages: installed,
            hooks: &root::hooks(),
        }
        .pack(&self.work, pool)?;
        let chroot = self.tools(tools, pool)?;
        let carved_package = carve::pack(&self.recipe, self.board, carved, pool, epoch, &self.work)?;
        let order = root::Box {
            board: self.board,
            recipe: &self.recipe,
            partitions: &self.partitions,
            version: self.version,
            epoch,
        };
        let root = order.lay_out(&debian, &[carved_package, relayd.to_owned()], &self.work)?;
        let name = format!("relaybox-{id}-{}.img", self.version);
        let (disk, packed) = (self.work.join(&name), self.work.join(format!("{name}.xz")));
        let inputs = [Step::stamp(&root)?, self.partitions.script(), step::tree(&self.board.folder())?];
        let inputs = inputs.join("\n") + &step::tree(&command::root().join("image"))?;
        let tools = Tools { root: &chroot, work: &self.work, epoch };
        if let Some(step) = Step::due(&disk, &inputs)? {
            eprintln!("{id}: file systems, and the disk");
            self.disk(&tools, carved, pool, &root, &name)?;
            step.done()?;
        }
        if let (Pack::Whole, Some(step)) = (pack, Step::due(&packed, &Step::stamp(&disk)?)?) {
            eprintln!("{id}: packing: a few minutes");
            tools.compress(&name)?;
            let every: Vec<&Locked> = installed.iter().chain(carved).collect();
            self.describe(&disk, &packed, &every)?;
            step.done()?;
        }
        Ok(Made { disk, packed })
    }

    fn disk(&self, tools: &Tools<'_>, carved: &[Locked], pool: &Pool, root: &Path, name: &str) -> Result<()> {
        let partition = |role| self.partitions.of(role);
        let loader = loader::Loader { tools, board: self.board, locked: carved, pool };
        let parts = [
            (Role::Loader, loader.make(&self.partitions)?),
            (Role::Card, tools.card(partition(Role::Card)?)?),
            (Role::Root, tools.root(root, partition(Role::Root)?)?),
            (Role::Data, tools.data(partition(Role::Data)?)?),
        ];
        let disk = tools.assemble(&self.partitions, &parts, name)?;
        if self.board.boot.hybrid {
            table::make_hybrid(&self.partitions, &disk)?;
        }
        for (_, part) in &parts {
            fs::remove_file(part).with_context(|| format!("removing {}", part.display()))?;
        }
        Ok(())
    }

    /// The chroot of the programs that make the disk.
    fn tools(&self, locked: &[Locked], pool: &Pool) -> Result<PathBuf> {
        let archive = root::Debian {
            name: TOOLS,
            arch: TOOLS_ARCH,
            recipe: &self.recipe,
            packages: locked,
            hooks: &[],
        }
        .pack(&self.work, pool)?;
        let chroot = self.work.join("tools");
        let Some(step) = Step::due(&chroot, &Step::stamp(&archive)?)? else { return Ok(chroot) };
        if chroot.exists() {
            fs::remove_dir_all(&chroot).with_context(|| format!("clearing {}", chroot.display()))?;
        }
        fs::create_dir(&chroot).with_context(|| format!("making {}", chroot.display()))?;
        let mut unpack = command::program("tar");
        unpack.args(["--extract", "--numeric-owner", "--file"]).arg(&archive).arg("--directory").arg(&chroot);
        command::output(&mut unpack)?;
        step.done()?;
        Ok(chroot)
    }

    /// What lies beside the image: the map of its blocks, its parts, and the hashes of all.
    fn describe(&self, disk: &Path, packed: &Path, every: &[&Locked]) -> Result<()> {
        let beside = |end: &str| self.work.join(format!("relaybox-{}-{}.{end}", self.board.id, self.version));
        let write = |path: &Path, text: String| {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))
        };
        let (map, parts) = (beside("img.bmap"), beside("cdx.json"));
        write(&map, bmap::of(disk)?)?;
        write(&parts, sbom::of(self.board, &self.recipe.suite, self.version, every)?)?;
        let mut sums = String::new();
        for path in [packed, &map, &parts] {
            let name = path.file_name().context("it has a name")?.to_string_lossy();
            sums.push_str(&format!("{}  {name}\n", mirror::hash(path)?));
        }
        write(&self.work.join("SHA256SUMS"), sums)
    }
}

/// The time of everything that is made here: the commit's.
fn epoch() -> Result<u64> {
    let said = command::output(command::program("git").args(["log", "-1", "--format=%ct"]))?;
    match said.trim().parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) => bail!("git says no time of the last commit: {said}"),
    }
}
