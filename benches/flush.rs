//! How often a second the disk makes something durable.
//!
//!     flush append|within|sled DIRECTORY SECONDS
//!
//! One record at a time: `append` makes a file longer by it and waits for
//! fdatasync, `within` writes it into a file that has that length already, which
//! spares the file system its own records, and `sled` inserts and flushes it. No
//! service that keeps its promises, and lets nobody wait for others, registers
//! more hosts a second than the faster of the first two.

use std::{
    env,
    fs::File,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

/// How long a file is that is written into.
const LENGTH: usize = 4 << 20;

/// About what a registration takes.
const RECORD: [u8; 128] = [b'x'; 128];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, directory, seconds] = arguments.as_slice() else {
        return Err(anyhow!("write: flush append|within|sled DIRECTORY SECONDS"));
    };
    let lasting = Duration::from_secs_f64(seconds.parse().context("SECONDS is a number")?);
    let directory = Path::new(directory);
    let rate = match what.as_str() {
        "append" => {
            let mut file = File::create(directory.join("flushes"))?;
            rate(lasting, |_| {
                file.write_all(&RECORD)?;
                Ok(file.sync_data()?)
            })?
        }
        "within" => {
            let mut file = File::create(directory.join("flushes"))?;
            file.write_all(&vec![0; LENGTH])?;
            file.sync_all()?;
            let places = (LENGTH / RECORD.len()) as u64;
            rate(lasting, |count| {
                file.write_all_at(&RECORD, count % places * RECORD.len() as u64)?;
                Ok(file.sync_data()?)
            })?
        }
        "sled" => {
            let store = sled::open(directory.join("flushes.sled"))?;
            rate(lasting, |count| {
                store.insert(format!("host-{count}"), &RECORD[..])?;
                store.flush()?;
                Ok(())
            })?
        }
        _ => return Err(anyhow!("`{what}` is none of append, within and sled")),
    };
    println!("rate\t{rate:.1}");
    Ok(())
}

/// How often a second that can be done.
fn rate(
    lasting: Duration,
    mut flush: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < lasting {
        flush(count)?;
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
