//! The picture of a network: its members as dots on a circle, in SVG.

use std::f64::consts::TAU;

use serde::Serialize;

use crate::{
    network::{Network, PeerId},
    zone::Zone,
};

/// The maximum number of dots. More would not be seen as such.
const MAX_DOTS: usize = 400;

/// The radius of the circle, in the units of the picture, which is 200 wide.
const RADIUS: f64 = 80.0;

/// The picture of a network.
#[derive(Serialize)]
pub struct Drawing {
    /// What it shows, for those who do not see it.
    description: String,
    dots: Vec<Dot>,
    /// Whether the dots are large enough for their labels.
    has_labels: bool,
    radius: f64,
}

/// A member.
#[derive(Serialize)]
struct Dot {
    x: f64,
    y: f64,
    label: String,
    /// `live`, `gone` or `free`.
    state: &'static str,
}

pub fn draw(zone: &Zone, network: &Network) -> Drawing {
    let numbers = members(zone, network);
    let count = numbers.len().max(1);
    let dots: Vec<Dot> = numbers
        .into_iter()
        .enumerate()
        .map(|(place, number)| {
            let id = PeerId {
                sequence: zone.rules.root_sequence,
                number,
            };
            // The first is at the top, the others follow clockwise.
            let angle = TAU * (place as f64 / count as f64 - 0.25);
            let state = match network.peer(id) {
                Some(_) if network.is_live(id) => "live",
                Some(_) => "gone",
                None => "free",
            };
            Dot {
                x: rounded(100.0 + RADIUS * angle.cos()),
                y: rounded(100.0 + RADIUS * angle.sin()),
                label: zone.rules.id_text(id),
                state,
            }
        })
        .collect();
    let counted = |state| dots.iter().filter(|dot| dot.state == state).count();
    let (live, gone, free) = (counted("live"), counted("gone"), counted("free"));
    let space = TAU * RADIUS / count as f64;
    Drawing {
        description: format!("{live} live, {gone} gone, {free} free"),
        has_labels: count <= 24,
        radius: rounded((space * 0.35).clamp(1.5, 14.0)),
        dots,
    }
}

/// The numbers of the root sequence that the picture shows: all of a network with n,
/// otherwise those that are taken.
fn members(zone: &Zone, network: &Network) -> Vec<u32> {
    let sequence = zone.rules.root_sequence;
    match zone.n {
        Some(n) => {
            let start = zone.rules.sequence(sequence).start;
            let end = start.saturating_add(n);
            (start..end).take(MAX_DOTS).collect()
        }
        None => {
            let peers = network.peers_in(sequence);
            peers.map(|peer| peer.id.number).take(MAX_DOTS).collect()
        }
    }
}

/// Rounded to tenths, so that the page stays small.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
