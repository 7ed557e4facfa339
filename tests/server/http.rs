//! The HTTP service: the status page, metrics and health.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::{Options, PARAMD, Service, fails_with, run, simple_zone, zones};

/// A zone with four numbers and a lease of one second.
fn start() -> (Service, impl Sized) {
    let zone = simple_zone("n = 4\nlease = \"1s\"", "limit = \"n\"");
    let zones = zones(&[("t.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(zones.path(), data.path());
    options.more = vec!["--http".into(), "127.0.0.1:0".into()];
    let service = Service::start_with(&options);
    (service, (zones, data))
}

fn url(service: &Service, path: &str) -> String {
    format!("http://{}{path}", service.http[0])
}

fn get(service: &Service, path: &str) -> String {
    run("curl", &["-sSf", &url(service, path)])
}

#[test]
fn the_page_shows_each_network_with_its_peers() {
    let (service, _files) = start();
    let page = get(&service, "/");
    assert!(
        page.contains("0 of 4 live, no quorum: 3 are needed"),
        "{page}"
    );
    assert!(page.contains("No peer has registered."), "{page}");
    for host in ["a", "b", "c", "d"] {
        service
            .value(&format!("{host}.test.internal"), "id")
            .unwrap();
    }
    let page = get(&service, "/");
    assert!(page.contains("4 of 4 live, tolerates 1 fault"), "{page}");
    assert!(page.contains("<title>vp3: live</title>"), "{page}");
    assert!(
        page.contains("<td>d</td><td>mixed</td><td>127.0.0.1</td>"),
        "{page}"
    );
    let gone = "0 of 4 live, no quorum: 3 are needed";
    crate::common::eventually(Duration::from_secs(5), "the leases end", || {
        get(&service, "/").contains(gone)
    });
}

#[test]
fn everything_comes_from_the_service_and_nothing_can_be_sent_to_it() {
    let (service, _files) = start();
    let head = run("curl", &["-sSI", &url(&service, "/")]);
    assert!(
        head.contains("default-src 'none'; style-src 'self'"),
        "{head}"
    );
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    let page = get(&service, "/");
    assert!(
        !page.contains("style=") && !page.contains("onload="),
        "{page}"
    );
    assert!(!page.contains("//"), "nothing from elsewhere: {page}");
    let status = |arguments: &[&str], path: &str| {
        let format = ["-s", "-o", "/dev/null", "-w", "%{http_code}"];
        let url = url(&service, path);
        run("curl", &[&format[..], arguments, &[&url]].concat())
    };
    assert_eq!(status(&["-d", "x=1"], "/"), "405");
    assert_eq!(status(&["-X", "DELETE"], "/metrics"), "405");
    assert_eq!(status(&[], "/etc/passwd"), "404");
    assert_eq!(status(&[], "/status.css"), "200");
    assert_eq!(status(&[], "/status.js"), "200");
}

#[test]
fn metrics_are_what_prometheus_expects() {
    let (service, _files) = start();
    service.value("a.test.internal", "id").unwrap();
    let metrics = get(&service, "/metrics");
    for line in [
        "paramd_peers{zone=\"test.internal\",sequence=\"vp\"} 1\n",
        "paramd_live_peers{zone=\"test.internal\",sequence=\"vp\"} 1\n",
        "paramd_free_numbers{zone=\"test.internal\",sequence=\"vp\"} 3\n",
        "paramd_network_size{zone=\"test.internal\"} 4\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(metrics.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn health_and_readiness_are_told() {
    let (service, files) = start();
    assert_eq!(get(&service, "/health"), "ok\n");
    assert_eq!(get(&service, "/ready"), "ok\n");
    drop(files);
    let said = fails_with(
        2,
        PARAMD,
        &["health", "--ready", "--server", "127.0.0.1:53"],
    );
    assert!(said.contains("--server"), "{said}");
}

/// Whether the service has closed a connection.
fn is_closed(connection: &mut TcpStream) -> bool {
    matches!(connection.read(&mut [0]), Ok(0))
}

#[test]
fn clients_that_send_nothing_lose_their_places() {
    let (service, _files) = start();
    let address: SocketAddr = service.http[0];
    let mut idle: Vec<TcpStream> = (0..80)
        .map(|_| {
            let connection = TcpStream::connect(address).unwrap();
            let wait = Some(Duration::from_secs(15));
            connection.set_read_timeout(wait).unwrap();
            connection
        })
        .collect();
    service.value("a.test.internal", "id").unwrap();
    let start = Instant::now();
    assert!(is_closed(&mut idle[0]));
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(5), "{waited:?}");
    let page = run("curl", &["-sSf", "-m", "25", &url(&service, "/")]);
    assert!(page.contains("0 of 4 live"), "{page}");
    // Nor do they keep the service from its end.
    let _connection = TcpStream::connect(address).unwrap();
    assert_eq!(service.terminate(), Some(0));
}
