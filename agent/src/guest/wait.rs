//! WaitSession: told once, when the process is finished. A waiter is no reader:
//! it neither holds output back nor frees any.

use super::fault::Fault;
use super::killer::no_such;
use super::params::Params;
use super::server::Server;
use super::session::Source;

impl Server {
    pub fn wait_session(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let id = Params::required("id", params.uint("id")?)?;
        params.finish()?;
        let session = self.sessions.get_mut(&id).ok_or_else(|| no_such(id))?;
        session.waiters.push(source);
        if session.finished {
            self.tell_waiters(id);
        }
        Ok(())
    }

    /// Answers everyone who waits for a session that is finished now.
    pub fn tell_waiters(&mut self, id: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            if let Some(reply) = session.exit_reply() {
                for source in std::mem::take(&mut session.waiters) {
                    self.reply(source, reply.clone(), true);
                }
            }
        }
    }
}
