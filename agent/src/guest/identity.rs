//! Doing file work with a user's rights, per thread.

use super::fault::Fault;
use super::user::User;
use crate::sys::process::set_thread_file_identity;
use std::io;

/// Whose rights a job has.
#[derive(Clone)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// None: supplementary groups cannot be changed here.
    pub groups: Option<Vec<u32>>,
    /// False: the agent is that user already.
    pub switch: bool,
    /// What to return to.
    pub own: (u32, u32),
}

impl Identity {
    pub fn of_agent(own: (u32, u32)) -> Identity {
        Identity {
            uid: own.0,
            gid: own.1,
            groups: None,
            switch: false,
            own,
        }
    }

    pub fn of_user(
        user: &User,
        switch: bool,
        groups: Option<Vec<u32>>,
        own: (u32, u32),
    ) -> Identity {
        Identity {
            uid: user.uid,
            gid: user.gid,
            groups,
            switch,
            own,
        }
    }
}

/// Runs `work` with the identity's rights and returns to the agent's own.
pub fn act_as<T>(identity: &Identity, work: impl FnOnce() -> T) -> Result<T, Fault> {
    if !identity.switch {
        return Ok(work());
    }
    let refused = |error: io::Error| {
        Fault::new(
            "permission_denied",
            format!("cannot act as uid {}: {}", identity.uid, error),
        )
    };
    let entered = set_thread_file_identity(identity.uid, identity.gid, identity.groups.as_deref());
    let result = entered.map(|_| work());
    let (uid, gid) = identity.own;
    let own_groups: &[u32] = &[];
    let groups = identity.groups.as_ref().map(|_| own_groups);
    // Without this the thread would serve others with the wrong rights; each
    // task sets its own first, so a failure cannot reach further than it.
    let returned = set_thread_file_identity(uid, gid, groups);
    let value = result.map_err(refused)?;
    returned.map_err(refused)?;
    Ok(value)
}
