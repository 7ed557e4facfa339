//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{
    Args, Command as Parsing, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    ValueEnum,
};

/// Gives identical containers an identity, by DNS.
///
/// A container asks one question, and starts as a peer of its network:
///
///   dig TXT $(hostname).pbft.fabric.internal
///   "id=vp1" "root=10.0.1.3:7051" "n=4" "f=1" "address=10.0.1.5:7051" "role=mixed"
///
/// The first query registers it. It keeps its ID for good; the same query every
/// 10 seconds keeps its lease.
#[derive(Debug, Parser)]
#[command(name = "paramd", version, max_term_width = 100, verbatim_doc_comment)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// What is logged on standard error: error, warn, info, debug or trace
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
    /// Answer DNS
    ///
    /// Prints one line with the addresses when it answers, and ends cleanly on
    /// SIGTERM and SIGINT. Logs go to standard error.
    Serve(Serve),
    /// Read the zone and configuration files, and say what is wrong
    Check(Check),
    /// Print a whole zone
    ///
    /// From the running server, by a zone transfer, which it allows to loopback
    /// unless configured otherwise; or, when none runs, from the data directory.
    Dump(Dump),
    /// Bring back what the store has lost, or fill an empty one from a JSON dump
    ///
    /// Without FILE from the newest sound dump and the journal in the data
    /// directory, which have everything that was answered; it says so, or names
    /// what is missing and ends with status 1. A damaged store is set aside.
    Restore(Restore),
    /// Show who is registered: ID, host, role, address, state, last heard
    Peers(Peers),
    /// Free the ID of a host that will not return
    ///
    /// By DNS UPDATE from the running server, which it allows to loopback unless
    /// configured otherwise; or, when none runs, in the data directory.
    Release(Release),
    /// Ask the running server for each of its zones, by DNS; for health checks
    ///
    /// Exit status 0 if it answers with authority for all of them.
    Health(Health),
}

#[derive(Debug, Args)]
pub struct Zones {
    /// Directory of the zone files, NAME.toml each
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
    /// Directory of what must survive a restart
    #[arg(long, env = "PARAMD_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

#[derive(Debug, Args)]
pub struct Config {
    /// Configuration file: who may do what, the keys of those who sign, DNS over
    /// TLS, the secret of DNS cookies, limits, what the service tells of itself
    #[arg(long, env = "PARAMD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    pub zones: Zones,

    #[command(flatten)]
    pub data: Data,

    /// Address and port to answer on, by UDP and TCP; may be given several
    /// times [default: all addresses, port 53]
    #[arg(
        long,
        env = "PARAMD_LISTEN",
        value_name = "ADDR:PORT",
        value_delimiter = ',',
        value_parser = listener
    )]
    pub listen: Vec<SocketAddr>,

    /// Resolver that names outside all zones are passed on to; may be given
    /// several times. The next one is asked when one is silent or fails, and
    /// whoever answered last is asked first. Without any, such names are
    /// refused, so that a stub resolver asks its next server, and reverse names
    /// of private networks do not exist
    #[arg(
        long,
        env = "PARAMD_FORWARD",
        value_name = "ADDR[:PORT]",
        value_delimiter = ',',
        value_parser = upstream
    )]
    pub forward: Vec<SocketAddr>,

    /// Where registrations are kept
    #[arg(long, env = "PARAMD_STORE", default_value = "sled")]
    pub store: StoreKind,

    /// Begin anew where the store is empty, although dumps or journal in the data
    /// directory name peers: their IDs go to other hosts. To be given once, by
    /// hand, so there is no environment variable for it
    #[arg(long)]
    pub new: bool,

    #[command(flatten)]
    pub config: Config,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StoreKind {
    /// In the data directory
    Sled,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub zones: Zones,

    #[command(flatten)]
    pub config: Config,

    /// Name every registration in this data directory that does not fit the zone
    /// files; a service may be running on it
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Where the registrations are: with a running server, or on disk.
#[derive(Debug, Args)]
pub struct Place {
    /// Ask the server that runs there; without it the one that runs on the data
    /// directory is asked, or, when none runs, the directory itself
    #[arg(long, env = "PARAMD_SERVER", value_name = "ADDR[:PORT]", value_parser = upstream)]
    pub server: Option<SocketAddr>,

    /// Sign what is sent to the server with the key of this file, as
    /// `tsig-keygen` writes it
    #[arg(long, env = "PARAMD_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,

    #[command(flatten)]
    pub data: Data,

    #[command(flatten)]
    pub zones: Zones,
}

#[derive(Debug, Args)]
pub struct Dump {
    /// The zone's origin: pbft.fabric.internal
    pub zone: String,

    /// As what
    #[arg(long, default_value = "master")]
    pub format: Format,

    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A master file (RFC 1035), as named-checkzone reads it
    Master,
    /// What `paramd restore` reads
    Json,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// A dump that was made with `paramd dump ZONE --format json`; - for
    /// standard input
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub data: Data,
}

#[derive(Debug, Args)]
pub struct Peers {
    /// The zone's origin; all zones if left out
    pub zone: Option<String>,

    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Args)]
pub struct Release {
    /// The zone's origin: pbft.fabric.internal
    pub zone: String,

    /// The host's name, or its ID
    pub host: String,

    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Args)]
pub struct Health {
    #[command(flatten)]
    pub place: Place,
}

/// An address and a port. Blanks around it are those of a list.
fn listener(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_| "write 10.0.0.2:53 or [fd00::2]:53; 0.0.0.0:53 for all addresses".to_owned())
}

/// An address with or without a port; without, it is 53.
fn upstream(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| "write 10.0.0.2, 10.0.0.2:53, fd00::2 or [fd00::2]:53".to_owned())
}
