//! `certify`: the root vouches for the service again, before its certificate ends or after its key was lost.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use super::{Root, apart, root_dir};
use crate::service::Service;
use crate::{clock, file};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    data: crate::DataDir,
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    /// Give the service another key, since the old one may be known to others.
    #[arg(long)]
    new_key: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (data_dir, root_dir) = (args.data.data_dir, root_dir(args.root_dir)?);
    apart(&data_dir, &root_dir)?;
    let root = Root::expect(&root_dir)?;
    let serial = Service::certify_again(&data_dir, &root.secret, args.new_key, clock::now())?;
    file::hand_over(&data_dir)?;
    println!("Certified, serial {serial}. Restart the service to use it.");
    Ok(())
}
