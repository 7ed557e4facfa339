//! A thread that has the disk write the journal, while another has it write the
//! database: who registers waits for the slower of the two, and not for both.

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
    /// Whether a result is still to come.
    is_waiting: bool,
}

impl Syncer {
    /// Starts the thread. It ends when this is dropped.
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

    /// Has the disk write what was written into the file.
    pub fn begin(&mut self, file: Arc<File>) {
        // Where the thread has ended, there is no result either.
        self.is_waiting = self.files.send(file).is_ok();
    }

    /// Waits until the disk has written it.
    pub fn finish(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.is_waiting) {
            return Err(io::Error::other("the journal's thread has ended"));
        }
        let ended = |_| io::Error::other("the journal's thread has ended");
        self.results.recv().map_err(ended)?
    }
}
