//! Waiting for a mesh: a box that is by itself until it joins begins anew as a member once `relayd join` left a
//! membership.
//!
//! Refuses to take the daemon's parts aside for that: who may watch, who carries what and what a publication means all
//! hang on the membership, so all of them are made again. Publishers and viewers come back by themselves.

use std::path::Path;
use std::time::Duration;

use crate::control::kept::{self, Kept};

/// How often it looks.
const JOINED_EVERY: Duration = Duration::from_secs(2);

/// Ends when this box is a member.
pub(crate) async fn joined(data_dir: &Path) {
    let dir = kept::directory(data_dir);
    let mut failing = false;
    loop {
        tokio::time::sleep(JOINED_EVERY).await;
        match Kept::read(&dir) {
            Ok(Some(_)) => return,
            Ok(None) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(error = format!("{error:#}"), "this box can't read its membership");
                }
            }
        }
    }
}
