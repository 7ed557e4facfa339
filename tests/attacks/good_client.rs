//! A client that asks once a second with the real `dig`.

use std::{
    fs,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{common::value_in, field::SERVICE, message};

/// What is said at once.
const SLOW: Duration = Duration::from_millis(500);

#[derive(Default, Clone)]
pub struct Figures {
    pub asked: u64,
    /// The longest time that an answer took, by UDP and by TCP.
    pub longest: [Duration; 2],
    /// What was no answer.
    pub failures: Vec<String>,
    /// The smallest number of live peers, and the largest.
    pub live: Option<[usize; 2]>,
}

#[derive(Default)]
pub struct GoodClient {
    figures: Mutex<Figures>,
    pub is_over: AtomicBool,
}

impl GoodClient {
    /// What there was since this was asked last.
    pub fn take(&self) -> Figures {
        std::mem::take(&mut *self.figures.lock().unwrap())
    }

    /// Asks until it is over: for an identity of its own, which is a heartbeat, and
    /// how many peers there are.
    pub fn run(&self) {
        let good = message::name("good");
        while !self.is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let (by_udp, first) = dig(&["TXT", &good]);
            let (by_tcp, second) = dig(&["+tcp", "TXT", "test.internal"]);
            if by_udp.max(by_tcp) > SLOW {
                // The machine may have other work.
                let load = fs::read_to_string("/proc/loadavg").unwrap();
                let load = load.trim();
                println!("dig took {by_udp:?}, by TCP {by_tcp:?}, at a load of {load}");
            }
            let mut figures = self.figures.lock().unwrap();
            figures.asked += 1;
            let longest = figures.longest;
            figures.longest = [longest[0].max(by_udp), longest[1].max(by_tcp)];
            if value_in(&first, "id").is_none() {
                figures.failures.push(first);
            }
            match value_in(&second, "live").and_then(|live| live.parse().ok()) {
                Some(live) => {
                    let [least, most] = figures.live.unwrap_or([live; 2]);
                    figures.live = Some([least.min(live), most.max(live)]);
                }
                None => figures.failures.push(second),
            }
            drop(figures);
            thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
        }
    }
}

/// Runs `dig` as it is by itself; gives the time that it took, and what it printed.
fn dig(arguments: &[&str]) -> (Duration, String) {
    let begun = Instant::now();
    let server = format!("@{}", SERVICE[0]);
    let output = Command::new("dig").arg(server).args(arguments).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    (begun.elapsed(), output)
}
