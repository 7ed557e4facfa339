//! A thread that syncs the journal while another one syncs the database, so that
//! a registration waits for the slower of the two and not for both.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

pub struct Syncer {
    files: SyncSender<Arc<File>>,
    results: Receiver<io::Result<()>>,
    /// Whether a result is expected.
    is_waiting: bool,
}

impl Syncer {
    /// Starts the thread, which ends when this value is dropped.
    pub fn start() -> io::Result<Self> {
        let (files, jobs) = mpsc::sync_channel::<Arc<File>>(1);
        let (done, results) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                for file in jobs {
                    if done.send(file.sync_data()).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            files,
            results,
            is_waiting: false,
        })
    }

    /// Starts to sync the file.
    pub fn begin(&mut self, file: Arc<File>) {
        // If the thread has ended, there will be no result.
        self.is_waiting = self.files.send(file).is_ok();
    }

    /// Waits until the file is synced.
    pub fn finish(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.is_waiting) {
            return Err(io::Error::other("the journal's thread has ended"));
        }
        let ended = |_| io::Error::other("the journal's thread has ended");
        self.results.recv().map_err(ended)?
    }
}
