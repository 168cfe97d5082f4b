//! The work of uploads, as jobs of the pool. A step holds the upload's content
//! while it runs, so writers, commits and cancellations never mix.

use super::super::fault::Fault;
use super::super::identity::Identity;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::sha256::Sha256;
use super::super::uploads::{no_upload, Content, Upload, Uploads};
use super::super::user::UserDatabase;
use super::entry;
use super::hidden::HiddenFile;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub struct OpenUploadJob {
    pub uploads: Arc<Uploads>,
    pub id: u64,
    pub path: String,
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub create_parents: bool,
    pub expires: Duration,
    pub identity: Identity,
}

impl Drop for OpenUploadJob {
    fn drop(&mut self) {
        self.uploads.opened();
    }
}

impl Job for OpenUploadJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let hidden = HiddenFile::create(&self.path, self.create_parents)?;
        let content = Content {
            hidden,
            hash: Sha256::default(),
        };
        let (path, identity) = (self.path.clone(), self.identity.clone());
        let mut upload = Upload::new(self.id, path, identity, self.expires, content);
        upload.size = self.size;
        upload.mode = self.mode;
        let upload = self.uploads.insert(upload)?;
        let shown = self.uploads.describe(&upload, usize::MAX);
        let reply = Pack::map(1).key("upload").raw(&shown).done();
        io.out.push(Message::LastReply(reply));
        Ok(Next::Done)
    }
}

pub struct WriteUploadJob {
    pub uploads: Arc<Uploads>,
    pub upload: Arc<Upload>,
    pub turn: u64,
    /// Where the caller believes it stands; looked at once.
    pub offset: Option<u64>,
}

impl Job for WriteUploadJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let upload = &self.upload;
        let bytes = std::mem::take(&mut io.input);
        let mut content = upload.content();
        let content = content.as_mut().ok_or_else(|| no_upload(upload.id))?;
        if !upload.is_turn(self.turn) {
            return Err(Fault::new("cancelled", "another call took the upload over"));
        }
        let at = upload.offset();
        if self.offset.take().map_or(false, |offset| offset != at) {
            let message = format!("the upload stands at byte {}", at);
            return Err(Fault::new("conflict", message).with("offset", at));
        }
        let end = at + bytes.len() as u64;
        if let Some(size) = upload.size.filter(|&size| end > size) {
            let message = format!("more bytes than the {} announced", size);
            return Err(Fault::invalid(message).with("offset", at));
        }
        // A write that fails half-way leaves the offset, and the next one begins there.
        let written = content.hidden.file.write_all_at(&bytes, at);
        written.map_err(|error| Fault::from_io(&error, &upload.path).with("offset", at))?;
        content.hash.update(&bytes);
        upload.advance(end);
        self.uploads.touch(upload);
        if io.input_ended {
            let reply = Pack::map(1).uint("offset", end).done();
            io.out.push(Message::LastReply(reply));
            return Ok(Next::Done);
        }
        Ok(Next::Input)
    }
}

pub struct CommitUploadJob {
    pub uploads: Arc<Uploads>,
    pub upload: Arc<Upload>,
    pub sha256: Option<String>,
}

impl Job for CommitUploadJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let upload = &self.upload;
        let mut held = upload.content();
        let content = held.as_mut().ok_or_else(|| no_upload(upload.id))?;
        self.uploads.touch(upload);
        let at = upload.offset();
        if let Some(size) = upload.size.filter(|&size| at < size) {
            let message = format!("{} of {} bytes have arrived", at, size);
            return Err(Fault::new("conflict", message).with("offset", at));
        }
        let sha256 = content.hash.clone().hex();
        if self.sha256.as_ref().map_or(false, |told| *told != sha256) {
            let message = format!("the bytes that arrived have the SHA-256 {}", sha256);
            return Err(Fault::new("digest_mismatch", message));
        }
        let fault = |error| Fault::from_io(&error, &upload.path);
        // What a write that failed may have left behind the end.
        content.hidden.file.set_len(at).map_err(fault)?;
        let meta = content.hidden.put_in_place(upload.mode).map_err(fault)?;
        *held = None;
        self.uploads.remove(upload.id);
        let names = UserDatabase::load().names();
        let entry = entry::encode(Path::new(&upload.path), &meta, &names);
        let reply = Pack::map(2).key("entry").raw(&entry);
        let reply = reply.text("sha256", &sha256).done();
        io.out.push(Message::LastReply(reply));
        Ok(Next::Done)
    }
}

/// Drops an upload that nobody can find any more, and with it what it wrote.
pub struct DropUploadJob(pub Arc<Upload>);

impl Job for DropUploadJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        // Nothing is there when a commit came first.
        let content = self.0.content().take();
        drop(content.ok_or_else(|| no_upload(self.0.id))?);
        io.out.push(Message::LastReply(Pack::map(0).done()));
        Ok(Next::Done)
    }
}
