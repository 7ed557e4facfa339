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
}

impl Syncer {
    /// Starts the thread, which ends when this value is dropped.
    pub fn start() -> io::Result<Self> {
        let (files, jobs) = mpsc::sync_channel::<Arc<File>>(1);
        let (done, results) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                let mut results = jobs.iter().map(|file| file.sync_data());
                let _ = results.try_for_each(|result| done.send(result));
            })?;
        Ok(Self { files, results })
    }

    /// Starts to sync the file. [`finish`](Self::finish) must follow.
    pub fn begin(&self, file: Arc<File>) {
        // If the thread has ended, there will be no result.
        let _ = self.files.send(file);
    }

    /// Waits until the file is synced.
    pub fn finish(&self) -> io::Result<()> {
        let ended = |_| io::Error::other("the journal's thread has ended");
        self.results.recv().map_err(ended)?
    }
}
