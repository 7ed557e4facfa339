//! How many new hosts a second are registered durably, by how many ask at once.
//!
//! `cargo bench --bench registrations` starts the service on loopback with a
//! data directory of its own below the target directory (a disk, where the
//! system's temporary directory may be memory), and prints a line for each
//! number of outstanding queries: the median of several runs, and its ratio to
//! one outstanding query. All that wait together share one flush.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use common::{Service, simple_zone, txt_query, zones};
use hickory_proto::op::ResponseCode;

/// How long each run lasts.
const RUN: Duration = Duration::from_secs(2);
const RUNS: usize = 5;
const OUTSTANDING: [usize; 4] = [1, 8, 64, 1_024];

fn main() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    println!("outstanding  registrations/s (median of {RUNS})  ratio");
    let mut one = None;
    for outstanding in OUTSTANDING {
        let mut rates: Vec<f64> = (0..RUNS).map(|_| rate(zones.path(), outstanding)).collect();
        rates.sort_by(f64::total_cmp);
        let median = rates[RUNS / 2];
        let one = *one.get_or_insert(median);
        println!("{outstanding:>11}  {median:>31.0}  {:>5.1}", median / one);
    }
}

/// Registrations a second of a service that starts empty.
fn rate(zones: &Path, outstanding: usize) -> f64 {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let data = tempfile::tempdir_in(target).expect("a data directory");
    let service = Service::start(zones, data.path());
    let socket = common::socket();
    let mut buffer = [0; 4096];
    let mut next: u32 = 0;
    let mut ask = || {
        let name = format!("host-{next}.test.internal");
        let query = txt_query(next as u16, &name, None);
        socket.send_to(&query, service.address).expect("sent");
        next += 1;
    };
    for _ in 0..outstanding {
        ask();
    }
    let start = Instant::now();
    let mut registered = 0;
    while start.elapsed() < RUN {
        match socket.recv(&mut buffer) {
            Ok(_) => {
                let code = ResponseCode::from_low(buffer[3] & 0xf);
                assert_eq!(code, ResponseCode::NoError);
                registered += 1;
            }
            // A packet was lost; another takes its place.
            Err(error) => eprintln!("no answer within a second: {error}"),
        }
        ask();
    }
    f64::from(registered) / start.elapsed().as_secs_f64()
}
