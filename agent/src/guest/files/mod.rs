//! File methods: a call on a channel and the job that does its work.

pub mod archive_name;
pub mod calls;
pub mod change;
pub mod copy;
pub mod digest;
pub mod entry;
pub mod find;
pub mod hidden;
pub mod list;
pub mod read;
pub mod read_tree;
pub mod remove;
pub mod settle;
pub mod unpack;
pub mod upload;
pub mod walk;
pub mod write;
pub mod write_tree;
pub mod xattrs;

use super::channel::Call;
use super::fault::Fault;
use super::frame::Kind;
use super::identity::Identity;
use super::output_log::{Piece, CHUNK};
use super::pool::{Job, Message, Next, Remover, StepIo, Task, NOBODY};
use super::server::Server;
use super::session::Source;
use super::watch;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most bytes one step may produce.
const STEP: u64 = 262_144;

/// A job on a channel: its state while it is not in the pool.
pub struct FileCall {
    job: Option<Box<dyn Job>>,
    identity: Arc<Identity>,
    remover: Remover,
    ticket: u64,
    wants: Next,
    input: Vec<u8>,
    input_ended: bool,
    /// Bytes of input the running step has.
    lent: usize,
    out: VecDeque<Message>,
}

impl FileCall {
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// What came in before the job was done.
    pub fn into_input(mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }
}

impl Drop for FileCall {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.remover.give_up(self.identity.clone(), job);
        }
    }
}

impl Server {
    /// Puts a job on a channel and starts its first step.
    pub fn start_job(&mut self, source: Source, identity: Identity, job: Box<dyn Job>) {
        let ticket = self.pool.ticket();
        let remover = self.pool.remover();
        if let Some(channel) = self.channel(source) {
            channel.call = Call::File(FileCall {
                job: Some(job),
                identity: Arc::new(identity),
                remover,
                ticket,
                wants: Next::Output,
                input: Vec::new(),
                input_ended: channel.remote_ended,
                lent: 0,
                out: VecDeque::new(),
            });
        }
        self.advance_file(source);
    }

    /// Starts the next step when the job can use one.
    pub fn advance_file(&mut self, source: Source) {
        let channel = match self.channel(source) {
            Some(channel) => channel,
            None => return,
        };
        let credit = channel.credit();
        let call = match &mut channel.call {
            Call::File(call) => call,
            _ => return,
        };
        let ready = match call.wants {
            Next::Done => false,
            Next::Output => call.out.is_empty() && credit > 0,
            Next::Input => !call.input.is_empty() || call.input_ended,
        };
        if !ready {
            return;
        }
        let job = match call.job.take() {
            Some(job) => job,
            None => return, // a step is under way
        };
        let input = std::mem::take(&mut call.input);
        call.lent = input.len();
        let io = StepIo {
            input,
            input_ended: call.input_ended,
            budget: credit.min(STEP) as usize,
            out: Vec::new(),
        };
        let task = Task {
            source,
            ticket: call.ticket,
            identity: call.identity.clone(),
            job,
            io,
            result: Ok(Next::Done),
        };
        if self.pool.submit(task).is_err() {
            let fault = Fault::new("resource_exhausted", "no thread for file work can be had");
            self.fail(source, &fault);
        }
    }

    /// Steps of jobs are done.
    pub fn on_pool(&mut self) {
        for task in self.pool.collect() {
            match task.source {
                watch::OWN => self.watch_stepped(task),
                NOBODY => {}
                _ => self.job_stepped(task),
            }
        }
    }

    fn job_stepped(&mut self, task: Task) {
        let source = task.source;
        let lent = match self.channel(source).map(|channel| &mut channel.call) {
            Some(Call::File(call)) if call.ticket == task.ticket => {
                call.out.extend(task.io.out);
                match task.result {
                    Ok(next) => {
                        call.wants = next;
                        if next != Next::Done {
                            call.job = Some(task.job);
                        }
                    }
                    Err(fault) => {
                        call.wants = Next::Done;
                        call.out.push_back(Message::Fail(fault));
                    }
                }
                std::mem::take(&mut call.lent)
            }
            // Given up meanwhile.
            _ => return self.pool.remover().give_up(task.identity, task.job),
        };
        if lent > 0 {
            self.consume(source, lent);
        }
        self.wake(source);
        self.advance_file(source);
    }

    /// Sends one message of a job.
    pub fn produce_file(&mut self, source: Source) {
        let link = match self.links.get_mut(&source.0) {
            Some(link) => link,
            None => return,
        };
        let channel = match link.channels.get_mut(&source.1) {
            Some(channel) => channel,
            None => return,
        };
        let credit = channel.credit();
        let call = match &mut channel.call {
            Call::File(call) => call,
            _ => return,
        };
        match call.out.pop_front() {
            None => return self.advance_file(source),
            Some(Message::Reply(map)) => link.reply(source.1, map, false),
            Some(Message::LastReply(map)) => return self.reply(source, map, true),
            Some(Message::Fail(fault)) => return self.fail(source, &fault),
            Some(Message::Watching(opened)) => {
                let identity = call.identity.clone();
                return self.watch_opened(source, *opened, identity);
            }
            Some(Message::Connected(fd)) => return self.dial_connected(source, fd),
            Some(Message::End) => {
                channel.call = Call::Done;
                return link.end(source.1);
            }
            Some(Message::Event(map)) => {
                if credit < map.len() as u64 {
                    return call.out.push_front(Message::Event(map));
                }
                channel.spend(map.len());
                link.push(Kind::Event, 0, source.1, map);
            }
            Some(Message::Data(mut bytes)) => {
                if credit == 0 {
                    return call.out.push_front(Message::Data(bytes));
                }
                let fits = bytes.len().min(credit as usize).min(CHUNK);
                let rest = bytes.split_off(fits);
                if !rest.is_empty() {
                    call.out.push_front(Message::Data(rest));
                }
                channel.spend(bytes.len());
                link.push_piece(Kind::Data, 0, source.1, Piece::Owned(bytes));
            }
        }
        link.wake(source.1);
    }
}
