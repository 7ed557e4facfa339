//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{
    Args, Command as Parsing, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    ValueEnum,
};

/// A DNS server that gives identical containers an identity.
///
/// A container sends one query, and starts as a peer of its network:
///
///   dig TXT $(hostname).pbft.fabric.internal
///   "id=vp1" "root=10.0.1.3:7051" "n=4" "f=1" "address=10.0.1.5:7051" "role=mixed"
///
/// The first query registers it. Its ID is permanent; the same query every 10
/// seconds renews its lease.
#[derive(Debug, Parser)]
#[command(name = "paramd", version, max_term_width = 100, verbatim_doc_comment)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Log level on standard error: error, warn, info, debug or trace
    #[arg(long, global = true, env = "PARAMD_LOG", default_value = "info")]
    pub log: tracing::level_filters::LevelFilter,
}

impl Cli {
    /// The command line of this process. An environment variable that is set to
    /// nothing is not set. Ends the process where the command line is wrong, or asks
    /// for help.
    pub fn read() -> Self {
        let matches = without_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn without_empty_variables(command: Parsing) -> Parsing {
    command
        .mut_args(|argument| {
            let value = argument.get_env().and_then(std::env::var_os);
            match value {
                Some(value) if value.is_empty() => argument.env(None::<&'static str>),
                _ => argument,
            }
        })
        .mut_subcommands(without_empty_variables)
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the DNS server
    ///
    /// Prints one line with its addresses as soon as it answers queries, and stops
    /// cleanly on SIGTERM and SIGINT. It logs to standard error.
    Serve(Serve),
    /// Check the zone and configuration files, and report every mistake
    Check(Check),
    /// Print a whole zone
    ///
    /// The zone comes from the running server by a zone transfer, which by default
    /// only loopback addresses may request; or, if no server is running, from the
    /// data directory.
    Dump(Dump),
    /// Restore what the store has lost, or fill an empty store from a JSON dump
    ///
    /// Without FILE, this restores from the newest intact dump and the journal in
    /// the data directory, which have every acknowledged registration. If anything
    /// is missing, it is reported and the exit status is 1. A damaged store is set
    /// aside.
    Restore(Restore),
    /// List the registrations: ID, host, role, address, state, last heard, epoch
    Peers(Peers),
    /// Release the ID of a host that will not return
    ///
    /// This sends a DNS UPDATE to the running server, which by default accepts it
    /// from loopback addresses only; or, if no server is running, changes the data
    /// directory.
    Release(Release),
    /// Check whether the running server answers for all of its zones
    ///
    /// The exit status is 0 if it does. With --server, the check is made by DNS,
    /// otherwise over the control socket in the data directory.
    Health(Health),
}

#[derive(Debug, Args)]
pub struct Zones {
    /// Directory of the zone files, each named NAME.toml
    #[arg(
        long,
        env = "PARAMD_ZONES",
        value_name = "DIR",
        default_value = "zones"
    )]
    pub zones: PathBuf,
}

#[derive(Debug, Args)]
pub struct Data {
    /// Data directory
    #[arg(long, env = "PARAMD_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

#[derive(Debug, Args)]
pub struct Config {
    /// Configuration file: access lists, TSIG keys, DNS over TLS, the secret of DNS
    /// cookies, limits, identity of the server
    #[arg(long, env = "PARAMD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    pub zones: Zones,

    #[command(flatten)]
    pub data: Data,

    /// Address and port to listen on, by UDP and TCP; may be repeated [default:
    /// all addresses, port 53]
    #[arg(
        long,
        env = "PARAMD_LISTEN",
        value_name = "ADDR:PORT",
        value_delimiter = ',',
        value_parser = listener
    )]
    pub listen: Vec<SocketAddr>,

    /// Address and port for HTTP: a status page at /, metrics for Prometheus at /metrics,
    /// /health and /ready; may be repeated. Without any there is no HTTP. It is not
    /// encrypted, and anyone who reaches it may read all peers
    #[arg(
        long,
        env = "PARAMD_HTTP",
        value_name = "ADDR:PORT",
        value_delimiter = ',',
        value_parser = listener
    )]
    pub http: Vec<SocketAddr>,

    /// Resolver to which queries for names outside all zones are forwarded; may be
    /// repeated. If one does not answer or fails, the next one is queried, and the
    /// one that answered last is queried first. Without any, such queries are
    /// refused, so that a stub resolver queries its next server, and reverse names
    /// of private networks do not exist
    #[arg(
        long,
        env = "PARAMD_FORWARD",
        value_name = "ADDR[:PORT]",
        value_delimiter = ',',
        value_parser = upstream
    )]
    pub forward: Vec<SocketAddr>,

    /// Where registrations are stored: `sled`, in the data directory; or
    /// `etcd://HOST[:PORT],…`, the members of an etcd cluster, which any number of
    /// replicas share. All of them answer; the table [etcd] in the configuration file has
    /// certificates, and how the replicas reach each other
    #[arg(
        long,
        env = "PARAMD_STORE",
        value_name = "STORE",
        default_value = "sled",
        value_parser = store
    )]
    pub store: StoreKind,

    /// Start with an empty store, or with what etcd has, although the dumps or the
    /// journal in the data directory name further peers, and assign their IDs to other
    /// hosts. Use this once, by hand; it has no environment variable
    #[arg(long)]
    pub new: bool,

    #[command(flatten)]
    pub config: Config,
}

/// Where registrations are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// In the data directory.
    Sled,
    /// In etcd: `HOST:PORT` of each member, at least one.
    Etcd(Vec<String>),
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub zones: Zones,

    #[command(flatten)]
    pub config: Config,

    /// Report every registration in this data directory that does not fit the zone
    /// files, even while a service is running on it
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Report the same for the registrations in etcd: `etcd://HOST[:PORT],…`
    #[arg(long, value_name = "STORE", value_parser = store)]
    pub store: Option<StoreKind>,
}

/// The source of the registrations: a running server, or the data directory.
#[derive(Debug, Args)]
pub struct Source {
    /// Address of the server [default: the server that is running on the data
    /// directory, or else the data directory itself]
    #[arg(long, env = "PARAMD_SERVER", value_name = "ADDR[:PORT]", value_parser = upstream)]
    pub server: Option<SocketAddr>,

    /// Sign messages to the server with the TSIG key in this file, in the format
    /// of `tsig-keygen`
    #[arg(long, env = "PARAMD_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,

    #[command(flatten)]
    pub data: Data,

    #[command(flatten)]
    pub zones: Zones,
}

#[derive(Debug, Args)]
pub struct Dump {
    /// Origin of the zone, such as pbft.fabric.internal
    pub zone: String,

    /// Output format
    #[arg(long, default_value = "master")]
    pub format: Format,

    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A master file (RFC 1035), which named-checkzone accepts
    Master,
    /// JSON, which `paramd restore` reads
    Json,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// Dump that was created with `paramd dump ZONE --format json`; - for standard
    /// input
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub data: Data,

    /// Where registrations are stored: `sled`, or `etcd://HOST[:PORT],…`, which needs
    /// FILE. No service may be running on it
    #[arg(
        long,
        env = "PARAMD_STORE",
        value_name = "STORE",
        default_value = "sled",
        value_parser = store
    )]
    pub store: StoreKind,

    #[command(flatten)]
    pub config: Config,
}

#[derive(Debug, Args)]
pub struct Peers {
    /// Origin of the zone [default: all zones]
    pub zone: Option<String>,

    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
pub struct Release {
    /// Origin of the zone, such as pbft.fabric.internal
    pub zone: String,

    /// Name of the host, or its ID
    pub host: String,

    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
pub struct Health {
    #[command(flatten)]
    pub source: Source,

    /// Check also whether the service can register peers: its store can write, and a
    /// replica has contact with the writer
    #[arg(long, conflicts_with = "server")]
    pub ready: bool,
}

/// Parses an address and a port; lists may have blanks behind their commas.
fn listener(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_| "write 10.0.0.2:53 or [fd00::2]:53; 0.0.0.0:53 for all addresses".to_owned())
}

/// Parses an address with an optional port, which defaults to 53.
fn upstream(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| "write 10.0.0.2, 10.0.0.2:53, fd00::2 or [fd00::2]:53".to_owned())
}

/// The port of etcd.
const ETCD_PORT: u16 = 2379;

/// Parses `sled` or `etcd://HOST[:PORT],…`.
fn store(text: &str) -> Result<StoreKind, String> {
    const ADVICE: &str = "write sled, or etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379";
    let text = text.trim();
    if text == "sled" {
        return Ok(StoreKind::Sled);
    }
    let Some(members) = text.strip_prefix("etcd://") else {
        return Err(ADVICE.to_owned());
    };
    let members = members.trim_end_matches('/').split(',');
    let members: Option<Vec<String>> = members.map(|text| member(text.trim())).collect();
    members.map(StoreKind::Etcd).ok_or(ADVICE.to_owned())
}

/// `HOST:PORT` of a member of an etcd cluster; `None` if the text is none.
fn member(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.to_string());
    }
    let alone = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = alone.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, ETCD_PORT).to_string());
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, ETCD_PORT),
    };
    let is_host = |sign: char| sign.is_ascii_alphanumeric() || ".-_".contains(sign);
    let is_named = !host.is_empty() && host.chars().all(is_host);
    is_named.then(|| format!("{host}:{port}"))
}
