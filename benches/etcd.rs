//! Writes bare transactions to etcd, to compare the registrations of replicas with:
//!
//! ```sh
//! cargo run --release --example etcd -- http://127.0.0.1:2379 32 3500 1 10
//! ```
//!
//! writes transactions of 32 values with 3,500 bytes each, one at a time, for 10 seconds,
//! and prints how many were stored a second.

use std::{
    env, process,
    time::{Duration, Instant},
};

use http::uri::PathAndQuery;
use tonic::{Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

#[allow(dead_code, unused_imports, reason = "the store uses all of it")]
#[path = "../src/store/etcd/wire/mod.rs"]
mod wire;

use wire::{Call as _, Operation, Txn, TxnAnswer};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [endpoint, values, bytes, at_once, seconds] = arguments.as_slice() else {
        eprintln!("etcd: usage: etcd ENDPOINT VALUES BYTES AT_ONCE SECONDS");
        process::exit(2);
    };
    let (values, bytes): (usize, usize) = (values.parse()?, bytes.parse()?);
    let channel = Channel::from_shared(endpoint.clone())?.connect().await?;
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let begun = Instant::now();
    let tasks = (0..at_once.parse()?).map(|task: usize| {
        let grpc = Grpc::new(channel.clone());
        tokio::spawn(write(grpc, task, values, bytes, end))
    });
    let mut stored = 0;
    for task in tasks.collect::<Vec<_>>() {
        stored += task.await??;
    }
    println!("{:.0}", stored as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

/// Writes one transaction after the other. Returns how many were stored.
async fn write(
    mut grpc: Grpc<Channel>,
    task: usize,
    values: usize,
    bytes: usize,
    end: Instant,
) -> Outcome<u64> {
    let mut stored = 0;
    while Instant::now() < end {
        let puts = (0..values).map(|value| {
            let key = format!("/bench/{task}/{value}").into_bytes();
            Operation::put(key, vec![b'x'; bytes], 0)
        });
        let txn = Txn {
            success: puts.collect(),
            ..Txn::default()
        };
        grpc.ready().await?;
        let path = PathAndQuery::from_static(Txn::PATH);
        let codec = ProstCodec::<Txn, TxnAnswer>::default();
        grpc.unary(Request::new(txn), path, codec).await?;
        stored += 1;
    }
    Ok(stored)
}
