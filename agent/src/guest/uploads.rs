//! Uploads: files that arrive in any number of calls and links, and show at
//! their path only when they are committed.

use super::fault::Fault;
use super::files::hidden::HiddenFile;
use super::files::upload::{CommitUploadJob, DropUploadJob, OpenUploadJob, WriteUploadJob};
use super::frame::MAX_CONTROL;
use super::identity::Identity;
use super::pack::Pack;
use super::params::Params;
use super::server::Server;
use super::session::{now_ms, Source};
use super::sha256::Sha256;
use super::timers::Timer;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most uploads at once.
const MAX_UPLOADS: usize = 256;
const DEFAULT_EXPIRES_MS: u64 = 86_400_000;
const MAX_EXPIRES_MS: u64 = 7 * 86_400_000;
/// When to look again whether an upload was opened at last.
const OPENING: Duration = Duration::from_secs(1);
/// When to look whether an upload is still there, at the latest: timers of
/// those that are not go away.
const LOOK: Duration = Duration::from_secs(60);
/// Most letters of each path in a list, the first that makes it fit a frame.
const LISTED_PATH: [usize; 3] = [4096, 768, 128];

/// What has arrived.
pub struct Content {
    pub hidden: HiddenFile,
    pub hash: Sha256,
}

pub struct Upload {
    pub id: u64,
    pub path: String,
    pub size: Option<u64>,
    pub mode: Option<u32>,
    /// Whose rights it has.
    pub identity: Identity,
    expires: Duration,
    /// Bytes that have arrived.
    offset: AtomicU64,
    /// When bytes last came, in ms since the agent began.
    touched: AtomicU64,
    /// The call that may write; older ones stop.
    turn: AtomicU64,
    /// None once it is committed or dropped. Held during file work: only jobs take it.
    content: Mutex<Option<Content>>,
}

impl Upload {
    pub fn new(
        id: u64,
        path: String,
        identity: Identity,
        expires: Duration,
        content: Content,
    ) -> Upload {
        Upload {
            id,
            path,
            size: None,
            mode: None,
            identity,
            expires,
            offset: AtomicU64::new(0),
            touched: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            content: Mutex::new(Some(content)),
        }
    }

    pub fn content(&self) -> MutexGuard<'_, Option<Content>> {
        // Nothing panics while it is held.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    pub fn advance(&self, offset: u64) {
        self.offset.store(offset, Ordering::Release);
    }

    pub fn is_turn(&self, turn: u64) -> bool {
        self.turn.load(Ordering::Acquire) == turn
    }

    /// Takes the right to write away from whoever has it.
    fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::AcqRel) + 1
    }
}

pub fn no_upload(id: u64) -> Fault {
    Fault::new("not_found", format!("no upload {}", id))
}

/// All uploads. The lock is held for moments only.
pub struct Uploads {
    started: Instant,
    all: Mutex<BTreeMap<u64, Arc<Upload>>>,
    /// Uploads that are being opened and are not in `all` yet.
    opening: AtomicU64,
}

impl Default for Uploads {
    fn default() -> Uploads {
        Uploads {
            started: Instant::now(),
            all: Mutex::default(),
            opening: AtomicU64::new(0),
        }
    }
}

impl Uploads {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Upload>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn insert(&self, upload: Upload) -> Result<Arc<Upload>, Fault> {
        let mut all = self.all();
        if all.len() >= MAX_UPLOADS {
            let message = format!("{} uploads are open; commit or cancel some", all.len());
            return Err(Fault::new("resource_exhausted", message));
        }
        let upload = Arc::new(upload);
        all.insert(upload.id, upload.clone());
        drop(all);
        self.touch(&upload);
        Ok(upload)
    }

    /// An `OpenUploadJob` begins, and ends when it is dropped.
    fn opening(&self) {
        self.opening.fetch_add(1, Ordering::AcqRel);
    }

    pub fn opened(&self) {
        self.opening.fetch_sub(1, Ordering::AcqRel);
    }

    fn get(&self, id: u64) -> Result<Arc<Upload>, Fault> {
        self.all().get(&id).cloned().ok_or_else(|| no_upload(id))
    }

    pub fn remove(&self, id: u64) -> Option<Arc<Upload>> {
        self.all().remove(&id)
    }

    /// Something happened to it: its time begins anew.
    pub fn touch(&self, upload: &Upload) {
        let now = self.started.elapsed().as_millis() as u64;
        upload.touched.store(now, Ordering::Release);
    }

    fn deadline(&self, upload: &Upload) -> Instant {
        let touched = Duration::from_millis(upload.touched.load(Ordering::Acquire));
        self.started + touched + upload.expires
    }

    /// The upload map of the protocol; `text` bounds the letters of its path.
    pub fn describe(&self, upload: &Upload, text: usize) -> Vec<u8> {
        let path: String = upload.path.chars().take(text).collect();
        let left = self
            .deadline(upload)
            .saturating_duration_since(Instant::now());
        let mut pack = Pack::map(if upload.size.is_some() { 5 } else { 4 })
            .uint("id", upload.id)
            .text("path", &path)
            .uint("offset", upload.offset())
            .uint("expires_at_ms", now_ms() + left.as_millis() as u64);
        if let Some(size) = upload.size {
            pack = pack.uint("size", size);
        }
        pack.done()
    }
}

impl Server {
    pub fn upload_call(
        &mut self,
        source: Source,
        method: &str,
        mut params: Params,
    ) -> Result<(), Fault> {
        match method {
            "OpenUpload" => self.open_upload(source, params),
            "WriteUpload" => {
                let upload = self.uploads.get(upload_id(&mut params)?)?;
                let offset = Params::required("offset", params.uint("offset")?)?;
                params.finish()?;
                self.end_upload_writer(&upload);
                let turn = upload.next_turn();
                self.upload_writers.insert(upload.id, source);
                let job = WriteUploadJob {
                    uploads: self.uploads.clone(),
                    upload: upload.clone(),
                    turn,
                    offset: Some(offset),
                };
                self.start_job(source, upload.identity.clone(), Box::new(job));
                Ok(())
            }
            "GetUpload" => {
                let id = params.uint("id")?;
                params.finish()?;
                let reply = self.show_uploads(id)?;
                self.reply(source, reply, true);
                Ok(())
            }
            "CommitUpload" => {
                let upload = self.uploads.get(upload_id(&mut params)?)?;
                let sha256 = params.text("sha256")?;
                params.finish()?;
                if sha256.as_ref().map_or(false, |text| !is_sha256(text)) {
                    return Err(Fault::invalid("sha256: expected 64 lower-case hex digits"));
                }
                self.end_upload_writer(&upload);
                upload.next_turn();
                let job = CommitUploadJob {
                    uploads: self.uploads.clone(),
                    upload: upload.clone(),
                    sha256,
                };
                self.start_job(source, upload.identity.clone(), Box::new(job));
                Ok(())
            }
            _ => {
                let id = upload_id(&mut params)?;
                params.finish()?;
                let upload = self.uploads.remove(id).ok_or_else(|| no_upload(id))?;
                self.end_upload_writer(&upload);
                upload.next_turn();
                let identity = upload.identity.clone();
                self.start_job(source, identity, Box::new(DropUploadJob(upload)));
                Ok(())
            }
        }
    }

    fn open_upload(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let p = &mut params;
        let path = p.required_path("path")?;
        let size = p.uint_in("size", 0, i64::MAX as u64)?;
        let mode = p.mode("mode")?;
        let create_parents = p.flag("create_parents", true)?;
        let expires_ms = p
            .uint_in("expires_ms", 1, MAX_EXPIRES_MS)?
            .unwrap_or(DEFAULT_EXPIRES_MS);
        let identity = self.identity(p)?;
        params.finish()?;
        let id = self.next_upload;
        self.next_upload += 1;
        let expires = Duration::from_millis(expires_ms);
        let look = Instant::now() + expires.min(LOOK);
        self.timers.set(look, Timer::Upload(id));
        self.uploads.opening();
        let job = OpenUploadJob {
            uploads: self.uploads.clone(),
            id,
            path,
            size,
            mode,
            create_parents,
            expires,
            identity: identity.clone(),
        };
        self.start_job(source, identity, Box::new(job));
        Ok(())
    }

    /// The call that writes to it, if any, is over.
    fn end_upload_writer(&mut self, upload: &Upload) {
        if let Some(writer) = self.upload_writers.remove(&upload.id) {
            let message = "another call took the upload over, or it is gone";
            self.fail(writer, &Fault::new("cancelled", message));
        }
    }

    fn show_uploads(&self, id: Option<u64>) -> Result<Vec<u8>, Fault> {
        if let Some(id) = id {
            let shown = self.uploads.describe(&*self.uploads.get(id)?, usize::MAX);
            return Ok(Pack::map(1).key("upload").raw(&shown).done());
        }
        let all: Vec<Arc<Upload>> = self.uploads.all().values().cloned().collect();
        // Long paths are cut until the answer fits a frame, as the shortest does.
        let mut reply = Vec::new();
        for text in LISTED_PATH {
            let mut pack = Pack::map(1).key("uploads").array(all.len());
            for upload in &all {
                pack = pack.raw(&self.uploads.describe(upload, text));
            }
            reply = pack.done();
            if reply.len() <= MAX_CONTROL {
                break;
            }
        }
        Ok(reply)
    }

    /// An upload may have been idle for too long.
    pub fn on_upload_timer(&mut self, id: u64, now: Instant) {
        let upload = match self.uploads.get(id) {
            Ok(upload) => upload,
            Err(_) => {
                self.upload_writers.remove(&id);
                // Committed or dropped, unless a slow file system still opens it.
                if self.uploads.opening.load(Ordering::Acquire) > 0 {
                    self.timers.set(now + OPENING, Timer::Upload(id));
                }
                return;
            }
        };
        let deadline = self.uploads.deadline(&upload);
        if deadline > now {
            return self.timers.set(deadline.min(now + LOOK), Timer::Upload(id));
        }
        self.end_upload_writer(&upload);
        upload.next_turn();
        self.uploads.remove(id);
        let identity = Arc::new(upload.identity.clone());
        let drop = Box::new(DropUploadJob(upload));
        self.pool.remover().run_unheard(identity, drop);
    }
}

fn upload_id(params: &mut Params) -> Result<u64, Fault> {
    Params::required("id", params.uint("id")?)
}

fn is_sha256(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(digit)
}
