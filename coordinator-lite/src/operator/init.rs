//! `init`: makes a mesh, once. The root's key goes to the operator, everything else to the service.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use trust::ticket::CoordinatorUrl;

use super::{Root, apart, root_dir};
use crate::service::{self, Mesh, Service};
use crate::store::{Database, FILE};
use crate::{clock, file};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    data: crate::DataDir,
    /// The operator's own directory, for the root's key; ~/.config/relaybox without this.
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    /// Where boxes will reach the service.
    #[arg(long, value_name = "https://HOST[:PORT]")]
    url: Option<CoordinatorUrl>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (data_dir, root_dir) = (args.data.data_dir, root_dir(args.root_dir)?);
    apart(&data_dir, &root_dir)?;
    let made = make(&data_dir, &root_dir)?;
    if let Some(url) = &args.url {
        service::set_url(&data_dir, url)?;
    }
    file::hand_over(&data_dir)?;
    let mesh = Mesh::expect(&data_dir)?;
    if made {
        println!("Made the mesh {}.", mesh.id());
    } else {
        println!("The mesh {} is there already. Nothing was changed.", mesh.id());
    }
    println!("  root's fingerprint  {}", mesh.root.fingerprint());
    println!(
        "  root's key          {}  (yours alone: copy it to a safe place)",
        root_dir.join("root.key").display()
    );
    println!("  the service's data  {}", data_dir.display());
    if made {
        let dir = data_dir.display();
        println!("\nNext:");
        println!("  coordinator-lite serve --data-dir {dir} --url https://HOST:8443");
        println!("  coordinator-lite invite --data-dir {dir} --name ana");
    }
    Ok(())
}

/// Makes what is missing; true if anything was.
pub(super) fn make(data_dir: &Path, root_dir: &Path) -> Result<bool> {
    let now = clock::now();
    ensure!(now >= clock::EARLIEST, "the clock says {now}: set it first, since a mesh begins with it");
    let (root, mut made) = match (Root::read(root_dir)?, Mesh::read(data_dir)?) {
        (Some(root), _) => (root, false),
        (None, None) => (Root::make(root_dir)?, true),
        (None, Some(mesh)) => anyhow::bail!(
            "{} holds a mesh, and {} not its root key ({}): nothing was changed. Say where the key is with \
             --root-dir, or choose another --data-dir for another mesh",
            data_dir.display(),
            root_dir.display(),
            mesh.root.fingerprint()
        ),
    };
    made |= Service::make(data_dir, &root.secret, now)?;
    let path = data_dir.join(FILE);
    if !path.is_file() {
        file::create_empty(&path).with_context(|| format!("making {}", path.display()))?;
        made = true;
    }
    let mut database = Database::open(&path, now).with_context(|| format!("opening {}", path.display()))?;
    // A new service of an old mesh learns what was revoked before.
    let root_key = root.secret.public();
    let mut revocations = database.revocations(&root_key)?;
    if revocations.merge(&root_key, root.revocations()?.entries()).new > 0 {
        database.keep_revocations(&revocations)?;
    }
    Ok(made)
}
